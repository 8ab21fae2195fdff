#include <enn/serialization/readers/date_time.hpp>

#include <chrono>

namespace enn::serialization {
namespace {

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

} // namespace

std::optional<std::int64_t> parse_date_time(std::string_view text) {
  using namespace std::chrono;
  const int y = take_number(text, 0, 4), m = take_number(text, '-', 2), d = take_number(text, '-', 2);
  if (y < 0 || m < 0 || d < 0)
    return {};
  const year_month_day date{year{y}, month{static_cast<unsigned>(m)}, day{static_cast<unsigned>(d)}};
  if (!date.ok())
    return {};
  std::int64_t seconds = std::int64_t{86400} * sys_days{date}.time_since_epoch().count();
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

} // namespace enn::serialization
