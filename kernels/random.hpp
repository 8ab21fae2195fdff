/// Counter-based random numbers: a draw is a pure function of a key and a place, so it repeats wherever and whenever
/// it is drawn. Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace enn::kernels {

using philox_counter = std::array<std::uint32_t, 4>;
using philox_key = std::array<std::uint32_t, 2>;

/// Ten rounds; matches the published test vectors (Random123 kat_vectors).
philox_counter philox4x32(philox_counter counter, philox_key key);

/// Where a number is drawn. The key is the run's seed; the counter holds step, row, purpose and element. Never a lease, a
/// worker or an attempt: a draw is the same whoever makes it.
struct random_place {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::uint64_t row = 0;     // global row number in the data, or 0
  std::uint32_t purpose = 0; // purpose_hash() of a graph path or of a fixed name
};

/// FNV-1a, 32 bits, of a name.
std::uint32_t purpose_hash(std::string_view name);

/// The element-th 32 random bits at this place. Elements e and e+1 of one group of four share a Philox block.
std::uint32_t random_bits(const random_place& place, std::uint64_t element);

/// Uniform in [0, 1), 24 bits; element as above.
float random_uniform(const random_place& place, std::uint64_t element);

/// Standard normal by the inverse of the normal distribution on a 32-bit uniform (own polynomial, no libm); double.
double random_normal(const random_place& place, std::uint64_t element);

/// A keyed permutation of 0..size-1: element -> element, bijective, by a 4-round Feistel network over the next power of
/// four with cycle walking. Nothing is stored, so a sampler can be restarted at any place.
std::uint64_t permute(std::uint64_t element, std::uint64_t size, std::uint64_t seed, std::uint64_t epoch);

} // namespace enn::kernels
