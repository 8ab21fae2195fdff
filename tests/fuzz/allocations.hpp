/// What operator new has handed out to this thread of a program that this is linked into.
#pragma once
#include <cstddef>

namespace enn::fuzz {

/// From its making on: the most bytes that were in use at once, beyond those that were in use then. One at a time in a thread.
class peak_memory {
public:
  peak_memory();
  std::size_t bytes() const;
};

} // namespace enn::fuzz
