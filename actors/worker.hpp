/// One execution context: schedules and arena. See WORKER in interfaces.hpp.
#pragma once
#include <enn/actors/crew.hpp>
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

namespace enn::actors {

/// Ends when `parent` ends. The caller monitors it. `helpers`: with its lease.
worker_actor spawn_worker(caf::actor_system& system, caf::actor_addr parent, std::uint64_t ordinal, run_ptr run, crew_ptr helpers,
                          const policy& rules);

} // namespace enn::actors
