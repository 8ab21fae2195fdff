/// Files as a crash-safe program writes them: under a temporary name first, synced, renamed; logs by whole lines.
/// Nothing here is shared between threads: one object, one caller at a time.
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

/// With what it is in; lasts through a power cut.
caf::expected<void> make_folder(const std::filesystem::path& folder);

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

/// Removes the drafts in a folder whose process is gone. A folder that is not there has none.
caf::expected<void> sweep_drafts(const std::filesystem::path& folder);

/// Writes beside `path` under a temporary name, fsyncs, renames, fsyncs the folder. Creates missing folders.
caf::expected<void> write_file(const std::filesystem::path& path, std::string_view content);
caf::expected<std::string> read_file(const std::filesystem::path& path);

// -- logs -------------------------------------------------------------------------------------------------------------------

/// An append-only file of lines. Opening creates the file, or cuts off what follows its last whole line. A line without its newline
/// was torn by a crash; one with a NUL was not all on the disk before a power cut, and what follows it was never synced.
class line_log {
public:
  static caf::expected<line_log> open(const std::filesystem::path& path);
  line_log(line_log&&) noexcept;
  line_log& operator=(line_log&&) noexcept;
  ~line_log();
  /// Appends line + '\n' with one write(2); `durable` also fsyncs. A line that did not fit is taken back. Lines hold neither newline
  /// nor NUL.
  caf::expected<void> append(std::string_view line, bool durable = false);
  /// All lines so far survive a power cut.
  caf::expected<void> sync() const;
  /// The whole lines of a file, without newlines.
  static caf::expected<std::vector<std::string>> lines(const std::filesystem::path& path);
  /// How much of a file's content is whole lines.
  static std::size_t whole(std::string_view content);

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

/// XXH3-128 of the first lines of a log that grows; each byte is read once.
class lines_fingerprint {
public:
  explicit lines_fingerprint(std::filesystem::path log) : log_(std::move(log)) {}
  /// Of the first `count` lines with their newlines; no fewer than in the call before. Error: ec::io_failed, also if the file
  /// has fewer lines.
  caf::expected<std::string> of(std::uint64_t count);

private:
  std::filesystem::path log_;
  fingerprinter hash_;
  std::uint64_t lines_ = 0, bytes_ = 0; // that are hashed
};

/// XXH3-128 of bytes, 32 hex digits.
std::string fingerprint(std::string_view bytes);
caf::expected<std::string> fingerprint_file(const std::filesystem::path& path);

} // namespace enn::serialization
