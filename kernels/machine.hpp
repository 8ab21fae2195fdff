/// What this machine is, and which float kernel sets run on it. Values, computed on call; nothing is cached.
#pragma once
#include <enn/kernels/kernel_table.hpp>

#include <string>
#include <vector>

namespace enn::kernels {

/// Facts for reports; they influence no result.
struct machine_facts {
  std::string processor;     // as the kernel names it
  unsigned cores = 0;        // usable by this process
  std::uint64_t memory = 0;  // bytes, of the machine
  bool avx2_fma = false;     // and enabled by the operating system
  bool avx512 = false;       // f, bw, dq, vl
  std::string blas;          // library, version and core type, or "none"
};
machine_facts describe_machine();

/// One float set: why it cannot run here, or nothing if it can.
struct kernel_set {
  const kernel_table<float>* table; // null when not built in
  std::string name;
  std::string refusal; // empty: eligible
};

/// Every set, fastest first; `portable` and `reference` are always eligible.
std::vector<kernel_set> kernel_sets();

/// The named set, or `auto` for the first eligible among avx512, avx2, portable. Null (and a reason) if it cannot run here.
const kernel_table<float>* find_kernels(std::string_view name, std::string& why_not);

/// Measured float32 fused-multiply-add peak of one core in GFLOP/s with this set's instructions; takes about 50 ms.
double measure_fma_peak(std::string_view set);

/// Round to nearest, subnormals kept; restores the caller's mode when it goes. Held around every lease.
class rounding_guard {
public:
  rounding_guard();
  ~rounding_guard();
  rounding_guard(const rounding_guard&) = delete;
  rounding_guard& operator=(const rounding_guard&) = delete;

private:
  unsigned saved_;
};

} // namespace enn::kernels
