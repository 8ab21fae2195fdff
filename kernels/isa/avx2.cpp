/// The set avx2. Compiled for AVX2 and FMA: include nothing here that has functions of external linkage.
#include "gemm.inl.hpp"
#include "rows.inl.hpp"
#include "sets.hpp"

#include <immintrin.h>

namespace enn::kernels {
namespace {

struct avx2_vector {
  using vector = __m256;
  static constexpr int width = 8, rows = 6, vectors = 2; // 12 of 16 registers hold the tile, 3 its operands

  static vector zero() { return _mm256_setzero_ps(); }
  static vector broadcast(float x) { return _mm256_set1_ps(x); }
  static vector load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, vector v) { _mm256_storeu_ps(p, v); }
  static vector load(const float* p, std::int64_t n) { return _mm256_maskload_ps(p, first(n)); }
  static void store(float* p, vector v, std::int64_t n) { _mm256_maskstore_ps(p, first(n), v); }
  static vector keep(vector v, std::int64_t n) { return _mm256_and_ps(v, _mm256_castsi256_ps(first(n))); }
  static vector fma(vector a, vector b, vector c) { return _mm256_fmadd_ps(a, b, c); }

  static __m256i first(std::int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};

constexpr kernel_table<float> table = table_of<avx2_vector>("avx2");

} // namespace

const isa::implementation isa::avx2 = {&table, burst_of<avx2_vector>};

} // namespace enn::kernels
