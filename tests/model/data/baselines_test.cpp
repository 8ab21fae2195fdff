/// Published figures of plain methods on Los-loop, from an independent program. They hold reader, split, windows, targets and
/// scores together: a mistake in any of them shows here.
#include <enn/model/data/metrics.hpp>
#include <enn/serialization/readers/csv.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>

namespace {

using namespace enn;
using namespace enn::model;

std::shared_ptr<const dataset> must(caf::expected<std::shared_ptr<const dataset>> made) {
  EXPECT_TRUE(made) << text_of(made.error());
  return made ? *made : nullptr;
}

std::shared_ptr<const dataset> los_loop() {
  data_config c;
  c.path = ENN_SOURCE_DIR "/examples/los_loop/los_speed.csv";
  c.start = "2012-03-01";
  c.interval_seconds = 300;
  auto source = serialization::read_csv(c.path, c);
  EXPECT_TRUE(source);
  return must(dataset::make(std::move(*source), c, 1));
}

predictor named(const std::vector<baseline>& baselines, const std::string& name) {
  const auto found = std::ranges::find(baselines, name, &baseline::name);
  EXPECT_NE(found, baselines.end()) << name;
  return found->predict;
}

TEST(baselines, of_los_loop_are_the_published_ones) {
  const auto data = los_loop();
  ASSERT_TRUE(data);
  const auto baselines = fit_baselines(data);
  struct expectation {
    const char* name;
    double rmse[4], mae[4];
  };
  const expectation published[] = {
    {"last value", {5.539, 6.692, 7.623, 8.446}, {3.155, 3.629, 4.042, 4.428}},
    {"window mean", {7.467, 8.303, 9.066, 9.773}, {3.967, 4.372, 4.763, 5.143}},
    {"ridge", {5.334, 6.402, 7.235, 7.942}, {3.063, 3.577, 4.027, 4.440}},
  };
  const std::array<std::int64_t, 4> horizons{3, 6, 9, 12}, windows{390, 387, 384, 381};
  for (const auto& e : published) {
    const auto scores = evaluate(*data, part::test, horizons, named(baselines, e.name));
    for (std::size_t k = 0; k < 4; ++k) {
      EXPECT_NEAR(scores[k].rmse, e.rmse[k], 0.00051) << e.name << " at " << horizons[k];
      EXPECT_NEAR(scores[k].mae, e.mae[k], 0.00051) << e.name << " at " << horizons[k];
      EXPECT_EQ(scores[k].cells, windows[k] * horizons[k] * 207);
    }
  }
}

TEST(baselines, the_parts_of_los_loop_are_those_of_its_protocol) {
  const auto data = los_loop();
  ASSERT_TRUE(data);
  EXPECT_EQ(data->facts().features.size(), 207u);
  EXPECT_EQ(data->rows(part::train), 1450u - 23);
  EXPECT_EQ(data->rows(part::validation), 162u - 11);
  EXPECT_EQ(data->rows(part::test), 381u);
  EXPECT_EQ(data->row(part::validation, 0), 1450u);
  EXPECT_EQ(data->row(part::test, 0), 1624u);
  EXPECT_EQ(data->rows_before_test().size(), 1612u - 23);
  EXPECT_EQ(data->facts().lines_per_day, 288);
}

TEST(baselines, seasonal_naive_repeats_the_latest_known_day) {
  table t;
  data_config c;
  c.history = 2;
  c.horizon = 5;
  c.validation_fraction = 0;
  t.columns = {"a"};
  t.lines = 40;
  for (int i = 0; i < 40; ++i) {
    t.values.push_back(i % 4 + 10 * (i % 3)); // the day has 4 lines
    t.times.push_back(i * 21600);
  }
  const auto data = must(dataset::make(t, c, 1));
  ASSERT_TRUE(data);
  std::vector<float> out(5);
  const auto predict = named(fit_baselines(data), "seasonal naive");
  predict(3, out);
  EXPECT_EQ(out[4], static_cast<float>(t.values[2])); // no day before it
  predict(34, out);
  for (int step = 0; step < 5; ++step) // step 4 lies a day after step 0, which is not known yet: two days back
    EXPECT_EQ(out[static_cast<std::size_t>(step)], static_cast<float>(t.values[static_cast<std::size_t>(34 + step - (step < 4 ? 4 : 8))]));
}

TEST(baselines, a_ridge_of_changes_follows_a_trend_that_nodes_have_in_different_units) {
  table t;
  data_config c;
  c.history = 4;
  c.horizon = 3;
  t.columns = {"small", "large"};
  t.lines = 100;
  for (int i = 0; i < 100; ++i) {
    t.values.push_back(0.001 * i);
    t.values.push_back(1000.0 * i + 5);
  }
  const auto data = must(dataset::make(t, c, 1));
  ASSERT_TRUE(data);
  std::vector<float> out(6);
  named(fit_baselines(data), "ridge of changes")(95, out);
  EXPECT_NEAR(out[0], 0.095, 2e-4);
  EXPECT_NEAR(out[5], 97005, 200);
}

TEST(baselines, a_ridge_of_a_table_finds_a_linear_rule_with_categories) {
  std::mt19937 random{5};
  table t;
  t.columns = {"x", "kind", "y"};
  t.lines = 400;
  for (int i = 0; i < 400; ++i) {
    const double x = random() % 100, kind = 3 + static_cast<double>(random() % 3);
    t.values.insert(t.values.end(), {x, kind, 2 * x + (kind == 4 ? 50 : 0)});
  }
  data_config c;
  c.kind = "row";
  c.targets = {"y"};
  c.categorical = {"kind:3:2:3"};
  const auto data = must(dataset::make(t, c, 1));
  ASSERT_TRUE(data);
  const auto baselines = fit_baselines(data);
  const auto plain = evaluate(*data, part::test, {}, named(baselines, "mean")), ridge = evaluate(*data, part::test, {}, named(baselines, "ridge"));
  ASSERT_EQ(ridge.size(), 1u);
  EXPECT_EQ(ridge[0].cells, 80);
  EXPECT_LT(ridge[0].rmse, 0.01 * plain[0].rmse);
}

TEST(scores, count_valid_cells_only_and_short_horizons_have_more_windows) {
  table t;
  data_config c;
  c.history = 1;
  c.horizon = 3;
  c.train_rows = 10;
  c.validation_fraction = 0;
  c.test_inputs_in_test = false;
  c.missing_features = "forward";
  t.columns = {"a"};
  t.lines = 16;
  t.values.assign(16, 1.0);
  t.values[11] = std::numeric_limits<double>::quiet_NaN();
  const auto data = must(dataset::make(t, c, 1));
  ASSERT_TRUE(data);
  const std::array<std::int64_t, 2> horizons{1, 3};
  const auto scores = evaluate(*data, part::test, horizons, [](std::uint64_t row, std::span<float> out) {
    std::ranges::fill(out, row == 15 ? 4.0f : 1.0f); // the last line has a window of one step only
  });
  EXPECT_EQ(scores[0].cells, 6 - 1);
  EXPECT_EQ(scores[1].cells, 4 * 3 - 2);
  EXPECT_DOUBLE_EQ(scores[0].mae, 3.0 / 5);
  EXPECT_DOUBLE_EQ(scores[0].rmse, std::sqrt(9.0 / 5));
  EXPECT_EQ(scores[1].rmse, 0);
}

TEST(scores, in_deviations_divide_each_output_by_its_own) {
  table t;
  data_config c;
  c.history = 1;
  c.horizon = 1;
  c.train_rows = 8;
  c.validation_fraction = 0;
  t.columns = {"a", "b"};
  t.lines = 12;
  for (int i = 0; i < 12; ++i)
    t.values.insert(t.values.end(), {i % 2 == 0 ? 1.0 : -1.0, i % 2 == 0 ? 100.0 : -100.0});
  const auto data = must(dataset::make(t, c, 1));
  ASSERT_TRUE(data);
  const std::array<std::int64_t, 1> horizon{1};
  const auto zero = [](std::uint64_t, std::span<float> out) { std::ranges::fill(out, 0.0f); };
  EXPECT_DOUBLE_EQ(evaluate(*data, part::test, horizon, zero, error_unit::deviations)[0].rmse, 1);
  EXPECT_DOUBLE_EQ(evaluate(*data, part::test, horizon, zero)[0].mae, 50.5);
}

} // namespace
