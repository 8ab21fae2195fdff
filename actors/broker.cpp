#include <enn/actors/broker.hpp>

#include <enn/actors/membership.hpp>
#include <enn/actors/spawn.hpp>
#include <enn/actors/task.hpp>
#include <enn/actors/version_store.hpp>

#include <algorithm>
#include <chrono>
#include <deque>

namespace enn::actors {
namespace {

using serialization::lease;
using serialization::row_list;
using serialization::weights_id;
using epoch_t = membership::epoch;
using clock = std::chrono::steady_clock;

struct broker_state;
using self_ptr = broker_actor::stateful_pointer<broker_state>;

struct broker_state {
  static inline const char* name = "broker";
  self_ptr self = nullptr;
  driver_actor driver;
  std::string cluster;
  run_ptr run;
  data_ptr data;
  sampler_actor sampler;
  policy rules;
  serialization::bounds limits;

  membership members;
  std::optional<version_store> versions;   // what is trained, evaluated, predicted with
  crew_ptr helpers;                        // with sums and the optimizer step
  std::optional<task> work;
  std::uint64_t last_task = 0;
  std::deque<clock::duration> usual;       // how long the latest leases took
  std::optional<row_list> ahead;           // rows of the step after this one
  serialization::progress report;          // of the step in the making
  std::chrono::steady_clock::time_point began;
  std::uint32_t unacknowledged = 0;        // blocks of predictions that the driver was told of

