#include <enn/kernels/random.hpp>

#include "elementary.hpp"
#include "isa/philox.inl.hpp"

#include <cmath>

namespace enn::kernels {
namespace {

/// Algorithm AS 241, PPND16 (Wichura 1988): relative error about 1e-16.
double inverse_normal(double p) {
  using elementary::polynomial;
  const double q = p - 0.5;
  if (std::fabs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q *
           polynomial(r, 3.3871328727963666080, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
                      4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3) /
           polynomial(r, 1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
                      2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3);
  }
  const double tail = elementary::sqrt(-elementary::log(q < 0 ? p : 1 - p));
  double z;
  if (tail <= 5) {
    const double r = tail - 1.6;
    z = polynomial(r, 1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
                   1.27045825245236838258, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4) /
        polynomial(r, 1.0, 2.05319162663775882187, 1.67638483018380384940, 6.89767334985100004550e-1,
                   1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9);
  } else { // beyond 5.6 standard deviations, which 32 bits reach
    const double r = tail - 5;
    z = polynomial(r, 6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 2.96560571828504891230e-1,
                   2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7) /
        polynomial(r, 1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
                   7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15);
  }
  return q < 0 ? -z : z;
}

/// 24 bits as a float in [0, 1).
float unit(std::uint32_t bits) {
  return static_cast<float>(bits >> 8) * 0x1p-24f;
}

} // namespace

philox_counter philox4x32(philox_counter c, philox_key key) {
  for (int round = 0; round < 10; ++round, key[0] += weyl_0, key[1] += weyl_1) {
    const std::uint64_t p0 = std::uint64_t(multiplier_0) * c[0], p1 = std::uint64_t(multiplier_1) * c[2];
    c = {std::uint32_t(p1 >> 32) ^ c[1] ^ key[0], std::uint32_t(p1), std::uint32_t(p0 >> 32) ^ c[3] ^ key[1], std::uint32_t(p0)};
  }
  return c;
}

std::uint32_t purpose_hash(std::string_view name) {
  std::uint32_t hash = 2166136261u;
  for (const char c : name)
    hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

std::uint32_t random_bits(const random_place& place, std::uint64_t element) {
  const draw d = draw_of(place, element / 4);
  return philox4x32({d.counter[0], d.counter[1], d.counter[2], d.counter[3]}, {d.key[0], d.key[1]})[element % 4];
}

float random_uniform(const random_place& place, std::uint64_t element) {
  return unit(random_bits(place, element));
}

double random_normal(const random_place& place, std::uint64_t element) {
  return inverse_normal((random_bits(place, element) + 0.5) * 0x1p-32);
}

std::uint64_t permute(std::uint64_t element, std::uint64_t size, std::uint64_t seed, std::uint64_t epoch) {
  int half = 0; // bits of either side: the network permutes 4^half elements
  while (half < 32 && (std::uint64_t(1) << 2 * half) < size)
    ++half;
  const std::uint64_t mask = (std::uint64_t(1) << half) - 1;
  const std::uint64_t key = mix(seed + 0x9E3779B97F4A7C15 * (mix(epoch) + 1));
  do { // outside 0..size-1 the walk goes on; it comes back, since the network is a permutation
    std::uint64_t left = element >> half, right = element & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t next = left ^ (mix(key + (round << 32) + right) & mask);
      left = right;
      right = next;
    }
    element = left << half | right;
  } while (element >= size);
  return element;
}

} // namespace enn::kernels
