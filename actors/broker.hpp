/// Membership, leases, sums, versions. See BROKER in interfaces.hpp.
#pragma once
#include <enn/actors/crew.hpp>
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

namespace enn::actors {

/// Starts at `version` and ends when `driver` ends. `cluster`: what enlisting nodes must name. `helpers`: with sums and optimizer steps.
broker_actor spawn_broker(caf::actor_system& system, driver_actor driver, std::string cluster, run_ptr run, data_ptr data,
                          sampler_actor sampler, version_ptr version, crew_ptr helpers, const policy& rules);

} // namespace enn::actors
