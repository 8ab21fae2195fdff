/// Dropout scales from many Philox counters side by side, so that the multiplications become vector code. Integer arithmetic:
/// every set has the same bits without further care. Plain arrays, as this is compiled for each instruction set.
#pragma once
#include <enn/kernels/random.hpp>

#include <cstdint>

namespace enn::kernels {
namespace {

constexpr std::uint32_t multiplier_0 = 0xD2511F53, multiplier_1 = 0xCD9E8D57;
constexpr std::uint32_t weyl_0 = 0x9E3779B9, weyl_1 = 0xBB67AE85;

/// The finisher of splitmix64 (Steele, Lea & Flood 2014): bijective, and 0 stays 0.
inline std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

/// The counter holds the low halves of block, row and step, and the purpose. The high halves, zero in practice, go into the
/// key, so that no two places share a draw by wrapping round.
struct draw {
  std::uint32_t counter[4], key[2];
};
inline draw draw_of(const random_place& place, std::uint64_t block) {
  const std::uint64_t key = place.seed ^ mix(mix(mix(place.step >> 32) ^ place.row >> 32) ^ block >> 32);
  return {{std::uint32_t(block), std::uint32_t(place.row), std::uint32_t(place.step), place.purpose},
          {std::uint32_t(key), std::uint32_t(key >> 32)}};
}

/// A draw of 24 bits below this is dropped: the probability times 2^24, rounded up.
inline std::uint32_t dropout_limit(double probability) {
  const double exact = probability * 0x1p24;
  const auto whole = static_cast<std::uint32_t>(exact);
  return whole + (whole < exact);
}

constexpr int blocks_at_once = 32; // g++ unrolls shorter loops before it could vectorise them

struct philox_blocks {
  std::uint32_t word[4][blocks_at_once];

  /// Blocks first, first + 1, ....
  philox_blocks(const random_place& place, std::uint64_t first) {
    const draw d = draw_of(place, first);
    for (int i = 0; i < blocks_at_once; ++i) {
      word[0][i] = d.counter[0] + std::uint32_t(i);
      for (int w = 1; w < 4; ++w)
        word[w][i] = d.counter[w];
    }
    std::uint32_t key_0 = d.key[0], key_1 = d.key[1];
    for (int round = 0; round < 10; ++round, key_0 += weyl_0, key_1 += weyl_1)
      for (int i = 0; i < blocks_at_once; ++i) {
        const std::uint64_t p0 = std::uint64_t(multiplier_0) * word[0][i], p1 = std::uint64_t(multiplier_1) * word[2][i];
        word[0][i] = std::uint32_t(p1 >> 32) ^ word[1][i] ^ key_0;
        word[1][i] = std::uint32_t(p1);
        word[2][i] = std::uint32_t(p0 >> 32) ^ word[3][i] ^ key_1;
        word[3][i] = std::uint32_t(p0);
      }
  }
};

[[maybe_unused]] void dropout_scales(const random_place& place, std::int64_t n, double probability, float* keep) {
  const std::uint32_t limit = dropout_limit(probability);
  const float scale = static_cast<float>(1 / (1 - probability));
  constexpr std::int64_t group = 4 * blocks_at_once;
  for (std::int64_t start = 0; start < n; start += group) {
    const philox_blocks b{place, static_cast<std::uint64_t>(start) / 4};
    float out[group];
    for (int i = 0; i < blocks_at_once; ++i)
      for (int w = 0; w < 4; ++w)
        out[4 * i + w] = (b.word[w][i] >> 8) < limit ? 0.0f : scale;
    __builtin_memcpy(keep + start, out, sizeof(float) * static_cast<std::size_t>(n - start < group ? n - start : group));
  }
}

} // namespace
} // namespace enn::kernels
