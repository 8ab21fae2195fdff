#include <enn/model/data/date_time.hpp>

#include <cstdio>

namespace enn::model {
namespace {

constexpr std::int64_t seconds_per_day = 86400;

/// Reads `digits` decimal digits after `separator` (0: none) and removes both from the text; -1 if they are not there.
int take_number(std::string_view& text, char separator, std::size_t digits) {
  const std::size_t skipped = separator == 0 ? 0 : 1;
  if (text.size() < skipped + digits || (skipped == 1 && text[0] != separator))
    return -1;
  int value = 0;
  for (const char c : text.substr(skipped, digits)) {
    if (c < '0' || c > '9')
      return -1;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(skipped + digits);
  return value;
}

bool is_leap(std::int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

int days_in(std::int64_t year, int month) {
  constexpr int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0); }

/// Days from 1970-01-01 to the first of January (proleptic Gregorian calendar).
std::int64_t days_before(std::int64_t year) {
  const auto last = year - 1;
  constexpr std::int64_t days_before_1970 = 719162; // from year 1
  return 365 * last + floor_divide(last, 4) - floor_divide(last, 100) + floor_divide(last, 400) - days_before_1970;
}

} // namespace

std::optional<std::int64_t> parse_date_time(std::string_view text) {
  const int year = take_number(text, 0, 4), month = take_number(text, '-', 2), day = take_number(text, '-', 2);
  if (year < 0 || month < 1 || month > 12 || day < 1 || day > days_in(year, month))
    return {};
  auto days = days_before(year) + day - 1;
  for (int m = 1; m < month; ++m)
    days += days_in(year, m);
  const auto seconds = seconds_per_day * days;
  if (text.empty())
    return seconds;
  const int hour = take_number(text, text[0] == 'T' ? 'T' : ' ', 2), minute = take_number(text, ':', 2);
  const int second = text.starts_with(':') ? take_number(text, ':', 2) : 0;
  if (text == "Z")
    text.remove_prefix(1);
  if (!text.empty() || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
    return {};
  return seconds + hour * 3600 + minute * 60 + second;
}

std::string date_time_text(std::int64_t seconds) {
  auto days = floor_divide(seconds, seconds_per_day);
  const auto clock = static_cast<int>(seconds - days * seconds_per_day);
  auto year = 1970 + floor_divide(days, 366); // or a little later for late years
  while (days_before(year + 1) <= days)
    ++year;
  while (days_before(year) > days)
    --year;
  days -= days_before(year);
  int month = 1;
  for (; days >= days_in(year, month); ++month)
    days -= days_in(year, month);
  char text[64];
  std::snprintf(text, sizeof text, "%04lld-%02d-%02d %02d:%02d:%02d", static_cast<long long>(year), month, static_cast<int>(days) + 1,
                clock / 3600, clock / 60 % 60, clock % 60);
  return text;
}

} // namespace enn::model
