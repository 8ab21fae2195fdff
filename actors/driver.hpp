/// Owns one run from its first step to its last, or one pass of predictions. See DRIVER in interfaces.hpp.
#pragma once
#include <enn/actors/run.hpp>

namespace enn::actors {

/// Starts at once. The observer gets what interfaces.hpp says; when it ends, the driver stops in good order.
driver_actor spawn_driver(caf::actor_system& system, run_request request, observer_actor observer);

} // namespace enn::actors
