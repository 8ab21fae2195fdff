/// One process on one machine. See NODE in interfaces.hpp.
#pragma once
#include <enn/actors/crew.hpp>
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

namespace enn::actors {

struct node_setup {
  std::string cluster, name;
  run_ptr run;
  data_ptr data;             // null: rows are fetched from the sampler
  crew_ptr helpers;          // its workers without a lease
  std::uint32_t workers = 1;
  bool remote = false;       // broker and sampler are in another process: bulk goes in pieces
};

/// Enlists at the broker and ends when it or the parent ends, after its supervisor: with exit_reason::normal if the broker told it to
/// leave, else with what went wrong. The parent monitors it.
node_actor spawn_node(caf::actor_system& system, caf::actor_addr parent, broker_actor broker, sampler_actor sampler, node_setup setup,
                      const policy& rules);

} // namespace enn::actors
