/// Where node processes find a run. See GATE in interfaces.hpp.
#pragma once
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

namespace enn::actors {

/// `cluster`: what agents must name. When `parent` ends, or tells it to, it tells all agents that the run is over, waits a moment
/// for them to hear it, and ends.
gate_actor spawn_gate(caf::actor_system& system, caf::actor_addr parent, std::string cluster, run_ptr run, const policy& rules);

} // namespace enn::actors
