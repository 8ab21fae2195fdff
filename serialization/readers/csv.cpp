#include <enn/model/data/nearest_name.hpp>
#include <enn/model/data/date_time.hpp>
#include <enn/serialization/readers/byte_source.hpp>
#include <enn/serialization/readers/csv.hpp>
#include <enn/serialization/readers/record_parser.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <unordered_map>

namespace enn::serialization {
namespace {

using std::string;
using std::string_view;
constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

string_view trimmed(string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && blank(text.back()))
    text.remove_suffix(1);
  return text;
}

string shown(string_view text) {
  constexpr std::size_t most = 60; // of a text that was found in a wrong place, enough to recognise it
  string result = "\"";
  result.append(text.substr(0, most)).append(text.size() > most ? "...\"" : "\"");
  return result;
}

/// Bytes of the UTF-8 character at the front: 0 if there is none, or one that XML and terminals cannot show.
std::size_t character_size(string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto lead = byte(0);
  if (lead < 0x80)
    return lead < 0x20 || lead == 0x7F ? 0 : 1;
  const std::size_t size = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  unsigned code = size == 0 ? 0 : lead & (0xFFu >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80)
      return 0;
    code = code << 6 | (byte(i) & 0x3F);
  }
  constexpr unsigned least[] = {0, 0, 0x80, 0x800, 0x10000}; // shorter forms exist below; 0x80 to 0x9F are control characters
  const bool good = size > 0 && code >= std::max(least[size], 0xA0u) && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF) &&
                    code != 0xFFFE && code != 0xFFFF;
  return good ? size : 0;
}

/// What is wrong with the name of a column, or nothing.
string complaint_about_name(string_view name, std::size_t field) {
  string readable;
  bool control = false, broken = false;
  while (!name.empty()) {
    const auto size = character_size(name);
    const bool ascii = static_cast<unsigned char>(name[0]) < 0x80;
    control = control || (size == 0 && ascii);
    broken = broken || (size == 0 && !ascii);
    readable.append(size == 0 ? string_view{"?"} : name.substr(0, size));
    name.remove_prefix(std::max<std::size_t>(size, 1));
  }
  const auto place = "the name of column " + std::to_string(field + 1) + ", " + shown(readable);
  if (broken)
    return place + ", is not UTF-8; convert the file to UTF-8, for instance with iconv -f latin1 -t utf-8";
  return control ? place + ", holds a control character, shown as ?; remove it from the header" : "";
}

