#include "starvation.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>

namespace {

struct appetite {
  std::uint64_t seen = 0, at = 0;
  bool counting = false, lasting = false;
};
thread_local constinit appetite now;
std::atomic<std::int64_t> in_use = 0;

/// Whether the next allocation is to fail.
bool meet() {
  if (!now.counting)
    return false;
  ++now.seen;
  return now.at != 0 && (now.seen == now.at || (now.lasting && now.seen > now.at));
}

void* counted(void* block) {
  if (block)
    in_use.fetch_add(1, std::memory_order_relaxed);
  return block;
}

void* refused() {
  errno = ENOMEM;
  return nullptr;
}

} // namespace

namespace enn::fault {

starvation::starvation(std::uint64_t at, bool lasting) {
  now = {0, at, true, lasting};
}

starvation::~starvation() {
  now.counting = false;
}

std::uint64_t starvation::allocations() const {
  return now.seen;
}

std::int64_t blocks_in_use() {
  return in_use;
}

} // namespace enn::fault

// -- in front of glibc ------------------------------------------------------------------------------------------------------

#ifndef __SANITIZE_ADDRESS__
extern "C" {

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t size) {
  return meet() ? refused() : counted(__libc_malloc(size));
}

void* calloc(std::size_t count, std::size_t size) {
  return meet() ? refused() : counted(__libc_calloc(count, size));
}

void* realloc(void* block, std::size_t size) {
  if (block && size == 0)
    in_use.fetch_sub(1, std::memory_order_relaxed); // is freed
  else if (meet())
    return refused();
  auto moved = __libc_realloc(block, size);
  return block ? moved : counted(moved);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) {
  return meet() ? refused() : counted(__libc_memalign(alignment, size));
}

void* memalign(std::size_t alignment, std::size_t size) {
  return meet() ? refused() : counted(__libc_memalign(alignment, size));
}

int posix_memalign(void** block, std::size_t alignment, std::size_t size) {
  if (meet())
    return ENOMEM;
  *block = counted(__libc_memalign(alignment, size));
  return *block ? 0 : ENOMEM;
}

void free(void* block) {
  if (block)
    in_use.fetch_sub(1, std::memory_order_relaxed);
  __libc_free(block);
}

} // extern "C"
#endif
