/// Facts and measured rates of this machine, for reports. They influence no result.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace enn::model {

struct machine_report {
  std::string processor;
  unsigned cores = 0;
  std::uint64_t memory = 0;  // bytes
  std::string blas;          // library, version and core type, or "none"
  std::vector<std::pair<std::string, std::string>> kernel_sets; // name; why it cannot run here, or empty
};
machine_report describe_machine();

/// GFLOP/s of one core with the instructions of a kernel set that can run here; about 50 ms.
double measure_fma_peak(std::string_view set);
/// GFLOP/s of one core in the set's product (m, k) (k, n); about 100 ms.
double measure_gemm(std::string_view set, std::int64_t m, std::int64_t n, std::int64_t k);

} // namespace enn::model
