#include <enn/actors/agent.hpp>

#include <enn/actors/node.hpp>
#include <enn/actors/spawn.hpp>
#include <enn/serialization/graph_wire.hpp>

namespace enn::actors {
namespace {

struct agent_state;
using self_ptr = agent_actor::stateful_pointer<agent_state>;

struct agent_state {
  static inline const char* name = "agent";
  self_ptr self = nullptr;
  agent_setup setup;
  policy rules;
  dialler_actor dialler;        // null: to be spawned
  gate_actor gate;              // null: to be dialled
  node_actor node;              // null: to be spawned
  run_ptr run;                  // the latest one
  data_ptr data;
  std::uint32_t attempts = 0;   // to join, since it last worked
  std::uint32_t node_faults = 0;
  bool trying = false;          // dialling or joining, or about to
  std::uint64_t questions = 0;  // to the gate, or to the dialler where there is none; only the latest one counts
  bool asking = false;
  bool stopping = false, over = false;
  std::string told;

  void tell(const std::string& text);
  void try_later();
  void try_now();
  void join();
  auto ask();
  bool stop_asking();
  void joined(const msg<wire::RunDefinition>& m, const broker_actor& broker, const sampler_actor& sampler);
  caf::expected<void> take_run(model::run_definition fresh);
  void failed(const caf::error& why);
  void on_down(const caf::down_msg& down);
  void on_node_down(const caf::error& why);
  void leave();
  void stop();
  void end(const caf::error& why);
};

/// Nobody wants to read the same line at every attempt.
void agent_state::tell(const std::string& text) {
  if (setup.tell && told != text)
    setup.tell(text);
  told = text;
}

void agent_state::try_later() {
  if (std::exchange(trying, true))
    return;
  self->delayed_send(self, std::min(backoff(rules.backoff, 3000 + self->id(), ++attempts), rules.longest_pause), restart_atom_v);
}

/// Begins a question; answers whether an answer is to the latest one, and the first to it.
auto agent_state::ask() {
  asking = true;
  return [this, question = ++questions] { return question == questions && std::exchange(asking, false); };
}

/// Nobody will answer.
bool agent_state::stop_asking() {
  if (!std::exchange(asking, false))
    return false;
  trying = false;
  return true;
}

void agent_state::try_now() {
  if (stopping)
    return;
  trying = true;
  if (gate)
    return join();
  if (!dialler) {
    dialler = setup.spawn_dialler(self->address());
    self->monitor(dialler);
  }
  auto is_latest = ask();
  self->request(dialler, rules.request_timeout, caf::connect_atom_v)
    .then(
      [=, this](const gate_actor& found) {
        if (!is_latest())
          return;
        gate = found;
        self->monitor(gate);
        join();
      },
      [=, this](caf::error& e) {
        if (is_latest())
          failed(e);
      });
}

void agent_state::join() {
  auto hello = serialization::write(serialization::enlist(setup.cluster, setup.name, setup.workers, ""));
  auto is_latest = ask();
  self->request(gate, rules.request_timeout, join_atom_v, hello, agent_actor{self})
    .then(
      [=, this](const msg<wire::RunDefinition>& m, const broker_actor& b, const sampler_actor& s) {
        if (is_latest())
          joined(m, b, s);
      },
      [=, this](caf::error& e) {
        if (is_latest())
          failed(e);
      });
}

void agent_state::joined(const msg<wire::RunDefinition>& m, const broker_actor& broker, const sampler_actor& sampler) {
  trying = false;
  if (stopping)
    return;
  auto fresh = serialization::read(m);
  if (!fresh)
    return end(fresh.error());
  if (auto taken = take_run(std::move(*fresh)); !taken)
    return end(taken.error());
  attempts = 0;
  over = false;
  tell("joined the run" + std::string{data ? "; rows are read here" : "; rows are fetched from the coordinator"});
  auto helpers = std::make_shared<crew>(rules.shared_chunks);
  node = spawn_node(self->system(), self->address(), broker, sampler,
                    {setup.cluster, setup.name, run, data, std::move(helpers), setup.workers, true}, rules);
  self->monitor(node);
}

/// Data is read once for a run, however often the node joins it.
caf::expected<void> agent_state::take_run(model::run_definition fresh) {
  bool same = run && check_same_run(fresh, *run);
  run = std::make_shared<const model::run_definition>(std::move(fresh));
  if (same || !setup.find_data)
    return caf::unit;
  auto found = setup.find_data(*run);
  if (!found)
    return found.error();
  data = std::move(*found);
  return caf::unit;
}

/// What cannot be mended by another attempt ends the agent.
void agent_state::failed(const caf::error& why) {
  trying = false;
  if (stopping)
    return end(caf::exit_reason::normal);
  auto code = code_of(why);
  if (code == ec::interrupted)
    return leave();
  if (code != ec::none && code != ec::unavailable && code != ec::io_failed)
    return end(why);
  if (code == ec::none && gate) { // no answer: the connection may be dead
    self->demonitor(gate.address());
    gate = nullptr;
  }
  tell("no run there (" + reason_text(why) + "); trying again");
  try_later();
}

void agent_state::on_down(const caf::down_msg& down) {
  if (gate && down.source == gate.address()) {
    gate = nullptr;
    stop_asking();
    if (!node)
      try_later();
  } else if (node && down.source == node.address()) {
    node = nullptr;
    on_node_down(down.reason);
  } else if (dialler && down.source == dialler.address()) {
    dialler = nullptr;
    if (!gate && stop_asking())
      try_later();
  }
}

void agent_state::on_node_down(const caf::error& why) {
  if (stopping || !why) {
    tell(stopping ? "left the run" : "drained; left the run");
    return end(caf::exit_reason::normal);
  }
  if (over)
    return leave();
  auto code = code_of(why);
  if (code == ec::gave_up && ++node_faults <= rules.child_faults)
    return try_later();
  if (code != ec::none)
    return end(why);
  try_later(); // its broker is gone, and may come back
}

/// The run is over.
void agent_state::leave() {
  over = true;
  if (node)
    return; // it ends with its broker
  tell("the run is over");
  if (setup.once)
    return end(caf::exit_reason::normal);
  run = nullptr;
  data = nullptr;
  try_later();
}

/// In good order where there is a broker: it gives out no more, and takes what is done.
void agent_state::stop() {
  if (std::exchange(stopping, true))
    return;
  if (!node || !gate)
    return end(caf::exit_reason::normal);
  self->request(gate, rules.request_timeout, drain_atom_v, setup.name, false)
    .then([](std::uint32_t) {}, [this](caf::error&) { end(caf::exit_reason::normal); });
}

/// Its children follow.
void agent_state::end(const caf::error& why) {
  stopping = true;
  self->quit(why);
}

agent_actor::behavior_type agent(self_ptr self, agent_setup setup, policy rules) {
  use_log(self);
  auto& st = self->state;
  st.self = self;
  st.setup = std::move(setup);
  st.rules = std::move(rules);
  self->set_down_handler([=](caf::down_msg& down) { self->state.on_down(down); });
  self->set_exit_handler([=](caf::exit_msg& m) { self->state.end(m.reason); });
  self->send(self, restart_atom_v);
  return {
    [=](restart_atom) { self->state.try_now(); },
    [=](leave_atom) {
      self->state.leave();
      return true;
    },
    [=](stop_atom) { self->state.stop(); }};
}

} // namespace

agent_actor spawn_agent(caf::actor_system& system, agent_setup setup, const policy& rules) {
  return spawn_computing(system, rules, agent, std::move(setup), rules);
}

} // namespace enn::actors
