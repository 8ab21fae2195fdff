/// Writes versions to disk. See CHECKPOINTER in interfaces.hpp.
#pragma once
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

#include <filesystem>

namespace enn::actors {

/// Ends when `parent` ends.
checkpointer_actor spawn_checkpointer(caf::actor_system& system, caf::actor_addr parent, run_ptr run, std::filesystem::path folder,
                                      const policy& rules);

} // namespace enn::actors
