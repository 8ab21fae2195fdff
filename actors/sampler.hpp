/// Rows of steps and parts. See SAMPLER in interfaces.hpp.
#pragma once
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

namespace enn::actors {

/// Ends when `parent` ends.
sampler_actor spawn_sampler(caf::actor_system& system, caf::actor_addr parent, run_ptr run, data_ptr data, const policy& rules);

} // namespace enn::actors
