#include <enn/kernels/machine.hpp>

#include "isa/sets.hpp"
#ifdef ENN_HAVE_OPENBLAS
#include "openblas.hpp"
#endif

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#ifdef __linux__
#include <sched.h>
#include <unistd.h>
#endif
#if !defined(__SSE__)
#include <cfenv>
#endif

namespace enn::kernels {
namespace {

// __builtin_cpu_supports asks cpuid and, for registers that the operating system must save, xgetbv.
bool has_avx2_fma() {
#ifdef ENN_HAVE_X86_SETS
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

bool has_avx512() {
#ifdef ENN_HAVE_X86_SETS
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) {
      const auto start = line.find_first_not_of(" \t:", std::string_view("model name").size());
      return start == std::string::npos ? "unknown" : line.substr(start);
    }
  return "unknown";
}

unsigned usable_cores() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return static_cast<unsigned>(CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

std::string blas_name() {
#ifdef ENN_HAVE_OPENBLAS
  return openblas_description();
#else
  return "none";
#endif
}

/// A named set as it was built; null if it was not, or if `name` is openblas, which is made from another one.
const isa::implementation* built_in(std::string_view name) {
  if (name == "reference") return &isa::reference;
  if (name == "portable") return &isa::portable;
#ifdef ENN_HAVE_X86_SETS
  if (name == "avx2") return &isa::avx2;
  if (name == "avx512") return &isa::avx512;
#endif
  return nullptr;
}

std::string refusal_of(std::string_view name) {
  if (name == "openblas")
    return blas_name() == "none" ? "built without OpenBLAS" : "";
  if (!built_in(name))
    return "not built for this processor architecture";
  if (name == "avx2" && !has_avx2_fma())
    return "the processor or the operating system lacks AVX2 or FMA";
  if (name == "avx512" && !has_avx512())
    return "the processor or the operating system lacks AVX-512 F, BW, DQ or VL";
  return "";
}

const isa::implementation& fastest() {
  for (const char* name : {"avx512", "avx2"})
    if (refusal_of(name).empty())
      return *built_in(name);
  return isa::portable;
}

const kernel_table<float>* openblas_table() {
#ifdef ENN_HAVE_OPENBLAS
  static const kernel_table<float> table = openblas_on(*fastest().table);
  return &table;
#else
  return nullptr;
#endif
}

const kernel_table<float>* table_of(std::string_view name) {
  if (name == "openblas")
    return openblas_table();
  const isa::implementation* set = built_in(name);
  return set ? set->table : nullptr;
}

} // namespace

machine_facts describe_machine() {
  return {
      .processor = processor_name(),
      .cores = usable_cores(),
      .memory = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)),
      .avx2_fma = has_avx2_fma(),
      .avx512 = has_avx512(),
      .blas = blas_name(),
  };
}

std::vector<kernel_set> kernel_sets() {
  std::vector<kernel_set> sets;
  for (const char* name : {"avx512", "avx2", "openblas", "portable", "reference"})
    sets.push_back({table_of(name), name, refusal_of(name)});
  return sets;
}

const kernel_table<float>* find_kernels(std::string_view name, std::string& why_not) {
  why_not.clear();
  if (name == "auto")
    return fastest().table;
  for (const kernel_set& set : kernel_sets())
    if (set.name == name) {
      why_not = set.refusal;
      return why_not.empty() ? set.table : nullptr;
    }
  why_not = "no kernel set has this name";
  return nullptr;
}

double measure_fma_peak(std::string_view set) {
  if (!refusal_of(set).empty())
    return 0;
  const isa::implementation& chosen = set == "openblas" ? fastest() : *built_in(set);
  using clock = std::chrono::steady_clock;
  volatile float sink = 0;
  double best = 0;
  std::int64_t rounds = 1000; // grown until one burst takes about a millisecond: the best of many short ones is steady
  for (const auto start = clock::now(); clock::now() - start < std::chrono::milliseconds(50);) {
    float sum = 0;
    const auto before = clock::now();
    const std::int64_t operations = chosen.fma_burst(rounds, &sum);
    const double seconds = std::chrono::duration<double>(clock::now() - before).count();
    sink = sink + sum;
    best = std::max(best, static_cast<double>(operations) / seconds * 1e-9);
    if (seconds < 1e-3)
      rounds *= 2;
  }
  return best;
}

#ifdef __SSE__

rounding_guard::rounding_guard() : saved_(__builtin_ia32_stmxcsr()) {
  constexpr unsigned flush_to_zero = 1u << 15, rounding = 3u << 13, subnormals_are_zero = 1u << 6;
  __builtin_ia32_ldmxcsr(saved_ & ~(flush_to_zero | rounding | subnormals_are_zero));
}

rounding_guard::~rounding_guard() {
  __builtin_ia32_ldmxcsr(saved_);
}

#else

rounding_guard::rounding_guard() : saved_(static_cast<unsigned>(std::fegetround())) {
  std::fesetround(FE_TONEAREST);
}

rounding_guard::~rounding_guard() {
  std::fesetround(static_cast<int>(saved_));
}

#endif

} // namespace enn::kernels
