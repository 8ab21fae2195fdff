/// The set portable: the same sources for whatever the compiler's baseline is. On x86-64 that has no fused multiply-add,
/// so it is made from double arithmetic, exactly.
#include "gemm.inl.hpp"
#include "rows.inl.hpp"
#include "sets.hpp"

namespace enn::kernels {
namespace {

struct portable_vector {
  typedef float vector [[gnu::vector_size(16)]];
  typedef int vector_mask [[gnu::vector_size(16)]];
  typedef float half [[gnu::vector_size(8)]];
  typedef double pair [[gnu::vector_size(16)]];
  typedef std::int64_t bits [[gnu::vector_size(16)]];
  static constexpr int width = 4, rows = 4, vectors = 4;

  static vector zero() { return vector{}; }
  static vector broadcast(float x) { return vector{x, x, x, x}; }
  static vector load(const float* p) {
    vector v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static void store(float* p, vector v) { __builtin_memcpy(p, &v, sizeof v); }
  static vector load(const float* p, std::int64_t n) {
    return vector{n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, 0};
  }
  static void store(float* p, vector v, std::int64_t n) {
    for (int i = 0; i < width - 1; ++i)
      if (i < n)
        p[i] = v[i];
  }
  static vector keep(vector v, std::int64_t n) {
    const int count = static_cast<int>(n);
    return (vector_mask{0, 1, 2, 3} < vector_mask{count, count, count, count}) ? v : vector{};
  }

#ifdef __FP_FAST_FMAF
  static vector fma(vector a, vector b, vector c) {
    for (int i = 0; i < width; ++i)
      c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
  }
#else
  static vector fma(vector a, vector b, vector c) {
    const half low = fma(low_of(a), low_of(b), low_of(c)), high = fma(high_of(a), high_of(b), high_of(c));
    return __builtin_shufflevector(low, high, 0, 1, 2, 3);
  }

  static pair low_of(vector v) { return __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1), pair); }
  static pair high_of(vector v) { return __builtin_convertvector(__builtin_shufflevector(v, v, 2, 3), pair); }

  /// The product of two floats is exact in double. The sum is rounded to odd (an inexact result gets its last bit set),
  /// after which rounding to float gives what one rounding would have given: Boldo & Melquiond 2008, "Emulation of FMA
  /// and correctly rounded sums". A NaN error, from infinities, compares false and leaves the sum as it is.
  static half fma(pair a, pair b, pair c) {
    const pair product = a * b, sum = product + c;
    const pair part = sum - product;
    const pair error = (product - (sum - part)) + (c - part);
    const bits raw = reinterpret_cast<bits>(sum);
    const bits even = ~raw & 1;
    const bits outward = (even & (error > 0)) - (even & (error < 0)), negative = sum < 0;
    return __builtin_convertvector(reinterpret_cast<pair>(raw + ((outward ^ negative) - negative)), half);
  }
#endif
};

constexpr kernel_table<float> table = table_of<portable_vector>("portable");

} // namespace

const isa::implementation isa::portable = {&table, burst_of<portable_vector>};

} // namespace enn::kernels
