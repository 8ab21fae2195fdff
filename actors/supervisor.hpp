/// The only one that talks to workers. See SUPERVISOR in interfaces.hpp, and README.md for who restarts whom.
#pragma once
#include <enn/actors/crew.hpp>
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

namespace enn::actors {

/// Ends when `parent` ends, after its workers. The caller monitors it. `helpers`: workers without a lease help there; no other supervisor
/// has the same.
supervisor_actor spawn_supervisor(caf::actor_system& system, node_actor parent, run_ptr run, std::uint32_t workers, crew_ptr helpers,
                                  const policy& rules);

} // namespace enn::actors
