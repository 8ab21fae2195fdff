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
  fault_plan faults;
  number_fault_plan number_faults;
  std::optional<model::lease_computer> computer;

  block compute(lease l, const flat_weights& weights, const model::row_source& source);
};

/// A result is a pure function of the lease, the weights and the run. Nothing but memory is kept from one lease to the next.
block worker_state::compute(lease l, const flat_weights& weights, const model::row_source& source) {
  if (faults && faults(ordinal, l))
    throw std::runtime_error("injected fault at step " + std::to_string(l.step) + ", lease " + std::to_string(l.index));
  auto fault = number_faults ? number_faults(ordinal, l) : model::number_fault{};
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
  auto result = computer->compute({l.kind, l.step, &source, l.rows, l.denominator, l.start, fault ? &fault : nullptr}, weights.values,
                                  train ? std::span{numbers} : std::span<float>{},
                                  predict ? std::span{numbers} : std::span<float>{});
  answer.health = std::move(result.health);
  if (!predict)
    answer.losses = std::move(result.losses);
  return answer;
}

worker_actor::behavior_type worker(worker_actor::stateful_pointer<worker_state> self, caf::actor_addr parent, std::uint64_t ordinal,
                                   run_ptr run, fault_plan faults, number_fault_plan number_faults) {
  use_log(self);
  follow(self, parent);
  auto& st = self->state;
  st.ordinal = ordinal;
  st.run = run;
  st.limits = serialization::bounds_of(*run);
  st.faults = std::move(faults);
  st.number_faults = std::move(number_faults);
  st.computer.emplace(std::move(run));
  return {
    [=](compute_atom, std::uint64_t job, const msg<wire::Lease>& m,
        const weights_ptr& weights, const rows_ptr& source) -> caf::result<done_atom, std::uint64_t, block_ptr> {
      auto l = serialization::read(m, self->state.limits);
      if (!l)
        return l.error();
      return {done_atom_v, job, std::make_shared<block>(self->state.compute(std::move(*l), *weights, *source))};
    },
    [](help_atom, const chunk_job_ptr& job) { job->help(); }};
}

} // namespace

worker_actor spawn_worker(caf::actor_system& system, caf::actor_addr parent, std::uint64_t ordinal, run_ptr run, const policy& rules) {
  return spawn_computing(system, rules, worker, std::move(parent), ordinal, std::move(run), rules.faults, rules.number_faults);
}

} // namespace enn::actors
