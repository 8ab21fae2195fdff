/// A flat float vector of a message: seen where the message's words lie, or owned. Whoever changes it gets a copy of its own. A
/// value; copies of one that is seen share the words.
#pragma once
#include <enn/serialization/frame.hpp>

#include <algorithm>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

namespace enn::serialization {

/// Leaves new numbers as they are instead of setting them to zero, which would be one more way through memory for vectors that are
/// written whole.
template <class T>
struct unset_allocator : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = unset_allocator<U>;
  };
  void construct(T* place) noexcept { ::new (static_cast<void*>(place)) T; }
  template <class... Values>
  void construct(T* place, Values&&... values) {
    ::new (static_cast<void*>(place)) T(std::forward<Values>(values)...);
  }
};

class flat_vector {
public:
  using owned = std::vector<float, unset_allocator<float>>; // what resize() adds is not set

  flat_vector() = default;
  flat_vector(owned own) : own_(std::move(own)) {} // NOLINT: as a vector
  explicit flat_vector(std::span<const float> from) : own_(from.begin(), from.end()) {}
  /// `words` are those of `keep`.
  flat_vector(frame keep, std::span<const float> words) : keep_(std::move(keep)), words_(words) {}

  std::span<const float> view() const { return is_seen() ? words_ : std::span<const float>{own_}; }
  operator std::span<const float>() const { return view(); } // NOLINT: as a vector
  std::size_t size() const { return view().size(); }
  bool is_seen() const { return !keep_.empty(); }

  owned& edit() {
    if (is_seen()) {
      own_.assign(words_.begin(), words_.end());
      keep_ = {};
    }
    return own_;
  }

  friend bool operator==(const flat_vector& a, const flat_vector& b) { return a == b.view(); }
  friend bool operator==(const flat_vector& a, std::span<const float> b) { return std::ranges::equal(a.view(), b); }

private:
  frame keep_;
  std::span<const float> words_;
  owned own_;
};

} // namespace enn::serialization
