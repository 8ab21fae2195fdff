/// What keeps a node process at work: finds the gate of a coordinator, joins its run with a node, and does so again whenever
/// either is lost. See AGENT in interfaces.hpp.
#pragma once
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

namespace enn::actors {

struct agent_setup {
  std::string cluster, name;
  std::uint32_t workers = 1;
  bool once = false;      // end when the run is over, instead of waiting for the next one
  /// Who finds the gate: ends with its parent, and is spawned again when it dies.
  std::function<dialler_actor(const caf::actor_addr& parent)> spawn_dialler;
  /// The data of a run, if this machine has it: null if it has not. Called by the agent's own thread.
  std::function<caf::expected<data_ptr>(const model::run_definition&)> find_data = {};
  /// For people: "joined", ... Called by the agent's own thread.
  std::function<void(const std::string&)> tell = {};
};

/// Ends with exit_reason::normal when it was drained, stopped, or the run is over (`once`); else with what no new attempt mends:
/// ec::protocol (another build or cluster), ec::kernel_unavailable, ec::data_mismatch, ec::gave_up. Its node and dialler end with it,
/// whatever happened to it; its process then starts anew.
agent_actor spawn_agent(caf::actor_system& system, agent_setup setup, const policy& rules);

} // namespace enn::actors