  // members
  caf::result<epoch_t> enlist(const msg<wire::Enlistment>& m, const node_actor& node);
  void forget(epoch_t epoch);
  void fence(epoch_t epoch, std::string_view why);
  void expel(epoch_t epoch, const caf::error& why);
  void on_down(const caf::down_msg& down);
  void credit(epoch_t epoch, std::uint32_t room);
  void beat(epoch_t epoch);
  void tick();
  caf::result<msg<wire::Members>> status();
  caf::result<std::uint32_t> drain(const std::string& who, bool now);
  void dismiss_drained();
  void note(std::string_view event, const std::string& node) { self->send(driver, note_atom_v, std::string{event}, node); }
  // leases
  void begin(model::lease_kind kind, row_list rows, row_cuts cuts);
  bool can_take(const member& m) const;
  void issue();
  void issue_to(epoch_t epoch, member& m, bool even_if_slow);
  void try_slow_ones();
  void issue_late_ones();
  msg<wire::Lease> make_lease(lease_book::ticket t) const;
  void failed(epoch_t epoch, const msg<wire::Failure>& m);
  // results
  void done(epoch_t epoch, const msg<wire::Block>& m);
  void offer(epoch_t epoch, std::uint64_t number, const msg<wire::Block>& head);
  void fetch_next(epoch_t epoch);
  void fetch(epoch_t epoch, std::uint64_t number, std::uint32_t chunk);
  void end_fetch(epoch_t epoch, const caf::error& why);
  void accept(epoch_t epoch, block b, const msg<wire::Block>* whole);
  void accept_train(epoch_t epoch, block b);
  void count_done(epoch_t epoch, std::uint32_t first, std::uint32_t count);
  void conflict(const block& b);
  // versions
  void advance();
  void fetch_ahead(std::int64_t step);
  void train(row_list rows);
  void finish_step();
  bool evaluation_is_due(const model::run_state& state) const;
  void evaluate(model::part part);
  void finish_evaluation();
  void hand_over();
  // predictions
  void predict(const msg<wire::Rows>& m);
};

constexpr std::uint32_t prediction_window = 8;
constexpr std::size_t remembered_leases = 64;

// -- losses ---------------------------------------------------------------------------------------------------------------

/// The loss that is recorded for choosing the best step: of the final prediction; the others only help training.
double validation_loss(const model::graph& graph, std::span<const double> losses) {
  double all = 0;
  std::size_t i = 0;
  for (const auto& output : graph.outputs) {
    if (output.role != model::output_role::loss)
      continue;
    if (output.path == "loss.final")
      return losses[i];
    all += output.weight * losses[i++];
  }
  return all;
}

std::vector<std::pair<std::string, double>> terms_of(const model::graph& graph, std::span<const double> losses) {
  std::vector<std::pair<std::string, double>> terms;
  for (const auto& output : graph.outputs)
    if (output.role == model::output_role::loss)
      terms.emplace_back(output.path, losses[terms.size()]);
  return terms;
}

// -- members --------------------------------------------------------------------------------------------------------------

caf::result<epoch_t> broker_state::enlist(const msg<wire::Enlistment>& m, const node_actor& node) {
  auto theirs = serialization::read(m);
  if (!theirs)
    return theirs.error();
  if (auto same = check_same(serialization::enlist(cluster, "", 1, run->kernels), *theirs); !same)
    return same.error();
  if (theirs->name == local_name && node.node() != self->node())
    return fail(ec::protocol, "enlistment refused: the name " + theirs->name + " is the coordinator's own; give another by --name");
  while (auto known = members.epoch_of(node.address()))
    forget(*known);
  self->monitor(node);
  spdlog::debug("The broker enlists node {} with {} workers", theirs->name, theirs->workers);
  note("enlisted", theirs->name);
  auto epoch = members.add(node, std::move(*theirs));
  dismiss_drained();
  return epoch;
}

void broker_state::forget(epoch_t epoch) {
  self->demonitor(members.find(epoch)->node.address());
  members.remove(epoch);
  if (work)
    work->reissues += work->book.release(epoch);
}

/// Whatever the node still sends under this epoch is ignored; if it lives it enlists anew.
void broker_state::fence(epoch_t epoch, std::string_view why) {
  auto* m = members.find(epoch);
  spdlog::warn("The broker gives the leases of node {} to others: {}", m->hello.name, why);
  note("fenced", m->hello.name);
  self->send(m->node, fence_atom_v, epoch);
  forget(epoch);
}

/// A node that breaks the protocol: its leases go to others, and it ends, saying why.
void broker_state::expel(epoch_t epoch, const caf::error& why) {
  auto* m = members.find(epoch);
  spdlog::error("The broker expels node {}: {}", m->hello.name, text_of(why));
  note("expelled", m->hello.name);
  self->send_exit(m->node, why);
  forget(epoch);
  issue();
}

void broker_state::on_down(const caf::down_msg& down) {
  if (down.source == driver.address())
    return self->quit(caf::exit_reason::user_shutdown);
  if (auto epoch = members.epoch_of(down.source)) {
    const auto& node = members.find(*epoch)->hello.name;
    bool wrong = code_of(down.reason) == ec::not_reproducible;
    if (down.reason)
      spdlog::log(wrong ? spdlog::level::err : spdlog::level::info, "The broker loses node {}: {}", node, reason_text(down.reason));
    note(wrong ? "wrong" : down.reason ? "lost" : "left", node);
    forget(*epoch);
    issue();
  }
}

void broker_state::credit(epoch_t epoch, std::uint32_t room) {
  if (auto* m = members.find(epoch)) {
    m->make_room(room, self->clock().now());
    issue();
  }
}

void broker_state::beat(epoch_t epoch) {
  if (auto* m = members.find(epoch))
    m->silent = 0;
  else if (auto node = caf::actor_cast<node_actor>(self->current_sender()))
    self->send(node, fence_atom_v, epoch); // it was suspected, and lives
}

/// Beats are counted, not timed: a broker that slept finds them in its mailbox, and suspects nobody.
void broker_state::tick() {
  for (auto epoch : members.count_beat(rules.silent_beats))
    fence(epoch, "it is silent");
  issue_late_ones();
  issue();
  if (work && members.empty())
    self->send(driver, beat_atom_v);
  self->delayed_send(self, rules.beat, caf::tick_atom_v);
}

caf::result<msg<wire::Members>> broker_state::status() {
  serialization::member_list all{versions->current().state.step, run->total_steps, {}};
  for (const auto& [epoch, m] : members)
    all.members.push_back({m.hello.name, m.hello.machine, m.hello.workers, epoch, work ? work->book.out_at(epoch) : 0, m.leases_done,
                           m.silent, m.draining});
  return serialization::write(all);
}

caf::result<std::uint32_t> broker_state::drain(const std::string& who, bool now) {
  auto epochs = members.named(who);
  if (epochs.empty())
    return fail(ec::bad_usage, "there is no node " + who + "; enn node status lists them");
  if (who == local_name)
    return fail(ec::bad_usage, "node " + who + " is the coordinator's own; enn train --coordinator-only starts without it");
  for (auto epoch : epochs) {
    members.drain(epoch);
    if (now && work)
      work->reissues += work->book.release(epoch);
  }
  dismiss_drained();
  issue();
  return static_cast<std::uint32_t>(epochs.size());
}

void broker_state::dismiss_drained() {
  for (auto& [epoch, m] : members)
    if (m.draining && (!work || work->book.out_at(epoch) == 0))
      self->send(m.node, leave_atom_v);
}

// -- leases ---------------------------------------------------------------------------------------------------------------

void broker_state::begin(model::lease_kind kind, row_list rows, row_cuts cuts) {
  auto leases = static_cast<std::uint32_t>(cuts.size() - 1);
  auto& t = work.emplace();
  t.number = ++last_task;
  t.kind = kind;
  t.step = versions->current().state.step;
  t.weights = kind == model::lease_kind::train ? weights_id{t.step, false} : versions->evaluated_id();
  t.rows = std::move(rows);
  t.cuts = std::move(cuts);
  t.book = lease_book{leases};
  t.sums = block_tree{leases, helpers.get()};
  t.losses.resize(kind == model::lease_kind::evaluate ? leases : 0);
  issue();
}

/// A lease of the task at work, now.
bool broker_state::can_take(const member& m) const {
  return m.credit > 0 && !m.draining && !work->is_disputed(m.node.address());
}

/// Leases go to nodes in turn of their epochs, but not to one that the others would wait for, unless there is nobody else.
void broker_state::issue() {
  if (!work)
    return;
  for (auto& [epoch, m] : members)
    issue_to(epoch, m, false);
  if (work->book.count_out() == 0)
    for (auto& [epoch, m] : members)
      issue_to(epoch, m, true);
  try_slow_ones();
}

/// Never more than it has room for.
void broker_state::issue_to(epoch_t epoch, member& m, bool even_if_slow) {
  auto now = self->clock().now();
  while (can_take(m) && (even_if_slow || members.is_in_time(m, work->book.count_waiting(), now))) {
    if (work->kind == model::lease_kind::predict && work->book.count_out() + unacknowledged >= prediction_window)
      return;
    auto ticket = work->book.issue(epoch, now);
    if (!ticket)
      return;
    m.give(now);
    self->send(m.node, lease_atom_v, epoch, make_lease(*ticket));
  }
}

/// An idle node that is too slow for any lease of this task gets a copy of what another one computes: nobody waits for it, and it
/// shows when it is quick again.
void broker_state::try_slow_ones() {
  auto now = self->clock().now();
  if (work->kind == model::lease_kind::predict)
    return;
  for (auto& [epoch, m] : members)
    if (can_take(m) && m.asked.empty() && !members.is_in_time(m, work->book.size(), now))
      for (std::uint32_t i = 0; i < work->book.size(); ++i)
        if (work->book.is_out(i) && work->book.holder(i) != epoch) {
          m.give(now);
          self->send(m.node, lease_atom_v, epoch, make_lease({i, work->book.attempt(i)}));
          break;
        }
}

/// A lease that takes far longer than usual goes to another node too; whoever answers first counts.
void broker_state::issue_late_ones() {
  if (!work || usual.empty())
    return;
  std::vector<clock::duration> sorted{usual.begin(), usual.end()};
  auto median = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), median, sorted.end());
  auto most = std::max<clock::duration>(3 * *median, rules.late_lease);
  for (std::uint32_t i = 0; i < work->book.size(); ++i) {
    auto elsewhere = [&](const auto& m) { return m.first != work->book.holder(i) && can_take(m.second); };
    if (!work->book.is_out(i) || self->clock().now() - work->book.since(i) <= most
        || std::none_of(members.begin(), members.end(), elsewhere))
      continue;
    if (auto* m = members.find(work->book.holder(i)))
      note("late", m->hello.name);
    work->book.wait_elsewhere(i);
    ++work->reissues;
    issue();
  }
}

