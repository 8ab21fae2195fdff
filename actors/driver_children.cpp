#include <enn/actors/driver_children.hpp>

#include <enn/actors/broker.hpp>
#include <enn/actors/checkpointer.hpp>
#include <enn/actors/gate.hpp>
#include <enn/actors/node.hpp>
#include <enn/actors/recorder.hpp>
#include <enn/actors/sampler.hpp>

#include <caf/all.hpp>

namespace enn::actors {

std::vector<children::recipe> table_of(caf::scheduled_actor* driver, driver_children& handles, const driver_means& means) {
  const auto& request = means.request;
  const auto& rules = request.rules;
  std::vector<children::recipe> table;
  // `make` gives a handle; null: no such child.
  auto add = [&](std::string name, auto& handle, auto make) -> child_spec& {
    table.push_back({{.name = std::move(name), .intensity = rules.child_faults, .shutdown = rules.stop_grace},
                     [&handle, make] {
                       handle = make();
                       return caf::actor_cast<caf::strong_actor_ptr>(handle);
                     }});
    return table.back().spec;
  };
  auto& system = driver->system();
  auto self = [driver] { return caf::actor_cast<driver_actor>(driver); };
  add("gate", handles.gate, [=, &system, &means, &request, &rules] {
    return request.publish ? spawn_gate(system, driver->address(), request.cluster, means.start.run, rules) : gate_actor{};
  });
  add("recorder", handles.recorder, [=, &system, &means, &request, &rules] {
    if (!means.trains())
      return recorder_actor{};
    auto recorder = spawn_recorder(system, driver->address(), request.folder, request.what == duty::verify, rules);
    caf::anon_send(recorder, subscribe_atom_v, subscriber_actor{means.observer});
    caf::anon_send(recorder, subscribe_atom_v, subscriber_actor{self()});
    return recorder;
  });
  add("checkpointer", handles.checkpointer, [=, &system, &means, &request, &rules] {
    return means.writes() ? spawn_checkpointer(system, driver->address(), means.start.run, request.folder / "checkpoints", rules)
                          : checkpointer_actor{};
  });
  add("sampler", handles.sampler, [=, &system, &means, &request, &rules] {
    return spawn_sampler(system, driver->address(), means.start.run, request.data, rules);
  });
  add("broker", handles.broker, [=, &system, &means, &request, &rules, &handles] {
    return spawn_broker(system, self(), request.cluster, means.start.run, request.data, handles.sampler, means.version,
                        means.helpers, rules);
  });
  auto& node = add("node", handles.node, [=, &system, &means, &request, &rules, &handles] {
    if (request.workers == 0)
      return node_actor{};
    node_setup setup{request.cluster, std::string{local_name}, means.start.run, request.data, means.helpers, request.workers};
    return spawn_node(system, driver->address(), handles.broker, handles.sampler, std::move(setup), rules);
  });
  node.shutdown = shutdown_of(rules, 2);
  node.mendable = {ec::gave_up}; // of its supervisor: another one may do better
  return table;
}

} // namespace enn::actors
