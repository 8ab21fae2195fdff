/// Predictions of many rows, in HDF5, with a manifest beside them; complete by row or not there at all.
#pragma once
#include <enn/model/error.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace enn::serialization {

struct predictions_header {
  std::vector<std::int64_t> shape;     // of one row: (horizon, nodes) or (outputs)
  std::vector<std::string> columns;    // names along the last axis
  std::vector<std::uint64_t> rows;     // row numbers, in the order of the file
  std::vector<std::int64_t> times;     // seconds since 1970 of the first target line a row; -1 or empty: unknown
  std::string model;                   // checkpoint that made them
  std::string data_fingerprint;
  std::string kernels;
};

/// Datasets: prediction (rows, ...shape) float32, status (rows) uint8 (0 ok, 1 not computable: NaN stored), rung (rows) uint8,
/// row (rows) uint64, time (rows) int64; optionally target (rows, ...) and mask. The manifest: header,
/// counts, XXH3-128 of every dataset. Rows may be put in any order, the last put of a row counts; finish() refuses (naming
/// the first) if one is missing. Memory does not grow with the width of a row; about 30 bytes a row are kept.
class predictions_writer {
public:
  /// Claims the disk space of all predictions, so that a full disk is known before they are computed. Errors: ec::bad_data
  /// for a header that contradicts itself, ec::io_failed.
  /// An empty `manifest` is manifest.json in the folder of the file.
  static caf::expected<predictions_writer> create(std::filesystem::path file, predictions_header header,
                                                  std::filesystem::path manifest = {});
  predictions_writer(predictions_writer&&) noexcept;
  predictions_writer& operator=(predictions_writer&&) noexcept;
  ~predictions_writer(); // unfinished: removes the temporary files

  /// `index` is the place in header.rows. With status 1 the values, which may be left out, are stored as NaN.
  caf::expected<void> put(std::uint64_t index, std::span<const float> values, std::uint8_t status, std::uint8_t rung);
  /// The first call adds target and mask to the file; rows without a target get NaN and mask 0.
  caf::expected<void> put_target(std::uint64_t index, std::span<const float> target, std::span<const float> mask);
  /// Reads every row back and compares, then renames the file and the manifest. Once.
  caf::expected<void> finish();

private:
  predictions_writer();
  struct parts;
  std::unique_ptr<parts> parts_;
};

struct predictions {
  predictions_header header;
  std::vector<float> values, targets, masks; // targets and masks are empty if there were none
  std::vector<std::uint8_t> status, rungs;
};
/// Needs the file alone, not the manifest. Errors: ec::io_failed; ec::bad_data naming file, dataset, expected, found.
caf::expected<predictions> read_predictions(const std::filesystem::path& file);

} // namespace enn::serialization