msg<wire::Lease> broker_state::make_lease(lease_book::ticket t) const {
  auto rows = work->rows_of(t.index);
  auto pinned = versions->current().state.step < versions->current().state.pinned_until;
  return serialization::write(lease{.task = work->number, .kind = work->kind, .step = work->step, .index = t.index,
                                    .attempt = t.attempt, .weights = work->weights,
                                    .start = pinned ? model::rung::master : model::rung::fast,
                                    .rows = {rows.begin(), rows.end()}, .denominator = work->rows.denominator});
}

void broker_state::failed(epoch_t epoch, const msg<wire::Failure>& m) {
  auto f = serialization::read(m);
  if (!f || !members.find(epoch) || !work || f->task != work->number || f->index >= work->book.size()
      || work->book.is_done(f->index) || !work->book.is_awaited(f->index, f->attempt, epoch))
    return;
  if (work->book.count_failure(f->index) >= rules.lease_attempts)
    return self->quit(fail(ec::gave_up, "lease " + std::to_string(f->index) + " of step " + std::to_string(work->step) + " failed "
                                          + std::to_string(rules.lease_attempts * rules.lease_failures) + " times, last with " + f->cause));
  spdlog::warn("The broker issues lease {} of step {} again: {}", f->index, work->step, f->cause);
  work->book.wait_again(f->index);
  ++work->reissues;
  issue();
}

