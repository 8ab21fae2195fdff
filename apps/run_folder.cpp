#include "run_folder.hpp"

#include "command.hpp"
#include "options.hpp"
#include "versions.hpp"

#include <enn/model/machine.hpp>
#include <enn/serialization/checkpoint.hpp>
#include <enn/serialization/config_file.hpp>
#include <enn/serialization/file.hpp>
#include <enn/serialization/readers/csv.hpp>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace enn::apps {
namespace {

namespace fs = std::filesystem;

caf::expected<actors::data_ptr> read_data(const model::config& settings) {
  if (settings.data.path.empty())
    return fail(ec::bad_config, "data.path is not set: say where the data is, in the file or by --data.path FILE");
  auto table = serialization::read_csv(settings.data.path, settings.data);
  if (!table)
    return table.error();
  return model::dataset::make(std::move(*table), settings.data, static_cast<std::uint64_t>(settings.train.seed));
}

std::string now() {
  auto seconds = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

/// Begins run.toml, so that damage to it is found: nothing else would show it in a value that may differ between resumes.
std::string seal(const std::string& text) {
  return "# XXH3-128 of what follows this line: " + serialization::fingerprint(text) + "\n";
}

caf::expected<void> check_seal(const fs::path& file) {
  auto text = serialization::read_file(file);
  if (!text)
    return text.error();
  auto end = text->find('\n');
  auto rest = end == std::string::npos ? "" : text->substr(end + 1);
  if (text->starts_with(seal(rest)))
    return {};
  return fail(ec::bad_checkpoint, file.string() + ": damaged, or edited: its first line is not that of what follows, "
                                    + seal(rest).substr(0, seal(rest).size() - 1)
                                    + "; bring it back; what is in [run] can be changed on the command line");
}

/// The settings, which load_config() reads again, under comments that say what was there when the run began.
std::string run_toml(const prepared& ready) {
  auto machine = model::describe_machine();
  const auto& run = *ready.run;
  std::string text = "# A run of enn, begun " + now() + ". Do not edit: resuming compares it with the checkpoints.\n#\n";
  for (const auto& [name, version] : versions())
    text += "# " + name + ": " + version + "\n";
  std::string sets;
  for (const auto& [name, refusal] : machine.kernel_sets)
    if (refusal.empty())
      sets += (sets.empty() ? "" : ", ") + name;
  text += "# machine: " + machine.processor + ", " + std::to_string(machine.cores) + " cores\n# blas: " + machine.blas
          + "\n# kernel sets of this machine: " + sets + "\n# kernels: rung 0 " + run.kernels
          + ", rung 4 reference in double\n# data: " + std::to_string(ready.data->lines()) + " lines, XXH3-128 "
          + run.facts.fingerprint + "\n# steps: " + std::to_string(run.total_steps) + ", parameters: "
          + std::to_string(run.layout.size) + "\n\n";
  text += serialization::to_toml(run.settings, true);
  return seal(text) + text;
}

bool holds_run(const fs::path& folder) {
  std::error_code ignored;
  for (const char* name : {"run.toml", "losses.jsonl", "checkpoints"})
    if (fs::exists(folder / name, ignored))
      return true;
  return false;
}

/// Not so if somebody moved it aside after it was opened.
bool is_at(const fs::path& folder, int descriptor) {
  struct stat there {}, here {};
  return ::stat(folder.c_str(), &there) == 0 && ::fstat(descriptor, &here) == 0 && there.st_dev == here.st_dev
         && there.st_ino == here.st_ino;
}

caf::expected<int> lock(const fs::path& folder, std::chrono::milliseconds patience) {
  int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    return fail(ec::io_failed, "cannot open folder " + folder.string() + ": " + std::strerror(errno));
  auto until = std::chrono::steady_clock::now() + patience;
  bool locked = false;
  while (!(locked = ::flock(descriptor, LOCK_EX | LOCK_NB) == 0) && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  if (locked && is_at(folder, descriptor))
    return descriptor;
  ::close(descriptor);
  return fail(ec::bad_usage, folder.string() + " is in use by another process");
}

/// NAME to the first free NAME.1, NAME.2, ...
caf::expected<void> move_aside(const fs::path& folder) {
  auto old = claim::old_run(folder);
  if (!old)
    return old.error();
  std::error_code problem;
  auto base = (folder / "").parent_path().string(); // without a slash at its end
  for (int number = 1;; ++number) {
    fs::path target = base + "." + std::to_string(number);
    if (fs::exists(target, problem))
      continue;
    fs::rename(base, target, problem);
    if (problem)
      return fail(ec::io_failed, "cannot move " + base + " to " + target.string() + ": " + problem.message());
    return {};
  }
}

caf::expected<found_version> read_version(const fs::path& file) {
  auto checkpoint = serialization::read_checkpoint(file);
  if (!checkpoint)
    return checkpoint.error();
  auto restored = actors::restore(*checkpoint);
  if (!restored)
    return fail(code_of(restored.error()), file.string() + ": " + text_of(restored.error()));
  return found_version{std::move(*restored), file};
}

} // namespace

caf::expected<prepared> prepare(const model::config& settings) {
  auto data = read_data(settings);
  if (!data)
    return data.error();
  auto run = model::define_run(settings, **data);
  if (!run)
    return run.error();
  return prepared{std::move(*data), std::move(*run)};
}

caf::expected<model::config> load_settings(const fs::path& file_or_folder, const model::name_values& given) {
  std::error_code ignored;
  bool folder = fs::is_directory(file_or_folder, ignored);
  auto file = folder ? file_or_folder / "run.toml" : file_or_folder;
  if (folder && !fs::exists(file, ignored))
    return fail(ec::bad_usage, file_or_folder.string() + " holds no run: there is no run.toml in it");
  if (auto whole = folder ? check_seal(file) : caf::expected<void>{caf::unit}; !whole)
    return whole.error();
  auto settings = serialization::load_config(file);
  if (!settings)
    return settings;
  if (auto done = apply_options(given, *settings); !done)
    return done.error();
  if (auto good = model::check(*settings); !good)
    return good.error();
  if (folder)
    settings->run.folder = file_or_folder.string(); // where it is now, not where it was made
  else if (settings->run.folder.empty())
    settings->run.folder = (fs::path{"runs"} / file.stem()).string();
  return settings;
}

caf::expected<actors::data_ptr> load_data(const model::run_definition& run, const std::string& path) {
  auto settings = run.settings;
  if (!path.empty())
    settings.data.path = path;
  auto data = read_data(settings);
  if (data && (*data)->facts().fingerprint != run.facts.fingerprint)
    return fail(ec::data_mismatch, settings.data.path + " is not what the run was made with: XXH3-128 "
                                     + (*data)->facts().fingerprint + ", recorded " + run.facts.fingerprint
                                     + "; give an exact copy of that file");
  return data;
}

caf::expected<found_version> load_version(const fs::path& run, const std::string& which) {
  std::error_code ignored;
  if (fs::is_regular_file(run, ignored))
    return read_version(run);
  if (which != "best" && which != "last")
    return read_version(which);
  auto folder = run / "checkpoints";
  if (!fs::is_directory(folder, ignored))
    return fail(ec::bad_usage, run.string() + " holds no checkpoint");
  auto checkpoints = serialization::checkpoint_folder::view(folder);
  auto step = checkpoints.named(which == "best" && !fs::exists(folder / which, ignored) ? "last" : which);
  if (!step)
    return step.error();
  return read_version(checkpoints.file_of(*step));
}

std::uint32_t workers_of(const model::config& settings) {
  auto workers = settings.run.workers;
  return workers > 0 ? static_cast<std::uint32_t>(workers) : model::describe_machine().cores;
}

caf::expected<void> check_free(const fs::path& folder, bool overwrite) {
  if (overwrite || !holds_run(folder))
    return {};
  return fail(ec::bad_usage, folder.string() + " holds a run already; go on with --resume " + shell_word(folder.string())
                               + ", choose another --run.folder, or move it aside with --overwrite");
}

caf::expected<claim> claim::new_run(const fs::path& folder, const prepared& ready, bool overwrite) {
  if (auto free = check_free(folder, overwrite); !free)
    return free.error();
  if (holds_run(folder))
    if (auto moved = move_aside(folder); !moved)
      return moved.error();
  if (auto made = serialization::make_folder(folder); !made)
    return made.error();
  auto owned = old_run(folder); // before anything is written: another process may begin a run here, too
  if (!owned)
    return owned;
  if (auto free = check_free(folder, false); !free)
    return free.error();
  if (auto written = serialization::write_file(folder / "run.toml", run_toml(ready)); !written)
    return written.error();
  return owned;
}

caf::expected<claim> claim::old_run(const fs::path& folder, std::chrono::milliseconds patience) {
  auto descriptor = lock(folder, patience);
  if (!descriptor)
    return descriptor.error();
  return claim{*descriptor};
}

claim::claim(claim&& other) noexcept : descriptor_{std::exchange(other.descriptor_, -1)} {}

claim& claim::operator=(claim&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

claim::~claim() {
  if (descriptor_ >= 0)
    ::close(descriptor_);
}

} // namespace enn::apps
