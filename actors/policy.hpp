/// How failures are met and where actors run: values handed to the actors that need them.
#pragma once
#include <enn/kernels/random.hpp>
#include <enn/serialization/wire.hpp>

#include <caf/fwd.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string_view>

namespace enn::actors {

/// A test's hook: asked before each lease that a worker computes; true: the worker throws. Empty in production.
using fault_plan = std::function<bool(std::uint64_t worker, const serialization::lease&)>;
/// A test's hook: asked before each message that an actor takes, answers to its own requests and down messages included.
/// Empty in production.
enum class throws : std::uint8_t { not_at_all, at_once, at_last }; // before the handler did anything, or after it did all
using throw_plan = std::function<throws(std::string_view actor, const caf::mailbox_element&)>;

/// A test's hook: asked before each lease that a worker computes, which it may change; answers what befalls the numbers of its pass.
using number_fault_plan = std::function<model::number_fault(std::uint64_t worker, serialization::lease&)>;

struct policy {
  /// Faults of a child since it last did its duty (completed a lease, a block, a step), after which its parent gives up.
  std::uint32_t worker_faults = 5, supervisor_faults = 3, child_faults = 3;
  std::uint32_t lease_failures = 2; // workers on which a lease may fail before the broker hears of it
  std::uint32_t lease_attempts = 3; // of the broker, before the run stops
  std::uint32_t skipped_steps = 10; // in a row with nonfinite gradients, before the run stops
  std::chrono::milliseconds backoff{20};         // before the first restart; doubles with each fault since the last success
  std::chrono::milliseconds lease_deadline{600000};
  std::chrono::milliseconds beat{500};           // of nodes
  std::uint32_t silent_beats = 5;                // after which a node is suspected and its leases go to others
  std::chrono::milliseconds late_lease{1000};    // and three times the usual time: then it goes to another node too
  std::uint64_t row_cache_bytes = std::uint64_t{512} << 20; // of a node without data
  /// A larger block is offered to another process, not sent.
  std::uint64_t bulk_bytes = serialization::bulk_chunks * serialization::chunk_bytes;
  std::int64_t shared_chunks = 4;                // of a sum or an optimizer step, from which on it is shared with a crew
  std::chrono::milliseconds request_timeout{30000};
  std::chrono::milliseconds disk_timeout{600000};
  std::chrono::milliseconds dial_timeout{5000};
  std::chrono::milliseconds longest_pause{2000}; // between attempts of a node to join
  std::chrono::milliseconds farewell{2000};      // for node processes to hear that the run is over
  std::chrono::milliseconds stop_patience{3000}; // for the step in the making, when a run is to stop
  std::chrono::milliseconds stop_grace{10000};   // for a child without children to end, before it is killed
  bool threads = true; // false: everything on CAF's scheduler, so that the deterministic one can run the whole system
  fault_plan faults;
  throw_plan throwing;
  number_fault_plan number_faults;
};

/// For a child that has this many generations below it: it outlasts their ends, stuck ones included.
inline std::chrono::milliseconds shutdown_of(const policy& p, int generations) {
  return p.stop_grace * (1 + generations);
}

/// Exponential, with up to half of it again as jitter. The jitter follows from its arguments, so tests repeat.
inline std::chrono::milliseconds backoff(std::chrono::milliseconds first, std::uint64_t child, std::uint32_t faults) {
  auto base = first * (1u << std::min(faults > 0 ? faults - 1 : 0, 10u));
  auto jitter = kernels::random_uniform({.seed = child, .step = faults}, 0);
  return base + std::chrono::milliseconds{static_cast<std::int64_t>(static_cast<float>(base.count()) * jitter / 2)};
}

} // namespace enn::actors