// -- results --------------------------------------------------------------------------------------------------------------

void broker_state::done(epoch_t epoch, const msg<wire::Block>& m) {
  if (!members.find(epoch))
    return;
  auto b = serialization::read(m, limits);
  if (!b)
    return expel(epoch, b.error());
  accept(epoch, std::move(*b), &m);
}

void broker_state::offer(epoch_t epoch, std::uint64_t number, const msg<wire::Block>& head) {
  auto* m = members.find(epoch);
  if (!m)
    return;
  auto b = serialization::read_head(head, limits);
  if (!b)
    return expel(epoch, b.error());
  m->incoming.push_back({number, std::move(*b)});
  if (m->incoming.size() == 1)
    fetch_next(epoch);
}

/// One block of a node at a time, and of that one piece, so that its beats get through.
void broker_state::fetch_next(epoch_t epoch) {
  auto& incoming = members.find(epoch)->incoming;
  while (!incoming.empty() && !(work && work->has(incoming.front().block)))
    incoming.pop_front(); // of an earlier task
  if (!incoming.empty())
    fetch(epoch, incoming.front().number, 0);
}

void broker_state::fetch(epoch_t epoch, std::uint64_t number, std::uint32_t chunk) {
  self->request(members.find(epoch)->node, rules.request_timeout, fetch_atom_v, number, chunk)
    .then(
      [=, this](const msg<wire::Piece>& piece) {
        auto* m = members.find(epoch);
        if (!m || m->incoming.empty() || m->incoming.front().number != number)
          return;
        auto& b = m->incoming.front().block;
        auto next = serialization::read_piece(piece, b);
        if (!next)
          return expel(epoch, next.error());
        if (*next > 0)
          return fetch(epoch, number, *next);
        if (auto whole = serialization::check_hash(b); !whole)
          return expel(epoch, whole.error());
        auto complete = std::move(b);
        m->incoming.pop_front();
        fetch_next(epoch);
        accept(epoch, std::move(complete), nullptr);
      },
      [=, this](caf::error& e) { end_fetch(epoch, e); });
}

