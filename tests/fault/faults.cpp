#include "faults.hpp"

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
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

int trace = -1;
std::mutex order; // of the calls that are taken down

void take_down(traced it, std::string_view first = {}, std::string_view second = {}) {
  it.first = static_cast<std::uint32_t>(first.size());
  it.second = static_cast<std::uint32_t>(second.size());
  const iovec parts[] = {{&it, sizeof it}, {const_cast<char*>(first.data()), it.first}, {const_cast<char*>(second.data()), it.second}};
  if (::syscall(SYS_writev, trace, parts, 3) != static_cast<long>(sizeof it + it.first + it.second))
    die(); // better than a test that looks at half of it
}

/// Makes a call and takes it down if it succeeds: note(answer).
template <class Call, class Note>
auto noted(Call call, Note note) -> decltype(call()) {
  if (!armed || trace < 0)
    return call();
  std::lock_guard guard{order};
  auto answer = call();
  if (answer >= 0)
    note(answer);
  return answer;
}

/// The function that this one stands before.
template <class Function>
Function* next(Function*, const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

template <class Call>
int opened(const char* path, int flags, Call open_it) {
  if (!watched(path))
    return open_it(0);
  auto call = [&](std::size_t) {
    return noted([&] { return open_it(0); }, [&](int file) { take_down({.what = kind::open, .file = file, .flags = flags}, path); });
  };
  bool changes = (flags & (O_CREAT | O_TRUNC)) != 0 || (flags & O_ACCMODE) != O_RDONLY;
  auto file = changes ? through(kind::open, call) : call(0);
  if (auto it = use_of(file))
    *it = changes ? use::written : use::watched;
  return file;
}

void written(int file, std::uint64_t offset, const void* bytes, ssize_t count) {
  take_down({.what = kind::write, .file = file, .place = offset}, {static_cast<const char*>(bytes), static_cast<std::size_t>(count)});
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
  if (*what.trace)
    trace = ::open(what.trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  armed = true;
}

void mark() {
  noted([] { return 0; }, [](int) { take_down({.mark = true}); });
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
  if (!watched(file))
    return real(file, bytes, size);
  auto note = [&](ssize_t count) { written(file, at_the_end, bytes, count); };
  return through(kind::write, [&](std::size_t count) { return noted([&] { return real(file, bytes, count); }, note); }, size);
}

ssize_t pwrite(int file, const void* bytes, size_t size, off_t offset) {
  static const auto real = next(&::pwrite, "pwrite");
  if (!watched(file))
    return real(file, bytes, size, offset);
  auto note = [&](ssize_t count) { written(file, static_cast<std::uint64_t>(offset), bytes, count); };
  return through(kind::write, [&](std::size_t count) { return noted([&] { return real(file, bytes, count, offset); }, note); }, size);
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
  auto call = [&] { return (errno = real(file, offset, size)) == 0 ? 0 : -1; };
  auto note = [&](int) { take_down({.what = kind::allocate, .file = file, .place = static_cast<std::uint64_t>(offset + size)}); };
  return through(kind::allocate, [&](std::size_t) { return noted(call, note); }) == 0 ? 0 : errno;
}

int ftruncate(int file, off_t size) noexcept {
  static const auto real = next(&::ftruncate, "ftruncate");
  auto note = [&](int) { take_down({.what = kind::truncate, .file = file, .place = static_cast<std::uint64_t>(size)}); };
  auto call = [&](std::size_t) { return noted([&] { return real(file, size); }, note); };
  return watched(file) ? through(kind::truncate, call) : real(file, size);
}

int fsync(int file) {
  static const auto real = next(&::fsync, "fsync");
  auto call = [&](std::size_t) { return noted([&] { return real(file); }, [&](int) { take_down({.what = kind::sync, .file = file}); }); };
  return watched(file) ? through(kind::sync, call) : real(file);
}

int fdatasync(int file) {
  static const auto real = next(&::fdatasync, "fdatasync");
  auto call = [&](std::size_t) { return noted([&] { return real(file); }, [&](int) { take_down({.what = kind::sync, .file = file}); }); };
  return watched(file) ? through(kind::sync, call) : real(file);
}

int rename(const char* from, const char* to) noexcept {
  static const auto real = next(&::rename, "rename");
  auto call = [&](std::size_t) { return noted([&] { return real(from, to); }, [&](int) { take_down({.what = kind::rename}, from, to); }); };
  return watched(to) ? through(kind::rename, call) : real(from, to);
}

int unlink(const char* path) noexcept {
  static const auto real = next(&::unlink, "unlink");
  auto call = [&](std::size_t) { return noted([&] { return real(path); }, [&](int) { take_down({.what = kind::unlink}, path); }); };
  return watched(path) ? through(kind::unlink, call) : real(path);
}

int remove(const char* path) noexcept {
  static const auto real = next(&::remove, "remove");
  auto call = [&](std::size_t) { return noted([&] { return real(path); }, [&](int) { take_down({.what = kind::unlink}, path); }); };
  return watched(path) ? through(kind::unlink, call) : real(path);
}

int mkdir(const char* path, mode_t mode) noexcept {
  static const auto real = next(&::mkdir, "mkdir");
  auto call = [&](std::size_t) { return noted([&] { return real(path, mode); }, [&](int) { take_down({.what = kind::mkdir}, path); }); };
  return watched(path) ? through(kind::mkdir, call) : real(path, mode);
}

} // extern "C"
