/// What both benches share: arrays with fixed contents, the best time of many runs, and one JSON line a result.
#pragma once
#include <enn/kernels/random.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace enn::bench {

inline std::vector<float> numbers(std::size_t n, std::uint64_t seed) {
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i)
    x[i] = 4 * kernels::random_uniform({.seed = seed}, i) - 2;
  return x;
}

/// Seconds of the fastest call in about `budget` seconds: the machine is shared, and only delays vary.
template <class F>
double best_seconds(F call, double budget = 0.1) {
  using clock = std::chrono::steady_clock;
  call();
  double best = 1e9, spent = 0;
  int calls = 1; // per measurement, so that the clock's own cost vanishes
  while (spent < budget) {
    const auto start = clock::now();
    for (int i = 0; i < calls; ++i)
      call();
    const double seconds = std::chrono::duration<double>(clock::now() - start).count();
    best = std::min(best, seconds / calls);
    spent += seconds;
    if (seconds < 1e-4)
      calls *= 2;
  }
  return best;
}

} // namespace enn::bench
