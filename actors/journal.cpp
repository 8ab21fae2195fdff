#include <enn/actors/journal.hpp>

#include <cstdio>
#include <ctime>

namespace enn::actors {
namespace {

std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      result += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      result += escape;
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string now() {
  std::time_t seconds = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

} // namespace

caf::expected<void> journal::open(const std::filesystem::path& folder) {
  auto log = serialization::line_log::open(folder / "journal.jsonl");
  if (!log)
    return log.error();
  log_.emplace(std::move(*log));
  return caf::unit;
}

caf::expected<void> journal::write(std::string_view event, std::int64_t step,
                                   std::initializer_list<std::pair<std::string_view, std::string>> details) {
  if (!log_)
    return caf::unit;
  auto line = "{\"time\":" + in_quotes(now()) + ",\"event\":" + in_quotes(event) + ",\"step\":" + std::to_string(step);
  for (const auto& [name, value] : details)
    line += ',' + in_quotes(name) + ':' + in_quotes(value);
  return log_->append(line + '}', true);
}

} // namespace enn::actors
