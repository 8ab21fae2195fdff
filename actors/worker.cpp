#include <enn/actors/worker.hpp>

#include <enn/actors/spawn.hpp>
#include <enn/kernels/machine.hpp>

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
  std::optional<model::lease_computer> computer;

  block compute(const lease& l, const flat_weights& weights);
};

/// A result is a pure function of the lease, the weights and the run. Nothing is kept from one lease to the next.
block worker_state::compute(const lease& l, const flat_weights& weights) {
  if (faults && faults(ordinal, l))
    throw std::runtime_error("injected fault at step " + std::to_string(l.step) + ", lease " + std::to_string(l.index));
  block b{.task = l.task, .kind = l.kind, .step = l.step, .first = l.index, .count = 1, .rungs = {l.start},
          .losses = {}, .health = {}, .numbers = {}, .rows = {}};
  if (l.kind == model::lease_kind::train)
    b.numbers.resize(limits.parameters);
  if (l.kind == model::lease_kind::predict) {
    b.rows = l.rows;
    b.numbers.resize(l.rows.size() * limits.target_size);
  }
  if (l.kind != model::lease_kind::predict)
    b.losses.resize(limits.losses);
  if (!l.rows.empty()) { // a short step may leave a lease without rows: its sums are zero
    kernels::rounding_guard guard;
    auto train = l.kind == model::lease_kind::train;
    auto result = computer->compute({l.kind, l.step, l.rows, l.denominator, l.start}, weights.values,
                                    train ? std::span{b.numbers} : std::span<float>{}, train ? std::span<float>{} : std::span{b.numbers});
    b.health = std::move(result.health);
    if (l.kind != model::lease_kind::predict)
      b.losses = std::move(result.losses);
  }
  return b;
}

worker_actor::behavior_type worker(worker_actor::stateful_pointer<worker_state> self, caf::actor_addr parent, std::uint64_t ordinal,
                                   run_ptr run, data_ptr data, fault_plan faults) {
  use_log(self);
  follow(self, parent);
  auto& st = self->state;
  st.ordinal = ordinal;
  st.run = run;
  st.limits = serialization::bounds_of(*run, *data);
  st.faults = std::move(faults);
  st.computer.emplace(std::move(run), std::move(data));
  return {
    [=](compute_atom, std::uint64_t job, const msg<wire::Lease>& m,
        const weights_ptr& weights) -> caf::result<done_atom, std::uint64_t, msg<wire::Block>> {
      auto l = serialization::read(m, self->state.limits);
      if (!l)
        return l.error();
      return {done_atom_v, job, serialization::write(self->state.compute(*l, *weights))};
    }};
}

} // namespace

worker_actor spawn_worker(caf::actor_system& system, caf::actor_addr parent, std::uint64_t ordinal, run_ptr run, data_ptr data,
                          const policy& rules) {
  return spawn_computing(system, rules, worker, std::move(parent), ordinal, std::move(run), std::move(data), rules.faults);
}

} // namespace enn::actors
