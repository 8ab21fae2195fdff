/// gemm: every set gives the reference's bits, and a row does not know what is around it.
#include "arrays.hpp"

namespace enn::kernels::test {
namespace {

using table = kernel_table<float>;

struct shape {
  std::int64_t m, n, k;
  bool transpose_a = false, transpose_b = false, accumulate = false;
  std::int64_t padding = 0; // of every row
};

/// C, with sentinels around, after one product of fixed numbers.
guarded product(const table& t, const shape& s, std::size_t misalignment = 0) {
  const std::int64_t lda = (s.transpose_a ? s.m : s.k) + s.padding, ldb = (s.transpose_b ? s.k : s.n) + s.padding, ldc = s.n + s.padding;
  const guarded a(numbers((s.transpose_a ? s.k : s.m) * lda, 1), misalignment),
    b(numbers((s.transpose_b ? s.n : s.k) * ldb, 2), misalignment);
  guarded c(numbers(s.m * ldc, 3), misalignment), scratch(numbers(t.gemm_workspace(s.m, s.n, s.k), 4), misalignment);
  t.gemm({.transpose_a = s.transpose_a, .transpose_b = s.transpose_b, .accumulate = s.accumulate, .m = s.m, .n = s.n, .k = s.k,
          .a = a.data(), .lda = lda, .b = b.data(), .ldb = ldb, .c = c.data(), .ldc = ldc, .scratch = scratch.data()});
  EXPECT_TRUE(scratch.intact()) << "used more scratch than it said";
  return c;
}

std::string describe(const shape& s) {
  return std::to_string(s.m) + " x " + std::to_string(s.n) + " x " + std::to_string(s.k) + (s.transpose_a ? " A^T" : "") +
         (s.transpose_b ? " B^T" : "") + (s.accumulate ? " +=" : "");
}

void expect_equal_in_exact_sets(const shape& s) {
  const guarded expected = product(reference_kernels<float>(), s);
  for (const auto* t : exact_sets(false))
    for (const std::size_t misalignment : {0, 1})
      EXPECT_TRUE(same(product(*t, s, misalignment), expected)) << t->name << " " << describe(s);
}

TEST(gemm, gives_the_same_bits_in_all_exact_sets_for_small_shapes) {
  for (const std::int64_t m : {0, 1, 2, 5, 6, 9, 17})
    for (const std::int64_t n : {0, 1, 3, 8, 12, 16, 17, 31, 48, 65})
      for (const std::int64_t k : {0, 1, 4, 13})
        for (int flags = 0; flags < 8; ++flags)
          expect_equal_in_exact_sets({m, n, k, (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0, flags % 3});
}

TEST(gemm, gives_the_same_bits_in_all_exact_sets_for_shapes_beyond_one_block) {
  for (int flags = 0; flags < 8; ++flags) {
    const bool a = (flags & 1) != 0, b = (flags & 2) != 0, accumulate = (flags & 4) != 0;
    for (const shape& s : {shape{64, 64, 64}, {37, 53, 257}, {13, 100, 400}, {48, 96, 207}, {207, 12, 33}, {30, 49, 193}})
      expect_equal_in_exact_sets({s.m, s.n, s.k, a, b, accumulate, 5});
  }
}

TEST(gemm, leaves_the_padding_of_c_alone) {
  const shape s{9, 20, 30, false, false, false, 7};
  const auto before = numbers(s.m * 27, 3);
  for (const auto* t : exact_sets(true)) {
    const guarded c = product(*t, s);
    for (std::int64_t i = 0; i < s.m; ++i)
      for (std::int64_t j = s.n; j < 27; ++j)
        EXPECT_EQ(c.data()[i * 27 + j], before[std::size_t(i * 27 + j)]) << t->name;
  }
}

TEST(gemm, does_not_read_c_unless_it_accumulates) {
  const std::vector<float> ones(64, 1.0f);
  for (const auto* t : exact_sets(true)) {
    std::vector<float> c(64, std::numeric_limits<float>::quiet_NaN()), scratch(std::size_t(t->gemm_workspace(8, 8, 8)));
    t->gemm(
      {.m = 8, .n = 8, .k = 8, .a = ones.data(), .lda = 8, .b = ones.data(), .ldb = 8, .c = c.data(), .ldc = 8, .scratch = scratch.data()});
    EXPECT_EQ(c, std::vector<float>(64, 8.0f)) << t->name;
  }
}

TEST(gemm, lets_nan_and_infinity_through_like_the_reference) {
  for (const auto* t : exact_sets(false)) {
    const auto a = wild_numbers(20 * 20, 5), b = wild_numbers(20 * 20, 6);
    std::vector<float> got(400), expected(400), scratch(std::size_t(t->gemm_workspace(20, 20, 20)));
    gemm_args<float> args{.m = 20, .n = 20, .k = 20, .a = a.data(), .lda = 20, .b = b.data(), .ldb = 20, .c = expected.data(),
                          .ldc = 20, .scratch = scratch.data()};
    reference_kernels<float>().gemm(args);
    args.c = got.data();
    t->gemm(args);
    EXPECT_TRUE(same(guarded(got), guarded(expected))) << t->name;
  }
}

/// k = 1 and accumulation make one fused multiply-add of every element, among them the hardest to emulate.
TEST(gemm, rounds_a_fused_multiply_add_once_even_where_double_rounding_would_show) {
  constexpr std::int64_t n = 1 << 16;
  std::vector<float> a(n), c(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto bits = [&](std::uint64_t seed) { return random_bits({.seed = seed}, i); };
    const auto number = [&](std::uint64_t seed, unsigned spread) { // few set bits, so that ties are common
      return std::bit_cast<float>(((127 - spread / 2 + bits(seed) % spread) << 23) | (bits(seed + 1) & 0x600003)
                                  | (bits(seed + 2) & 0x80000000));
    };
    a[i] = i % 8 == 0 ? number(10, 250) : number(10, 60);
    c[i] = i % 8 == 0 ? number(20, 250) : number(20, 60);
  }
  for (const float b : {1.0f, 1.0000001f, 0.99999994f, 1.5f, -3.0000002f, 1e-38f, 1e30f})
    for (const auto* t : exact_sets(false)) {
      auto got = c;
      std::vector<float> scratch(std::size_t(t->gemm_workspace(1, n, 1)));
      t->gemm({.accumulate = true, .m = 1, .n = n, .k = 1, .a = &b, .lda = 1, .b = a.data(), .ldb = n, .c = got.data(), .ldc = n,
               .scratch = scratch.data()});
      for (std::size_t i = 0; i < n; ++i)
        ASSERT_TRUE(same(got[i], std::fma(b, a[i], c[i]))) << t->name << " " << a[i] << " * " << b << " + " << c[i];
    }
}

TEST(gemm, computes_a_row_alone_as_in_a_larger_matrix_and_a_column_too) {
  const std::int64_t m = 40, n = 70, k = 300;
  const auto a = numbers(m * k, 7), b = numbers(k * n, 8);
  for (const auto* t : exact_sets(false)) {
    std::vector<float> whole(m * n), row(n), part(m * n), scratch(std::size_t(t->gemm_workspace(m, n, k)));
    t->gemm(
      {.m = m, .n = n, .k = k, .a = a.data(), .lda = k, .b = b.data(), .ldb = n, .c = whole.data(), .ldc = n, .scratch = scratch.data()});
    for (std::int64_t i = 0; i < m; ++i) {
      t->gemm({.m = 1, .n = n, .k = k, .a = a.data() + i * k, .lda = k, .b = b.data(), .ldb = n, .c = row.data(), .ldc = n,
               .scratch = scratch.data()});
      EXPECT_TRUE(std::equal(row.begin(), row.end(), whole.begin() + i * n)) << t->name << " row " << i;
    }
    for (const std::int64_t first : {1, 5, 33}) { // columns first.. only, of rows 3..
      t->gemm({.m = m - 3, .n = n - first, .k = k, .a = a.data() + 3 * k, .lda = k, .b = b.data() + first, .ldb = n,
               .c = part.data(), .ldc = n, .scratch = scratch.data()});
      for (std::int64_t i = 0; i < m - 3; ++i)
        EXPECT_TRUE(std::equal(part.begin() + i * n, part.begin() + i * n + n - first, whole.begin() + (i + 3) * n + first)) << t->name;
    }
  }
}

TEST(gemm, needs_little_scratch_whatever_the_shape) {
  for (const auto* t : exact_sets(true))
    EXPECT_LE(t->gemm_workspace(100000, 4096, 4096) * std::int64_t(sizeof(float)), 512 * 1024) << t->name;
}

TEST(gemm, by_openblas_agrees_within_rounding) {
  std::string why_not;
  const auto* blas = find_kernels("openblas", why_not);
  if (!blas)
    GTEST_SKIP() << why_not;
  for (int flags = 0; flags < 8; ++flags)
    for (const shape& s : {shape{0, 4, 4}, {4, 0, 4}, {4, 4, 0}, {1, 1, 1}, {17, 33, 64}, {50, 20, 257}}) {
      const shape all{s.m, s.n, s.k, (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0, 3};
      const guarded got = product(*blas, all), expected = product(reference_kernels<float>(), all);
      EXPECT_TRUE(got.intact());
      for (std::size_t i = 0; i < got.size(); ++i)
        EXPECT_NEAR(got.data()[i], expected.data()[i], 1e-4) << describe(all);
    }
}

TEST(gemm, in_double_is_the_plain_sum_of_products) {
  const double a[] = {1, 2, 3, 4, 5, 6}, b[] = {1, 0, 2, 1, 0, 3}; // (2, 3) and (3, 2)
  double c[4];
  reference_kernels<double>().gemm({.m = 2, .n = 2, .k = 3, .a = a, .lda = 3, .b = b, .ldb = 2, .c = c, .ldc = 2});
  EXPECT_EQ(c[0], 5);
  EXPECT_EQ(c[1], 11);
  EXPECT_EQ(c[2], 14);
  EXPECT_EQ(c[3], 23);
}

} // namespace
} // namespace enn::kernels::test
