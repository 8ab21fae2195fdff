#include <enn/actors/driver.hpp>

#include <enn/actors/broker.hpp>
#include <enn/actors/checkpointer.hpp>
#include <enn/actors/journal.hpp>
#include <enn/actors/node.hpp>
#include <enn/actors/recorder.hpp>
#include <enn/actors/sampler.hpp>
#include <enn/actors/spawn.hpp>
#include <enn/actors/starting_point.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <set>
#include <unordered_set>

namespace enn::actors {
namespace {

enum class phase : std::uint8_t { preparing, working, finishing, stopping };

/// Children in order: each may use those before it, so a restart takes along those after it.
enum rank : std::size_t { recorder_rank, checkpointer_rank, sampler_rank, broker_rank, node_rank, ranks };
constexpr std::array<const char*, ranks> rank_names{"recorder", "checkpointer", "sampler", "broker", "node"};

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
  run_request request;
  observer_actor observer;
  starting_point start;
  version_ptr version;
  journal events;
  phase at = phase::preparing;
  bool stop_asked = false;
  bool stepping = false; // the broker makes a step

  recorder_actor recorder;
  checkpointer_actor checkpointer;
  sampler_actor sampler;
  broker_actor broker;
  node_actor node;
  std::array<caf::actor_addr, ranks> children;
  std::array<std::uint32_t, ranks> faults{}; // since the last progress
  std::size_t down_from = ranks;             // the lowest rank that waits for its restart
  std::set<caf::actor_addr> leaving;         // ended by us, not yet gone

  std::deque<std::pair<std::int64_t, msg<wire::Progress>>> unrecorded; // steps that the recorder has not confirmed
  std::deque<std::pair<version_ptr, bool>> saves; // the first one is being written
  bool saving = false;
  std::int64_t saved_step = -1;
  std::unordered_set<std::uint64_t> undelivered; // rows of predictions
  run_outcome outcome;

