/// Where `enn predict` writes: a file that the user named, and its manifest NAME.manifest.json. Nothing that others made is replaced
/// unknowingly, and neither of the two is there before both are whole.
#pragma once
#include <enn/serialization/file.hpp>

#include <filesystem>
#include <vector>

namespace enn::apps {

/// Error (bad_usage) if `file` must not be written: it is one of `sources`, by whatever name; a folder, a device or the like; or a
/// file that holds no predictions and may not be overwritten. Its manifest likewise.
caf::expected<void> check_output(const std::filesystem::path& file, const std::vector<std::filesystem::path>& sources,
                                 bool overwrite);

std::filesystem::path manifest_of(const std::filesystem::path& file);

/// A folder beside the file, where predictions_writer writes both: it calls every manifest manifest.json. Gone with this object.
class prediction_output {
public:
  static caf::expected<prediction_output> create(const std::filesystem::path& file);
  prediction_output(prediction_output&& other) noexcept = default;
  prediction_output& operator=(prediction_output&& other) noexcept = default;
  ~prediction_output();

  /// For predictions_writer::create.
  std::filesystem::path draft_file() const { return folder_ / file_.filename(); }
  /// Moves both to their places, once the writer has finished; the manifest last.
  caf::expected<void> commit();

private:
  prediction_output(std::filesystem::path file, serialization::draft place, serialization::draft manifest);

  std::filesystem::path file_, folder_; // folder_ empty: moved from
  serialization::draft place_, manifest_;
};

} // namespace enn::apps
