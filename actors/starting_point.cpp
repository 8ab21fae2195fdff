#include <enn/actors/starting_point.hpp>

#include <enn/serialization/file.hpp>

#include <spdlog/spdlog.h>

#include <optional>

namespace enn::actors {
namespace {

namespace fs = std::filesystem;

/// How many steps losses.jsonl has recorded.
caf::expected<std::int64_t> recorded_steps(const fs::path& folder) {
  auto path = folder / "losses.jsonl";
  if (std::error_code ignored; !fs::exists(path, ignored))
    return 0;
  auto lines = serialization::line_log::lines(path);
  if (!lines)
    return lines.error();
  return static_cast<std::int64_t>(lines->size());
}

/// The newest checkpoint that verifies; nothing if the folder has none at all.
caf::expected<std::optional<restored>> last_checkpoint(const run_request& request) {
  std::error_code ignored;
  auto path = request.folder / "checkpoints";
  if (!fs::exists(path, ignored) || fs::is_empty(path, ignored))
    return std::optional<restored>{};
  auto folder = serialization::checkpoint_folder::open(path, static_cast<std::size_t>(request.run->settings.run.keep_checkpoints));
  if (!folder)
    return folder.error();
  std::vector<std::string> skipped;
  auto found = folder->load_last(skipped);
  for (const auto& reason : skipped)
    spdlog::warn("The driver skips a checkpoint: {}", reason);
  if (!found)
    return found.error();
  auto result = restore(*found);
  if (!result)
    return result.error();
  if (auto same = check_same_run(*request.run, *result->run); !same)
    return same.error();
  return std::optional<restored>{std::move(*result)};
}

/// The run asked for, on the kernels of the run recorded: they are never resolved anew.
run_ptr with_kernels_of(const model::run_definition& asked, const model::run_definition& recorded) {
  auto run = std::make_shared<model::run_definition>(asked);
  run->kernels = recorded.kernels;
  return run;
}

} // namespace

caf::expected<starting_point> find_start(const run_request& request) {
  starting_point start{request.run, request.version, request.run->total_steps};
  if (request.what == duty::predict || request.what == duty::evaluate)
    return start;
  auto steps = recorded_steps(request.folder);
  if (!steps)
    return steps.error();
  auto checkpoint = last_checkpoint(request);
  if (!checkpoint)
    return checkpoint.error();
  if (request.what == duty::train && (*steps > 0 || *checkpoint))
    return fail(ec::bad_usage, request.folder.string() + " holds a run already; resume it, or choose another folder");
  if (request.what == duty::verify && *steps == 0)
    return fail(ec::bad_usage, request.folder.string() + " holds no recorded step to verify");
  if (*checkpoint)
    start.run = with_kernels_of(*request.run, *(*checkpoint)->run);
  if (request.what == duty::resume && *checkpoint)
    start.version = (*checkpoint)->version;
  else
    start.version = first_version(*start.run);
  if (request.what == duty::resume && start.version->state.step > *steps)
    return fail(ec::bad_checkpoint, "the checkpoint is of step " + std::to_string(start.version->state.step)
                                      + ", but losses.jsonl ends with step " + std::to_string(*steps)
                                      + "; bring its lines back, or name an earlier checkpoint in checkpoints/last");
  if (request.what == duty::verify) {
    start.last_step = *steps;
    if (*checkpoint && (*checkpoint)->version->state.step <= *steps) {
      start.recorded_step = (*checkpoint)->version->state.step;
      start.recorded_hash = hash_of_weights(*(*checkpoint)->version);
    }
  }
  return start;
}

} // namespace enn::actors
