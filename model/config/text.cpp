#include <enn/model/config/text.hpp>
#include <enn/model/data/nearest_name.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

namespace enn::model {
namespace {

template <class Number>
bool number_from(std::string_view text, Number& value) {
  Number parsed{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc{} || end != text.data() + text.size())
    return false;
  value = parsed;
  return true;
}

std::string_view trimmed(std::string_view text) {
  auto first = text.find_first_not_of(" \t");
  if (first == text.npos)
    return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// Takes the element at the front of `text`, and the comma after it if there is one; false if its quotes are wrong.
bool take_element(std::string_view& text, std::string& element) {
  element.clear();
  auto start = text.find_first_not_of(" \t");
  if (start == text.npos || text[start] != '"') {
    auto end = std::min(text.find(','), text.size());
    element = trimmed(text.substr(0, end));
    text.remove_prefix(end);
    return element.find('"') == element.npos;
  }
  for (auto i = start + 1; i < text.size(); ++i) {
    if (text[i] != '"') {
      element += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == '"') {
      element += text[i++];
    } else {
      auto after = text.find_first_not_of(" \t", i + 1);
      text.remove_prefix(std::min(after, text.size()));
      return text.empty() || text.front() == ',';
    }
  }
  return false;
}

std::string quoted_element(const std::string& element) {
  if (!element.empty() && element.find_first_of(",\"") == element.npos && trimmed(element) == element)
    return element;
  std::string result = "\"";
  for (char c : element)
    result += c == '"' ? std::string{"\"\""} : std::string{c};
  return result + '"';
}

template <class List, class Write>
std::string joined(const List& list, const char* separator, Write write) {
  std::string result;
  for (const auto& element : list)
    result += (&element == &*list.begin() ? "" : separator) + write(element);
  return result;
}

std::string prefix(std::string_view origin) {
  return origin.empty() ? std::string{} : std::string{origin} + ": ";
}

bool within(const limits&, bool) {
  return true;
}

bool within(const limits& allowed, double value) {
  return value >= allowed.least && value <= allowed.most; // false for NaN
}

bool within(const limits& allowed, std::int64_t value) {
  return within(allowed, static_cast<double>(value));
}

bool within(const limits& allowed, const std::string& value) {
  const auto& words = allowed.words;
  return words.empty() || std::find(words.begin(), words.end(), value) != words.end();
}

template <class Element>
bool within(const limits& allowed, const std::vector<Element>& value) {
  return std::all_of(value.begin(), value.end(), [&](const Element& element) { return within(allowed, element); });
}

template <class Value>
caf::expected<void> check_limits(std::string_view key, const limits& allowed, const Value& value,
                                 std::string_view origin) {
  if (within(allowed, value))
    return {};
  return fail(ec::bad_config, prefix(origin) + std::string{key} + " = " + literal(value)
                                + (allowed.words.empty() ? " is outside " : " is not among ") + allowed_text(allowed));
}

template <class Value>
caf::error wrong_type(std::string_view key, const limits& allowed, const Value& value, std::string_view text,
                      std::string_view origin) {
  auto limits_text = allowed_text(allowed);
  return fail(ec::bad_config, prefix(origin) + std::string{key} + " = " + literal(std::string{text}) + " is not "
                                + std::string{type_name(value)}
                                + (limits_text.empty() ? "" : "; allowed: " + limits_text));
}

} // namespace

// -- values ----

std::string to_text(bool value) {
  return value ? "true" : "false";
}

std::string to_text(std::int64_t value) {
  return std::to_string(value);
}

std::string to_text(double value) {
  std::array<char, 32> buffer;
  auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  std::string text{buffer.data(), end};
  if (auto e = text.find('e'); e != text.npos) { // 1e+06 and 1e-08 as people write them: 1e6, 1e-8
    auto sign = text[e + 1] == '-' ? 1u : 0u;
    auto digits = text.find_first_not_of("+-0", e + 1);
    text.erase(e + 1 + sign, digits - (e + 1 + sign));
  }
  return text;
}

std::string to_text(const std::string& value) {
  return value;
}

std::string to_text(const std::vector<std::int64_t>& value) {
  return joined(value, ",", [](std::int64_t element) { return to_text(element); });
}

std::string to_text(const std::vector<std::string>& value) {
  return joined(value, ",", quoted_element);
}

bool from_text(std::string_view text, bool& value) {
  if (text != "true" && text != "false")
    return false;
  value = text == "true";
  return true;
}

bool from_text(std::string_view text, std::int64_t& value) {
  return number_from(text, value);
}

bool from_text(std::string_view text, double& value) {
  return number_from(text, value);
}

bool from_text(std::string_view text, std::string& value) {
  value = text;
  return true;
}

bool from_text(std::string_view text, std::vector<std::string>& value) {
  std::vector<std::string> parsed;
  bool more = !text.empty();
  while (more) {
    if (!take_element(text, parsed.emplace_back()))
      return false;
    more = !text.empty();
    text.remove_prefix(more ? 1 : 0); // the comma
  }
  value = std::move(parsed);
  return true;
}

bool from_text(std::string_view text, std::vector<std::int64_t>& value) {
  std::vector<std::string> elements;
  if (!from_text(text, elements))
    return false;
  std::vector<std::int64_t> parsed(elements.size());
  for (std::size_t i = 0; i < elements.size(); ++i)
    if (!from_text(elements[i], parsed[i]))
      return false;
  value = std::move(parsed);
  return true;
}

std::string literal(const std::string& value) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string result = "\"";
  for (char c : value) {
    auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      result += {'\\', c};
    else if (c == '\t')
      result += "\\t";
    else if (c == '\n')
      result += "\\n";
    else if (code < 0x20 || code == 0x7f)
      result += {'\\', 'u', '0', '0', hex[code / 16], hex[code % 16]};
    else
      result += c;
  }
  return result + '"';
}

std::string literal(const std::vector<std::int64_t>& value) {
  return "[" + joined(value, ", ", [](std::int64_t element) { return to_text(element); }) + "]";
}

std::string literal(const std::vector<std::string>& value) {
  return "[" + joined(value, ", ", [](const std::string& element) { return literal(element); }) + "]";
}

std::string_view type_name(bool) {
  return "true or false";
}

std::string_view type_name(std::int64_t) {
  return "an integer";
}

std::string_view type_name(double) {
  return "a number";
}

std::string_view type_name(const std::string&) {
  return "text";
}

std::string_view type_name(const std::vector<std::int64_t>&) {
  return "a list of integers";
}

std::string_view type_name(const std::vector<std::string>&) {
  return "a list of texts";
}

std::string allowed_text(const limits& allowed) {
  if (!allowed.words.empty())
    return joined(allowed.words, ", ", [](std::string_view word) { return std::string{word}; });
  if (allowed.least == limits{}.least && allowed.most == limits{}.most)
    return {};
  return to_text(allowed.least) + " to " + to_text(allowed.most);
}

// -- keys ----

std::vector<std::string> keys() {
  std::vector<std::string> result;
  const config defaults;
  for_each_value(defaults, [&](const std::string& key, const auto&, const auto&) { result.push_back(key); });
  return result;
}

std::string nearest_key(std::string_view key) {
  auto all = keys();
  std::vector<std::string> names;
  for (const auto& k : all)
    names.push_back(k.substr(k.find('.') + 1));
  std::string wanted{key.substr(key.find('.') + 1)}; // the whole key if it has no section
  if (key != wanted && std::find(names.begin(), names.end(), wanted) == names.end())
    return nearest_name(key, all);
  auto best = std::find(names.begin(), names.end(), nearest_name(wanted, names));
  return all[static_cast<std::size_t>(best - names.begin())];
}

std::string nearest_key_hint(std::string_view key, std::string_view before) {
  auto nearest = nearest_key(key);
  auto wanted = key.substr(key.find('.') + 1), name = std::string_view{nearest}.substr(nearest.find('.') + 1);
  return wanted == name || is_near(wanted, name) ? std::string{before} + nearest : std::string{};
}

caf::error unknown_key(std::string_view key, std::string_view origin) {
  return fail(ec::bad_config,
              prefix(origin) + "unknown key " + std::string{key} + nearest_key_hint(key, "; the nearest is "));
}

// -- configurations ----

caf::expected<void> set(config& c, std::string_view key, std::string_view text, std::string_view origin) {
  caf::expected<void> result;
  bool found = visit_value(c, key, [&](const auto& field, auto& value) {
    auto parsed = value;
    if (!from_text(text, parsed))
      result = wrong_type(key, field.allowed, value, text, origin);
    else
      result = check_limits(key, field.allowed, parsed, origin);
    if (result)
      value = std::move(parsed);
  });
  if (!found)
    return unknown_key(key, origin);
  if (result && origin.empty())
    c.origins.erase(std::string{key});
  else if (result)
    c.origins[std::string{key}] = origin;
  return result;
}

caf::expected<std::string> get(const config& c, std::string_view key) {
  std::string text;
  if (!visit_value(c, key, [&](const auto&, const auto& value) { text = to_text(value); }))
    return unknown_key(key);
  return text;
}

caf::expected<void> check_limits(const config& c) {
  caf::expected<void> result;
  for_each_value(c, [&](const std::string& key, const auto& field, const auto& value) {
    auto origin = c.origins.find(key);
    if (result)
      result = check_limits(key, field.allowed, value, origin == c.origins.end() ? "" : origin->second);
  });
  return result;
}

name_values to_name_values(const config& c) {
  name_values result;
  for_each_value(c, [&](const std::string& key, const auto&, const auto& value) {
    result.emplace_back(key, to_text(value));
  });
  return result;
}

caf::expected<config> from_name_values(const name_values& values, std::string_view origin) {
  config result;
  std::set<std::string> seen;
  for (const auto& [key, text] : values) {
    if (auto done = set(result, key, text, origin); !done)
      return done.error();
    if (!seen.insert(key).second)
      return fail(ec::bad_config, prefix(origin) + "key " + key + " is there twice");
  }
  for (const auto& key : keys())
    if (seen.count(key) == 0 && !key.starts_with("run."))
      return fail(ec::bad_config, prefix(origin) + "key " + key + " is missing");
  return result;
}

} // namespace enn::model
