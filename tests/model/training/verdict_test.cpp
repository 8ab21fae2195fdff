// The decision table, row by row, for every combination of what it reads.
#include <enn/model/training/verdict.hpp>

#include <gtest/gtest.h>

namespace enn::model::test {
namespace {

struct row {
  int weights, parameters, inputs, results; // 1 finite (results: and in range), 0 nonfinite, 2 out of range, -1 whatever
  int start;                                // a rung, or -1
  int predicts;                             // 1, 0, or -1
  verdict expected;
};

constexpr row table[] = {
  {0, 0, -1, -1, -1, -1, verdict::refuse_weights},
  {1, 0, -1, -1, -1, -1, verdict::replace_worker},
  {-1, 1, 0, -1, -1, 1, verdict::leave_out_rows},
  {-1, 1, 0, -1, -1, 0, verdict::refuse_rows},
  {-1, 1, 1, 1, -1, -1, verdict::accept},
  {-1, 1, 1, 0, 0, -1, verdict::reissue},
  {-1, 1, 1, 2, 0, -1, verdict::reissue},
  {-1, 1, 1, 0, 4, 1, verdict::mark_rows},
  {-1, 1, 1, 2, 4, 1, verdict::mark_rows},
  {-1, 1, 1, 0, 4, 0, verdict::accept},
  {-1, 1, 1, 2, 4, 0, verdict::accept},
};

TEST(verdict, follows_the_table_for_every_lease) {
  std::vector<int> used(std::size(table), 0);
  auto fits = [](int pattern, int value) { return pattern < 0 || pattern == value; };
  for (int weights : {0, 1})
    for (int parameters : {0, 1})
      for (int inputs : {0, 1})
        for (int results : {0, 1, 2})
          for (int start : {0, 4})
            for (auto kind : {lease_kind::train, lease_kind::evaluate, lease_kind::predict}) {
              numeric_health h;
              h.parameters_finite = parameters == 1;
              h.inputs_finite = inputs == 1;
              h.nonfinite = results == 0;
              h.in_range = results != 2;
              int rows = 0;
              for (std::size_t i = 0; i < std::size(table); ++i) {
                const auto& r = table[i];
                if (!fits(r.weights, weights) || !fits(r.parameters, parameters) || !fits(r.inputs, inputs) || !fits(r.results, results)
                    || !fits(r.start, start) || !fits(r.predicts, kind == lease_kind::predict))
                  continue;
                ++rows;
                ++used[i];
                EXPECT_EQ(judge(h, static_cast<rung>(start), kind, weights == 1), r.expected)
                  << weights << parameters << inputs << results << start << static_cast<int>(kind);
              }
              EXPECT_EQ(rows, 1) << "one row a lease";
            }
  for (auto n : used)
    EXPECT_GT(n, 0);
}

} // namespace
} // namespace enn::model::test