string count(std::size_t n, const char* noun) {
  return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

/// Settings that can be judged without the file. An empty text: all is well.
string complaint_about(const model::data_config& config) {
  if (!config.time_column.empty() && !config.start.empty())
    return "data.time-column and data.start are both set; the times of the lines can come from one of them only";
  if (config.start.empty())
    return {};
  if (!model::parse_date_time(config.start))
    return "data.start: found " + shown(config.start) + ", expected a date and time such as 2012-03-01T00:00:00";
  if (config.interval_seconds == 0)
    return "data.start is set, but data.interval-seconds is not: the times of the lines need both";
  return {};
}

char delimiter_of(const model::data_config& config) { // 0: not usable
  if (config.delimiter == "\\t")
    return '\t'; // as it arrives from a shell
  const bool usable = config.delimiter.size() == 1 && string_view{"\"\r\n"}.find(config.delimiter[0]) == string_view::npos;
  return usable ? config.delimiter[0] : '\0';
}

/// Turns records into a table.
class table_builder {
public:
  table_builder(const model::data_config& config, target_columns targets) : config_(config), targets_(targets) {}

  /// Returns what is wrong with the record, or nothing.
  string add(const std::vector<string_view>& fields, std::int64_t file_line) {
    if (fields.empty()) {
      blank_seen_ = true;
      return {};
    }
    if (blank_seen_)
      return names_.empty() ? "the file starts with an empty line"
                            : "the line before this one is empty, which is allowed at the end only (write \"\" if the only value of a line is missing)";
    if (names_.empty()) {
      if (auto error = take_header(fields); !error.empty() || config_.header)
        return error;
    }
    return take_line(fields, file_line);
  }

  bool header_seen() const { return !names_.empty(); }
  model::table result;

private:
  string take_header(const std::vector<string_view>& fields) {
    std::unordered_map<string, std::size_t> places;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const auto name = config_.header ? trimmed(fields[i]) : string_view{};
      if (auto error = complaint_about_name(name, i); !error.empty())
        return error;
      names_.push_back(name.empty() ? string{"c"}.append(std::to_string(i)) : string{name});
      if (const auto [other, is_new] = places.emplace(names_.back(), i); !is_new)
        return "column '" + names_.back() + "' is there twice (fields " + std::to_string(other->second + 1) + " and " +
               std::to_string(i + 1) + "); names must differ";
    }
    return select();
  }

  /// Decides which fields become which columns.
  string select() {
    const auto& targets = config_.kind == "row" ? config_.targets : std::vector<string>{};
    const auto is_target = [&](const string& name) { return std::ranges::find(config_.targets, name) != config_.targets.end(); };
    if (!config_.time_column.empty())
      if (auto error = find(config_.time_column, "data.time-column", time_field_); !error.empty())
        return error;
    auto wanted = config_.columns;
    if (wanted.empty())
      std::ranges::copy_if(names_, std::back_inserter(wanted),
                           [&](const string& name) { return name != config_.time_column && !is_target(name); });
    for (const auto& name : wanted)
      if (auto error = use(name, "data.columns"); !error.empty())
        return error;
    for (const auto& name : targets) {
      if (targets_ == target_columns::optional && std::ranges::find(names_, name) == names_.end())
        continue;
      if (auto error = use(name, "data.targets"); !error.empty())
        return error;
    }
    return result.columns.empty() ? "no column is left to use" : "";
  }

  string find(const string& name, const char* key, std::size_t& field) const {
    const auto place = std::ranges::find(names_, name);
    if (place == names_.end())
      return string{"there is no column '"} + name + "' (" + key + ")" + model::nearest_hint(name, names_, "; did you mean '", "'?");
    field = static_cast<std::size_t>(place - names_.begin());
    return {};
  }

  string use(const string& name, const char* key) {
    std::size_t field = none;
    if (auto error = find(name, key, field); !error.empty())
      return error;
    if (std::ranges::find(fields_, field) != fields_.end())
      return "column '" + name + "' (" + key + ") is listed twice in data.columns and data.targets";
    if (field == time_field_)
      return "column '" + name + "' (" + key + ") is also data.time-column";
    fields_.push_back(field);
    result.columns.push_back(name);
    return {};
  }

  string take_line(const std::vector<string_view>& fields, std::int64_t file_line) {
    if (fields.size() != names_.size())
      return "found " + count(fields.size(), "field") + ", expected " + std::to_string(names_.size()) + " as in the first line";
    if (time_field_ != none) {
      const auto text = trimmed(fields[time_field_]);
      const auto time = model::parse_date_time(text);
      if (!time)
        return "column '" + config_.time_column + "': found " + shown(text) + ", expected a date and time such as 2012-03-01 00:05:00";
      result.times.push_back(*time);
    }
    for (std::size_t i = 0; i < fields_.size(); ++i)
      if (auto error = take_number(trimmed(fields[fields_[i]])); !error.empty())
        return "column '" + result.columns[i] + "': " + error;
    result.places.push_back(file_line);
    ++result.lines;
    return {};
  }

  string take_number(string_view text) {
    if (std::ranges::find(config_.missing, text) != config_.missing.end()) {
      result.values.push_back(std::numeric_limits<double>::quiet_NaN());
      return {};
    }
    constexpr auto hint = " (add it to data.missing if it means missing)";
    const auto number = text.size() > 1 && text[0] == '+' && text[1] != '-' ? text.substr(1) : text; // from_chars knows no plus
    double value = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (error == std::errc::result_out_of_range)
      return "found " + shown(text) + ", expected a number that double precision can hold";
    if (error != std::errc{} || end != number.data() + number.size())
      return "found " + shown(text) + ", expected a number" + hint;
    if (!std::isfinite(value))
      return "found " + shown(text) + ", expected a finite number" + hint;
    result.values.push_back(value);
    return {};
  }

  const model::data_config& config_;
  target_columns targets_;
  std::vector<string> names_;         // of all fields
  std::vector<std::size_t> fields_;   // of the columns of the result
  std::size_t time_field_ = none;
  bool blank_seen_ = false;
};

} // namespace

caf::expected<model::table> read_csv(const std::filesystem::path& path, const model::data_config& config, target_columns targets) {
  const char delimiter = delimiter_of(config);
  if (delimiter == '\0')
    return fail(ec::bad_config, "data.delimiter: found " + shown(config.delimiter) + ", expected one character, not a quote");
  if (const auto complaint = complaint_about(config); !complaint.empty())
    return fail(ec::bad_config, complaint);
  table_builder builder{config, targets};
  record_parser parser{delimiter, [&](const auto& fields, std::int64_t line) { return builder.add(fields, line); }};
  const auto fingerprint = read_bytes(path, [&](string_view piece) { return parser.feed(piece); });
  if (!fingerprint)
    return fingerprint.error();
  if (!parser.finish())
    return fail(ec::bad_data, path.string() + ":" + std::to_string(parser.error_line()) + ": " + parser.error());
  if (builder.result.lines == 0)
    return fail(ec::bad_data, path.string() + ": " + (builder.header_seen() ? "there are no lines after the header" : "the file is empty"));
  auto result = std::move(builder.result);
  result.source = path.string();
  result.fingerprint = *fingerprint;
  if (!config.start.empty()) {
    const auto start = *model::parse_date_time(config.start);
    for (std::int64_t i = 0; i < result.lines; ++i)
      result.times.push_back(start + i * config.interval_seconds);
  }
  return result;
}

} // namespace enn::serialization
