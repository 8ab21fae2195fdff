#include <enn/model/operators/product.hpp>

#include <enn/kernels/machine.hpp>

namespace enn::model {
namespace {

constexpr std::int64_t pieces = 4;     // of a product that is shared
constexpr double least_work = 1 << 22; // multiplications of such a product: some ten microseconds a piece

template <class T>
bool is_worth_sharing(const call<T>& c, const kernels::gemm_args<T>& g) {
  auto work = static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k);
  return c.helpers && work >= least_work && g.m >= pieces && c.kernels->rows_are_independent && c.helpers->are_there();
}

} // namespace

template <class T>
std::int64_t product_scratch(const kernels::kernel_table<T>& t, std::int64_t m, std::int64_t n, std::int64_t k) {
  return pieces * t.gemm_workspace(m, n, k);
}

template <class T>
void product(const call<T>& c, kernels::gemm_args<T> g) {
  g.scratch = c.scratch;
  if (!is_worth_sharing(c, g))
    return c.kernels->gemm(g);
  auto room = c.kernels->gemm_workspace(g.m, g.n, g.k);
  c.helpers->run(pieces, [&](std::int64_t i) {
    kernels::rounding_guard guard; // as in the thread that shares
    auto first = g.m * i / pieces;
    auto part = g;
    part.m = g.m * (i + 1) / pieces - first;
    part.a += first * (g.transpose_a ? 1 : g.lda);
    part.c += first * g.ldc;
    part.scratch += i * room;
    c.kernels->gemm(part);
  });
}

template std::int64_t product_scratch(const kernels::kernel_table<float>&, std::int64_t, std::int64_t, std::int64_t);
template std::int64_t product_scratch(const kernels::kernel_table<double>&, std::int64_t, std::int64_t, std::int64_t);
template void product(const call<float>&, kernels::gemm_args<float>);
template void product(const call<double>&, kernels::gemm_args<double>);

} // namespace enn::model
