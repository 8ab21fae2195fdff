/// The set avx512. Compiled for AVX-512 F, BW, DQ, VL: include nothing here that has functions of external linkage.
#include "gemm.inl.hpp"
#include "rows.inl.hpp"
#include "sets.hpp"

#include <immintrin.h>

namespace enn::kernels {
namespace {

struct avx512_vector {
  using vector = __m512;
  static constexpr int width = 16, rows = 8, vectors = 3; // 24 of 32 registers hold the tile, 4 its operands

  static vector zero() { return _mm512_setzero_ps(); }
  static vector broadcast(float x) { return _mm512_set1_ps(x); }
  static vector load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, vector v) { _mm512_storeu_ps(p, v); }
  static vector load(const float* p, std::int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static void store(float* p, vector v, std::int64_t n) { _mm512_mask_storeu_ps(p, first(n), v); }
  static vector keep(vector v, std::int64_t n) { return _mm512_maskz_mov_ps(first(n), v); }
  static vector fma(vector a, vector b, vector c) { return _mm512_fmadd_ps(a, b, c); }

  static __mmask16 first(std::int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
};

constexpr kernel_table<float> table = table_of<avx512_vector>("avx512");

} // namespace

const isa::implementation isa::avx512 = {&table, burst_of<avx512_vector>};

} // namespace enn::kernels
