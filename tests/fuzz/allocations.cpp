#include "allocations.hpp"

#include <algorithm>
#include <cstdlib>
#include <malloc.h>
#include <new>

namespace {

thread_local std::ptrdiff_t in_use = 0, most = 0; // relative to the last peak_memory; memory may come from another thread

void* take(std::size_t size) noexcept {
  void* p = std::malloc(size);
  if (p) {
    in_use += static_cast<std::ptrdiff_t>(malloc_usable_size(p));
    most = std::max(most, in_use);
  }
  return p;
}

void* take_or_throw(std::size_t size) {
  if (void* p = take(size))
    return p;
  throw std::bad_alloc{};
}

void give(void* p) noexcept {
  if (p)
    in_use -= static_cast<std::ptrdiff_t>(malloc_usable_size(p));
  std::free(p);
}

} // namespace

enn::fuzz::peak_memory::peak_memory() {
  in_use = most = 0;
}

std::size_t enn::fuzz::peak_memory::bytes() const {
  return static_cast<std::size_t>(most);
}

// All forms: sanitizers have their own of each.
void* operator new(std::size_t size) {
  return take_or_throw(size);
}
void* operator new[](std::size_t size) {
  return take_or_throw(size);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return take(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return take(size);
}
void operator delete(void* p) noexcept {
  give(p);
}
void operator delete[](void* p) noexcept {
  give(p);
}
void operator delete(void* p, std::size_t) noexcept {
  give(p);
}
void operator delete[](void* p, std::size_t) noexcept {
  give(p);
}
