#include <enn/actors/broker.hpp>

#include <enn/actors/block_tree.hpp>
#include <enn/actors/lease_book.hpp>
#include <enn/actors/spawn.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <map>

namespace enn::actors {
namespace {

using serialization::lease;
using serialization::row_list;
using serialization::weights_id;

/// What the broker is at: a step, an evaluation, or a pass of predictions. Rows are cut into leases by `cuts`.
struct task {
  std::uint64_t number = 0;
  model::lease_kind kind = model::lease_kind::train;
  std::int64_t step = 0;
  weights_id weights;
  row_list rows;
  std::vector<std::size_t> cuts; // lease i: rows[cuts[i]] .. rows[cuts[i + 1]]
  lease_book book;
  block_tree sums{1};                            // train
  std::vector<std::vector<double>> losses;       // evaluate: one entry a lease
  std::uint32_t master_leases = 0, reissues = 0, conflicts = 0;

  std::span<const std::uint64_t> rows_of(std::uint32_t index) const {
    return std::span{rows.rows}.subspan(cuts[index], cuts[index + 1] - cuts[index]);
  }
};

struct member {
  node_actor node;
  std::uint32_t credit = 0;
};

struct broker_state;
using self_ptr = broker_actor::stateful_pointer<broker_state>;
using version = std::shared_ptr<training_version>;

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

  std::map<std::uint64_t, member> members; // by epoch
  std::uint64_t last_epoch = 0;
  version_ptr current;                     // what is trained, evaluated, predicted with
  version spare;                           // the one before, whose memory the next one takes if nobody holds it
  std::map<weights_id, msg<wire::Weights>> published; // of the two newest versions
  std::optional<task> work;
  std::uint64_t last_task = 0;
  std::optional<row_list> ahead;           // rows of the step after this one
  serialization::progress report;          // of the step in the making
  std::chrono::steady_clock::time_point began;
  std::uint32_t unacknowledged = 0;        // blocks of predictions

