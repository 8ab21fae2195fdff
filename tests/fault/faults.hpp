/// Faults of a file system. While armed, this counts the calls that change files under one folder and, at one of them, kills
/// the process, lets the call fail or does half of it; or it takes down what each of them did. Linked into a test it stands
/// before libc for every library of the process; as a preloaded library (preload.cpp) it does so for a program that knows
/// nothing of it.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace enn::fault {

enum class kind : std::uint8_t { open, write, allocate, truncate, sync, close, rename, unlink, mkdir, read };
constexpr std::size_t kinds = 10;

enum class deed : std::uint8_t {
  nothing,
  kill_before, // SIGKILL to the own process
  kill_torn,   // after half of a write; what has no half is done whole
  kill_after,
  fail,        // the call is not made and answers with an error
  shorten,     // half of a write or read, which says so
  stop,        // SIGSTOP to the own process before it, until somebody lets it go on
};

/// Shared by processes, so that it outlives those that are killed.
struct tally {
  std::atomic<std::uint64_t> calls = 0;
  std::array<std::atomic<std::uint64_t>, kinds> of_kind{};
  std::atomic<unsigned> met = 0; // 1 + the kind of the call that something was done to, the last if there were several
};
/// In memory that children inherit; in a file, for a preloaded program, if `path` is not null.
tally* make_tally(const char* path = nullptr);

struct plan {
  const char* under = ""; // the folder whose files count; its path as the program under test writes it
  std::uint64_t at = 0;   // the call, counted from 1; 0: only count
  deed what = deed::nothing;
  int code = 0;           // of a failure: an errno
  bool lasting = false;   // every call from `at` on, not that one alone
  bool reads = false;     // reads count, and nothing else
  tally* counts = nullptr;
  const char* trace = ""; // a file that takes down each call that succeeded, for power_cut.hpp; "": none does
};

/// How a call stands in a trace: this, then `first` and `second` bytes.
struct traced {
  kind what = kind::open;
  bool mark = false;        // no call
  int file = -1;            // the descriptor, also of what was opened
  int flags = 0;            // of open
  std::uint64_t place = 0;  // where a write begins, where an allocation ends, the size that a file is cut to
  std::uint32_t first = 0;  // the path, or the bytes that were written
  std::uint32_t second = 0; // the new path of what was renamed
};
constexpr std::uint64_t at_the_end = ~std::uint64_t{0}; // the place of a write without one

/// Notes in the trace that what was done so far was reported as done.
void mark();

/// From here on; once a process.
void arm(const plan& what);
/// Nothing is counted any more.
void disarm();

} // namespace enn::fault