/// The node has it no more: its leases are computed again.
void broker_state::end_fetch(epoch_t epoch, const caf::error& why) {
  auto* m = members.find(epoch);
  if (!m || m->incoming.empty())
    return;
  auto& b = m->incoming.front().block;
  spdlog::debug("The broker cannot fetch leases {}+{} from node {}: {}", b.first, b.count, m->hello.name, text_of(why));
  if (work && work->has(b))
    for (auto i = b.first; i < b.first + b.count; ++i)
      if (work->book.is_out_at(i, epoch) || work->book.is_late_at(i, epoch)) {
        work->book.wait_again(i);
        ++work->reissues;
      }
  m->incoming.pop_front();
  fetch_next(epoch);
  issue();
}

/// `whole`: the message that it came in, if it came in one.
void broker_state::accept(epoch_t epoch, block b, const msg<wire::Block>* whole) {
  if (!work || !work->has(b))
    return; // of an earlier task
  if (b.mended > 0)
    note("mended", members.find(epoch)->hello.name);
  if (b.kind == model::lease_kind::train)
    return accept_train(epoch, std::move(b));
  if (b.count != 1 || work->book.is_done(b.first))
    return;
  count_done(epoch, b.first, 1);
  if (b.kind == model::lease_kind::evaluate) {
    work->losses[b.first] = std::move(b.losses);
    if (work->book.complete())
      finish_evaluation();
  } else {
    ++unacknowledged;
    self->send(driver, predict_atom_v, whole ? *whole : serialization::write(std::move(b)));
    if (work->book.complete())
      work.reset();
  }
  dismiss_drained();
}

void broker_state::accept_train(epoch_t epoch, block b) {
  auto first = b.first, count = b.count;
  switch (work->compare(b, members.find(epoch)->node.address())) {
    case task::comparison::agrees: break;
    case task::comparison::differs: return conflict(b);
    case task::comparison::decided:
      for (const auto& liar : std::exchange(work->liars, {}))
        if (auto known = members.epoch_of(liar))
          expel(*known, fail(ec::not_reproducible, "lease " + std::to_string(first) + " of step " + std::to_string(work->step)
                                                     + " has other bits here than on two other nodes"));
      break;
  }
  if (work->sums.put(std::move(b)) == block_tree::verdict::contained)
    return;
  count_done(epoch, first, count);
  if (work->sums.complete())
    finish_step();
  dismiss_drained();
}

/// Somebody computed wrongly. Both are fenced, and a third node decides who it was.
void broker_state::conflict(const block& b) {
  spdlog::error("Leases {}+{} of step {} came back twice with different bits; they are computed again", b.first, b.count, work->step);
  for (auto i : work->sums.drop(b.first, b.count))
    work->book.wait_again(i);
  work->reissues += b.count;
  std::string names;
  for (const auto& node : work->disputed)
    if (auto epoch = members.epoch_of(node)) {
      names += (names.empty() ? "" : " and ") + members.find(*epoch)->hello.name;
      fence(*epoch, "its result differs from another node's");
    }
  auto is_disputed = [this](const auto& m) { return work->is_disputed(m.second.node.address()); };
  if (work->disputed.size() > 2 || std::all_of(members.begin(), members.end(), is_disputed))
    return self->quit(fail(ec::not_reproducible, "step " + std::to_string(work->step) + ": lease " + std::to_string(b.first)
                                                   + " has different bits on nodes " + names + ", and no other node can decide; "
                                                     "check these machines (enn doctor, memory test)"));
  issue();
}

void broker_state::count_done(epoch_t epoch, std::uint32_t first, std::uint32_t count) {
  for (auto i = first; i < first + count; ++i)
    if (work->book.is_out(i)) {
      usual.push_back(self->clock().now() - work->book.since(i));
      if (usual.size() > remembered_leases)
        usual.pop_front();
    }
  work->book.done(first, count);
  if (auto* m = members.find(epoch))
    m->leases_done += count;
}

// -- versions -------------------------------------------------------------------------------------------------------------

