/// losses.jsonl, metrics.jsonl, subscribers. See RECORDER in interfaces.hpp.
#pragma once
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

#include <filesystem>

namespace enn::actors {

/// The line of losses.jsonl for a step: what is the same for every execution of the run. Decimal for people, hexadecimal for
/// comparison; nonfinite numbers are null and a text.
std::string losses_line(const serialization::progress& p);
/// The line of metrics.jsonl: times and rates.
std::string metrics_line(const serialization::progress& p);

/// `verify`: compares only; a step that is not recorded is ec::not_reproducible, and nothing is written. Ends when `parent` ends.
recorder_actor spawn_recorder(caf::actor_system& system, caf::actor_addr parent, std::filesystem::path folder, bool verify,
                              const policy& rules);

} // namespace enn::actors
