#include <enn/actors/driver.hpp>

#include <enn/actors/driver_children.hpp>
#include <enn/actors/journal.hpp>
#include <enn/actors/spawn.hpp>

#include <deque>
#include <unordered_set>

namespace enn::actors {
namespace {

enum class phase : std::uint8_t { preparing, working, finishing, stopping };

std::string_view name_of(duty what) {
  switch (what) {
    case duty::train: return "train";
    case duty::resume: return "resume";
    case duty::verify: return "verify";
    case duty::predict: return "predict";
    case duty::evaluate: return "evaluate";
  }
  return "";
}

struct driver_state;
using self_ptr = driver_actor::stateful_pointer<driver_state>;

struct driver_state {
  static inline const char* name = "driver";
  self_ptr self = nullptr;
  driver_means means; // what the run is; `means.version` is the newest
  driver_children at_work;
  std::optional<children> supervised;
  journal events;
  phase at = phase::preparing;
  bool stop_asked = false;
  bool stepping = false; // the broker makes a step

  std::deque<std::pair<std::int64_t, msg<wire::Progress>>> unrecorded; // steps that the recorder has not confirmed
  std::deque<std::pair<version_ptr, bool>> saves; // the first one is being written
  bool saving = false;
  std::int64_t saved_step = -1;
  std::unordered_set<std::uint64_t> undelivered; // rows of predictions
  run_outcome outcome;

