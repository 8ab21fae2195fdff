#include "helper_threads.hpp"

#include <enn/kernels/machine.hpp>
#include <enn/model/operators/product.hpp>

#include <gtest/gtest.h>

#include <vector>

namespace enn::model::test {
namespace {

std::vector<float> numbers(std::int64_t count, std::uint64_t seed) {
  std::vector<float> x(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = kernels::random_uniform({.seed = seed}, i) - 0.5f;
  return x;
}

struct shapes {
  std::int64_t m, n, k;
};

TEST(product, in_pieces_has_the_same_bits) {
  for (std::string_view set : {"reference", "portable", "avx2", "avx512"}) {
    std::string why_not;
    const auto* table = kernels::find_kernels(set, why_not);
    if (!table)
      continue; // not on this machine
    for (auto [m, n, k] : {shapes{829, 96, 64}, shapes{7, 1024, 600}, shapes{300, 65, 300}})
      for (int flags = 0; flags < 8; ++flags) {
        kernels::gemm_args<float> g;
        g.transpose_a = flags & 1, g.transpose_b = flags & 2, g.accumulate = flags & 4;
        g.m = m, g.n = n, g.k = k;
        auto a = numbers(m * k, 1), b = numbers(k * n, 2), alone = numbers(m * n, 3), shared = alone;
        g.a = a.data(), g.lda = g.transpose_a ? m : k;
        g.b = b.data(), g.ldb = g.transpose_b ? k : n;
        g.ldc = n;
        std::vector<float> scratch(static_cast<std::size_t>(product_scratch(*table, m, n, k)));
        helper_threads help;
        call<float> c;
        c.kernels = table;
        c.scratch = scratch.data();
        g.c = alone.data();
        product(c, g);
        c.helpers = &help;
        g.c = shared.data();
        product(c, g);
        EXPECT_EQ(help.loops, 1);
        EXPECT_EQ(alone, shared) << set << " " << m << " x " << n << " x " << k << ", flags " << flags;
      }
  }
}

TEST(product, of_a_library_that_promises_no_order_is_not_shared) {
  std::string why_not;
  const auto* table = kernels::find_kernels("openblas", why_not);
  if (!table)
    GTEST_SKIP() << why_not;
  auto a = numbers(512 * 512, 1), b = numbers(512 * 512, 2), to = a;
  helper_threads help;
  call<float> c;
  c.kernels = table;
  c.helpers = &help;
  kernels::gemm_args<float> g;
  g.m = g.n = g.k = g.lda = g.ldb = g.ldc = 512;
  g.a = a.data(), g.b = b.data(), g.c = to.data();
  product(c, g);
  EXPECT_EQ(help.loops, 0);
}

} // namespace
} // namespace enn::model::test
