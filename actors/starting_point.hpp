/// Where a run begins: what the duty asks for against what the run's folder holds. Reads only. No actors.
#pragma once
#include <enn/actors/run.hpp>

#include <map>
#include <optional>

namespace enn::actors {

struct starting_point {
  run_ptr run;                         // with the kernel set that the run was begun with
  version_ptr version;
  std::int64_t last_step = 0;          // where to end
  std::filesystem::path checkpoint = {};    // train, resume: where the version is from; empty: step 0
  std::optional<std::string> blas = {};     // the library that a checkpoint records; nothing: there is no checkpoint
  std::map<std::int64_t, std::uint64_t> recorded_hashes = {}; // verify: the weights that must come out again, by step
  bool torn_line = false;              // verify: losses.jsonl ends in a torn line
};

/// Errors: ec::bad_usage (the folder holds a run already, or nothing to verify), those of check_same_run() and of checkpoints;
/// ec::bad_checkpoint where losses.jsonl ends before the last one or has other lines up to it than it had then, or to verify any
/// up to it that is damaged, missing or misnamed.
caf::expected<starting_point> find_start(const run_request& request);

} // namespace enn::actors