void broker_state::advance() {
  began = std::chrono::steady_clock::now();
  auto step = versions->current().state.step;
  if (auto rows = std::exchange(ahead, std::nullopt); rows && rows->step == step)
    return train(std::move(*rows));
  self->request(sampler, rules.request_timeout, rows_atom_v, step)
    .then(
      [=, this](const msg<wire::Rows>& m) {
        auto rows = serialization::read(m, limits);
        if (!rows)
          return self->quit(rows.error());
        train(std::move(*rows));
      },
      [this](caf::error& e) { self->quit(std::move(e)); });
}

void broker_state::fetch_ahead(std::int64_t step) {
  if (step >= run->total_steps)
    return;
  self->request(sampler, rules.request_timeout, rows_atom_v, step)
    .then(
      [this](const msg<wire::Rows>& m) {
        if (auto rows = serialization::read(m, limits))
          ahead = std::move(*rows);
      },
      [](caf::error&) {}); // asked again when they are needed
}

void broker_state::train(row_list rows) {
  auto cuts = cuts_of_step(rows.rows, run->settings.train.leases);
  begin(model::lease_kind::train, std::move(rows), std::move(cuts));
  fetch_ahead(versions->current().state.step + 1);
}

void broker_state::finish_step() {
  const auto& sum = work->sums.blocks().begin()->second;
  auto next = versions->successor();
  auto done = model::apply_step(*run, sum.numbers, versions->current().tensors, next->tensors, next->state, sum.health, helpers.get());
  if (!done.weights_finite)
    return self->quit(fail(ec::nonfinite, "step " + std::to_string(next->state.step) + " makes nonfinite weights of a finite gradient of norm "
                                            + std::to_string(done.norm) + "; lower train.learning-rate or train.weight-decay"));
  report = {.step = next->state.step, .total_steps = run->total_steps, .steps_per_epoch = run->steps_per_epoch,
            .terms = terms_of(run->network, sum.losses), .norm = done.norm, .learning_rate = done.learning_rate,
            .applied = done.applied, .rows = work->rows.rows.size(), .seconds = 0,
            .master_leases = static_cast<std::uint32_t>(std::count(sum.rungs.begin(), sum.rungs.end(), model::rung::master)),
            .reissues = work->reissues, .checked_leases = sum.checked, .mended_leases = sum.mended,
            .first_nonfinite = sum.health.first_node};
  work.reset();
  if (next->state.skipped_steps > rules.skipped_steps)
    return self->quit(fail(ec::nonfinite, std::to_string(next->state.skipped_steps) + " steps in a row gave nonfinite gradients on every "
                                            "rung, the last, step " + std::to_string(next->state.step)
                                            + (report.first_nonfinite.empty()
                                                 ? ", though every lease was finite: their sum or its norm overflowed"
                                                 : ", first at " + report.first_nonfinite)
                                            + "; lower train.learning-rate, or set train.clip-norm where it is 0"));
  versions->advance(std::move(next));
  if (evaluation_is_due(versions->current().state))
    evaluate(model::part::validation);
  else
    hand_over();
}

bool broker_state::evaluation_is_due(const model::run_state& state) const {
  if (data->rows(model::part::validation) == 0)
    return false;
  auto every = run->settings.train.validate_every > 0 ? run->settings.train.validate_every : run->steps_per_epoch;
  return state.finished || state.step == run->total_steps || (every > 0 && state.step % every == 0);
}

void broker_state::evaluate(model::part part) {
  self->request(sampler, rules.request_timeout, rows_atom_v, static_cast<std::uint8_t>(part))
    .then(
      [this](const msg<wire::Rows>& m) {
        auto rows = serialization::read(m, limits);
        if (!rows)
          return self->quit(rows.error());
        auto cuts = cuts_of_pieces(rows->rows.size(), run->settings.train);
        begin(model::lease_kind::evaluate, std::move(*rows), std::move(cuts));
        if (work->book.complete()) // a part without rows
          finish_evaluation();
      },
      [this](caf::error& e) { self->quit(std::move(e)); });
}

