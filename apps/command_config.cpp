#include "command.hpp"
#include "options.hpp"
#include "run_folder.hpp"

#include <enn/serialization/config_file.hpp>

#include <CLI/CLI.hpp> // slow to compile

#include <cstdio>

namespace enn::apps {
namespace {

struct config_options {
  std::string file;
  bool markdown = false;
  model::name_values given;
};

caf::expected<void> print_config(const config_options& o) {
  if (o.markdown) {
    std::fputs(configuration_markdown().c_str(), stdout);
    return {};
  }
  model::config settings;
  if (!o.file.empty()) {
    auto loaded = load_settings(o.file, o.given);
    if (!loaded)
      return loaded.error();
    settings = std::move(*loaded);
  } else {
    if (auto done = apply_options(o.given, settings); !done)
      return done;
    if (auto good = model::check(settings); !good)
      return good;
  }
  std::fputs(serialization::to_toml(settings, true).c_str(), stdout);
  return {};
}

} // namespace

action declare_config(CLI::App& app) {
  auto o = std::make_shared<config_options>();
  app.add_option("CONFIG", o->file, "Configuration file (TOML) or folder of a run; without one the defaults are printed.");
  app.add_flag("--markdown", o->markdown, "Print the documentation of all values: docs/configuration.md.");
  add_config_options(app, o->given);
  return [o] { return print_config(*o); };
}

} // namespace enn::apps
