#include <enn/actors/supervisor.hpp>

#include <enn/actors/block_tree.hpp>
#include <enn/actors/children.hpp>
#include <enn/actors/spawn.hpp>
#include <enn/actors/worker.hpp>
#include <enn/model/training/verdict.hpp>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>

namespace enn::actors {
namespace {

using serialization::lease;

/// A lease that this supervisor has taken and not yet answered for.
struct job {
  std::uint64_t number = 0;                // of this attempt
  lease what;
  weights_ptr weights;
  rows_ptr source;
  std::vector<std::uint64_t> left_out = {}; // rows whose inputs are nonfinite: answered for, but not computed
  std::uint32_t failures = 0;
  std::size_t last_seat = ~std::size_t{0}; // where it was computed; another one is preferred if it failed there
};

struct seat {
  worker_actor worker;     // null: being restarted
  bool helps = false;      // until the crew is dismissed
  std::deque<job> jobs;    // the first is being computed, the others wait in the worker's mailbox
  std::uint32_t ticks = 0; // since the first job began
};

/// A worker has its next lease while its answer travels, so that it need not wait.
constexpr std::size_t jobs_per_seat = 2;

struct supervisor_state;
using self_ptr = supervisor_actor::stateful_pointer<supervisor_state>;

struct supervisor_state {
  static inline const char* name = "supervisor";
  self_ptr self = nullptr;
  node_actor node;
  run_ptr run;
  policy rules;
  serialization::bounds limits;
  std::vector<seat> seats;
  std::optional<children> workers; // by seat
  std::deque<job> queue;
  std::uint64_t next_job = 1;
  std::uint64_t task = 0; // the newest one; results and leases of older ones are stale
  crew_ptr helpers;
  std::optional<block_tree> sums;
  bool ending = false;
  caf::error reason;

  ~supervisor_state() { // whatever it dies of: its workers must hear
    if (helpers)
      helpers->dismiss();
  }

