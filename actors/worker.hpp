/// One execution context: schedules and arena. See WORKER in interfaces.hpp.
#pragma once
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

namespace enn::actors {

/// Ends when `parent` ends. The caller monitors it.
worker_actor spawn_worker(caf::actor_system& system, caf::actor_addr parent, std::uint64_t ordinal, run_ptr run, const policy& rules);

} // namespace enn::actors
