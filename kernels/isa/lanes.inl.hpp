/// Rows in blocks of sixteen numbers, the unit of rule 2, for any vector type V of a kernel set (see gemm.inl.hpp; here it
/// also needs keep(v, n), which makes all but the first n elements +0).
#include <cstdint>

namespace enn::kernels {
namespace {

constexpr int lane_count = 16;

/// Sixteen numbers in as many registers as they need.
template <class V>
struct sixteen {
  static constexpr int parts = lane_count / V::width;
  typename V::vector part[parts];
};

template <class V, class F>
[[gnu::always_inline]] inline sixteen<V> by_parts(F f) {
  sixteen<V> result;
  for (int p = 0; p < sixteen<V>::parts; ++p)
    result.part[p] = f(p);
  return result;
}

template <class V>
[[gnu::always_inline]] inline sixteen<V> operator+(const sixteen<V>& a, const sixteen<V>& b) {
  return by_parts<V>([&](int p) { return a.part[p] + b.part[p]; });
}
template <class V>
[[gnu::always_inline]] inline sixteen<V> operator-(const sixteen<V>& a, const sixteen<V>& b) {
  return by_parts<V>([&](int p) { return a.part[p] - b.part[p]; });
}
template <class V>
[[gnu::always_inline]] inline sixteen<V> operator*(const sixteen<V>& a, const sixteen<V>& b) {
  return by_parts<V>([&](int p) { return a.part[p] * b.part[p]; });
}
template <class V>
[[gnu::always_inline]] inline sixteen<V> operator-(const sixteen<V>& a, float b) {
  return by_parts<V>([&](int p) { return a.part[p] - V::broadcast(b); });
}
template <class V>
[[gnu::always_inline]] inline sixteen<V> operator*(const sixteen<V>& a, float b) {
  return by_parts<V>([&](int p) { return a.part[p] * V::broadcast(b); });
}

/// Where in a row a full block lies: block(x) are its numbers in row x.
template <class V>
struct full_block {
  std::int64_t first;

  [[gnu::always_inline]] sixteen<V> operator()(const float* row) const {
    return by_parts<V>([&](int p) { return V::load(row + first + p * V::width); });
  }
  [[gnu::always_inline]] void store(float* row, const sixteen<V>& x) const {
    for (int p = 0; p < sixteen<V>::parts; ++p)
      V::store(row + first + p * V::width, x.part[p]);
  }
  [[gnu::always_inline]] sixteen<V> keep(const sixteen<V>& x) const { return x; }
};

/// The last block of a row, `count` < 16 numbers long: the others are read as +0 and not written.
template <class V>
struct part_block {
  std::int64_t first, count;

  [[gnu::always_inline]] sixteen<V> operator()(const float* row) const {
    return by_parts<V>([&](int p) {
      const std::int64_t n = in_part(p);
      return n == 0 ? V::zero() : n == V::width ? V::load(row + first + p * V::width) : V::load(row + first + p * V::width, n);
    });
  }
  [[gnu::always_inline]] void store(float* row, const sixteen<V>& x) const {
    for (int p = 0; p < sixteen<V>::parts; ++p)
      if (const std::int64_t n = in_part(p); n == V::width)
        V::store(row + first + p * V::width, x.part[p]);
      else if (n > 0)
        V::store(row + first + p * V::width, x.part[p], n);
  }
  [[gnu::always_inline]] sixteen<V> keep(const sixteen<V>& x) const {
    return by_parts<V>([&](int p) { return V::keep(x.part[p], in_part(p)); });
  }

private:
  [[gnu::always_inline]] std::int64_t in_part(int p) const {
    const std::int64_t n = count - p * V::width;
    return n < 0 ? 0 : n > V::width ? V::width : n;
  }
};

/// f(block) for all blocks of a row of n.
template <class V, class F>
[[gnu::always_inline]] inline void for_blocks(std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + lane_count <= n; i += lane_count)
    f(full_block<V>{i});
  if (i < n)
    f(part_block<V>{i, n - i});
}

/// Folds sixteen lanes, j with j + 8, then + 4, + 2, + 1.
template <class V, class F>
[[gnu::always_inline]] inline float fold(const sixteen<V>& x, F f) {
  float lane[lane_count];
  full_block<V>{0}.store(lane, x);
  for (int j = 0; j < 8; ++j)
    lane[j] = f(lane[j], lane[j + 8]);
  for (int j = 0; j < 4; ++j)
    lane[j] = f(lane[j], lane[j + 4]);
  return f(f(lane[0], lane[2]), f(lane[1], lane[3]));
}

/// Rule 2. Where the row ends within a block, +0 is added to the other lanes: no lane is ever -0, so that changes nothing.
template <class V, class Element>
[[gnu::always_inline]] inline float lane_sum(std::int64_t n, Element element) {
  sixteen<V> sum = by_parts<V>([](int) { return V::zero(); });
  for_blocks<V>(n, [&](auto block) { sum = sum + block.keep(element(block)); });
  return fold(sum, [](float a, float b) { return a + b; });
}

/// The largest element; a NaN, once met, stays. The last full block may overlap the one before: a maximum does not mind.
template <class V>
[[gnu::always_inline]] inline float row_maximum(std::int64_t n, const float* x) {
  const auto larger = [](auto a, auto b) { return (b > a) | (b != b) ? b : a; };
  float largest = -__builtin_inff();
  if (n < lane_count) {
    for (std::int64_t i = 0; i < n; ++i)
      largest = larger(largest, x[i]);
    return largest;
  }
  sixteen<V> lanes = full_block<V>{0}(x);
  for (std::int64_t i = lane_count; i < n; i += lane_count) {
    const sixteen<V> next = full_block<V>{i + lane_count <= n ? i : n - lane_count}(x);
    lanes = by_parts<V>([&](int p) { return larger(lanes.part[p], next.part[p]); });
  }
  return fold(lanes, larger);
}

} // namespace
} // namespace enn::kernels
