/// Memory that runs out: an allocation that fails, in a program that this is linked into, for every library of it. This stands
/// before malloc of glibc; a sanitizer has its own, so that with one nothing fails and nothing is counted.
#pragma once
#include <cstdint>

namespace enn::fault {

/// While it lives, the allocations of this thread are counted, and the `at`-th of them fails (counted from 1; 0: none); if
/// `lasting`, every later one too. One at a time in a thread.
class starvation {
public:
  explicit starvation(std::uint64_t at = 0, bool lasting = false);
  ~starvation();
  std::uint64_t allocations() const;
};

/// Blocks of memory that this process has allocated and not freed, by all its threads.
std::int64_t blocks_in_use();

} // namespace enn::fault
