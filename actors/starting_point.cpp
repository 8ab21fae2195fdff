#include <enn/actors/starting_point.hpp>

#include <enn/serialization/file.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace enn::actors {
namespace {

namespace fs = std::filesystem;
using serialization::checkpoint_folder;

struct recorded_lines {
  std::int64_t steps = 0;
  bool torn = false; // something follows the last whole one
};

/// How many steps losses.jsonl has recorded.
caf::expected<recorded_lines> lines_of(const fs::path& folder) {
  auto path = folder / "losses.jsonl";
  if (std::error_code ignored; !fs::exists(path, ignored))
    return recorded_lines{};
  auto text = serialization::read_file(path);
  if (!text)
    return text.error();
  auto whole = std::string_view{*text}.substr(0, serialization::line_log::whole(*text));
  return recorded_lines{std::count(whole.begin(), whole.end(), '\n'), whole.size() < text->size()};
}

/// The run asked for, on the kernels of the run recorded: they are never resolved anew.
run_ptr with_kernels_of(const model::run_definition& asked, const model::run_definition& recorded) {
  auto run = std::make_shared<model::run_definition>(asked);
  run->kernels = recorded.kernels;
  return run;
}

/// The version of a checkpoint of the run asked for; what the run must go on with is noted in `start`.
caf::expected<version_ptr> take(const run_request& request, const serialization::checkpoint& from, starting_point& start) {
  auto found = restore(from);
  if (!found)
    return found.error();
  if (auto same = check_same_run(*request.run, *found->run); !same)
    return same.error();
  start.run = with_kernels_of(*request.run, *found->run);
  start.blas = blas_of(from);
  return found->version;
}

caf::expected<void> check_lines(const fs::path& folder, std::int64_t checkpoint, const recorded_lines& lines) {
  if (checkpoint <= lines.steps)
    return caf::unit;
  return fail(ec::bad_checkpoint, folder.string() + ": the checkpoint is of step " + std::to_string(checkpoint)
                                    + ", but losses.jsonl ends with step " + std::to_string(lines.steps)
                                    + (lines.torn ? " and a torn line" : "")
                                    + "; bring its lines back, or name an earlier checkpoint in checkpoints/last");
}

/// The lines that are never computed again must be those that the checkpoint was written after; the others are compared.
caf::expected<void> check_recorded(const fs::path& losses, std::int64_t steps, const std::string& expected) {
  auto found = serialization::lines_fingerprint{losses}.of(static_cast<std::uint64_t>(steps));
  if (!found)
    return found.error();
  if (expected.empty() || *found == expected)
    return caf::unit;
  return fail(ec::bad_checkpoint, losses.string() + ": damaged: the checkpoint of step " + std::to_string(steps)
                                    + " was made after lines with XXH3-128 " + expected + ", found " + *found
                                    + "; bring them back: enn verify-run names the first one that is wrong");
}

/// The newest checkpoint that verifies; null if none was ever completed.
caf::expected<version_ptr> last_version(const run_request& request, const checkpoint_folder& folder, const recorded_lines& lines,
                                        starting_point& start) {
  auto steps = folder.steps();
  if (!steps)
    return steps.error();
  if (steps->empty())
    return version_ptr{};
  std::vector<std::string> skipped;
  auto found = folder.load_last(skipped);
  for (const auto& reason : skipped)
    spdlog::warn("The driver skips a checkpoint: {}", reason);
  if (!found)
    return found.error();
  start.checkpoint = folder.file_of(found->step);
  auto version = take(request, *found, start);
  if (!version)
    return version;
  if (auto whole = check_lines(request.folder, found->step, lines); !whole)
    return whole.error();
  if (auto whole = check_recorded(request.folder / "losses.jsonl", found->step, losses_of(*found)); !whole)
    return whole.error();
  return version;
}

/// Every checkpoint up to the last, each of which must be whole: what is damaged cannot be compared.
caf::expected<void> find_recorded_weights(starting_point& start, const run_request& request, const checkpoint_folder& folder) {
  auto steps = folder.steps();
  if (!steps)
    return steps.error();
  for (auto step : *steps) {
    auto found = folder.load(step);
    if (!found) {
      std::error_code ignored;
      if (fs::exists(folder.file_of(step), ignored))
        return found.error();
      if (step == steps->front())
        return fail(ec::bad_checkpoint, folder.file_of(step).string() + ": missing, though \"last\" names it");
      continue; // removed meanwhile by a run that goes on
    }
    starting_point older; // the newest says what to go on with
    auto recorded = take(request, *found, step == steps->front() ? start : older);
    if (!recorded)
      return fail(code_of(recorded.error()), folder.file_of(step).string() + ": " + text_of(recorded.error()));
    start.recorded_hashes[step] = hash_of_weights(**recorded);
  }
  return caf::unit;
}

/// Checkpoints before lines: those of a run that goes on meanwhile are then not ahead of them.
caf::expected<starting_point> start_of_verification(const run_request& request, const fs::path& checkpoints) {
  starting_point start{request.run, nullptr};
  std::error_code ignored;
  if (fs::exists(checkpoints, ignored))
    if (auto found = find_recorded_weights(start, request, checkpoint_folder::view(checkpoints)); !found)
      return found.error();
  auto lines = lines_of(request.folder);
  if (!lines)
    return lines.error();
  if (!start.recorded_hashes.empty())
    if (auto whole = check_lines(request.folder, start.recorded_hashes.rbegin()->first, *lines); !whole)
      return whole.error();
  if (lines->steps == 0)
    return fail(ec::bad_usage, request.folder.string() + " holds no recorded step to verify");
  start.version = first_version(*start.run);
  start.last_step = lines->steps;
  start.torn_line = lines->torn;
  return start;
}

} // namespace

caf::expected<starting_point> find_start(const run_request& request) {
  starting_point start{request.run, request.version, request.run->total_steps};
  if (request.what == duty::predict || request.what == duty::evaluate)
    return start;
  auto checkpoints = request.folder / "checkpoints";
  if (request.what == duty::verify)
    return start_of_verification(request, checkpoints);
  auto lines = lines_of(request.folder);
  if (!lines)
    return lines.error();
  start.version = nullptr;
  if (std::error_code ignored; fs::exists(checkpoints, ignored)) {
    auto found = last_version(request, checkpoint_folder::view(checkpoints), *lines, start);
    if (!found)
      return found.error();
    start.version = std::move(*found);
  }
  if (request.what == duty::train && (lines->steps > 0 || start.version))
    return fail(ec::bad_usage, request.folder.string() + " holds a run already; resume it, or choose another folder");
  if (!start.version)
    start.version = first_version(*start.run);
  return start;
}

} // namespace enn::actors
