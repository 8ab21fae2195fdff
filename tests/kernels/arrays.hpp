/// Arrays for kernel tests: fixed numbers, some of them special, and outputs that notice being overrun.
#pragma once
#include <enn/kernels/machine.hpp>
#include <enn/kernels/random.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace enn::kernels::test {

/// Sizes around every vector width.
inline constexpr std::int64_t sizes[] = {0, 1, 3, 7, 8, 15, 16, 17, 31, 33, 64, 257};

/// n numbers in [-2, 2).
template <class T = float>
std::vector<T> numbers(std::int64_t n, std::uint64_t seed) {
  std::vector<T> x(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = T(4) * random_uniform({.seed = seed}, i) - T(2);
  return x;
}

/// The same, with infinities, NaN, zeros of both signs, subnormals and huge numbers strewn in.
inline std::vector<float> wild_numbers(std::int64_t n, std::uint64_t seed) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const float special[] = {
    inf, -inf, std::numeric_limits<float>::quiet_NaN(), 0.0f, -0.0f, 1e-40f, -1e-42f, 3e38f, -3e38f, 88.7f, -103.5f, 20.0f, 1e-10f};
  std::vector<float> x = numbers(n, seed);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (const std::uint32_t bits = random_bits({.seed = seed + 1000}, i); bits % 4 == 0)
      x[i] = special[bits / 4 % std::size(special)];
  return x;
}

/// An array at a chosen misalignment between sentinels. A copy starts with the same contents.
class guarded {
public:
  guarded(const std::vector<float>& contents, std::size_t misalignment = 0)
      : start_(guard + misalignment), size_(contents.size()), all_(start_ + size_ + guard, sentinel) {
    std::copy(contents.begin(), contents.end(), data());
  }

  float* data() { return all_.data() + start_; }
  const float* data() const { return all_.data() + start_; }
  std::size_t size() const { return size_; }

  bool intact() const {
    const auto is_sentinel = [](float x) { return x == sentinel; };
    return std::all_of(all_.begin(), all_.begin() + std::ptrdiff_t(start_), is_sentinel) &&
           std::all_of(all_.end() - std::ptrdiff_t(guard), all_.end(), is_sentinel);
  }

private:
  static constexpr std::size_t guard = 32;
  static constexpr float sentinel = -12345.678f;
  std::size_t start_, size_;
  std::vector<float> all_;
};

/// Same bits; any NaN equals any NaN, since which operand's payload survives is the compiler's choice.
inline bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

inline testing::AssertionResult same(const guarded& got, const guarded& expected) {
  if (!got.intact())
    return testing::AssertionFailure() << "wrote outside its output";
  for (std::size_t i = 0; i < got.size(); ++i)
    if (!same(got.data()[i], expected.data()[i]))
      return testing::AssertionFailure() << "element " << i << " of " << got.size() << " is " << got.data()[i] << ", not "
                                         << expected.data()[i];
  return testing::AssertionSuccess();
}

/// Sets that run here and promise the reference's bits; in gemm, openblas does not.
inline std::vector<const kernel_table<float>*> exact_sets(bool with_openblas) {
  std::vector<const kernel_table<float>*> tables;
  for (const kernel_set& set : kernel_sets())
    if (set.refusal.empty() && set.name != "reference" && (with_openblas || set.name != "openblas"))
      tables.push_back(set.table);
  return tables;
}

/// Runs call(table, output) by the reference and by every set, at two alignments, from the same contents.
template <class Call>
void expect_same_in_all_sets(const std::vector<float>& contents, const std::string& what, Call call) {
  guarded expected(contents);
  call(reference_kernels<float>(), expected.data());
  for (const auto* table : exact_sets(true))
    for (const std::size_t misalignment : {0, 1}) {
      guarded got(contents, misalignment);
      call(*table, got.data());
      EXPECT_TRUE(same(got, expected)) << table->name << ", " << what;
    }
}

} // namespace enn::kernels::test
