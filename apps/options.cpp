#include "options.hpp"

#include <enn/model/data/nearest_name.hpp>
#include <enn/serialization/config_file.hpp>

#include <CLI/CLI.hpp> // slow to compile

#include <array>

namespace enn::apps {
namespace {

struct short_name {
  std::string_view key, option;
};

constexpr std::array short_names = {
  short_name{"train.epochs", "--epochs"},   short_name{"train.steps", "--steps"},
  short_name{"train.seed", "--seed"},       short_name{"train.kernels", "--kernels"},
  short_name{"run.folder", "--folder"},     short_name{"run.workers", "--workers"},
};

/// "--train.seed,--seed", as CLI11 wants it.
std::string option_names(const std::string& key) {
  auto names = "--" + key;
  for (const auto& known : short_names)
    if (known.key == key)
      names += "," + std::string{known.option};
  return names;
}

/// A unit worth printing; "1" is that of pure numbers.
std::string unit_text(std::string_view unit) {
  return unit == "1" ? std::string{} : std::string{unit};
}

/// What stands for a value in --help.
std::string placeholder(bool) { return "true|false"; }
std::string placeholder(std::int64_t) { return "INTEGER"; }
std::string placeholder(double) { return "NUMBER"; }
std::string placeholder(const std::string&) { return "TEXT"; }
template <class Element>
std::string placeholder(const std::vector<Element>&) { return placeholder(Element{}) + ",..."; }

/// The type as a table entry: "integer" for "an integer".
std::string_view without_article(std::string_view type) {
  return type.substr(0, 1) == "a" ? type.substr(type.find(' ') + 1) : type;
}

/// "Rows of one optimizer step. (rows; default 32; 1 to 1e9)"
template <class Field, class Value>
std::string help_text(const Field& field, const Value& value) {
  auto unit = unit_text(field.unit);
  auto allowed = model::allowed_text(field.allowed);
  return std::string{field.meaning} + " (" + unit + (unit.empty() ? "" : "; ") + "default " + model::literal(value)
         + (allowed.empty() ? "" : "; ") + allowed + ")";
}

constexpr std::string_view nearest_is = "; the nearest is --";

/// What may have been meant, or where to look.
std::string hint(const std::string& nearest) {
  return nearest.empty() ? "; see --help" : nearest;
}

/// Text as a table cell.
std::string cell(std::string_view text) {
  std::string result = " ";
  for (char c : text)
    result += c == '|' ? std::string{"\\|"} : std::string{c};
  return result + " |";
}

constexpr std::string_view introduction = R"(# Configuration

Written by `enn config --markdown` from the declarations in `model/config/`; a test compares the two.

A value comes from the command line, else from the configuration file, else it is the default. In the file it stands in
its section, as `heads = 4` under `[model]`; on the command line it is `--model.heads 4`. Lists are `["a", "b"]` in the
file and `a,b` on the command line, where `""` is an element without text. A number without a unit is a pure number.

| short option | for |
| --- | --- |
)";

} // namespace

void add_config_options(CLI::App& app, model::name_values& given) {
  const model::config defaults;
  model::for_each_value(defaults, [&](const std::string& key, const auto& field, const auto& value) {
    auto take = [&given, key](const std::string& text) { given.emplace_back(key, text); };
    app.add_option_function<std::string>(option_names(key), take, help_text(field, value))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->type_name(placeholder(value))
      ->group("[" + key.substr(0, key.find('.')) + "]");
  });
}

caf::expected<void> apply_options(const model::name_values& given, model::config& c) {
  for (const auto& [key, text] : given) {
    if (auto done = model::set(c, key, text, "--" + key); !done)
      return done;
    if (key == "data.path")
      serialization::resolve_data_path(c, {});
  }
  return {};
}

caf::error unknown_option(std::string_view argument) {
  auto name = argument.substr(0, argument.find('='));
  if (name.substr(0, 2) != "--")
    return fail(ec::bad_usage, "unexpected argument " + std::string{argument} + "; see --help");
  return fail(ec::bad_usage,
              "unknown option " + std::string{name} + hint(model::nearest_key_hint(name.substr(2), nearest_is)));
}

caf::error unknown_option(const CLI::App& app, std::string_view argument) {
  auto name = argument.substr(0, argument.find('='));
  if (name.substr(0, 2) != "--")
    return unknown_option(argument);
  name.remove_prefix(2);
  std::vector<std::string> names;
  bool configures = false;
  for (const auto* option : app.get_options())
    for (const auto& known : option->get_lnames()) {
      configures = configures || known.find('.') != std::string::npos;
      names.push_back(known);
    }
  auto key = model::nearest_key(name);
  if (configures && (name.find('.') != std::string_view::npos || key.substr(key.find('.') + 1) == name))
    return unknown_option(argument);
  return fail(ec::bad_usage, "unknown option --" + std::string{name} + hint(model::nearest_hint(name, names, nearest_is)));
}

void add_workers_option(CLI::App& app, std::int64_t& workers) {
  app.add_option("--workers", workers, "Workers; 0: one a core.")
    ->capture_default_str()
    ->check(CLI::Range(0, 1024))
    ->type_name("INTEGER");
}

void add_checkpoint_option(CLI::App& app, std::string& which) {
  app.add_option("--checkpoint", which, "Which one.")->capture_default_str()->type_name("best|last|FILE");
}

void add_data_option(CLI::App& app, std::string& path) {
  app.add_option("--data", path, "Where the run's data is now, if it was moved.")->type_name("FILE");
}

std::string configuration_markdown() {
  std::string text{introduction};
  for (const auto& known : short_names)
    text += "|" + cell("`" + std::string{known.option} + "`") + cell("`--" + std::string{known.key} + "`") + "\n";
  const model::config defaults;
  model::for_each_section(defaults, [&](std::string_view section, const auto& values) {
    text += "\n## [" + std::string{section} + "]\n\n| key | type | unit | default | allowed | meaning |\n"
            "| --- | --- | --- | --- | --- | --- |\n";
    model::for_each_field(values, [&](const auto& field, const auto& value) {
      text += "|" + cell("`" + std::string{field.name} + "`") + cell(without_article(model::type_name(value)))
              + cell(unit_text(field.unit)) + cell("`" + model::literal(value) + "`")
              + cell(model::allowed_text(field.allowed)) + cell(field.meaning) + "\n";
    });
  });
  return text;
}

} // namespace enn::apps
