/// A run on disk, from the outside: its settings, data, checkpoints; who may write to it.
#pragma once
#include <enn/actors/version.hpp>
#include <enn/model/config/text.hpp>

#include <chrono>
#include <filesystem>
#include <string>

namespace enn::apps {

/// What settings and data make: all that a run needs.
struct prepared {
  actors::data_ptr data;
  actors::run_ptr run;
};
/// Reads the data and defines the run.
caf::expected<prepared> prepare(const model::config& settings);

/// The settings of a configuration file, or of a run by its folder, under those of the command line; checked.
caf::expected<model::config> load_settings(const std::filesystem::path& file_or_folder, const model::name_values& given);

/// The data of a recorded run, read from `path` or, if that is empty, from where it was; error if it is not the same.
caf::expected<actors::data_ptr> load_data(const model::run_definition& run, const std::string& path);

/// A training version and where it was found.
struct found_version {
  actors::restored restored;
  std::filesystem::path file;
};
/// `which`: best, last, or a checkpoint file; with "best" and no best one, the last. `run` is a run's folder or a checkpoint
/// file, and then `which` does not matter. Reads only, so the run may go on meanwhile.
caf::expected<found_version> load_version(const std::filesystem::path& run, const std::string& which);

/// Workers as [run] says: 0 is one a core.
std::uint32_t workers_of(const model::config& settings);

/// Error if the folder holds a run, unless that may be moved aside.
caf::expected<void> check_free(const std::filesystem::path& folder, bool overwrite);

/// The right to write into the folder of a run; ends with this object or the process.
class claim {
public:
  /// Makes the folder and writes run.toml. A folder that holds a run is refused, or with `overwrite` moved aside.
  static caf::expected<claim> new_run(const std::filesystem::path& folder, const prepared& ready, bool overwrite);
  /// Of a run that is there. Waits so long for another process that may be about to end.
  static caf::expected<claim> old_run(const std::filesystem::path& folder, std::chrono::milliseconds patience = {});
  claim(claim&& other) noexcept;
  claim& operator=(claim&& other) noexcept;
  ~claim();

private:
  explicit claim(int descriptor) : descriptor_{descriptor} {}
  int descriptor_;
};

} // namespace enn::apps
