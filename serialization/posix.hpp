/// Files by descriptor, for the .cpp files of this folder.
#pragma once
#include <enn/model/error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace enn::serialization {
namespace fs = std::filesystem;

constexpr std::size_t piece_bytes = std::size_t{1} << 20;

inline caf::error os_error(const fs::path& path, std::string_view what, int code) {
  return fail(ec::io_failed, path.string() + ": cannot " + std::string{what} + ": " + std::generic_category().message(code));
}

/// A file descriptor that closes itself.
class descriptor {
public:
  explicit descriptor(int number = -1) : number_(number) {}
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~descriptor() {
    if (number_ >= 0)
      ::close(number_);
  }
  explicit operator bool() const { return number_ >= 0; }
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }

private:
  int number_;
};

/// Makes a call that answers -1 and errno until no signal interrupts it.
template <class Call>
inline int uninterrupted(Call&& call) {
  int answer;
  do
    answer = call();
  while (answer == -1 && errno == EINTR);
  return answer;
}

inline descriptor open_file(const fs::path& path, int flags) {
  return descriptor{uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); })};
}

/// 0 or errno.
inline int sync_file(int file) {
  return uninterrupted([&] { return ::fsync(file); }) == 0 ? 0 : errno;
}

/// 0 or errno.
inline int cut_file(int file, std::uint64_t size) {
  return uninterrupted([&] { return ::ftruncate(file, static_cast<off_t>(size)); }) == 0 ? 0 : errno;
}

/// So that a write there cannot find the disk full; 0 or errno.
inline int claim_space(int file, std::uint64_t offset, std::uint64_t size) {
  int code;
  do
    code = ::posix_fallocate(file, static_cast<off_t>(offset), static_cast<off_t>(size));
  while (code == EINTR);
  return code;
}

/// All of `bytes` at `offset`; 0 or errno.
inline int write_at(int file, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    auto count = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return count < 0 ? errno : ENOSPC;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return 0;
}

/// Bytes from `offset` on until `bytes` is full or the file ends; the count, or -1 with errno.
inline std::ptrdiff_t read_at(int file, std::span<std::byte> bytes, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    auto count = ::pread(file, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return -1;
    if (count == 0)
      break;
    done += static_cast<std::size_t>(count);
  }
  return static_cast<std::ptrdiff_t>(done);
}

/// Calls visit(bytes) for each piece of the file from `offset` on, until it says false; 0 or errno.
template <class Visit>
inline int for_each_piece(int file, std::uint64_t offset, Visit&& visit) {
  std::vector<std::byte> buffer(piece_bytes);
  for (;;) {
    auto count = read_at(file, buffer, offset);
    if (count < 0)
      return errno;
    if (count == 0 || !visit(std::span{buffer}.first(static_cast<std::size_t>(count))))
      return 0;
    offset += static_cast<std::uint64_t>(count);
  }
}

inline fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path{"."};
}

/// A new name in a folder lasts through a power cut only once the folder is synced.
inline caf::expected<void> sync_folder(const fs::path& folder) {
  auto file = open_file(folder, O_RDONLY | O_DIRECTORY);
  if (auto code = file ? sync_file(file.get()) : errno)
    return os_error(folder, "sync the folder", code);
  return {};
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

} // namespace enn::serialization
