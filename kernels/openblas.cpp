/// The set openblas: gemm by cblas_sgemm, whose bits may depend on the shape, on the core type and on its threads; the
/// application sets the number of threads, never this file. Everything else comes from the fastest set that runs here.
#include "openblas.hpp"

#include <cblas.h>

#include <algorithm>

namespace enn::kernels {
namespace {

void gemm(const gemm_args<float>& g) {
  if (g.m == 0 || g.n == 0)
    return;
  const auto flag = [](bool transpose) { return transpose ? CblasTrans : CblasNoTrans; };
  const auto size = [](std::int64_t n) { return static_cast<blasint>(n); };
  const auto leading = [](std::int64_t n) { return static_cast<blasint>(std::max<std::int64_t>(n, 1)); };
  cblas_sgemm(CblasRowMajor, flag(g.transpose_a), flag(g.transpose_b), size(g.m), size(g.n), size(g.k), 1, g.a,
              leading(g.lda), g.b, leading(g.ldb), g.accumulate ? 1 : 0, g.c, leading(g.ldc));
}

std::int64_t gemm_workspace(std::int64_t, std::int64_t, std::int64_t) {
  return 0;
}

} // namespace

kernel_table<float> openblas_on(const kernel_table<float>& base) {
  kernel_table<float> table = base;
  table.name = "openblas";
  table.rows_are_independent = false;
  table.gemm = gemm;
  table.gemm_workspace = gemm_workspace;
  return table;
}

std::string openblas_description() {
  return std::string(openblas_get_config()) + " core " + openblas_get_corename();
}

} // namespace enn::kernels
