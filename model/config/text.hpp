/// Configuration values as text: on the command line, in messages, on the wire and in checkpoints. Everything here
/// walks fields(); keys are "section.name". Errors are ec::bad_config and start with the origin, if there is one.
#pragma once
#include <enn/model/config/config.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace enn::model {

// -- values ----

/// The shortest text that from_text() turns into the same value. Lists: elements with commas between; an element in
/// double quotes is taken as it stands ("" in it is one quote), which is how "" or "a,b" are elements.
std::string to_text(bool value);
std::string to_text(std::int64_t value);
std::string to_text(double value);
std::string to_text(const std::string& value);
std::string to_text(const std::vector<std::int64_t>& value);
std::string to_text(const std::vector<std::string>& value);

/// Whether text is a value of this type; `value` is set if so.
bool from_text(std::string_view text, bool& value);
bool from_text(std::string_view text, std::int64_t& value);
bool from_text(std::string_view text, double& value);
bool from_text(std::string_view text, std::string& value);
bool from_text(std::string_view text, std::vector<std::int64_t>& value);
bool from_text(std::string_view text, std::vector<std::string>& value);

/// The value as TOML writes it; messages and documentation show values this way too.
template <class Value>
std::string literal(const Value& value) { return to_text(value); }
std::string literal(const std::string& value);
std::string literal(const std::vector<std::int64_t>& value);
std::string literal(const std::vector<std::string>& value);

/// "true or false", "an integer", "a number", "text", "a list of integers", "a list of texts".
std::string_view type_name(bool);
std::string_view type_name(std::int64_t);
std::string_view type_name(double);
std::string_view type_name(const std::string&);
std::string_view type_name(const std::vector<std::int64_t>&);
std::string_view type_name(const std::vector<std::string>&);

/// "1 to 1024" or "layernorm, rmsnorm"; empty if anything is allowed.
std::string allowed_text(const limits& allowed);

// -- keys ----

/// Calls visit(key, field, value) for every field of every section, in order of declaration.
template <class Config, class Visitor>
void for_each_value(Config& c, Visitor&& visit) {
  for_each_section(c, [&](std::string_view section, auto& values) {
    for_each_field(values, [&](const auto& field, auto& value) {
      visit(std::string{section} + "." + std::string{field.name}, field, value);
    });
  });
}

/// Calls visit(field, value) for the field of this key; false if there is none.
template <class Config, class Visitor>
bool visit_value(Config& c, std::string_view key, Visitor&& visit) {
  bool found = false;
  for_each_value(c, [&](const std::string& k, const auto& field, auto& value) {
    if (k == key) {
      found = true;
      visit(field, value);
    }
  });
  return found;
}

std::vector<std::string> keys();
/// The key with the least edit distance; a right name in the wrong section, or in none, finds its own.
std::string nearest_key(std::string_view key);
/// before + the nearest key if it may have been meant, else nothing.
std::string nearest_key_hint(std::string_view key, std::string_view before);
caf::error unknown_key(std::string_view key, std::string_view origin = {});

// -- configurations ----

/// Sets one value if the text has its type and keeps its limits, and remembers the origin.
caf::expected<void> set(config& c, std::string_view key, std::string_view text, std::string_view origin = {});
/// The text of one value.
caf::expected<std::string> get(const config& c, std::string_view key);
/// Checks each value by itself, against its limits.
caf::expected<void> check_limits(const config& c);

/// All fields as text: the form on the wire and in checkpoints.
using name_values = std::vector<std::pair<std::string, std::string>>;
name_values to_name_values(const config& c);
/// Strict: every key once, in any order, no other. Old files are migrated knowingly, never completed with defaults; but for keys of
/// [run], which change no bit and may be younger than the file.
caf::expected<config> from_name_values(const name_values& values, std::string_view origin = {});

} // namespace enn::model
