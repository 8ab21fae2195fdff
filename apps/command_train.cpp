#include "command.hpp"
#include "evaluation.hpp"
#include "options.hpp"
#include "progress_line.hpp"
#include "run_folder.hpp"

#include <enn/serialization/file.hpp>

#include <CLI/CLI.hpp> // slow to compile

#include <cstdio>

namespace enn::apps {
namespace {

namespace fs = std::filesystem;

struct train_options {
  std::string config, resume;
  bool overwrite = false;
  model::name_values given;
};

/// What a resumed run may be given: nothing that could change a bit.
caf::expected<void> check_resumable(const train_options& o) {
  if (!o.config.empty() || o.overwrite)
    return fail(ec::bad_usage, "--resume goes on with the run's own configuration: give neither CONFIG nor --overwrite");
  for (const auto& [key, text] : o.given)
    if (key == "run.folder" || (!key.starts_with("run.") && key != "data.path"))
      return fail(ec::bad_usage, "--" + key + " cannot be changed when a run is resumed; [run] can, but for its folder, and "
                                 "data.path where the same data lies elsewhere");
  return {};
}

// -- what was found -----------------------------------------------------------------------------------------------------------

std::string missing_text(const std::vector<model::missing_count>& missing) {
  if (missing.empty())
    return "no missing values";
  std::int64_t total = 0;
  for (const auto& m : missing)
    total += m.values;
  auto text = counted(static_cast<std::uint64_t>(total), "missing values") + " in " + counted(missing.size(), "columns") + " (";
  constexpr std::size_t shown = 3;
  for (std::size_t i = 0; i < std::min(shown, missing.size()); ++i)
    text += (i > 0 ? ", " : "") + missing[i].column + ": " + std::to_string(missing[i].values);
  return text + (missing.size() > shown ? ", ...)" : ")");
}

std::string data_text(const prepared& ready) {
  const auto& data = *ready.data;
  const auto& facts = data.facts();
  bool windows = facts.kind == "window";
  auto text = ready.run->settings.data.path + "\n" + counted(static_cast<std::uint64_t>(data.lines())) + " lines, "
              + (windows ? counted(facts.features.size(), "nodes")
                         : counted(facts.features.size(), "features") + ", " + counted(facts.outputs.size(), "targets"))
              + ", " + missing_text(data.missing()) + "\n";
  for (auto part : {model::part::train, model::part::validation, model::part::test})
    text += (part == model::part::train ? "" : ", ") + std::string{model::name(part)} + " " + counted(data.rows(part)) + " "
            + samples_name(facts);
  if (windows)
    text += "; " + std::to_string(facts.history) + " lines predict " + std::to_string(facts.horizon);
  return text;
}

void say_what_was_found(const prepared& ready, std::uint32_t workers) {
  const auto& run = *ready.run;
  say("data", data_text(ready));
  say("network", counted(static_cast<std::uint64_t>(run.layout.size)) + " parameters in " + counted(run.layout.spans.size())
                   + " tensors, " + counted(run.network.nodes.size()) + " operators");
  say("kernels", run.kernels + ", " + std::to_string(workers) + (workers == 1 ? " worker" : " workers"));
  say("run", run.settings.run.folder + ", " + counted(static_cast<std::uint64_t>(run.total_steps)) + " steps, "
               + counted(static_cast<std::uint64_t>(run.steps_per_epoch)) + " an epoch");
}

std::string loss_text(double loss) {
  char text[32];
  std::snprintf(text, sizeof text, "%.5g", loss);
  return text;
}

// -- training -----------------------------------------------------------------------------------------------------------------

std::string resume_command(const fs::path& folder) {
  return "enn train --resume " + shell_word(folder.string());
}

caf::expected<actors::run_outcome> train_to_the_end(session& s, const prepared& ready, actors::duty what, std::uint32_t workers) {
  fs::path folder = ready.run->settings.run.folder;
  actors::run_request request;
  request.what = what;
  request.run = ready.run;
  request.data = ready.data;
  request.folder = folder;
  request.workers = workers;
  request.on_start = [](std::int64_t step, const fs::path& checkpoint) {
    auto from = checkpoint.empty() ? "; there is no checkpoint yet" : ", checkpoints/" + checkpoint.filename().string();
    say("resume", "from step " + counted(static_cast<std::uint64_t>(step)) + from);
    std::fflush(stdout);
  };
  s.signals().on_signal("stopping after the current step, which is then saved; a second signal ends at once",
                        "ended at once; go on with: " + resume_command(folder));
  progress_line line{ready.run};
  auto outcome = actors::train(s.system(), std::move(request), [&](const auto& p) { line.show(p); }, s.stop());
  line.end();
  if (outcome && outcome->interrupted)
    return fail(ec::interrupted, "stopped" + (outcome->version ? " after step " + std::to_string(outcome->version->state.step) : "")
                                   + " of " + std::to_string(ready.run->total_steps) + "; go on with: " + resume_command(folder));
  return outcome;
}

/// predictions/, forecast.svg and table.md of the best version; the table also on standard output.
caf::expected<void> report(session& s, const prepared& ready, std::uint32_t workers) {
  fs::path folder = ready.run->settings.run.folder;
  auto best = load_version(folder, "best");
  if (!best)
    return best.error();
  const auto& data = *ready.data;
  const auto& state = best->restored.version->state;
  say("best", best->file.filename().string()
                + (state.best_step == state.step ? ", validation loss " + loss_text(state.best_loss) : ""));
  if (data.rows(model::part::test) == 0)
    return {}; // train-fraction = 1: there is nothing to report on
  auto out = open_predictions(folder / "predictions" / "predictions.h5", best->restored.run, data,
                              actors::rows_of_part(data, model::part::test), best->file);
  if (!out)
    return out.error();
  auto result = evaluate(s, {best->restored.run, best->restored.version, ready.data, workers, model::error_unit::raw, &*out});
  if (!result)
    return code_of(result.error()) != ec::interrupted
             ? result.error()
             : fail(ec::interrupted, "training is done; for its table: " + resume_command(folder));
  if (auto done = out->finish(); !done)
    return done;
  if (auto done = serialization::write_file(folder / "forecast.svg", serialization::line_chart(result->forecast)); !done)
    return done;
  auto table = table_text(*result);
  if (auto done = serialization::write_file(folder / "table.md", table); !done)
    return done;
  std::printf("\n%s\n", table.c_str());
  say("written", (folder / "").string() + ": table.md, forecast.svg, predictions/predictions.h5, checkpoints/"
                   + best->file.filename().string());
  return {};
}

caf::expected<void> train(const train_options& o) {
  ignore_closed_output();
  bool resumes = !o.resume.empty();
  if (auto good = resumes ? check_resumable(o) : caf::expected<void>{caf::unit}; !good)
    return good;
  if (!resumes && o.config.empty())
    return fail(ec::bad_usage, "train needs a configuration file, or --resume and the folder of a run");
  auto settings = load_settings(resumes ? o.resume : o.config, o.given);
  if (!settings)
    return settings.error();
  fs::path folder = settings->run.folder;
  if (auto free = resumes ? caf::expected<void>{caf::unit} : check_free(folder, o.overwrite); !free)
    return free; // before anything that takes long
  auto ready = prepare(*settings);
  if (!ready)
    return ready.error();
  auto owned = resumes ? claim::old_run(folder) : claim::new_run(folder, *ready, o.overwrite);
  if (!owned)
    return owned.error();
  for (const auto& place : {folder, folder / "checkpoints", folder / "predictions"}) // what a run that was killed left behind
    if (auto swept = serialization::sweep_drafts(place); !swept)
      return swept.error();
  auto workers = workers_of(*settings);
  say_what_was_found(*ready, workers);
  std::fflush(stdout);
  session s;
  auto outcome = train_to_the_end(s, *ready, resumes ? actors::duty::resume : actors::duty::train, workers);
  if (!outcome)
    return outcome.error();
  return report(s, *ready, workers);
}

} // namespace

action declare_train(CLI::App& app) {
  auto o = std::make_shared<train_options>();
  app.add_option("CONFIG", o->config, "Configuration file (TOML); every value in it can be given below instead.");
  app.add_option("--resume", o->resume, "Go on with the run in this folder, from its last checkpoint.")->type_name("RUN");
  app.add_flag("--overwrite", o->overwrite, "If the run's folder holds a run, move that aside first.");
  add_config_options(app, o->given);
  app.footer("Ctrl-C finishes the step, writes a checkpoint and says how to go on; a second one ends at once.");
  return [o] { return train(*o); };
}

} // namespace enn::apps
