#include "faults.hpp"

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace enn::fault {
namespace {

plan current;
char folder[4096];
std::atomic<bool> armed = false;

enum class use : std::uint8_t { other, watched, written }; // of a descriptor
std::array<std::atomic<use>, 4096> uses;

std::atomic<use>* use_of(int file) {
  return file >= 0 && static_cast<std::size_t>(file) < uses.size() ? &uses[static_cast<std::size_t>(file)] : nullptr;
}

bool watched(int file) {
  auto it = use_of(file);
  return armed && it && *it != use::other;
}

bool watched(const char* path) {
  return armed && std::strncmp(path, folder, std::strlen(folder)) == 0;
}

[[noreturn]] void die() {
  for (;;)
    ::kill(::getpid(), SIGKILL);
}

/// Counts a call; what is to be done to it.
deed meet(kind k) {
  if ((k == kind::read) != current.reads)
    return deed::nothing;
  ++current.counts->of_kind[static_cast<std::size_t>(k)];
  auto number = ++current.counts->calls;
  if (current.at == 0 || number < current.at || (number > current.at && !current.lasting))
    return deed::nothing;
  current.counts->met = 1 + static_cast<unsigned>(k);
  return current.what;
}

/// Makes a call of `size` bytes (0: it has none), or does to it what is planned.
template <class Call>
auto through(kind k, Call call, std::size_t size = 0) -> decltype(call(size)) {
  auto half = size > 1 ? size / 2 : size;
  switch (meet(k)) {
    case deed::kill_before: die();
    case deed::kill_torn: call(half); die();
    case deed::kill_after: call(size); die();
    case deed::fail: errno = current.code; return -1;
    case deed::shorten: return call(half);
    case deed::stop: ::kill(::getpid(), SIGSTOP); break;
    case deed::nothing: break;
  }
  return call(size);
}

/// The function that this one stands before.
template <class Function>
Function* next(Function*, const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

template <class Call>
int opened(const char* path, int flags, Call call) {
  if (!watched(path))
    return call(0);
  bool changes = (flags & (O_CREAT | O_TRUNC)) != 0 || (flags & O_ACCMODE) != O_RDONLY;
  auto file = changes ? through(kind::open, call) : call(0);
  if (auto it = use_of(file))
    *it = changes ? use::written : use::watched;
  return file;
}

mode_t mode_in(int flags, va_list& rest) {
  return (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
}

} // namespace

tally* make_tally(const char* path) {
  int file = path ? ::open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (path && (file < 0 || ::ftruncate(file, sizeof(tally)) != 0))
    return nullptr;
  auto memory = ::mmap(nullptr, sizeof(tally), PROT_READ | PROT_WRITE, MAP_SHARED | (path ? 0 : MAP_ANONYMOUS), file, 0);
  if (file >= 0)
    ::close(file);
  if (memory == MAP_FAILED)
    return nullptr;
  return path ? static_cast<tally*>(memory) : new (memory) tally; // a new file is zeros, which is an empty tally
}

void arm(const plan& what) {
  current = what;
  std::strncpy(folder, what.under, sizeof folder - 1);
  armed = true;
}

void disarm() {
  armed = false;
}

} // namespace enn::fault

// -- in front of libc -------------------------------------------------------------------------------------------------------

using namespace enn::fault;

extern "C" {

int open(const char* path, int flags, ...) {
  static const auto real = next(&::open, "open");
  va_list rest;
  va_start(rest, flags);
  auto mode = mode_in(flags, rest);
  va_end(rest);
  return opened(path, flags, [&](std::size_t) { return real(path, flags, mode); });
}

int openat(int at, const char* path, int flags, ...) {
  static const auto real = next(&::openat, "openat");
  va_list rest;
  va_start(rest, flags);
  auto mode = mode_in(flags, rest);
  va_end(rest);
  return opened(path, flags, [&](std::size_t) { return real(at, path, flags, mode); });
}

int close(int file) {
  static const auto real = next(&::close, "close");
  auto it = use_of(file);
  auto was = it ? it->exchange(use::other) : use::other;
  auto call = [&](std::size_t) { return real(file); };
  return armed && was == use::written ? through(kind::close, call) : call(0);
}

ssize_t write(int file, const void* bytes, size_t size) {
  static const auto real = next(&::write, "write");
  auto call = [&](std::size_t count) { return real(file, bytes, count); };
  return watched(file) ? through(kind::write, call, size) : call(size);
}

ssize_t pwrite(int file, const void* bytes, size_t size, off_t offset) {
  static const auto real = next(&::pwrite, "pwrite");
  auto call = [&](std::size_t count) { return real(file, bytes, count, offset); };
  return watched(file) ? through(kind::write, call, size) : call(size);
}

ssize_t read(int file, void* bytes, size_t size) {
  static const auto real = next(&::read, "read");
  auto call = [&](std::size_t count) { return real(file, bytes, count); };
  return watched(file) ? through(kind::read, call, size) : call(size);
}

ssize_t pread(int file, void* bytes, size_t size, off_t offset) {
  static const auto real = next(&::pread, "pread");
  auto call = [&](std::size_t count) { return real(file, bytes, count, offset); };
  return watched(file) ? through(kind::read, call, size) : call(size);
}

int posix_fallocate(int file, off_t offset, off_t size) {
  static const auto real = next(&::posix_fallocate, "posix_fallocate");
  if (!watched(file))
    return real(file, offset, size);
  auto call = [&](std::size_t) { return (errno = real(file, offset, size)) == 0 ? 0 : -1; };
  return through(kind::allocate, call) == 0 ? 0 : errno;
}

int ftruncate(int file, off_t size) noexcept {
  static const auto real = next(&::ftruncate, "ftruncate");
  auto call = [&](std::size_t) { return real(file, size); };
  return watched(file) ? through(kind::truncate, call) : call(0);
}

int fsync(int file) {
  static const auto real = next(&::fsync, "fsync");
  auto call = [&](std::size_t) { return real(file); };
  return watched(file) ? through(kind::sync, call) : call(0);
}

int fdatasync(int file) {
  static const auto real = next(&::fdatasync, "fdatasync");
  auto call = [&](std::size_t) { return real(file); };
  return watched(file) ? through(kind::sync, call) : call(0);
}

int rename(const char* from, const char* to) noexcept {
  static const auto real = next(&::rename, "rename");
  auto call = [&](std::size_t) { return real(from, to); };
  return watched(to) ? through(kind::rename, call) : call(0);
}

int unlink(const char* path) noexcept {
  static const auto real = next(&::unlink, "unlink");
  auto call = [&](std::size_t) { return real(path); };
  return watched(path) ? through(kind::unlink, call) : call(0);
}

int remove(const char* path) noexcept {
  static const auto real = next(&::remove, "remove");
  auto call = [&](std::size_t) { return real(path); };
  return watched(path) ? through(kind::unlink, call) : call(0);
}

int mkdir(const char* path, mode_t mode) noexcept {
  static const auto real = next(&::mkdir, "mkdir");
  auto call = [&](std::size_t) { return real(path, mode); };
  return watched(path) ? through(kind::mkdir, call) : call(0);
}

} // extern "C"