  bool trains() const { return request.what <= duty::verify; }
  bool writes() const { return request.what <= duty::resume; }
  // beginning
  void prepare();
  void launch();
  void restart_from(std::size_t rank);
  void spawn_from(std::size_t first);
  void spawn_child(std::size_t rank);
  void go_on();
  // work
  void on_version(const version_ptr& v, const msg<wire::Progress>& m);
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
  void on_fault(std::size_t rank, const caf::error& reason);
  void on_request_error(const caf::error& e);
  void dismiss(std::size_t rank);
  void note(std::string_view event, std::initializer_list<std::pair<std::string_view, std::string>> details = {});
  void stop();
  void end(caf::error why);
  void report_if_alone();
  void report();
};

// -- beginning ------------------------------------------------------------------------------------------------------------

/// Reads what the folder holds, then begins; whatever is wrong with it ends the run before anything is spawned.
void driver_state::prepare() {
  auto found = find_start(request);
  if (!found)
    return end(found.error());
  start = std::move(*found);
  if (auto able = check_kernels(*start.run, start.blas); !able)
    return end(able.error());
  version = start.version;
  outcome.torn_line = start.torn_line;
  if (request.what == duty::resume && version->state.step > 0)
    saved_step = version->state.step;
  undelivered.insert(request.rows.begin(), request.rows.end());
  if (writes())
    if (auto opened = events.open(request.folder); !opened)
      return end(opened.error());
  if (request.what == duty::resume && request.on_start)
    request.on_start(version->state.step, start.checkpoint);
  launch();
}

void driver_state::launch() {
  if (auto blas = blas_of(*start.run); blas.empty())
    note(name_of(request.what), {{"workers", std::to_string(request.workers)}, {"kernels", start.run->kernels}});
  else
    note(name_of(request.what), {{"workers", std::to_string(request.workers)}, {"kernels", start.run->kernels}, {"blas", blas}});
  if (trains())
    if (auto same = check_recorded_weights(); !same) // of step 0
      return end(same.error());
  if (trains())
    spdlog::info("The driver begins to {} at step {} of {} with {} workers", name_of(request.what), version->state.step,
                 start.last_step, request.workers);
  if (at == phase::stopping)
    return; // the journal cannot be written
  at = phase::working;
  spawn_from(0);
}

/// Unless one before it went down meanwhile: that one's restart takes this one along.
void driver_state::restart_from(std::size_t rank) {
  if (at == phase::stopping || rank != down_from)
    return;
  down_from = ranks;
  spawn_from(rank);
}

void driver_state::spawn_from(std::size_t first) {
  for (auto rank = first; rank < ranks; ++rank)
    spawn_child(rank);
  if (first <= broker_rank)
    stepping = false;
  saving = saving && first > checkpointer_rank;
  go_on();
}

void driver_state::spawn_child(std::size_t rank) {
  auto& system = self->system();
  const auto& rules = request.rules;
  auto adopt = [&](auto& handle, auto fresh) {
    handle = std::move(fresh);
    children[rank] = handle.address();
    self->monitor(handle);
  };
  switch (rank) {
    case recorder_rank:
      if (!trains())
        return;
      adopt(recorder, spawn_recorder(system, self->address(), request.folder, request.what == duty::verify, rules));
      self->send(recorder, subscribe_atom_v, subscriber_actor{observer});
      self->send(recorder, subscribe_atom_v, subscriber_actor{driver_actor{self}});
      for (const auto& [step, m] : unrecorded) // told to one that died before it wrote them
        self->send(recorder, record_atom_v, m);
      return;
    case checkpointer_rank:
      if (writes())
        adopt(checkpointer, spawn_checkpointer(system, self->address(), start.run, request.folder / "checkpoints", rules));
      return;
    case sampler_rank: return adopt(sampler, spawn_sampler(system, self->address(), start.run, request.data, rules));
    case broker_rank:
      return adopt(broker, spawn_broker(system, self, "local", start.run, request.data, sampler, version, rules));
    case node_rank:
      return adopt(node, spawn_node(system, broker, "local", start.run, request.data, request.workers, rules));
  }
}

/// Asks for whatever is still to be done; called after the beginning and after every restart.
void driver_state::go_on() {
  if (at == phase::stopping)
    return;
  pump_saves();
  if (at == phase::finishing)
    return finish();
  switch (request.what) {
    case duty::train:
    case duty::resume:
    case duty::verify: return next_step();
    case duty::evaluate: {
      if (!std::exchange(stepping, true))
        self->send(broker, evaluate_atom_v, static_cast<std::uint8_t>(request.part));
      return;
    }
    case duty::predict: {
      if (undelivered.empty())
        return end(caf::none);
      if (std::exchange(stepping, true))
        return;
      serialization::row_list rest;
      for (auto row : request.rows)
        if (undelivered.contains(row))
          rest.rows.push_back(row);
      self->send(broker, predict_atom_v, serialization::write(rest));
    }
  }
}

// -- steps ----------------------------------------------------------------------------------------------------------------

void driver_state::on_version(const version_ptr& v, const msg<wire::Progress>& m) {
  if (at != phase::working || self->current_sender() != broker)
    return;
  auto p = serialization::read(m);
  if (!p)
    return end(p.error());
  stepping = false;
  faults = {};
  auto pinned_until = std::exchange(version, v)->state.pinned_until;
  ++outcome.steps_run;
  unrecorded.emplace_back(p->step, m);
  self->send(recorder, record_atom_v, m);
  if (p->reissues > 0)
    note("reissue", {{"leases", std::to_string(p->reissues)}});
  if (!p->applied)
    note("skip", {{"nonfinite", p->first_nonfinite}});
  if (v->state.pinned_until != pinned_until)
    note("pin", {{"until", std::to_string(v->state.pinned_until)}});
  if (auto same = check_recorded_weights(); !same)
    return end(same.error());
  if (writes() && (p->best || v->state.step % request.run->settings.run.checkpoint_every == 0))
    save(v, p->best);
  next_step();
}

void driver_state::on_recorded(const msg<wire::Progress>& m) {
  auto p = serialization::read(m);
  while (p && !unrecorded.empty() && unrecorded.front().first <= p->step)
    unrecorded.pop_front();
}

void driver_state::next_step() {
  if (at != phase::working || stepping)
    return;
  if (version->state.finished || version->state.step >= start.last_step || stop_asked)
    return finish();
  if (saves.size() > 2)
    return; // the disk is slower than training: it sets the pace
  stepping = true;
  self->send(broker, advance_atom_v);
}

caf::expected<void> driver_state::check_recorded_weights() {
  auto recorded = start.recorded_hashes.find(version->state.step);
  if (recorded == start.recorded_hashes.end())
    return caf::unit;
  if (auto hash = hash_of_weights(*version); hash != recorded->second)
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
  self->request(recorder, request.rules.disk_timeout, flush_atom_v)
    .then(
      [=, this](std::uint64_t) {
        if (saves.empty())
          return;
        auto [v, best] = saves.front();
        self->request(checkpointer, request.rules.disk_timeout, save_atom_v, v, best)
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
  faults[checkpointer_rank] = 0;
  note("checkpoint", {{"of", std::to_string(step)}, {"best", best ? "true" : "false"}});
  go_on();
}

/// After the last step: the checkpoint of that step, then the recorder's lines, then the end.
void driver_state::finish() {
  at = phase::finishing;
  auto step = version->state.step;
  if (writes() && saved_step != step && (saves.empty() || saves.back().first->state.step != step))
    save(version, false);
  if (!saves.empty())
    return;
  outcome.interrupted = stop_asked && !version->state.finished && step < start.last_step;
  if (request.what == duty::verify && version->state.finished && step < start.last_step)
    return end(fail(ec::not_reproducible, "the run is over at step " + std::to_string(step) + ", but losses.jsonl goes on to step "
                                            + std::to_string(start.last_step)));
  self->request(recorder, request.rules.disk_timeout, flush_atom_v)
    .then([this](std::uint64_t) { end(caf::none); }, [this](caf::error& e) { on_request_error(e); });
}

// -- predictions ------------------------------------------------------------------------------------------------------------

void driver_state::on_predictions(const msg<wire::Block>& m) {
  if (at != phase::working || self->current_sender() != broker)
    return;
  auto b = serialization::read(m, serialization::bounds_of(*start.run, *request.data));
  if (!b)
    return end(b.error());
  faults = {};
  for (auto row : b->rows)
    undelivered.erase(row);
  self->send(observer, predict_atom_v, m);
  if (undelivered.empty())
    end(caf::none);
}

void driver_state::on_loss(double loss) {
  outcome.loss = loss;
  end(caf::none);
}

// -- failures ---------------------------------------------------------------------------------------------------------------

void driver_state::on_down(const caf::down_msg& down) {
  if (leaving.erase(down.source) > 0)
    return report_if_alone();
  if (down.source == observer.address())
    return stop();
  auto it = std::find(children.begin(), children.end(), down.source);
  if (it == children.end())
    return;
  *it = nullptr;
  if (at == phase::stopping)
    return report_if_alone();
  on_fault(static_cast<std::size_t>(it - children.begin()), down.reason);
}

/// A child that says why it cannot go on is believed; one that just died is started again, with those that depend on it.
void driver_state::on_fault(std::size_t rank, const caf::error& reason) {
  auto code = code_of(reason);
  if (code != ec::none && !(rank == node_rank && code == ec::gave_up))
    return end(reason);
  if (++faults[rank] > request.rules.child_faults)
    return end(fail(ec::gave_up, std::string{rank_names[rank]} + " failed " + std::to_string(faults[rank]) + " times without progress: "
                                   + reason_text(reason)));
  spdlog::warn("The driver starts the {} again: {}", rank_names[rank], reason_text(reason));
  note("restart", {{"child", std::string{rank_names[rank]}}, {"cause", reason_text(reason)}});
  ++outcome.restarts;
  for (std::size_t i = ranks; i-- > rank + 1;)
    dismiss(i);
  down_from = std::min(down_from, rank);
  self->delayed_send(self, backoff(request.rules, 2000 + rank, faults[rank]), restart_atom_v, static_cast<std::uint64_t>(rank));
}

/// A child that died is being started again, which repeats the request; only a disk that does not answer is the end.
void driver_state::on_request_error(const caf::error& e) {
  if (e == caf::sec::request_receiver_down || e == caf::sec::runtime_error || at == phase::stopping)
    return;
  end(code_of(e) != ec::none ? e : fail(ec::io_failed, "the disk did not answer: " + caf::to_string(e)));
}

void driver_state::dismiss(std::size_t rank) {
  if (auto who = std::exchange(children[rank], nullptr)) {
    leaving.insert(who);
    if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(who))
      self->send_exit(strong, caf::exit_reason::user_shutdown);
  }
}

void driver_state::note(std::string_view event, std::initializer_list<std::pair<std::string_view, std::string>> details) {
  if (auto written = events.write(event, version ? version->state.step : 0, details); !written)
    end(written.error());
}

// -- the end ----------------------------------------------------------------------------------------------------------------

void driver_state::stop() {
  stop_asked = true;
  if (trains() && version)
    return next_step();
  outcome.interrupted = true;
  end(caf::none);
}

void driver_state::end(caf::error why) {
  if (at == phase::stopping)
    return;
  at = phase::stopping;
  outcome.error = std::move(why);
  for (std::size_t rank = ranks; rank-- > 0;)
    dismiss(rank);
  self->delayed_send(self, request.rules.stop_grace, caf::tick_atom_v);
  report_if_alone();
}

void driver_state::report_if_alone() {
  if (at == phase::stopping && leaving.empty())
    report();
}

void driver_state::report() {
  outcome.version = version;
  if (version)
    outcome.weights_hash = hash_of_weights(*version);
  auto end_text = outcome.error ? text_of(outcome.error) : outcome.interrupted ? "interrupted" : "done";
  note("end", {{"reason", end_text}});
  if (trains())
    spdlog::info("The driver ends at step {}: {}", version ? version->state.step : 0, end_text);
  self->send(observer, outcome_atom_v, std::make_shared<const run_outcome>(std::move(outcome)));
  self->quit();
}

driver_actor::behavior_type driver(self_ptr self, run_request request, observer_actor observer) {
  use_log(self);
  auto& st = self->state;
  st.self = self;
  st.request = std::move(request);
  st.observer = std::move(observer);
  self->monitor(st.observer);
  self->set_down_handler([=](caf::down_msg& down) { self->state.on_down(down); });
  self->send(self, restart_atom_v, std::uint64_t{ranks}); // prepares once the behaviour stands
  return {
    [=](advance_atom, const version_ptr& v, const msg<wire::Progress>& m) { self->state.on_version(v, m); },
    [=](progress_atom, const msg<wire::Progress>& m) { self->state.on_recorded(m); },
    [=](evaluate_atom, double loss) { self->state.on_loss(loss); },
    [=](predict_atom, const msg<wire::Block>& m) { self->state.on_predictions(m); },
    [=](predict_atom) {
      if (self->state.at == phase::working)
        self->send(self->state.broker, predict_atom_v);
    },
    [=](stop_atom) { self->state.stop(); },
    [=](restart_atom, std::uint64_t rank) {
      if (self->state.at == phase::preparing)
        self->state.prepare();
      else
        self->state.restart_from(rank);
    },
    [=](caf::tick_atom) {
      spdlog::warn("The driver ends, but {} of its children have not", self->state.leaving.size());
      self->state.report();
    }};
}

} // namespace

driver_actor spawn_driver(caf::actor_system& system, run_request request, observer_actor observer) {
  auto rules = request.rules;
  return spawn_computing(system, rules, driver, std::move(request), std::move(observer));
}

} // namespace enn::actors
