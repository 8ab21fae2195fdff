/// A training version: an immutable value, shared by pointer inside the coordinator process. On disk it is a checkpoint.
#pragma once
#include <enn/model/training/trainer.hpp>
#include <enn/serialization/wire.hpp>

#include <optional>

namespace enn::actors {

struct training_version {
  model::training_tensors tensors;
  model::run_state state;
};
using version_ptr = std::shared_ptr<const training_version>;
using run_ptr = std::shared_ptr<const model::run_definition>;
using data_ptr = std::shared_ptr<const model::dataset>;

/// The BLAS on which the bits of the run depend: for the set openblas library, version and core type of this process, else "".
std::string blas_of(const model::run_definition& run);
/// The one that computed a checkpoint; "" where no bit depends on it.
std::string blas_of(const serialization::checkpoint& from);

version_ptr first_version(const model::run_definition& run);
/// Name of the coordinator's own node.
inline constexpr std::string_view local_name = "local";

std::uint64_t hash_of_weights(const training_version& version);

/// `losses`: XXH3-128 of the lines of losses.jsonl up to this version's step; "" is left out.
serialization::checkpoint to_checkpoint(const model::run_definition& run, const training_version& version, std::string losses = {});
/// That of a checkpoint; "" where it has none.
std::string losses_of(const serialization::checkpoint& from);

/// What a checkpoint holds, its tensors of the size that its graph needs.
struct restored {
  run_ptr run;
  version_ptr version;
};
caf::expected<restored> restore(const serialization::checkpoint& from);

/// ec::bad_config naming the first value that is not the same. [run] may differ, as nothing there can change a bit, and the
/// path of the data.
caf::expected<void> check_same_settings(const model::config& asked, const model::config& recorded);

/// ec::bad_config or ec::data_mismatch naming the first difference between the run asked for and the one recorded, [run]
/// left out.
caf::expected<void> check_same_run(const model::run_definition& asked, const model::run_definition& recorded);

/// ec::kernel_unavailable naming the run's kernel set and why it cannot run here. The set is a part of the run and is never
/// exchanged for another. For the set openblas also if the library, its version or its core type is not the one that a
/// checkpoint of the run records; nothing: there is no checkpoint.
caf::expected<void> check_kernels(const model::run_definition& run, const std::optional<std::string>& recorded_blas = {});

} // namespace enn::actors
