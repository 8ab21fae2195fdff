#include <enn/actors/gate.hpp>

#include <enn/actors/spawn.hpp>
#include <enn/serialization/graph_wire.hpp>

#include <algorithm>

namespace enn::actors {
namespace {

struct gate_state;
using self_ptr = gate_actor::stateful_pointer<gate_state>;
using welcome = caf::result<msg<wire::RunDefinition>, broker_actor, sampler_actor>;

struct gate_state {
  static inline const char* name = "gate";
  self_ptr self = nullptr;
  std::string cluster;
  msg<wire::RunDefinition> run;
  policy rules;
  broker_actor broker;   // null: it is being started
  sampler_actor sampler;
  std::vector<agent_actor> agents;
  std::size_t unheard = 0; // agents that have not confirmed the end
  bool ending = false;

  welcome join(const msg<wire::Enlistment>& m, const agent_actor& agent);
  void end();
  void heard();
};

caf::error being_started() {
  return fail(ec::unavailable, "the run is being started; ask again");
}

/// Kernels are the node's to check, once it knows the run.
welcome gate_state::join(const msg<wire::Enlistment>& m, const agent_actor& agent) {
  auto theirs = serialization::read(m);
  if (!theirs)
    return theirs.error();
  if (auto same = check_same(serialization::enlist(cluster, "", 1, ""), *theirs); !same)
    return same.error();
  if (ending)
    return fail(ec::interrupted, "the run is over");
  if (std::find(agents.begin(), agents.end(), agent) == agents.end()) {
    self->monitor(agent);
    agents.push_back(agent);
  }
  if (!broker)
    return being_started();
  return {run, broker, sampler};
}

void gate_state::end() {
  if (std::exchange(ending, true))
    return;
  unheard = agents.size() + 1;
  for (const auto& agent : agents)
    self->request(agent, rules.farewell, leave_atom_v).then([this](bool) { heard(); }, [this](caf::error&) { heard(); });
  heard();
}

void gate_state::heard() {
  if (--unheard == 0)
    self->quit(caf::exit_reason::user_shutdown);
}

gate_actor::behavior_type gate(self_ptr self, caf::actor_addr parent, std::string cluster, run_ptr run, policy rules) {
  use_log(self);
  auto& st = self->state;
  st.self = self;
  st.cluster = std::move(cluster);
  st.run = serialization::write(*run);
  st.rules = std::move(rules);
  self->monitor(parent);
  self->set_down_handler([=](caf::down_msg& down) {
    if (down.source == parent)
      self->state.end();
    else
      std::erase_if(self->state.agents, [&](const agent_actor& a) { return a.address() == down.source; });
  });
  self->set_exit_handler([=](caf::exit_msg&) { self->state.end(); });
  return {
    [=](serve_atom, const broker_actor& broker, const sampler_actor& sampler) {
      self->state.broker = broker;
      self->state.sampler = sampler;
    },
    [=](join_atom, const msg<wire::Enlistment>& m, const agent_actor& agent) { return self->state.join(m, agent); },
    [=](status_atom) -> caf::result<msg<wire::Members>> {
      if (!self->state.broker)
        return being_started();
      return self->delegate(self->state.broker, status_atom_v);
    },
    [=](drain_atom, const std::string& who, bool now) -> caf::result<std::uint32_t> {
      if (!self->state.broker)
        return being_started();
      return self->delegate(self->state.broker, drain_atom_v, who, now);
    }};
}

} // namespace

gate_actor spawn_gate(caf::actor_system& system, caf::actor_addr parent, std::string cluster, run_ptr run, const policy& rules) {
  return spawn_scheduled(system, rules, gate, std::move(parent), std::move(cluster), std::move(run), rules);
}

} // namespace enn::actors
