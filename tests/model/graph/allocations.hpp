/// Counts what operator new hands out in this program.
#pragma once
#include "networks.hpp"

#include <cstdint>

namespace enn::model::test {

std::int64_t allocations();

/// Runs some training steps of a schedule of four rows of g.
inline void expect_no_allocation(schedule<float>& s, const graph& g) {
  auto weights = initial_weights(g, 1);
  std::vector<float> gradient(weights.size());
  auto rows = numbers(4);
  schedule_inputs<float> in{.seed = 1, .step = 0, .row_numbers = rows, .weights = weights};
  auto before = allocations();
  for (in.step = 0; in.step < 3; ++in.step) {
    s.run(in, gradient);
    auto health = s.inspect(in, gradient);
    EXPECT_TRUE(health.ok());
  }
  EXPECT_EQ(allocations(), before);
}

} // namespace enn::model::test
