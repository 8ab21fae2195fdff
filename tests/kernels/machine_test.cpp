#include "arrays.hpp"

#include <tuple>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace enn::kernels::test {
namespace {

TEST(kernel_sets, always_include_portable_and_reference) {
  std::string why_not;
  ASSERT_NE(find_kernels("portable", why_not), nullptr);
  ASSERT_NE(find_kernels("reference", why_not), nullptr);
  EXPECT_EQ(find_kernels("reference", why_not), &reference_kernels<float>());
  EXPECT_NE(find_kernels("auto", why_not), nullptr);
  EXPECT_TRUE(why_not.empty());
}

TEST(kernel_sets, say_why_they_are_refused) {
  std::string why_not;
  EXPECT_EQ(find_kernels("abacus", why_not), nullptr);
  EXPECT_FALSE(why_not.empty());
  for (const kernel_set& set : kernel_sets()) {
    const auto* found = find_kernels(set.name, why_not);
    EXPECT_EQ(found != nullptr, set.refusal.empty()) << set.name;
    EXPECT_EQ(why_not, set.refusal);
    if (found) {
      EXPECT_EQ(found->name, set.name);
    }
  }
}

TEST(kernel_sets, of_openblas_differ_from_the_fastest_in_gemm_alone) {
  std::string why_not;
  const auto* blas = find_kernels("openblas", why_not);
  if (!blas)
    GTEST_SKIP() << why_not;
  const auto* fastest = find_kernels("auto", why_not);
  EXPECT_NE(blas->gemm, fastest->gemm);
  kernel_table<float> rest = *blas;
  rest.name = fastest->name;
  rest.gemm = fastest->gemm;
  rest.gemm_workspace = fastest->gemm_workspace;
  const auto functions = [](const kernel_table<float>& t) {
    return std::tuple(t.map, t.map_backward, t.zip, t.zip_row, t.zip_column, t.axpy, t.multiply_add, t.scale, t.softmax, t.softmax_backward,
                      t.norm, t.norm_backward, t.gated, t.gated_backward, t.row_sum, t.row_dot, t.column_sum, t.scan, t.adamw,
                      t.sum_of_squares, t.count_nonfinite);
  };
  EXPECT_EQ(functions(rest), functions(*fastest));
}

TEST(machine, has_a_name_and_cores_and_sets_that_match_its_facts) {
  const machine_facts facts = describe_machine();
  EXPECT_FALSE(facts.processor.empty());
  EXPECT_GE(facts.cores, 1u);
  EXPECT_FALSE(facts.blas.empty());
  std::string why_not;
  EXPECT_EQ(find_kernels("avx512", why_not) != nullptr, facts.avx512);
  EXPECT_EQ(find_kernels("avx2", why_not) != nullptr, facts.avx2_fma);
}

TEST(machine, measures_a_peak_for_sets_that_run_and_none_for_others) {
  EXPECT_EQ(measure_fma_peak("abacus"), 0);
  for (const kernel_set& set : kernel_sets())
    EXPECT_EQ(measure_fma_peak(set.name) > 0, set.refusal.empty()) << set.name;
}

#if defined(__SSE__)
TEST(rounding_guard, sets_nearest_rounding_with_subnormals_and_restores_what_was) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | _MM_FLUSH_ZERO_ON | 0x40 /* subnormals are zero */ | _MM_ROUND_UP);
  volatile float tiny = 1e-38f;
  {
    const rounding_guard guard;
    EXPECT_EQ(_mm_getcsr() & (_MM_FLUSH_ZERO_MASK | 0x40 | _MM_ROUND_MASK), unsigned(_MM_ROUND_NEAREST));
    volatile float smaller = tiny * 0.01f;
    EXPECT_GT(smaller, 0);
  }
  EXPECT_EQ(_mm_getcsr() & (_MM_FLUSH_ZERO_MASK | 0x40 | _MM_ROUND_MASK), unsigned(_MM_FLUSH_ZERO_ON | 0x40 | _MM_ROUND_UP));
  volatile float flushed = tiny * 0.01f;
  _mm_setcsr(before);
  EXPECT_EQ(flushed, 0);
}
#endif

} // namespace
} // namespace enn::kernels::test
