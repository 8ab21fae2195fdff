/// A training version on disk: HDF5, one file, checksums. docs/formats.md describes it for a second implementation.
#pragma once
#include <enn/model/error.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace enn::serialization {

using name_values = std::vector<std::pair<std::string, std::string>>;

/// All that is needed to go on with the same bits, and to predict without the original configuration.
struct checkpoint {
  std::int64_t step = 0;
  name_values configuration;         // model/config/text.hpp
  name_values state;                 // run_state, the same form
  /// Version, kernel set, numbers of steps, data fingerprint: for people and for checks. What the machine was is in run.toml:
  /// the same version of a run is the same checkpoint wherever it was computed; for the set openblas, by the BLAS that it names.
  name_values facts;
  std::vector<std::byte> graph;      // Cap'n Proto message, serialization/graph_wire.hpp
  std::vector<std::byte> data_facts; // Cap'n Proto message
  /// Tensors of the weight layout, flat float32, one a name: "weights", "first", "second", "average" (absent: empty).
  std::vector<std::pair<std::string, std::vector<float>>> tensors;
  /// Layout, so that a stranger finds each parameter: path, extents, offset.
  struct entry {
    std::string path;
    std::vector<std::int64_t> extent;
    std::int64_t offset = 0;
  };
  std::vector<entry> layout;
};

/// What a checkpoint holds, as one XXH3-128: docs/formats.md says over which bytes. Equal content, equal fingerprint.
std::string content_fingerprint(const checkpoint& value);

/// Writes to a temporary name in the same folder, reads it back and compares, fsyncs, renames over `path`, fsyncs the
/// folder. On failure the temporary file is gone and what is at `path` is whole, the new one only where the folder could not be
/// synced; errors: ec::io_failed with the reason (disk full, no permission; names that a file cannot hold). Equal content gives
/// equal bytes.
caf::expected<void> write_checkpoint(const std::filesystem::path& path, const checkpoint& value);

/// Verifies every checksum. Errors: ec::io_failed, ec::bad_checkpoint naming file, dataset, expected, found (the whole file is
/// checked first: a flipped bit is reported for it, not for a dataset).
caf::expected<checkpoint> read_checkpoint(const std::filesystem::path& path);

/// Of the steps in a folder, newest first, those that need not be kept once `last` is saved: all up to it but the newest `keep`
/// and `best` (-1: there is none).
std::vector<std::int64_t> superfluous(const std::vector<std::int64_t>& steps, std::int64_t last, std::int64_t best, std::size_t keep);

/// The checkpoint folder of a run: step-00001000.h5 ..., `last` and `best` as small text files that name one of
/// them.
class checkpoint_folder {
public:
  /// Makes the folder; sweeps temporary files of processes that are gone. `keep` is at least 1.
  static caf::expected<checkpoint_folder> open(std::filesystem::path folder, std::size_t keep);
  /// Of a folder that is there, for those who only read: nothing is made or swept.
  static checkpoint_folder view(std::filesystem::path folder);

  /// Writes step-N.h5, points `best` (if asked), then `last` to it, then removes those older than the newest `keep` up to N,
  /// never one that `last` or `best` names. Later steps, an abandoned future after a rewind, are left alone.
  caf::expected<void> save(const checkpoint& value, bool best);
  /// The step that `last` or `best` names. Errors: ec::io_failed (there is none), ec::bad_checkpoint (damaged).
  caf::expected<std::int64_t> named(const std::string& pointer) const;
  /// The one that `last` names, or else the newest before it that verifies (without a readable `last`: the newest of all);
  /// `skipped` lists what did not, with reasons. Errors: ec::io_failed if there is none, ec::bad_checkpoint if none
  /// verifies.
  caf::expected<checkpoint> load_last(std::vector<std::string>& skipped) const;
  /// The one of a step. A file of another step than its name says is ec::bad_checkpoint.
  caf::expected<checkpoint> load(std::int64_t step) const;
  /// The steps up to the one that `last` names, newest first; that one is among them even where its file is missing. None: no
  /// checkpoint was ever completed here.
  caf::expected<std::vector<std::int64_t>> steps() const;
  std::filesystem::path file_of(std::int64_t step) const;
  const std::filesystem::path& path() const { return folder_; }

private:
  checkpoint_folder() = default;
  std::filesystem::path folder_;
  std::size_t keep_ = 3;
};

} // namespace enn::serialization
