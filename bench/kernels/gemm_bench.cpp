/// Matrix products of the model's shapes: GFLOP/s and share of the measured peak, per set. Usage: gemm_bench [set...]
/// Answers are compared with the reference first (== for the sets that promise it). OpenBLAS: run with OPENBLAS_NUM_THREADS=1.
#include "measure.hpp"

#include <enn/kernels/machine.hpp>

#include <cmath>
#include <cstdlib>

namespace {

using enn::kernels::gemm_args;

struct shape {
  const char* use;
  bool transpose_a, transpose_b;
  std::int64_t m, n, k;
  std::int64_t stride = 0; // of every matrix; 0: dense
};

constexpr shape shapes[] = {
    {"square-ish", false, false, 1024, 256, 256},
    {"feed-forward in", false, false, 828, 512, 256},
    {"feed-forward out", false, false, 828, 256, 512},
    {"narrow layer", false, false, 828, 48, 48},
    {"narrow to wide", false, false, 828, 384, 48},
    {"narrow, long", false, false, 6624, 96, 48},
    {"dx = dy W^T", false, true, 828, 48, 96},
    {"dx = dy W^T, wide", false, true, 828, 256, 512},
    {"dW = x^T dy", true, false, 48, 96, 828},
    {"dW = x^T dy, wide", true, false, 256, 512, 828},
    {"scores Q K^T", false, true, 207, 207, 12, 48},
    {"scores times V", false, false, 207, 12, 207, 207},
    {"dV = P^T dy", true, false, 207, 12, 207, 207},
    {"small", false, false, 16, 16, 16},
    {"one row", false, false, 1, 256, 256},
};

struct problem {
  gemm_args<float> args;
  std::vector<float> a, b, c, scratch;

  explicit problem(const shape& s) {
    const auto stride = [&](std::int64_t cols) { return std::max(cols, s.stride); };
    const std::int64_t a_rows = s.transpose_a ? s.k : s.m, a_cols = s.transpose_a ? s.m : s.k;
    const std::int64_t b_rows = s.transpose_b ? s.n : s.k, b_cols = s.transpose_b ? s.k : s.n;
    a = enn::bench::numbers(static_cast<std::size_t>(a_rows * stride(a_cols)), 1);
    b = enn::bench::numbers(static_cast<std::size_t>(b_rows * stride(b_cols)), 2);
    c.resize(static_cast<std::size_t>(s.m * stride(s.n)));
    args = {.transpose_a = s.transpose_a, .transpose_b = s.transpose_b, .m = s.m, .n = s.n, .k = s.k,
            .a = a.data(), .lda = stride(a_cols), .b = b.data(), .ldb = stride(b_cols), .c = c.data(), .ldc = stride(s.n)};
  }

  void run(const enn::kernels::kernel_table<float>& table) {
    scratch.resize(static_cast<std::size_t>(table.gemm_workspace(args.m, args.n, args.k)));
    args.scratch = scratch.data();
    table.gemm(args);
  }
};

/// Exact for our own sets, within rounding for OpenBLAS.
void check(const enn::kernels::kernel_table<float>& table, problem& p, const std::vector<float>& expected) {
  p.run(table);
  for (std::size_t i = 0; i < p.c.size(); ++i)
    if (table.name == "openblas" ? !(std::fabs(p.c[i] - expected[i]) < 1e-2f) : p.c[i] != expected[i]) {
      std::fprintf(stderr, "%s: element %zu is wrong\n", std::string(table.name).c_str(), i);
      std::exit(1);
    }
}

} // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> wanted(argv + 1, argv + argc);
  for (const enn::kernels::kernel_set& set : enn::kernels::kernel_sets()) {
    if (!set.refusal.empty() || (wanted.empty() ? set.name == "reference" : std::ranges::find(wanted, set.name) == wanted.end()))
      continue;
    const double peak = enn::kernels::measure_fma_peak(set.name);
    std::printf("{\"set\": \"%s\", \"peak_gflops\": %.1f}\n", set.name.c_str(), peak);
    for (const shape& s : shapes) {
      problem p(s);
      p.run(enn::kernels::reference_kernels<float>());
      const std::vector<float> expected = p.c;
      check(*set.table, p, expected);
      const double gflops = 2e-9 * static_cast<double>(s.m * s.n * s.k) / enn::bench::best_seconds([&] { p.run(*set.table); });
      std::printf("{\"set\": \"%s\", \"use\": \"%s\", \"m\": %ld, \"n\": %ld, \"k\": %ld, \"gflops\": %.1f, \"share\": %.2f}\n",
                  set.name.c_str(), s.use, long(s.m), long(s.n), long(s.k), gflops, gflops / peak);
    }
  }
}