void broker_state::finish_evaluation() {
  std::vector<double> sums(limits.losses);
  for (const auto& piece : work->losses) // ascending, whoever computed what
    for (std::size_t i = 0; i < sums.size(); ++i)
      sums[i] += piece[i];
  work.reset();
  auto loss = validation_loss(run->network, sums);
  if (report.step == 0) { // asked for by the driver, not a part of a step
    self->send(driver, evaluate_atom_v, loss);
    return;
  }
  auto state = versions->current().state;
  report.validated = true;
  report.validation_loss = loss;
  report.best = model::record_evaluation(*run, loss, state);
  versions->set_state(state);
  hand_over();
}

void broker_state::hand_over() {
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  self->send(driver, advance_atom_v, versions->share(), serialization::write(report));
  report = {};
}

// -- predictions ------------------------------------------------------------------------------------------------------------

void broker_state::predict(const msg<wire::Rows>& m) {
  auto rows = serialization::read(m, limits);
  if (!rows)
    return self->quit(rows.error());
  unacknowledged = 0;
  auto cuts = cuts_of_pieces(rows->rows.size(), run->settings.train);
  begin(model::lease_kind::predict, std::move(*rows), std::move(cuts));
}

broker_actor::behavior_type broker(self_ptr self, driver_actor driver, std::string cluster, run_ptr run, data_ptr data,
                                   sampler_actor sampler, version_ptr first, crew_ptr helpers, policy rules) {
  use_log(self);
  auto& st = self->state;
  st.self = self;
  st.driver = std::move(driver);
  st.cluster = std::move(cluster);
  st.limits = serialization::bounds_of(*run);
  st.run = std::move(run);
  st.data = std::move(data);
  st.sampler = std::move(sampler);
  st.versions.emplace(std::move(first));
  st.helpers = std::move(helpers);
  st.rules = std::move(rules);
  self->monitor(st.driver);
  self->set_down_handler([=](caf::down_msg& down) { self->state.on_down(down); });
  self->delayed_send(self, st.rules.beat, caf::tick_atom_v);
  return {
    [=](advance_atom) { self->state.advance(); },
    [=](evaluate_atom, std::uint8_t part) { self->state.evaluate(static_cast<model::part>(part)); },
    [=](predict_atom, const msg<wire::Rows>& rows) { self->state.predict(rows); },
    [=](predict_atom) {
      self->state.unacknowledged -= self->state.unacknowledged > 0;
      self->state.issue();
    },
    [=](enlist_atom, const msg<wire::Enlistment>& m, const node_actor& node) { return self->state.enlist(m, node); },
    [=](credit_atom, std::uint64_t epoch, std::uint32_t room) { self->state.credit(epoch, room); },
    [=](done_atom, std::uint64_t epoch, const msg<wire::Block>& m) { self->state.done(epoch, m); },
    [=](offer_atom, std::uint64_t epoch, std::uint64_t number, const msg<wire::Block>& head) { self->state.offer(epoch, number, head); },
    [=](failed_atom, std::uint64_t epoch, const msg<wire::Failure>& m) { self->state.failed(epoch, m); },
    [=](beat_atom, std::uint64_t epoch) { self->state.beat(epoch); },
    [=](pull_atom, std::int64_t step, bool averaged, std::uint32_t chunk, std::uint32_t chunks) -> caf::result<msg<wire::Weights>> {
      return self->state.versions->weights({step, averaged}, chunk, chunks);
    },
    [=](status_atom) { return self->state.status(); },
    [=](drain_atom, const std::string& who, bool now) { return self->state.drain(who, now); },
    [=](caf::tick_atom) { self->state.tick(); }};
}

} // namespace

broker_actor spawn_broker(caf::actor_system& system, driver_actor driver, std::string cluster, run_ptr run, data_ptr data,
                          sampler_actor sampler, version_ptr version, crew_ptr helpers, const policy& rules) {
  return spawn_computing(system, rules, broker, std::move(driver), std::move(cluster), std::move(run), std::move(data),
                         std::move(sampler), std::move(version), std::move(helpers), rules);
}

} // namespace enn::actors
