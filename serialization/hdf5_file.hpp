/// HDF5 files behind a seal; docs/formats.md.
#pragma once
#include <enn/serialization/file.hpp>

namespace enn::serialization {

/// An HDF5 file behind a seal: 512 bytes of text (HDF5's user block) with the XXH3-128 of everything after them, checked
/// before HDF5's parser sees a byte, because that parser may crash on damaged files. Equal calls give equal bytes.
///
/// The first error sticks: later calls do nothing and answer nothing, so a caller checks once, by close() or error().
/// Names are paths without a leading slash; "" is the root. Datasets are read and written by rows of their first axis.
class hdf5_file {
public:
  enum class number : std::uint8_t { float32, uint8, int64, uint64 };
  using named_texts = std::vector<std::pair<std::string, std::string>>;

  /// A new file; there must be none. Write failures, a full disk included, never reach HDF5: it would crash at exit.
  static caf::expected<hdf5_file> create(const std::filesystem::path& path);
  /// Read-only. `damaged` is the code of errors that are not the operating system's.
  static caf::expected<hdf5_file> open(const std::filesystem::path& path, ec damaged);
  hdf5_file(hdf5_file&&) noexcept;
  hdf5_file& operator=(hdf5_file&&) noexcept;
  ~hdf5_file();

  const caf::error& error() const;
  /// Makes an error of this file: its path, then the text. The first one sticks.
  void refuse(const std::string& text);

  void add_group(const std::string& name);
  void add_text(const std::string& object, const std::string& name, std::string_view value);
  void add_integer(const std::string& object, const std::string& name, std::int64_t value);
  /// `chunk_rows` 0: contiguous, its disk space is claimed at once.
  void add_dataset(const std::string& name, number type, const std::vector<std::int64_t>& extent, std::int64_t chunk_rows = 0);
  void add_texts(const std::string& name, const std::vector<std::string>& values);
  void write_rows(const std::string& name, std::int64_t first, std::span<const std::byte> rows);
  /// Closes, seals, syncs.
  caf::expected<void> close();

  std::string text(const std::string& object, const std::string& name);
  std::int64_t integer(const std::string& object, const std::string& name);
  /// All text attributes, in the order in which they were added.
  named_texts all_texts(const std::string& object);
  /// What a group holds, in the order in which it was added.
  std::vector<std::string> children(const std::string& group);
  bool has(const std::string& name);
  /// Refuses more bytes than the file has, so that its product may be allocated. Empty: not there or refused.
  std::vector<std::int64_t> extent(const std::string& dataset);
  std::vector<std::string> texts(const std::string& dataset);
  void read_rows(const std::string& name, number type, std::int64_t first, std::span<std::byte> rows);

private:
  hdf5_file();
  struct parts;
  std::unique_ptr<parts> parts_;
};

} // namespace enn::serialization
