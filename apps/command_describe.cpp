#include "command.hpp"
#include "options.hpp"
#include "run_folder.hpp"

#include <enn/model/describe.hpp>

#include <CLI/CLI.hpp> // slow to compile

#include <cstdio>

namespace enn::apps {
namespace {

struct describe_options {
  std::string config;
  bool nodes = false;
  model::name_values given;
};

caf::expected<void> describe(const describe_options& o) {
  auto settings = load_settings(o.config, o.given);
  if (!settings)
    return settings.error();
  auto ready = prepare(*settings);
  if (!ready)
    return ready.error();
  std::fputs(model::describe(*ready->run, o.nodes).c_str(), stdout);
  return {};
}

} // namespace

action declare_describe(CLI::App& app) {
  auto o = std::make_shared<describe_options>();
  app.add_option("CONFIG", o->config, "Configuration file (TOML), or the folder of a run.")->required();
  app.add_flag("--nodes", o->nodes, "List every operator with its shapes.");
  add_config_options(app, o->given);
  return [o] { return describe(*o); };
}

} // namespace enn::apps