  void take(const msg<wire::Lease>& m, const weights_ptr& weights, const rows_ptr& source);
  void begin_task(std::uint64_t number);
  void give_room(std::size_t leases);
  void assign();
  void assign_to(std::size_t index);
  void finish(std::uint64_t number, block b);
  void carry_out(model::verdict v, job j, block b);
  void settle(block b);
  void send_lone_blocks();
  bool is_coming(std::uint32_t lease_index) const;
  void supervise(std::uint32_t count);
  void on_down(const caf::down_msg& down);
  void on_worker_down(std::size_t index, const caf::error& why, const decision& next);
  void fault(std::size_t index, const std::string& cause);
  void lease_failed(job j, const std::string& cause);
  void check_deadlines();
  void invite();
  void dismiss();
  void end(caf::error why);
};

// -- numbers that are not to be used ----------------------------------------------------------------------------------------

constexpr float not_computable = std::numeric_limits<float>::quiet_NaN(); // what the reader of predictions takes for a row's status

std::optional<std::size_t> first_nonfinite(std::span<const float> values) {
  auto it = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  return it == values.end() ? std::nullopt : std::optional{static_cast<std::size_t>(it - values.begin())};
}

/// Moves `bad` from one to the other; everything, if none of them is there: a lease must not come back for ever.
void leave_out(const std::vector<std::uint64_t>& bad, std::vector<std::uint64_t>& rows, std::vector<std::uint64_t>& left_out) {
  auto is_good = [&](std::uint64_t row) { return std::find(bad.begin(), bad.end(), row) == bad.end(); };
  auto rest = std::stable_partition(rows.begin(), rows.end(), is_good);
  if (rest == rows.end())
    rest = rows.begin();
  left_out.insert(left_out.end(), rest, rows.end());
  rows.erase(rest, rows.end());
}

void add_left_out(const std::vector<std::uint64_t>& rows, std::size_t row_size, block& b) {
  b.rows.insert(b.rows.end(), rows.begin(), rows.end());
  b.numbers.edit().resize(b.numbers.size() + rows.size() * row_size, not_computable);
  b.health.input_rows.insert(b.health.input_rows.end(), rows.begin(), rows.end());
}

/// Of a row with a bad number anywhere on its way no result is used, though it may be finite.
void mark(const std::vector<std::uint64_t>& bad, block& b) {
  auto size = static_cast<std::ptrdiff_t>(b.numbers.size() / std::max<std::size_t>(b.rows.size(), 1));
  for (std::size_t i = 0; i < b.rows.size(); ++i)
    if (bad.empty() || std::find(bad.begin(), bad.end(), b.rows[i]) != bad.end())
      std::fill_n(b.numbers.edit().begin() + static_cast<std::ptrdiff_t>(i) * size, size, not_computable);
}

caf::error refusal_of_rows(const lease& l, const model::numeric_health& health) {
  std::string rows;
  for (std::size_t i = 0; i < std::min<std::size_t>(health.input_rows.size(), 8); ++i)
    rows += (i > 0 ? ", " : "") + std::to_string(health.input_rows[i]);
  return fail(ec::nonfinite, "step " + std::to_string(l.step) + ", lease " + std::to_string(l.index) + ": features or targets of row "
                               + (rows.empty() ? "unknown" : rows) + (health.input_rows.size() > 8 ? ", ..." : "")
                               + " are nonfinite, which no data set holds; expected finite numbers; check the memory of this machine");
}

caf::error refusal_of_weights(const model::run_definition& run, const flat_weights& weights) {
  auto at = static_cast<std::int64_t>(first_nonfinite(weights.values).value_or(0));
  for (const auto& s : run.layout.spans)
    if (at >= s.offset && at < s.offset + s.size)
      return fail(ec::nonfinite, "the weights of step " + std::to_string(weights.id.step) + " are nonfinite, first element "
                                   + std::to_string(at - s.offset) + " of " + s.path
                                   + "; no step makes such weights; go on from an earlier checkpoint");
  return fail(ec::nonfinite, "the weights of step " + std::to_string(weights.id.step) + " are nonfinite");
}

// -- leases in, blocks out ------------------------------------------------------------------------------------------------

void supervisor_state::take(const msg<wire::Lease>& m, const weights_ptr& weights, const rows_ptr& source) {
  auto l = serialization::read(m, limits);
  if (!l)
    return end(l.error());
  begin_task(l->task);
  if (l->task == task && !ending)
    queue.push_back({0, std::move(*l), weights, source});
  else
    give_room(1);
  assign();
}

/// The broker serves one task at a time, so a lease of a newer task says that the older ones are over.
void supervisor_state::begin_task(std::uint64_t number) {
  if (number <= task)
    return;
  task = number;
  sums.emplace(static_cast<std::uint32_t>(run->settings.train.leases), helpers.get());
  give_room(queue.size());
  queue.clear();
}

/// A lease that is no longer ours, done or not, makes room for another.
void supervisor_state::give_room(std::size_t leases) {
  if (leases > 0)
    self->send(node, credit_atom_v, static_cast<std::uint32_t>(leases));
}

/// Workers without any lease come first.
void supervisor_state::assign() {
  for (std::size_t most = 0; most < jobs_per_seat; ++most)
    for (std::size_t i = 0; i < seats.size() && !queue.empty(); ++i)
      if (seats[i].worker && seats[i].jobs.size() == most)
        assign_to(i);
  invite();
}

void supervisor_state::assign_to(std::size_t index) {
  auto& s = seats[index];
  auto it = std::find_if(queue.begin(), queue.end(), [&](const job& j) { return j.last_seat != index; });
  if (it == queue.end())
    it = queue.begin(); // nobody else is better: a new worker on the old seat is another worker
  auto j = std::move(*it);
  queue.erase(it);
  if (s.helps)
    dismiss();
  if (s.jobs.empty())
    s.ticks = 0;
  j.number = next_job++; // anew each time: an answer to an older one is recognised
  j.last_seat = index;
  self->send(s.worker, compute_atom_v, j.number, serialization::write(j.what), j.weights, j.source);
  s.jobs.push_back(std::move(j));
}

/// Workers that have nothing else to do, as at the end of a step. Where all actors share a thread nobody can wait for another.
void supervisor_state::invite() {
  if (!rules.threads || ending)
    return;
  for (auto& s : seats)
    if (s.worker && s.jobs.empty() && !std::exchange(s.helps, true))
      self->send(s.worker, help_atom_v, helpers->now());
}

void supervisor_state::dismiss() {
  helpers->dismiss();
  for (auto& s : seats)
    s.helps = false;
}

void supervisor_state::finish(std::uint64_t number, block b) {
  if (ending) // its workers are waited for: none may be given up on now
    return;
  auto s = std::find_if(seats.begin(), seats.end(), [&](const seat& x) { return !x.jobs.empty() && x.jobs.front().number == number; });
  if (s == seats.end())
    return; // of a worker that was given up on: its lease was given to another
  auto given = s->jobs.front().weights->values.view();
  auto v = model::judge(b.health, b.rungs.front(), b.kind, b.health.parameters_finite || !first_nonfinite(given));
  if (v == model::verdict::replace_worker)
    return fault(static_cast<std::size_t>(s - seats.begin()), "it has nonfinite weights, though those that it was given are finite");
  auto j = std::move(s->jobs.front());
  s->jobs.pop_front();
  s->ticks = 0;
  workers->did_duty(static_cast<std::size_t>(s - seats.begin()));
  assign(); // before a sum, so that nobody waits for it
  if (j.what.task == task)
    carry_out(v, std::move(j), std::move(b));
  else
    give_room(1);
  assign();
}

void supervisor_state::carry_out(model::verdict v, job j, block b) {
  using model::verdict;
  const auto& health = b.health;
  switch (v) {
    case verdict::reissue:
      spdlog::debug("The supervisor computes lease {} of step {} again on the master rung: numbers are nonfinite or too large first at {}",
                    j.what.index, j.what.step, health.first_node);
      j.what.start = model::rung::master;
      return queue.push_front(std::move(j));
    case verdict::leave_out_rows:
      spdlog::debug("The supervisor computes lease {} again without {} rows that have nonfinite features", j.what.index,
                    health.input_rows.size());
      leave_out(health.input_rows, j.what.rows, j.left_out);
      return queue.push_front(std::move(j));
    case verdict::refuse_rows: return end(refusal_of_rows(j.what, health));
    case verdict::refuse_weights: return end(refusal_of_weights(*run, *j.weights));
    case verdict::replace_worker: return; // finish() did
    case verdict::mark_rows: mark(health.rows, b); break;
    case verdict::accept: break;
  }
  add_left_out(j.left_out, limits.target_size, b);
  give_room(1);
  settle(std::move(b));
}

/// Training sums wait here for siblings that this supervisor computes too; everything else goes up at once.
void supervisor_state::settle(block b) {
  if (b.kind != model::lease_kind::train) {
    self->send(node, done_atom_v, serialization::write(std::move(b)));
    return;
  }
  auto verdict = sums->put(std::move(b));
  if (verdict == block_tree::verdict::conflict)
    end(fail(ec::not_reproducible, "two workers computed different bits for one lease"));
  send_lone_blocks();
}

void supervisor_state::send_lone_blocks() {
  if (!sums)
    return;
  for (auto& b : sums->take_alone([this](std::uint32_t i) { return is_coming(i); }))
    self->send(node, done_atom_v, serialization::write(std::move(b)));
}

bool supervisor_state::is_coming(std::uint32_t lease_index) const {
  auto same = [&](const job& j) { return j.what.task == task && j.what.index == lease_index; };
  return std::any_of(queue.begin(), queue.end(), same)
         || std::any_of(seats.begin(), seats.end(), [&](const seat& s) { return std::any_of(s.jobs.begin(), s.jobs.end(), same); });
}

// -- failures -------------------------------------------------------------------------------------------------------------

void supervisor_state::supervise(std::uint32_t count) {
  seats.resize(count);
  std::vector<children::recipe> table;
  for (std::size_t i = 0; i < count; ++i)
    table.push_back({{.name = "worker " + std::to_string(i), .intensity = rules.worker_faults, .shutdown = rules.stop_grace},
                     [=, this] {
                       seats[i].worker = spawn_worker(self->system(), self->address(), i, run, helpers, rules);
                       return caf::actor_cast<caf::strong_actor_ptr>(seats[i].worker);
                     }});
  children::events on{.down = [this](std::size_t i, const caf::error& why, const decision& next) { on_worker_down(i, why, next); },
                      .started = [this](std::size_t) { assign(); },
                      .ready = [] {},
                      .ended = [this] { self->quit(reason); }};
  workers.emplace(self, strategy::one_for_one, std::move(table), rules, std::move(on));
  workers->start();
}

void supervisor_state::on_down(const caf::down_msg& down) {
  if (down.source == node.address())
    end(caf::exit_reason::user_shutdown);
  else
    workers->on_down(down);
}

/// The worker of this seat is dead or wrong: its leases go elsewhere. Only the one that it was at counts as failed.
void supervisor_state::on_worker_down(std::size_t index, const caf::error& why, const decision& next) {
  seats[index].worker = nullptr;
  seats[index].helps = false;
  auto jobs = std::exchange(seats[index].jobs, {});
  while (jobs.size() > 1) {
    queue.push_front(std::move(jobs.back()));
    jobs.pop_back();
  }
  if (!jobs.empty())
    lease_failed(std::move(jobs.front()), "worker " + std::to_string(index) + ": " + reason_text(why));
  if (next.give_up)
    end(next.give_up);
  else
    assign();
}

/// Of a worker that did not die of it.
void supervisor_state::fault(std::size_t index, const std::string& cause) {
  workers->fail(index, caf::make_error(caf::sec::runtime_error, cause));
}

/// The same lease with the same rung on another worker: an exception never lowers a rung. After enough workers the broker hears.
void supervisor_state::lease_failed(job j, const std::string& cause) {
  if (j.what.task != task)
    return give_room(1);
  if (++j.failures < rules.lease_failures) {
    queue.push_front(std::move(j));
    return;
  }
  give_room(1);
  self->send(node, failed_atom_v,
             serialization::write(serialization::failure{j.what.task, j.what.index, j.what.attempt, cause}));
  send_lone_blocks();
}

/// Called every quarter of the deadline. A stuck thread cannot be ended from outside: it is left alone, its answer ignored.
void supervisor_state::check_deadlines() {
  for (std::size_t i = 0; i < seats.size(); ++i)
    if (!seats[i].jobs.empty() && ++seats[i].ticks > 4)
      fault(i, "no answer before the deadline of " + std::to_string(rules.lease_deadline.count()) + " ms");
}

// -- the end --------------------------------------------------------------------------------------------------------------

void supervisor_state::end(caf::error why) {
  if (ending)
    return;
  ending = true;
  reason = std::move(why);
  queue.clear();
  dismiss();
  workers->stop();
}

supervisor_actor::behavior_type supervisor(self_ptr self, node_actor node, run_ptr run, std::uint32_t workers, crew_ptr helpers,
                                           policy rules) {
  use_log(self);
  auto& st = self->state;
  st.self = self;
  st.node = std::move(node);
  st.limits = serialization::bounds_of(*run);
  st.run = std::move(run);
  st.rules = std::move(rules);
  st.helpers = std::move(helpers);
  self->monitor(st.node);
  self->set_down_handler([=](caf::down_msg& down) { self->state.on_down(down); });
  self->set_exit_handler([=](caf::exit_msg& m) { self->state.end(m.reason); });
  st.supervise(workers);
  self->delayed_send(self, st.rules.lease_deadline / 4, caf::tick_atom_v);
  return {
    [=](lease_atom, const msg<wire::Lease>& m, const weights_ptr& weights, const rows_ptr& source) {
      self->state.take(m, weights, source);
    },
    [=](done_atom, std::uint64_t job, const block_ptr& b) { self->state.finish(job, std::move(*b)); },
    [=](restart_atom, std::uint64_t timer) { self->state.workers->on_timer(timer); },
    [=](caf::tick_atom) {
      self->state.check_deadlines();
      self->delayed_send(self, self->state.rules.lease_deadline / 4, caf::tick_atom_v);
    }};
}

} // namespace

supervisor_actor spawn_supervisor(caf::actor_system& system, node_actor parent, run_ptr run, std::uint32_t workers, crew_ptr helpers,
                                  const policy& rules) {
  return spawn_computing(system, rules, supervisor, std::move(parent), std::move(run), workers, std::move(helpers), rules);
}

} // namespace enn::actors
