#include <enn/model/machine.hpp>

#include <enn/kernels/machine.hpp>

#include <algorithm>
#include <chrono>

namespace enn::model {

machine_report describe_machine() {
  auto facts = kernels::describe_machine();
  machine_report report{facts.processor, facts.cores, facts.memory, facts.blas, {}};
  for (const auto& set : kernels::kernel_sets())
    report.kernel_sets.emplace_back(set.name, set.refusal);
  return report;
}

double measure_fma_peak(std::string_view set) {
  return kernels::measure_fma_peak(set);
}

double measure_gemm(std::string_view set, std::int64_t m, std::int64_t n, std::int64_t k) {
  std::string why_not;
  const auto* table = kernels::find_kernels(set, why_not);
  if (!table)
    return 0;
  auto size = [](std::int64_t elements) { return static_cast<std::size_t>(elements); };
  std::vector<float> a(size(m * k), 0.5f), b(size(k * n), 0.25f), c(size(m * n)), scratch(size(table->gemm_workspace(m, n, k)));
  kernels::gemm_args<float> g;
  g.m = m, g.n = n, g.k = k;
  g.a = a.data(), g.lda = k;
  g.b = b.data(), g.ldb = n;
  g.c = c.data(), g.ldc = n;
  g.scratch = scratch.data();
  using clock = std::chrono::steady_clock;
  double best = 1e300;
  table->gemm(g); // warm caches
  for (auto end = clock::now() + std::chrono::milliseconds{100}; clock::now() < end;) {
    auto start = clock::now();
    table->gemm(g);
    best = std::min(best, std::chrono::duration<double>(clock::now() - start).count());
  }
  return 2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / best;
}

} // namespace enn::model
