/// The children of a driver: the one place that says which there are, in which order, and how each is made.
#pragma once
#include <enn/actors/children.hpp>
#include <enn/actors/crew.hpp>
#include <enn/actors/run.hpp>
#include <enn/actors/starting_point.hpp>

namespace enn::actors {

/// In order: each may use those before it, so a restart takes along those after it.
enum rank : std::size_t { gate_rank, recorder_rank, checkpointer_rank, sampler_rank, broker_rank, node_rank };

/// The newest of each. Those that a duty does not need stay null.
struct driver_children {
  gate_actor gate;
  recorder_actor recorder;
  checkpointer_actor checkpointer;
  sampler_actor sampler;
  broker_actor broker;
  node_actor node;
};

/// What they are made from. Belongs to the driver, and is read at every start: the version is the newest then.
struct driver_means {
  run_request request;
  observer_actor observer;
  starting_point start;
  version_ptr version;
  crew_ptr helpers; // of node and broker

  bool trains() const { return request.what <= duty::verify; }
  bool writes() const { return request.what <= duty::resume; }
};

/// By rank. The handles are set as the children are started; all arguments outlive the table.
std::vector<children::recipe> table_of(caf::scheduled_actor* driver, driver_children& handles, const driver_means& means);

} // namespace enn::actors
