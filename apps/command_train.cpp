#include "command.hpp"
#include "evaluation.hpp"
#include "meeting_point.hpp"
#include "node_processes.hpp"
#include "notify.hpp"
#include "options.hpp"
#include "progress_line.hpp"
#include "restarter.hpp"
#include "run_folder.hpp"

#include <enn/serialization/config_file.hpp>
#include <enn/serialization/file.hpp>

#include <CLI/CLI.hpp> // slow to compile

#include <cstdio>
#include <optional>
#include <unistd.h>

namespace enn::apps {
namespace {

namespace fs = std::filesystem;

struct train_options {
  std::string config, resume;
  bool overwrite = false, restart = false;
  model::name_values given;
  // others who compute
  std::int64_t processes = 0;
  std::string nodes, cluster;
  bool coordinator_only = false;
  bool alone() const { return processes == 0 && nodes.empty(); }
  std::string where() const { return nodes.empty() ? "127.0.0.1:0" : nodes; }
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

/// What the command line asks for by itself.
caf::expected<void> check_usage(const train_options& o) {
  if (!o.cluster.empty() && o.alone())
    return fail(ec::bad_usage, "--cluster is for a port where nodes join: give --nodes ADDRESS:PORT too");
  if (o.coordinator_only && o.nodes.empty())
    return fail(ec::bad_usage, "--coordinator-only leaves the work to others, who join where --nodes says: give that too");
  if (!o.alone())
    if (auto good = check_meeting_point(o.where(), o.cluster); !good)
      return good;
  if (!o.resume.empty())
    return check_resumable(o);
  if (o.config.empty())
    return fail(ec::bad_usage, "train needs a configuration file, or --resume and the folder of a run");
  if (o.restart && o.overwrite)
    return fail(ec::bad_usage, "--restart goes on with the run that is there, so it cannot be given with --overwrite");
  return {};
}

/// Whether the folder holds a run of this configuration, begun by an earlier start of the same command. Error if it is of
/// another one.
caf::expected<bool> was_begun(const fs::path& folder, const model::config& settings) {
  if (std::error_code ignored; !fs::exists(folder / "run.toml", ignored))
    return false;
  auto recorded = serialization::load_config(folder / "run.toml");
  if (!recorded)
    return recorded.error();
  if (auto same = actors::check_same_settings(settings, *recorded); !same)
    return fail(ec::bad_usage, folder.string() + " holds a run of another configuration: " + text_of(same.error())
                                 + "; choose another --run.folder");
  return true;
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

/// Others who compute for this run: the port where they join, and the node processes that belong to it.
class workforce {
public:
  static caf::expected<std::unique_ptr<workforce>> make(const train_options& o, const prepared& ready, std::uint32_t workers) {
    auto result = std::make_unique<workforce>();
    if (o.alone())
      return result;
    fs::path folder = ready.run->settings.run.folder;
    auto meeting = open_meeting_point(o.where(), o.cluster, folder);
    if (!meeting)
      return meeting.error();
    result->meeting_ = std::move(*meeting);
    result->listener_.emplace(result->meeting_->at, result->meeting_->own);
    result->folder_ = folder;
    result->data_ = ready.run->settings.data.path;
    result->processes_ = static_cast<std::uint32_t>(o.processes);
    result->workers_ = workers;
    return result;
  }

  bool connected() const { return meeting_.has_value(); }

  void join(session& s, actors::run_request& request) {
    if (!meeting_)
      return;
    request.cluster = meeting_->own.cluster;
    request.publish = [this, &s](const actors::gate_actor& gate) { return publish(s, gate); };
    request.on_node = [](const std::string& event, const std::string& node) {
      if (event != "late")
        say("node", node + " " + event);
      std::fflush(stdout);
    };
  }

  /// Before the actor system ends.
  void close() {
    own_processes_.reset();
    listener_.reset();
  }

  const std::string& failure() const { return failure_; }

private:
  caf::expected<void> publish(session& s, const actors::gate_actor& gate) {
    auto at = listener_->publish(gate);
    if (!at && meeting_->any_port && !published_) {
      listener_.emplace(actors::address{meeting_->at.host, 0}, meeting_->own);
      at = listener_->publish(gate);
    }
    if (!at)
      return at.error();
    if (auto done = announce(folder_, *at, meeting_->own); !done)
      return done;
    if (std::exchange(published_, true))
      return {};
    say("nodes", to_string(*at) + "; on this machine: enn node start --join " + shell_word(folder_.string())
                   + cluster_option(folder_, meeting_->own));
    std::fflush(stdout);
    if (processes_ == 0)
      return {};
    auto give_up = [this, &s](const std::string& why) {
      failure_ = why;
      s.signals().ask_to_stop();
    };
    own_processes_.emplace(processes_,
                           std::vector<std::string>{"node", "start", "--join", to_string(*at), "--cluster",
                                                    fs::path{meeting_->own.key}.parent_path().string(), "--workers",
                                                    std::to_string(workers_), "--data", data_, "--name", "process-{}", "--once",
                                                    "--parent", std::to_string(::getpid())},
                           give_up);
    return {};
  }

  std::optional<meeting_point> meeting_;
  std::optional<actors::listener> listener_;
  fs::path folder_;
  std::string data_, failure_;
  std::uint32_t processes_ = 0, workers_ = 1;
  bool published_ = false;
  std::optional<node_processes> own_processes_;
};

caf::expected<actors::run_outcome> train_to_the_end(session& s, workforce& others, const prepared& ready, actors::duty what,
                                                    std::uint32_t workers, service_status& service) {
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
  request.on_waiting = [&service] { service.advanced("waiting for nodes"); };
  others.join(s, request);
  s.signals().on_signal("stopping after the current step, which is then saved; a second signal ends at once",
                        "ended at once; go on with: " + resume_command(folder));
  progress_line line{ready.run};
  auto show = [&](const auto& p) {
    line.show(p);
    service.advanced(line.brief(p));
  };
  auto outcome = actors::train(s.system(), std::move(request), show, s.stop());
  line.end();
  if (outcome && !others.failure().empty())
    return fail(ec::gave_up, others.failure() + "; go on with: " + resume_command(folder));
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
  if (auto good = check_usage(o); !good)
    return good;
  bool resumes = !o.resume.empty();
  auto settings = load_settings(resumes ? o.resume : o.config, o.given);
  if (!settings)
    return settings.error();
  fs::path folder = settings->run.folder;
  if (o.restart) {
    recorded_progress progress{folder};
    restart_on_failure([&] { return progress.advanced(); }, resume_command(folder), {},
                       [](const std::string& why) { notify("STATUS=" + why); });
  }
  if (o.restart && !resumes) { // the first time it begins
    auto begun = was_begun(folder, *settings);
    if (!begun)
      return begun.error();
    resumes = *begun;
  }
  if (auto free = resumes ? caf::expected<void>{caf::unit} : check_free(folder, o.overwrite); !free)
    return free; // before anything that takes long
  auto ready = prepare(*settings);
  if (!ready)
    return ready.error();
  // What was killed together with the process before this one may take a moment to be gone.
  auto patience = o.restart ? std::chrono::seconds{5} : std::chrono::seconds{0};
  auto owned = resumes ? claim::old_run(folder, patience) : claim::new_run(folder, *ready, o.overwrite);
  if (!owned)
    return owned.error();
  for (const auto& place : {folder, folder / "checkpoints", folder / "predictions"}) // what a run that was killed left behind
    if (auto swept = serialization::sweep_drafts(place); !swept)
      return swept.error();
  auto workers = workers_of(*settings);
  bool divide = o.processes > 0 && settings->run.workers == 0; // the cores
  auto each = divide ? std::max<std::uint32_t>(1, workers / static_cast<std::uint32_t>(o.processes)) : workers;
  auto others = workforce::make(o, *ready, each);
  if (!others)
    return others.error();
  say_what_was_found(*ready, o.coordinator_only ? 0 : workers);
  std::fflush(stdout);
  session s{(*others)->connected()};
  auto own_workers = o.coordinator_only || o.processes > 0 ? 0 : workers;
  service_status service;
  auto outcome = train_to_the_end(s, **others, *ready, resumes ? actors::duty::resume : actors::duty::train, own_workers, service);
  (*others)->close();
  if (outcome)
    service.at_work("trained, writing predictions and table");
  auto done = outcome ? report(s, *ready, workers) : caf::expected<void>{outcome.error()};
  if (done || code_of(done.error()) == ec::interrupted)
    notify("STOPPING=1"); // not after a failure, which a restart may mend
  return done;
}

} // namespace

action declare_train(CLI::App& app) {
  auto o = std::make_shared<train_options>();
  app.add_option("CONFIG", o->config, "Configuration file (TOML); every value in it can be given below instead.");
  app.add_option("--resume", o->resume, "Go on with the run in this folder, from its last checkpoint.")->type_name("RUN");
  app.add_flag("--overwrite", o->overwrite, "If the run's folder holds a run, move that aside first.");
  app.add_option("--processes", o->processes, "Compute in so many node processes of this machine, which are started again when they die; "
                 "run.workers are then those of each.")->check(CLI::Range(0, 256))->type_name("N");
  app.add_option("--nodes", o->nodes, "Open a port where nodes join (enn node start): ADDRESS:PORT or PORT; port 0 is any free one, "
                 "which the run keeps. Addresses that other machines can reach need --cluster.")->type_name("ADDRESS:PORT");
  app.add_option("--cluster", o->cluster, "This machine's folder of enn cluster init.")->type_name("FOLDER");
  app.add_flag("--coordinator-only", o->coordinator_only, "Compute nothing in this process; with --nodes.");
  app.add_flag("--restart", o->restart, "Begin the run, or go on with it if its folder holds it; and start training again, from the last good\n"
                                        "checkpoint, when its process dies.");
  add_config_options(app, o->given);
  app.footer("Ctrl-C finishes the step, writes a checkpoint and says how to go on; a second one ends at once.");
  return [o] { return train(*o); };
}

} // namespace enn::apps
