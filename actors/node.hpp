/// One process on one machine. See NODE in interfaces.hpp.
#pragma once
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

namespace enn::actors {

/// Enlists at the broker and ends when it ends, after its supervisor. The caller monitors it.
node_actor spawn_node(caf::actor_system& system, broker_actor broker, std::string cluster, run_ptr run, data_ptr data,
                      std::uint32_t workers, const policy& rules);

} // namespace enn::actors
