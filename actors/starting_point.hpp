/// Where a run begins: what the duty asks for against what the run's folder holds. No actors.
#pragma once
#include <enn/actors/run.hpp>

namespace enn::actors {

struct starting_point {
  run_ptr run;                     // with the kernel set that the run was begun with
  version_ptr version;
  std::int64_t last_step = 0;      // where to end
  std::int64_t recorded_step = -1; // verify: the checkpoint whose weights must come out again; -1: none
  std::uint64_t recorded_hash = 0;
};

/// Errors: ec::bad_usage (the folder holds a run already, or nothing to verify), those of check_same_run() and of checkpoints.
caf::expected<starting_point> find_start(const run_request& request);

} // namespace enn::actors