  // beginning
  void prepare();
  void launch();
  void on_started(std::size_t child);
  void go_on();
  // work
  void on_version(const version_ptr& v, const msg<wire::Progress>& m);
  void on_progress();
  void on_recorded(const msg<wire::Progress>& m);
  void next_step();
  void save(const version_ptr& v, bool best);
  void pump_saves();
  void on_saved(std::int64_t step);
  void on_predictions(const msg<wire::Block>& m);
  void on_loss(double loss);
  void finish();
  caf::expected<void> check_recorded_weights();
  // failures and the end
  void on_down(const caf::down_msg& down);
  void on_child_down(std::size_t child, const caf::error& reason, const decision& next);
  void on_request_error(const caf::error& e);
  void note(std::string_view event, std::initializer_list<std::pair<std::string_view, std::string>> details = {});
  void stop();
  void end(caf::error why);
  void report();
};

// -- beginning ------------------------------------------------------------------------------------------------------------

/// Reads what the folder holds, then begins; whatever is wrong with it ends the run before anything is spawned.
void driver_state::prepare() {
  auto found = find_start(means.request);
  if (!found)
    return end(found.error());
  means.start = std::move(*found);
  if (auto able = check_kernels(*means.start.run, means.start.blas); !able)
    return end(able.error());
  means.version = means.start.version;
  means.helpers = std::make_shared<crew>(means.request.rules.shared_chunks);
  outcome.torn_line = means.start.torn_line;
  if (means.request.what == duty::resume && means.version->state.step > 0)
    saved_step = means.version->state.step;
  undelivered.insert(means.request.rows.begin(), means.request.rows.end());
  if (means.writes())
    if (auto opened = events.open(means.request.folder); !opened)
      return end(opened.error());
  if (means.request.what == duty::resume && means.request.on_start)
    means.request.on_start(means.version->state.step, means.start.checkpoint);
  launch();
}

void driver_state::launch() {
  auto what = name_of(means.request.what);
  auto workers = std::to_string(means.request.workers);
  const auto& kernels = means.start.run->kernels;
  if (auto blas = blas_of(*means.start.run); blas.empty())
    note(what, {{"workers", workers}, {"kernels", kernels}});
  else
    note(what, {{"workers", workers}, {"kernels", kernels}, {"blas", blas}});
  if (means.trains())
    if (auto same = check_recorded_weights(); !same) // of step 0
      return end(same.error());
  if (means.trains())
    spdlog::info("The driver begins to {} at step {} of {} with {} workers", what, means.version->state.step,
                 means.start.last_step, means.request.workers);
  if (at == phase::stopping)
    return; // the journal cannot be written
  at = phase::working;
  supervised->start();
}

/// What a child is told anew, and what it no longer does.
void driver_state::on_started(std::size_t child) {
  if (child == recorder_rank)
    for (const auto& [step, m] : unrecorded) // told to one that died before it wrote them
      self->send(at_work.recorder, record_atom_v, m);
  if (child == checkpointer_rank)
    saving = false;
  if (child == broker_rank) {
    stepping = false;
    if (at_work.gate)
      self->send(at_work.gate, serve_atom_v, at_work.broker, at_work.sampler);
  }
  if (child == gate_rank)
    if (auto reachable = means.request.publish(at_work.gate); !reachable)
      end(reachable.error());
}

/// Asks for whatever is still to be done; called after the beginning and after every restart.
void driver_state::go_on() {
  if (at == phase::stopping)
    return;
  pump_saves();
  if (at == phase::finishing)
    return finish();
  switch (means.request.what) {
    case duty::train:
    case duty::resume:
    case duty::verify: return next_step();
    case duty::evaluate: {
      if (!std::exchange(stepping, true))
        self->send(at_work.broker, evaluate_atom_v, static_cast<std::uint8_t>(means.request.part));
      return;
    }
    case duty::predict: {
      if (undelivered.empty())
        return end(caf::none);
      if (std::exchange(stepping, true))
        return;
      serialization::row_list rest;
      for (auto row : means.request.rows)
        if (undelivered.contains(row))
          rest.rows.push_back(row);
      self->send(at_work.broker, predict_atom_v, serialization::write(rest));
    }
  }
}

// -- steps ----------------------------------------------------------------------------------------------------------------

void driver_state::on_version(const version_ptr& v, const msg<wire::Progress>& m) {
  if (at != phase::working || self->current_sender() != at_work.broker)
    return;
  auto p = serialization::read(m);
  if (!p)
    return end(p.error());
  stepping = false;
  on_progress();
  auto pinned_until = std::exchange(means.version, v)->state.pinned_until;
  ++outcome.steps_run;
  unrecorded.emplace_back(p->step, m);
  self->send(at_work.recorder, record_atom_v, m);
  if (p->reissues > 0)
    note("reissue", {{"leases", std::to_string(p->reissues)}});
  if (!p->applied)
    note("skip", {{"nonfinite", p->first_nonfinite}});
  if (v->state.pinned_until != pinned_until)
    note("pin", {{"until", std::to_string(v->state.pinned_until)}});
  if (auto same = check_recorded_weights(); !same)
    return end(same.error());
  if (means.writes() && (p->best || v->state.step % means.request.run->settings.run.checkpoint_every == 0))
    save(v, p->best);
  next_step();
}

/// Those that make a step or a prediction, or stand by, did their duty; the recorder and the checkpointer are asked themselves.
void driver_state::on_progress() {
  for (auto child : {gate_rank, sampler_rank, broker_rank, node_rank})
    supervised->did_duty(child);
}

void driver_state::on_recorded(const msg<wire::Progress>& m) {
  auto p = serialization::read(m);
  while (p && !unrecorded.empty() && unrecorded.front().first <= p->step)
    unrecorded.pop_front();
  supervised->did_duty(recorder_rank);
}

void driver_state::next_step() {
  if (at != phase::working || stepping)
    return;
  if (means.version->state.finished || means.version->state.step >= means.start.last_step || stop_asked)
    return finish();
  if (saves.size() > 2)
    return; // the disk is slower than training: it sets the pace
  stepping = true;
  self->send(at_work.broker, advance_atom_v);
}

caf::expected<void> driver_state::check_recorded_weights() {
  auto recorded = means.start.recorded_hashes.find(means.version->state.step);
  if (recorded == means.start.recorded_hashes.end())
    return caf::unit;
  if (auto hash = hash_of_weights(*means.version); hash != recorded->second)
    return fail(ec::not_reproducible, "the weights of step " + std::to_string(recorded->first) + " have hash " + std::to_string(hash)
                                        + ", recorded " + std::to_string(recorded->second));
  outcome.compared.push_back(recorded->first);
  return caf::unit;
}

// -- checkpoints ----------------------------------------------------------------------------------------------------------

void driver_state::save(const version_ptr& v, bool best) {
  saves.emplace_back(v, best);
  pump_saves();
}

/// One at a time, and the lines of losses.jsonl first: a checkpoint must not be ahead of them.
void driver_state::pump_saves() {
  if (saves.empty() || saving || at == phase::stopping)
    return;
  saving = true;
  auto failed = [this](caf::error& e) { on_request_error(e); };
  self->request(at_work.recorder, means.request.rules.disk_timeout, flush_atom_v)
    .then(
      [=, this](std::uint64_t) {
        if (saves.empty())
          return;
        auto [v, best] = saves.front();
        self->request(at_work.checkpointer, means.request.rules.disk_timeout, save_atom_v, v, best)
          .then([this](std::int64_t step) { on_saved(step); }, failed);
      },
      failed);
}

void driver_state::on_saved(std::int64_t step) {
  if (saves.empty() || saves.front().first->state.step != step)
    return; // of a checkpointer that was restarted meanwhile
  auto best = saves.front().second;
  saves.pop_front();
  saving = false;
  saved_step = step;
  supervised->did_duty(checkpointer_rank);
  note("checkpoint", {{"of", std::to_string(step)}, {"best", best ? "true" : "false"}});
  go_on();
}

/// After the last step: the checkpoint of that step, then the recorder's lines, then the end.
void driver_state::finish() {
  at = phase::finishing;
  auto step = means.version->state.step;
  if (means.writes() && saved_step != step && (saves.empty() || saves.back().first->state.step != step))
    save(means.version, false);
  if (!saves.empty())
    return;
  outcome.interrupted = stop_asked && !means.version->state.finished && step < means.start.last_step;
  if (means.request.what == duty::verify && means.version->state.finished && step < means.start.last_step)
    return end(fail(ec::not_reproducible, "the run is over at step " + std::to_string(step) + ", but losses.jsonl goes on to step "
                                            + std::to_string(means.start.last_step)));
  self->request(at_work.recorder, means.request.rules.disk_timeout, flush_atom_v)
    .then([this](std::uint64_t) { end(caf::none); }, [this](caf::error& e) { on_request_error(e); });
}

// -- predictions ------------------------------------------------------------------------------------------------------------

void driver_state::on_predictions(const msg<wire::Block>& m) {
  if (at != phase::working || self->current_sender() != at_work.broker)
    return;
  auto b = serialization::read(m, serialization::bounds_of(*means.start.run));
  if (!b)
    return end(b.error());
  on_progress();
  for (auto row : b->rows)
    undelivered.erase(row);
  self->send(means.observer, predict_atom_v, m);
  if (undelivered.empty())
    end(caf::none);
}

void driver_state::on_loss(double loss) {
  outcome.loss = loss;
  end(caf::none);
}

// -- failures ---------------------------------------------------------------------------------------------------------------

void driver_state::on_down(const caf::down_msg& down) {
  if (down.source == means.observer.address())
    stop();
  else
    supervised->on_down(down);
}

void driver_state::on_child_down(std::size_t child, const caf::error& reason, const decision& next) {
  if (next.give_up)
    return end(next.give_up);
  const auto& name_of_child = supervised->name_of(child);
  spdlog::warn("The driver starts the {} again: {}", name_of_child, reason_text(reason));
  note("restart", {{"child", name_of_child}, {"cause", reason_text(reason)}});
  ++outcome.restarts;
  if (at_work.gate && child != gate_rank && child <= broker_rank)
    self->send(at_work.gate, serve_atom_v, broker_actor{}, sampler_actor{});
}

/// A child that died is being started again, which repeats the request; only a disk that does not answer is the end.
void driver_state::on_request_error(const caf::error& e) {
  if (e == caf::sec::request_receiver_down || e == caf::sec::runtime_error || at == phase::stopping)
    return;
  end(code_of(e) != ec::none ? e : fail(ec::io_failed, "the disk did not answer: " + caf::to_string(e)));
}

void driver_state::note(std::string_view event, std::initializer_list<std::pair<std::string_view, std::string>> details) {
  auto written = events.write(event, means.version ? means.version->state.step : 0, details);
  if (written)
    return;
  if (at != phase::stopping)
    return end(written.error());
  if (outcome.error) // which is worse
    spdlog::warn("The driver cannot note \"{}\": {}", event, text_of(written.error()));
  else
    outcome.error = written.error();
}

// -- the end ----------------------------------------------------------------------------------------------------------------

/// After the step in the making; but one that takes long, or that nobody is there to compute, is abandoned: nothing of it counts.
void driver_state::stop() {
  auto again = std::exchange(stop_asked, true);
  if (means.trains() && means.version) {
    if (again && at == phase::working)
      return finish();
    self->delayed_send(self, means.request.rules.stop_patience, stop_atom_v);
    return next_step();
  }
  outcome.interrupted = true;
  end(caf::none);
}

void driver_state::end(caf::error why) {
  if (at == phase::stopping)
    return;
  at = phase::stopping;
  outcome.error = std::move(why);
  supervised->stop();
}

void driver_state::report() {
  outcome.version = means.version;
  if (means.version)
    outcome.weights_hash = hash_of_weights(*means.version);
  auto end_text = outcome.error ? text_of(outcome.error) : outcome.interrupted ? "interrupted" : "done";
  note("end", {{"reason", end_text}});
  if (means.trains())
    spdlog::info("The driver ends at step {}: {}", means.version ? means.version->state.step : 0, end_text);
  self->send(means.observer, outcome_atom_v, std::make_shared<const run_outcome>(std::move(outcome)));
  self->quit();
}

driver_actor::behavior_type driver(self_ptr self, run_request request, observer_actor observer) {
  use_log(self);
  auto& st = self->state;
  st.self = self;
  st.means.request = std::move(request);
  st.means.observer = std::move(observer);
  children::events on{.down = [&st](std::size_t child, const caf::error& e, const decision& next) { st.on_child_down(child, e, next); },
                      .started = [&st](std::size_t child) { st.on_started(child); },
                      .ready = [&st] { st.go_on(); },
                      .ended = [&st] { st.report(); }};
  const auto& rules = st.means.request.rules;
  st.supervised.emplace(self, strategy::rest_for_one, table_of(self, st.at_work, st.means), rules, std::move(on));
  self->monitor(st.means.observer);
  self->set_down_handler([=](caf::down_msg& down) { self->state.on_down(down); });
  self->send(self, caf::tick_atom_v); // begins once the behaviour stands
  return {
    [=](advance_atom, const version_ptr& v, const msg<wire::Progress>& m) { self->state.on_version(v, m); },
    [=](progress_atom, const msg<wire::Progress>& m) { self->state.on_recorded(m); },
    [=](evaluate_atom, double loss) { self->state.on_loss(loss); },
    [=](predict_atom, const msg<wire::Block>& m) { self->state.on_predictions(m); },
    [=](predict_atom) {
      if (self->state.at == phase::working)
        self->send(self->state.at_work.broker, predict_atom_v);
    },
    [=](note_atom, const std::string& event, const std::string& node) {
      self->state.note(event, {{"node", node}});
      self->send(self->state.means.observer, note_atom_v, event, node);
    },
    [=](beat_atom) {
      if (self->state.at == phase::working)
        self->send(self->state.means.observer, beat_atom_v);
    },
    [=](stop_atom) { self->state.stop(); },
    [=](restart_atom, std::uint64_t timer) { self->state.supervised->on_timer(timer); },
    [=](caf::tick_atom) {
      if (self->state.at == phase::preparing)
        self->state.prepare();
    }};
}

} // namespace

driver_actor spawn_driver(caf::actor_system& system, run_request request, observer_actor observer) {
  auto rules = request.rules;
  rules.throwing = nullptr; // a driver that throws is mended by `enn train --resume`
  return spawn_computing(system, rules, driver, std::move(request), std::move(observer));
}

} // namespace enn::actors
