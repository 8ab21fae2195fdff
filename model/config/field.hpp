/// A configuration value is declared once, as a `field` of its struct: name, unit, meaning, range. The command line, the
/// TOML file, --help, docs/configuration.md, checkpoint attributes and the wire form all walk fields().
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace enn::model {

/// What a number may be, or which words a text may be; both empty: anything.
struct limits {
  double least = -1e300, most = 1e300;
  std::vector<std::string_view> words{};
};

template <class Config, class Value>
struct field {
  Value Config::*member;
  std::string_view name;    // kebab-case, as in TOML and on the command line
  std::string_view unit;    // "steps", "rows", "1" for a pure number, "" for text
  std::string_view meaning; // one sentence
  limits allowed{};
};

/// Value types: bool, std::int64_t, double, std::string, std::vector<std::int64_t>, std::vector<std::string>.
/// Calls visit(field, config.*field.member) for every field in order of declaration.
template <class Config, class Visitor>
void for_each_field(Config& config, Visitor&& visit) {
  std::apply([&](const auto&... f) { (visit(f, config.*(f.member)), ...); }, Config::fields());
}

} // namespace enn::model
