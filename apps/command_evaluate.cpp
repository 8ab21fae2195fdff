#include "command.hpp"
#include "evaluation.hpp"
#include "options.hpp"
#include "run_folder.hpp"

#include <CLI/CLI.hpp> // slow to compile

#include <cstdio>

namespace enn::apps {
namespace {

struct evaluate_options {
  std::string run, checkpoint = "best", data;
  std::int64_t workers = 0;
  bool deviations = false;
};

caf::expected<void> evaluate_run(const evaluate_options& o) {
  auto found = load_version(o.run, o.checkpoint);
  if (!found)
    return code_of(found.error()) == ec::io_failed ? fail(ec::bad_checkpoint, text_of(found.error())) : found.error();
  const auto& run = found->restored.run;
  const auto& version = found->restored.version;
  auto data = load_data(*run, o.data);
  if (!data)
    return data.error();
  auto settings = run->settings;
  settings.run.workers = o.workers;
  session s;
  auto result = evaluate(s, {run, version, *data, workers_of(settings),
                             o.deviations ? model::error_unit::deviations : model::error_unit::raw, nullptr});
  if (!result)
    return result.error();
  std::printf("%s, step %lld.\n%s", found->file.string().c_str(), static_cast<long long>(version->state.step),
              table_text(*result).c_str());
  return {};
}

} // namespace

action declare_evaluate(CLI::App& app) {
  auto o = std::make_shared<evaluate_options>();
  app.add_option("RUN", o->run, "Folder of a run, or a checkpoint file.")->required();
  add_checkpoint_option(app, o->checkpoint);
  add_data_option(app, o->data);
  add_workers_option(app, o->workers);
  app.add_flag("--deviations", o->deviations, "Errors in deviations of the training part, as published for the ETT data.");
  return [o] { return evaluate_run(*o); };
}

} // namespace enn::apps
