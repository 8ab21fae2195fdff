/// Matrix product for any vector type V of a kernel set:
///   V::vector, V::width, zero(), broadcast(x), load(p), store(p, v), fma(a, b, c) and, of the first n < width elements
///   only, load(p, n) (the others are 0) and store(p, v, n);  V::rows x V::vectors is the largest tile held in registers.
///
/// Every element of C is one chain of fused multiply-adds in ascending k (rule 1), whatever tile computes it; between
/// blocks of k the chain rests in C, which loses nothing. So tiles, blocks and packing are free to follow the shape.
///
/// Loops, outside in: blocks of k; strips of C as wide as a tile; tiles down the strip; k. The strip's part of B (block of
/// k times tile width, in L1) is packed once and used for all rows. A is read where it lies: a tile takes one number from
/// each of its rows per k, so it needs a pointer per row and no packing, which for n = 48 would cost as much as the product.
#include <enn/kernels/kernel_table.hpp>

#include <cstdint>

namespace enn::kernels {
namespace {

constexpr std::int64_t block_depth = 192; // of k: with 48 columns a strip of B is 36 KiB

/// One strip of C, m rows by at most N vectors.
struct strip {
  std::int64_t m = 0, k = 0, columns = 0;
  const float* a = nullptr; // A(i, p) = a[i * row_step + p * k_step]
  std::int64_t row_step = 0, k_step = 0;
  const float* b = nullptr; // B(p, j) = b[p * ldb + j]; full vectors may be read
  std::int64_t ldb = 0;
  float* c = nullptr;
  std::int64_t ldc = 0;
  bool from_c = false; // chains start from C instead of 0
};

/// R rows of the strip from row i on, of which `live` exist: the others repeat the last one and are not stored.
template <class V, int R, int N>
[[gnu::always_inline]] inline void tile(const strip& s, std::int64_t i, std::int64_t live) {
  using vector = typename V::vector;
  const std::int64_t tail = s.columns - (N - 1) * V::width;
  const float* row[R];
  for (int r = 0; r < R; ++r)
    row[r] = s.a + (i + (r < live ? r : live - 1)) * s.row_step;
  float* const c = s.c + i * s.ldc;
  vector sum[R][N];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < N; ++v)
      if (!s.from_c || r >= live)
        sum[r][v] = V::zero();
      else if (v == N - 1 && tail < V::width)
        sum[r][v] = V::load(c + r * s.ldc + v * V::width, tail);
      else
        sum[r][v] = V::load(c + r * s.ldc + v * V::width);
  const float* b = s.b;
  const std::int64_t k_step = s.k_step, end = s.k * k_step, ldb = s.ldb;
  for (std::int64_t p = 0; p < end; p += k_step, b += ldb) {
    vector bv[N];
    for (int v = 0; v < N; ++v)
      bv[v] = V::load(b + v * V::width);
    for (int r = 0; r < R; ++r) {
      const vector av = V::broadcast(row[r][p]);
      for (int v = 0; v < N; ++v)
        sum[r][v] = V::fma(av, bv[v], sum[r][v]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; r < live && v < N; ++v)
      if (v == N - 1 && tail < V::width)
        V::store(c + r * s.ldc + v * V::width, sum[r][v], tail);
      else
        V::store(c + r * s.ldc + v * V::width, sum[r][v]);
}

template <class V, int N>
void strip_of(const strip& s) {
  constexpr int full = V::rows, half = (V::rows + 1) / 2;
  std::int64_t i = 0;
  for (; s.m - i >= full; i += full)
    tile<V, full, N>(s, i, full);
  if (s.m - i > half)
    tile<V, full, N>(s, i, s.m - i);
  else if (s.m - i > 1)
    tile<V, half, N>(s, i, s.m - i);
  else if (s.m - i == 1)
    tile<V, 1, N>(s, i, 1);
}

template <class V, int N = V::vectors>
void strip_of_vectors(std::int64_t vectors, const strip& s) {
  if constexpr (N > 1)
    if (vectors < N)
      return strip_of_vectors<V, N - 1>(vectors, s);
  strip_of<V, N>(s);
}

/// Rows p of B, `columns` long, to rows of `width`, filled up with zeros.
template <class V>
void pack_rows(const float* b, std::int64_t ldb, std::int64_t k, std::int64_t columns, std::int64_t width, float* to) {
  for (std::int64_t p = 0; p < k; ++p, b += ldb, to += width) {
    std::int64_t j = 0;
    for (; j + V::width <= columns; j += V::width)
      V::store(to + j, V::load(b + j));
    if (j < columns)
      V::store(to + j, V::load(b + j, columns - j));
  }
}

/// The same from a stored transpose, four by four.
inline void pack_columns(const float* b, std::int64_t ldb, std::int64_t k, std::int64_t columns, std::int64_t width, float* to) {
  typedef float quad [[gnu::vector_size(16)]];
  for (std::int64_t j = 0; j < width; j += 4) {
    std::int64_t p = 0;
    for (; j + 4 <= columns && p + 4 <= k; p += 4) {
      quad row[4];
      for (int q = 0; q < 4; ++q)
        __builtin_memcpy(&row[q], b + (j + q) * ldb + p, sizeof(quad));
      const quad low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5), high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
      const quad low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5), high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
      const quad column[4] = {
          __builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
          __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
      for (int q = 0; q < 4; ++q)
        __builtin_memcpy(to + (p + q) * width + j, &column[q], sizeof(quad));
    }
    for (; p < k; ++p)
      for (int q = 0; q < 4; ++q)
        to[p * width + j + q] = j + q < columns ? b[(j + q) * ldb + p] : 0;
  }
}

template <class V>
std::int64_t workspace_of(std::int64_t, std::int64_t, std::int64_t k) {
  return (k < block_depth ? k : block_depth) * V::vectors * V::width;
}

inline void clear(const gemm_args<float>& g) {
  for (std::int64_t i = 0; i < g.m; ++i)
    for (std::int64_t j = 0; j < g.n; ++j)
      g.c[i * g.ldc + j] = 0;
}

template <class V>
void gemm_of(const gemm_args<float>& g) {
  if (g.k == 0 && !g.accumulate)
    clear(g);
  const std::int64_t blocks = (g.k + block_depth - 1) / block_depth;
  strip s;
  s.m = g.m;
  s.ldc = g.ldc;
  s.row_step = g.transpose_a ? 1 : g.lda;
  s.k_step = g.transpose_a ? g.lda : 1;
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t first = g.k * block / blocks;
    s.k = g.k * (block + 1) / blocks - first;
    s.a = g.a + first * s.k_step;
    s.from_c = g.accumulate || block > 0;
    for (std::int64_t j = 0; j < g.n; j += V::vectors * V::width) {
      s.columns = g.n - j < V::vectors * V::width ? g.n - j : V::vectors * V::width;
      const std::int64_t vectors = (s.columns + V::width - 1) / V::width, width = vectors * V::width;
      s.c = g.c + j;
      if (g.transpose_b) {
        pack_columns(g.b + j * g.ldb + first, g.ldb, s.k, s.columns, width, g.scratch);
      } else if (g.m > 2 * V::rows || width != s.columns) {
        pack_rows<V>(g.b + first * g.ldb + j, g.ldb, s.k, s.columns, width, g.scratch);
      } else { // too few rows to pay for packing
        s.b = g.b + first * g.ldb + j;
        s.ldb = g.ldb;
        strip_of_vectors<V>(vectors, s);
        continue;
      }
      s.b = g.scratch;
      s.ldb = width;
      strip_of_vectors<V>(vectors, s);
    }
  }
}

/// Independent chains in registers only, as many as hide the latency of one; returns the operations done.
template <class V>
std::int64_t burst_of(std::int64_t rounds, float* sink) {
  constexpr int chains = 12;
  typename V::vector sum[chains];
  for (int c = 0; c < chains; ++c)
    sum[c] = V::broadcast(static_cast<float>(c));
  const typename V::vector half = V::broadcast(0.5f), one = V::broadcast(1.0f);
  for (std::int64_t i = 0; i < rounds; ++i)
    for (int c = 0; c < chains; ++c)
      sum[c] = V::fma(sum[c], half, one);
  float out[V::width];
  *sink = 0;
  for (int c = 0; c < chains; ++c) {
    V::store(out, sum[c]);
    *sink += out[0];
  }
  return rounds * chains * V::width * 2;
}

} // namespace
} // namespace enn::kernels