  // members
  caf::result<std::uint64_t> enlist(const msg<wire::Enlistment>& m, const node_actor& node);
  void forget(std::uint64_t epoch);
  void expel(std::uint64_t epoch, const caf::error& why);
  void on_down(const caf::down_msg& down);
  void credit(std::uint64_t epoch, std::uint32_t room);
  // leases
  void begin(model::lease_kind kind, row_list rows, std::vector<std::size_t> cuts);
  void issue();
  msg<wire::Lease> make_lease(lease_book::ticket t) const;
  void done(std::uint64_t epoch, const msg<wire::Block>& m);
  void failed(std::uint64_t epoch, const msg<wire::Failure>& m);
  void accept_train(block b);
  void conflict(const block& b);
  // versions
  void advance();
  void fetch_ahead(std::int64_t step);
  void train(row_list rows);
  void finish_step();
  version successor();
  bool evaluation_is_due(const model::run_state& state) const;
  void evaluate(model::part part);
  void finish_evaluation();
  void hand_over();
  weights_id evaluated_id() const;
  caf::result<msg<wire::Weights>> weights(std::int64_t step, bool averaged, std::uint32_t chunk);
  // predictions
  void predict(const msg<wire::Rows>& m);
};

constexpr std::uint32_t prediction_window = 8;

// -- cuts -----------------------------------------------------------------------------------------------------------------

std::vector<std::size_t> cuts_of_step(std::span<const std::uint64_t> rows, std::int64_t leases) {
  std::vector<std::size_t> cuts{0};
  for (std::int64_t i = 0; i < leases; ++i)
    cuts.push_back(cuts.back() + model::rows_of_lease(rows, i, leases).size());
  return cuts;
}

/// Pieces no larger than a training lease, so that a worker needs no more memory for them.
std::vector<std::size_t> cuts_of_pieces(std::size_t rows, const model::train_config& train) {
  auto piece = static_cast<std::size_t>((train.batch_rows + train.leases - 1) / train.leases);
  std::vector<std::size_t> cuts{0};
  while (cuts.back() < rows)
    cuts.push_back(std::min(cuts.back() + piece, rows));
  return cuts;
}

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

caf::result<std::uint64_t> broker_state::enlist(const msg<wire::Enlistment>& m, const node_actor& node) {
  auto theirs = serialization::read(m);
  if (!theirs)
    return theirs.error();
  if (auto same = check_same(serialization::enlist(cluster, 1, run->kernels), *theirs); !same)
    return same.error();
  for (auto it = members.begin(); it != members.end();)
    if (auto known = it++; known->second.node == node)
      forget(known->first);
  self->monitor(node);
  members.emplace(++last_epoch, member{node});
  spdlog::debug("The broker enlists a node with {} workers, epoch {}", theirs->workers, last_epoch);
  return last_epoch;
}

void broker_state::forget(std::uint64_t epoch) {
  self->demonitor(members.at(epoch).node.address());
  members.erase(epoch);
  if (work)
    work->reissues += work->book.release(epoch);
}

void broker_state::on_down(const caf::down_msg& down) {
  if (down.source == driver.address())
    return self->quit(caf::exit_reason::user_shutdown);
  for (const auto& [epoch, m] : members)
    if (m.node.address() == down.source) {
      forget(epoch);
      return issue();
    }
}

void broker_state::credit(std::uint64_t epoch, std::uint32_t room) {
  auto it = members.find(epoch);
  if (it == members.end())
    return;
  it->second.credit += room;
  issue();
}

// -- leases ---------------------------------------------------------------------------------------------------------------

void broker_state::begin(model::lease_kind kind, row_list rows, std::vector<std::size_t> cuts) {
  auto leases = static_cast<std::uint32_t>(cuts.size() - 1);
  auto& t = work.emplace();
  t.number = ++last_task;
  t.kind = kind;
  t.step = current->state.step;
  t.weights = kind == model::lease_kind::train ? weights_id{t.step, false} : evaluated_id();
  t.rows = std::move(rows);
  t.cuts = std::move(cuts);
  t.book = lease_book{leases};
  t.sums = block_tree{leases};
  t.losses.resize(kind == model::lease_kind::evaluate ? leases : 0);
  issue();
}

/// Leases go to nodes in turn of their epochs, never more than a node has room for.
void broker_state::issue() {
  if (!work)
    return;
  for (auto& [epoch, m] : members)
    while (m.credit > 0) {
      if (work->kind == model::lease_kind::predict && unacknowledged >= prediction_window)
        return;
      auto ticket = work->book.issue(epoch);
      if (!ticket)
        return;
      --m.credit;
      unacknowledged += work->kind == model::lease_kind::predict && ticket->attempt == 0;
      self->send(m.node, lease_atom_v, epoch, make_lease(*ticket));
    }
}

msg<wire::Lease> broker_state::make_lease(lease_book::ticket t) const {
  auto rows = work->rows_of(t.index);
  auto pinned = current->state.step < current->state.pinned_until;
  return serialization::write(lease{.task = work->number, .kind = work->kind, .step = work->step, .index = t.index,
                                    .attempt = t.attempt, .weights = work->weights,
                                    .start = pinned ? model::rung::master : model::rung::fast,
                                    .rows = {rows.begin(), rows.end()}, .denominator = work->rows.denominator});
}

void broker_state::done(std::uint64_t epoch, const msg<wire::Block>& m) {
  if (!members.contains(epoch))
    return;
  auto b = serialization::read(m, limits);
  if (!b)
    return expel(epoch, b.error());
  if (!work || b->task != work->number || b->kind != work->kind
      || std::uint64_t{b->first} + b->count > work->book.size())
    return; // of an earlier epoch or task
  if (b->kind == model::lease_kind::train)
    return accept_train(std::move(*b));
  if (b->count != 1 || work->book.is_done(b->first))
    return;
  work->book.done(b->first, 1);
  if (b->kind == model::lease_kind::evaluate) {
    work->losses[b->first] = std::move(b->losses);
    if (work->book.complete())
      finish_evaluation();
  } else {
    self->send(driver, predict_atom_v, m);
    if (work->book.complete())
      work.reset();
  }
}

void broker_state::accept_train(block b) {
  auto first = b.first, count = b.count;
  switch (work->sums.put(b)) {
    case block_tree::verdict::contained: return;
    case block_tree::verdict::conflict: return conflict(b);
    case block_tree::verdict::taken: break;
  }
  work->book.done(first, count);
  if (work->sums.complete())
    finish_step();
}

/// A node that breaks the protocol: its leases go to others, and it ends, saying why.
void broker_state::expel(std::uint64_t epoch, const caf::error& why) {
  spdlog::error("The broker expels the node of epoch {}: {}", epoch, text_of(why));
  self->send_exit(members.at(epoch).node, why);
  forget(epoch);
  issue();
}

/// Two results for one range: both are dropped and the range is computed a third time. Once is an incident, twice is the end.
void broker_state::conflict(const block& b) {
  spdlog::error("Leases {}+{} of step {} came back twice with different bits; they are computed again", b.first, b.count, work->step);
  if (++work->conflicts > 1)
    return self->quit(fail(ec::not_reproducible, "step " + std::to_string(work->step) + ": lease " + std::to_string(b.first)
                                                   + " gives different bits on different workers"));
  for (auto i = b.first; i < b.first + b.count; ++i)
    work->book.wait_again(i);
  work->reissues += b.count;
  issue();
}

void broker_state::failed(std::uint64_t epoch, const msg<wire::Failure>& m) {
  auto f = serialization::read(m);
  if (!f || !members.contains(epoch) || !work || f->task != work->number || f->index >= work->book.size()
      || work->book.is_done(f->index) || f->attempt != work->book.attempt(f->index))
    return;
  if (f->attempt + 1 >= rules.lease_attempts)
    return self->quit(fail(ec::gave_up, "lease " + std::to_string(f->index) + " of step " + std::to_string(work->step) + " failed "
                                          + std::to_string(rules.lease_attempts * rules.lease_failures) + " times, last with " + f->cause));
  spdlog::warn("The broker issues lease {} of step {} again: {}", f->index, work->step, f->cause);
  work->book.wait_again(f->index);
  ++work->reissues;
  issue();
}

// -- versions -------------------------------------------------------------------------------------------------------------

void broker_state::advance() {
  began = std::chrono::steady_clock::now();
  auto step = current->state.step;
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
  fetch_ahead(current->state.step + 1);
}

void broker_state::finish_step() {
  const auto& sum = work->sums.blocks().begin()->second;
  auto next = successor();
  auto done = model::apply_step(*run, sum.numbers, next->tensors, next->state, sum.health);
  if (!done.weights_finite)
    return self->quit(fail(ec::nonfinite, "step " + std::to_string(next->state.step) + " makes nonfinite weights of a finite gradient of norm "
                                            + std::to_string(done.norm) + "; lower train.learning-rate or train.weight-decay"));
  report = {.step = next->state.step, .total_steps = run->total_steps, .steps_per_epoch = run->steps_per_epoch,
            .terms = terms_of(run->network, sum.losses), .norm = done.norm, .learning_rate = done.learning_rate,
            .applied = done.applied, .rows = work->rows.rows.size(), .seconds = 0,
            .master_leases = static_cast<std::uint32_t>(std::count(sum.rungs.begin(), sum.rungs.end(), model::rung::master)),
            .reissues = work->reissues, .first_nonfinite = sum.health.first_node};
  work.reset();
  if (next->state.skipped_steps > rules.skipped_steps)
    return self->quit(fail(ec::nonfinite, std::to_string(next->state.skipped_steps) + " steps in a row gave nonfinite gradients on every "
                                            "rung, the last, step " + std::to_string(next->state.step)
                                            + (report.first_nonfinite.empty()
                                                 ? ", though every lease was finite: their sum or its norm overflowed"
                                                 : ", first at " + report.first_nonfinite)
                                            + "; lower train.learning-rate, or set train.clip-norm where it is 0"));
  spare = std::const_pointer_cast<training_version>(std::exchange(current, std::move(next)));
  if (evaluation_is_due(current->state))
    evaluate(model::part::validation);
  else
    hand_over();
}

/// A copy of the current version to become the next one, in the memory of the one before if nobody looks at it any more.
version broker_state::successor() {
  if (!spare || spare.use_count() > 1)
    return std::make_shared<training_version>(*current);
  std::atomic_thread_fence(std::memory_order_acquire); // after whoever released it last
  *spare = *current;
  return std::move(spare);
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
  auto next = std::make_shared<training_version>(*current);
  report.validated = true;
  report.validation_loss = loss;
  report.best = model::record_evaluation(*run, loss, next->state);
  current = std::move(next);
  hand_over();
}

void broker_state::hand_over() {
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  self->send(driver, advance_atom_v, current, serialization::write(report));
  report = {};
}

weights_id broker_state::evaluated_id() const {
  return {current->state.step, !current->tensors.average.empty()};
}

/// One immutable message for everybody. Only weights of the current version are asked for, or of one that just ended.
caf::result<msg<wire::Weights>> broker_state::weights(std::int64_t step, bool averaged, std::uint32_t chunk) {
  weights_id id{step, averaged};
  if (chunk == 0)
    if (auto it = published.find(id); it != published.end())
      return it->second;
  if (step != current->state.step)
    return fail(ec::protocol, "weights of step " + std::to_string(step) + " are gone; this is step " + std::to_string(current->state.step));
  const auto& tensors = current->tensors;
  auto values = averaged ? model::evaluated_weights(tensors) : std::span<const float>{tensors.weights};
  if (std::uint64_t{chunk} * serialization::chunk_bytes > values.size_bytes())
    return fail(ec::protocol, "weights have no chunk " + std::to_string(chunk));
  auto m = serialization::write_weights(id, values, chunk);
  if (chunk == 0) {
    std::erase_if(published, [&](const auto& p) { return p.first.step + 1 < step; });
    published.emplace(id, m);
  }
  return m;
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
                                   sampler_actor sampler, version_ptr first, policy rules) {
  use_log(self);
  auto& st = self->state;
  st.self = self;
  st.driver = std::move(driver);
  st.cluster = std::move(cluster);
  st.limits = serialization::bounds_of(*run, *data);
  st.run = std::move(run);
  st.data = std::move(data);
  st.sampler = std::move(sampler);
  st.current = std::move(first);
  st.rules = std::move(rules);
  self->monitor(st.driver);
  self->set_down_handler([=](caf::down_msg& down) { self->state.on_down(down); });
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
    [=](failed_atom, std::uint64_t epoch, const msg<wire::Failure>& m) { self->state.failed(epoch, m); },
    [=](pull_atom, std::int64_t step, bool averaged, std::uint32_t chunk) { return self->state.weights(step, averaged, chunk); }};
}

} // namespace

broker_actor spawn_broker(caf::actor_system& system, driver_actor driver, std::string cluster, run_ptr run, data_ptr data,
                          sampler_actor sampler, version_ptr version, const policy& rules) {
  return spawn_computing(system, rules, broker, std::move(driver), std::move(cluster), std::move(run), std::move(data),
                         std::move(sampler), std::move(version), rules);
}

} // namespace enn::actors
