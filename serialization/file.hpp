/// Files as a crash-safe program writes them: under a temporary name first, synced, renamed; logs by whole lines; HDF5 behind
/// a seal. Nothing here is shared between threads: one object, one caller at a time.
#pragma once
#include <enn/model/error.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct XXH3_state_s;

namespace enn::serialization {

// -- whole files ------------------------------------------------------------------------------------------------------------

/// A file in the making, beside the place that it is for: NAME.PID-N.tmp. Unless committed it is removed in the end.
class draft {
public:
  /// Creates missing folders; the file itself is for the owner to write.
  static caf::expected<draft> create(std::filesystem::path target);
  draft(draft&& other) noexcept;
  draft& operator=(draft&& other) noexcept;
  ~draft();

  const std::filesystem::path& path() const { return path_; }
  caf::expected<void> write(std::string_view content);
  /// Syncs the file, renames it over the target, syncs the folder.
  caf::expected<void> commit();

private:
  draft() = default;
  std::filesystem::path target_, path_; // path_ empty: committed or moved from
};

/// Writes beside `path` under a temporary name, fsyncs, renames, fsyncs the folder. Creates missing folders.
caf::expected<void> write_file(const std::filesystem::path& path, std::string_view content);
caf::expected<std::string> read_file(const std::filesystem::path& path);

// -- logs -------------------------------------------------------------------------------------------------------------------

/// An append-only file of lines. Opening truncates a torn last line (one without its newline) and creates the file.
class line_log {
public:
  static caf::expected<line_log> open(const std::filesystem::path& path);
  line_log(line_log&&) noexcept;
  line_log& operator=(line_log&&) noexcept;
  ~line_log();
  /// Appends line + '\n' with one write(2); `durable` also fsyncs. A line that did not fit is taken back. Lines hold no newline.
  caf::expected<void> append(std::string_view line, bool durable = false);
  /// The whole lines of a file, without newlines; a torn last one is left out.
  static caf::expected<std::vector<std::string>> lines(const std::filesystem::path& path);
  /// Cuts the file after its first `count` lines (a rewind); with fewer lines nothing changes.
  caf::expected<void> keep_first(std::size_t count);

private:
  line_log() = default;
  int descriptor_ = -1;
  std::filesystem::path path_;
};

// -- fingerprints -----------------------------------------------------------------------------------------------------------

/// XXH3-128 of bytes that come in pieces.
class fingerprinter {
public:
  fingerprinter();
  void add(std::span<const std::byte> bytes);
  /// Little-endian, eight bytes.
  void add(std::uint64_t number);
  /// Its length as a number, then its bytes: no two lists of texts run into the same bytes.
  void add_sized(std::string_view text);
  void add_sized(std::span<const std::byte> bytes);
  /// 32 hex digits, as `xxh128sum` prints them.
  std::string text() const;

private:
  struct release {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, release> state_;
};

/// XXH3-128 of bytes, 32 hex digits.
std::string fingerprint(std::string_view bytes);
caf::expected<std::string> fingerprint_file(const std::filesystem::path& path);

// -- HDF5 -------------------------------------------------------------------------------------------------------------------

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
