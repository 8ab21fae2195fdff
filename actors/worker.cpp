#include <enn/actors/worker.hpp>

#include <enn/actors/spawn.hpp>

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace enn::actors {
namespace {

using serialization::block;
using serialization::lease;

struct worker_state {
  static inline const char* name = "worker";
  std::uint64_t ordinal = 0;
  run_ptr run;
  serialization::bounds limits;
  crew_ptr helpers;
  fault_plan faults;
  number_fault_plan number_faults;
  std::optional<model::lease_computer> computer;

  caf::expected<block> compute(const lease& l, const flat_weights& weights, const model::row_source& source);
  caf::expected<block> check(block first, const lease& l, const flat_weights& weights, const model::row_source& source);
  block pass(lease l, const flat_weights& weights, const model::row_source& source, bool by_reference = false);
  std::string place_of(const block& b, std::size_t element) const;
};

/// A result is a pure function of the lease, the weights and the run. Nothing but memory is kept from one lease to the next.
caf::expected<block> worker_state::compute(const lease& l, const flat_weights& weights, const model::row_source& source) {
  if (faults && faults(ordinal, l))
    throw std::runtime_error("injected fault at step " + std::to_string(l.step) + ", lease " + std::to_string(l.index));
  auto answer = pass(l, weights, source);
  bool fast = answer.rungs.front() == model::rung::fast; // the master rung has no second set of kernels
  if (!model::is_checked(*run, l.step, l.index) || !fast || l.rows.empty() || !answer.health.ok())
    return answer;
  return check(std::move(answer), l, weights, source);
}

/// By the kernels' contract the reference set gives the same bits. Where it does not, a third pass tells a number that went wrong once,
/// and is used no more, from kernels or a machine that cannot be trusted.
caf::expected<block> worker_state::check(block first, const lease& l, const flat_weights& weights, const model::row_source& source) {
  first.checked = 1;
  auto reference = pass(l, weights, source, true);
  if (hash_of(first) == hash_of(reference))
    return first;
  auto a = first.numbers.view(), b = reference.numbers.view();
  auto at = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  auto what = "kernel set " + run->kernels + " and the reference kernels differ in step " + std::to_string(l.step) + ", lease "
              + std::to_string(l.index) + ", first in " + place_of(first, at);
  auto again = pass(l, weights, source);
  if (hash_of(again) != hash_of(reference))
    return fail(ec::not_reproducible, what + ", and do so again; other leases of this node may have been wrong unseen. Check this "
                                        "machine (enn doctor, a memory test), then the run (enn verify-run)");
  spdlog::error("{}; once only: the right numbers are used. Check this machine's memory", what);
  again.checked = again.mended = 1;
  return again;
}

/// Of an element of a block's numbers, for people. Past the last one: the losses.
std::string worker_state::place_of(const block& b, std::size_t element) const {
  if (element >= b.numbers.size())
    return "a loss";
  if (b.kind == model::lease_kind::predict)
    return "the prediction of row " + std::to_string(b.rows[element / limits.target_size]);
  auto s = std::ranges::find_if(run->layout.spans, [&](const auto& x) { return static_cast<std::size_t>(x.offset + x.size) > element; });
  return "the gradient of " + s->path + ", element " + std::to_string(static_cast<std::int64_t>(element) - s->offset);
}

block worker_state::pass(lease l, const flat_weights& weights, const model::row_source& source, bool by_reference) {
  auto fault = number_faults && !by_reference ? number_faults(ordinal, l) : model::number_fault{};
  bool train = l.kind == model::lease_kind::train, predict = l.kind == model::lease_kind::predict;
  block answer{.task = l.task, .kind = l.kind, .step = l.step, .first = l.index, .count = 1, .rungs = {l.start},
               .losses = {}, .health = {}, .numbers = {}, .rows = {}};
  auto& numbers = answer.numbers.edit();
  numbers.resize(train ? limits.parameters : predict ? l.rows.size() * limits.target_size : 0);
  if (predict)
    answer.rows = l.rows;
  else
    answer.losses.resize(limits.losses);
  if (l.rows.empty()) { // a short step may leave a lease without rows: its sums are zero
    std::ranges::fill(numbers, 0.0f);
    return answer;
  }
  auto result = computer->compute({l.kind, l.step, &source, l.rows, l.denominator, l.start, fault ? &fault : nullptr,
                                   by_reference, helpers.get()}, weights.values,
                                  train ? std::span{numbers} : std::span<float>{},
                                  predict ? std::span{numbers} : std::span<float>{});
  answer.health = std::move(result.health);
  if (!predict)
    answer.losses = std::move(result.losses);
  return answer;
}

worker_actor::behavior_type worker(worker_actor::stateful_pointer<worker_state> self, caf::actor_addr parent, std::uint64_t ordinal,
                                   run_ptr run, crew_ptr helpers, fault_plan faults,
                                   number_fault_plan number_faults) {
  use_log(self);
  follow(self, parent);
  auto& st = self->state;
  st.ordinal = ordinal;
  st.run = run;
  st.limits = serialization::bounds_of(*run);
  st.helpers = std::move(helpers);
  st.faults = std::move(faults);
  st.number_faults = std::move(number_faults);
  st.computer.emplace(std::move(run));
  return {
    [=](compute_atom, std::uint64_t job, const msg<wire::Lease>& m,
        const weights_ptr& weights, const rows_ptr& source) -> caf::result<done_atom, std::uint64_t, block_ptr> {
      auto l = serialization::read(m, self->state.limits);
      if (!l)
        return l.error();
      auto answer = self->state.compute(*l, *weights, *source);
      if (!answer) {
        self->quit(answer.error());
        return answer.error();
      }
      return {done_atom_v, job, std::make_shared<block>(std::move(*answer))};
    },
    [=](help_atom, std::uint64_t watch) { self->state.helpers->help(watch); }};
}

} // namespace

worker_actor spawn_worker(caf::actor_system& system, caf::actor_addr parent, std::uint64_t ordinal, run_ptr run, crew_ptr helpers,
                          const policy& rules) {
  return spawn_computing(system, rules, worker, std::move(parent), ordinal, std::move(run), std::move(helpers), rules.faults,
                         rules.number_faults);
}

} // namespace enn::actors
