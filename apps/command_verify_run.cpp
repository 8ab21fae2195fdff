#include "command.hpp"
#include "options.hpp"
#include "progress_line.hpp"
#include "run_folder.hpp"
#include "session.hpp"

#include <CLI/CLI.hpp> // slow to compile

namespace enn::apps {
namespace {

struct verify_options {
  std::string run, data;
  std::int64_t workers = 0;
};

/// What was the same, and what there was nothing to compare with.
std::string verified_text(const actors::run_outcome& outcome) {
  auto text = counted(outcome.steps_run) + " steps, computed again, give the recorded losses, bit for bit\n";
  for (auto step : outcome.compared)
    text += (step == outcome.compared.front() ? "the weights of step " : ", ") + counted(static_cast<std::uint64_t>(step));
  text += outcome.compared.empty() ? "weights were not compared: there is no checkpoint"
                                   : " are those of its checkpoint, bit for bit";
  if (outcome.torn_line)
    text += "\nthe last line of losses.jsonl is torn and was not compared";
  return text;
}

caf::expected<void> verify_run(const verify_options& o) {
  model::name_values given{{"run.workers", std::to_string(o.workers)}};
  if (!o.data.empty())
    given.emplace_back("data.path", o.data);
  auto settings = load_settings(o.run, given);
  if (!settings)
    return settings.error();
  auto ready = prepare(*settings);
  if (!ready)
    return ready.error();
  actors::run_request request;
  request.what = actors::duty::verify;
  request.run = ready->run;
  request.data = ready->data;
  request.folder = o.run;
  request.workers = workers_of(*settings);
  session s;
  progress_line line{ready->run};
  auto outcome = actors::train(s.system(), std::move(request), [&](const auto& p) { line.show(p); }, s.stop());
  line.end();
  if (!outcome)
    return outcome.error();
  if (outcome->interrupted)
    return fail(ec::interrupted, "stopped; the first " + std::to_string(outcome->steps_run) + " steps are as recorded");
  say("verified", verified_text(*outcome));
  return {};
}

} // namespace

action declare_verify_run(CLI::App& app) {
  auto o = std::make_shared<verify_options>();
  app.add_option("RUN", o->run, "Folder of a run; nothing is written to it.")->required();
  add_data_option(app, o->data);
  add_workers_option(app, o->workers);
  return [o] { return verify_run(*o); };
}

} // namespace enn::apps
