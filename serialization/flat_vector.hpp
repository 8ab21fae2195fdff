/// A flat float vector of a message: seen where the message's words lie, or owned. Whoever changes it gets a copy of its own. A
/// value; copies of one that is seen share the words.
#pragma once
#include <enn/serialization/frame.hpp>

#include <algorithm>
#include <span>
#include <vector>

namespace enn::serialization {

class flat_vector {
public:
  flat_vector() = default;
  flat_vector(std::vector<float> own) : own_(std::move(own)) {} // NOLINT: as a vector
  /// `words` are those of `keep`.
  flat_vector(frame keep, std::span<const float> words) : keep_(std::move(keep)), words_(words) {}

  std::span<const float> view() const { return is_seen() ? words_ : std::span<const float>{own_}; }
  operator std::span<const float>() const { return view(); } // NOLINT: as a vector
  std::size_t size() const { return view().size(); }
  bool is_seen() const { return !keep_.empty(); }

  std::vector<float>& edit() {
    if (is_seen()) {
      own_.assign(words_.begin(), words_.end());
      keep_ = {};
    }
    return own_;
  }

  friend bool operator==(const flat_vector& a, const flat_vector& b) { return std::ranges::equal(a.view(), b.view()); }

private:
  frame keep_;
  std::span<const float> words_;
  std::vector<float> own_;
};

} // namespace enn::serialization
