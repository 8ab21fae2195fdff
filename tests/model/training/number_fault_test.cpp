// A number that is wrong anywhere in a pass: found, named, and mended by the master rung, for every node of several networks.
#include "../graph/faults.hpp"

#include <enn/model/graph/schedule.hpp>
#include <enn/model/training/trainer.hpp>
#include <enn/model/training/verdict.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace enn::model::test {
namespace {

struct network_case {
  std::string name;
  config c;
  friend std::ostream& operator<<(std::ostream& out, const network_case& c) { return out << c.name; }
};

config tiny_network() {
  config c;
  c.model.preset = "spatiotemporal";
  c.model.refine = true;
  c.model.d_model = 8;
  c.model.heads = 2;
  c.model.latents = 4;
  c.model.spatial_tokens = c.model.temporal_tokens = 3;
  c.model.spatial_depth = c.model.temporal_depth = c.model.collector_depth = 1;
  c.model.gate_hidden = 4;
  c.model.dropout = 0.1;
  c.model.drop_path = 0.1;
  c.train.batch_rows = 4;
  c.train.leases = 1;
  c.train.kernels = "portable";
  return c;
}

std::vector<network_case> network_cases() {
  std::vector<network_case> all;
  auto c = tiny_network();
  c.data.history = 8;
  c.data.horizon = 3;
  c.data.start = "2020-01-01";
  c.data.interval_seconds = 3600;
  c.model.spatial_mixer = "retention";
  c.model.calendar = {"time-of-day", "day-of-week"};
  all.push_back({"window", c});
  c.model.spatial_mixer = c.model.temporal_mixer = "attention";
  c.model.instance_norm = "standard";
  c.model.norm = "rmsnorm";
  c.model.calendar = {};
  c.train.detach_refinement = false;
  c.train.loss = "mse";
  all.push_back({"window_attention", c});
  c.model.gate = false;
  c.model.head = "dense";
  c.train.loss = "mae";
  all.push_back({"window_without_gate", c});
  c.model.refine = false;
  c.model.preset = "temporal";
  c.model.temporal_mixer = "retention";
  all.push_back({"window_without_refinement", c});
  c = tiny_network();
  c.data.kind = "row";
  c.data.targets = {"y"};
  c.data.categorical = {"kind:4:3:1"};
  c.model.head = "dense";
  c.model.gate_logit = "sample";
  c.model.instance_norm = "none";
  all.push_back({"row_with_category", c});
  return all;
}

/// Four columns; the third is a category.
std::shared_ptr<const dataset> data_for(const config& c) {
  table t;
  t.columns = {"a", "b", "kind", "y"};
  t.lines = 120;
  t.source = t.fingerprint = "made up";
  bool windows = c.data.kind == "window";
  for (std::int64_t line = 0; line < t.lines; ++line)
    for (std::uint64_t i = 0; i < 4; ++i)
      t.values.push_back(i == 2 && !windows ? static_cast<double>(1 + line % 4)
                                           : kernels::random_normal({.seed = 8, .row = static_cast<std::uint64_t>(line)}, i));
  if (windows)
    for (std::int64_t line = 0; line < t.lines; ++line)
      t.times.push_back(1577836800 + 3600 * line);
  auto data = dataset::make(std::move(t), c.data, 1);
  EXPECT_TRUE(data) << (data ? "" : enn::text_of(data.error()));
  return *data;
}

/// One lease, and a worker that computes it.
struct lease_of_a_run {
  std::shared_ptr<const dataset> data;
  std::shared_ptr<const run_definition> run;
  training_tensors tensors;
  std::vector<std::uint64_t> rows;
  std::unique_ptr<lease_computer> computer;
  std::vector<float> numbers; // gradient or predictions

  explicit lease_of_a_run(const config& c) : data(data_for(c)) {
    auto defined = define_run(c, *data);
    EXPECT_TRUE(defined) << (defined ? "" : enn::text_of(defined.error()));
    run = *defined;
    tensors = initial_tensors(*run);
    for (std::size_t i = 0; i < tensors.weights.size(); ++i) // some parts start at 0 and would pass nothing on
      tensors.weights[i] += 0.1f * static_cast<float>(kernels::random_normal({.seed = 9}, i));
    rows = rows_of_step(*run, *data, 0);
    computer = std::make_unique<lease_computer>(run);
  }

  numeric_health compute(lease_kind kind, rung start, const number_fault* fault) {
    bool train = kind == lease_kind::train;
    numbers.assign(train ? tensors.weights.size() : rows.size() * static_cast<std::size_t>(data->target_size()), 0);
    auto whole = std::span{numbers};
    lease_request request{kind, 0, data.get(), rows, denominator_of(*data, rows), start, fault};
    return computer->compute(request, tensors.weights, train ? whole : whole.first(0), train ? whole.first(0) : whole).health;
  }

  /// All that the lease computes but views, which have no memory of their own.
  std::set<std::string> nodes(lease_kind kind) const {
    bool train = kind == lease_kind::train;
    auto g = std::make_shared<const graph>(train ? run->network : without_training(run->network));
    schedule<float> s{g, {1, train ? std::vector<std::string>{} : std::vector<std::string>{"prediction"}, train},
                      kernels::reference_kernels<float>()};
    std::set<std::string> all;
    for (const auto* n : s.nodes())
      if (!standard_operators().find(n->op)->is_view)
        all.insert(n->path);
    return all;
  }

  std::vector<fault_place> places(lease_kind kind) {
    auto all = places_of([&](const number_fault& watch) { EXPECT_TRUE(compute(kind, rung::fast, &watch).ok()); });
    std::erase_if(all, [](const auto& p) { return p.what == number_place::kind::input || p.what == number_place::kind::parameter; });
    return all;
  }
};

class number_faults : public ::testing::TestWithParam<network_case> {};

TEST_P(number_faults, are_found_named_and_mended_at_every_node) {
  lease_of_a_run x{GetParam().c};
  for (auto kind : {lease_kind::train, lease_kind::predict}) {
    ASSERT_TRUE(x.compute(kind, rung::master, nullptr).ok());
    auto master = x.numbers;
    ASSERT_TRUE(x.compute(kind, rung::fast, nullptr).ok());
    auto fast = x.numbers;
    ASSERT_NE(fast, master);
    auto places = x.places(kind);
    std::set<std::string> forward, backward;
    for (const auto& p : places) {
      (p.what == number_place::kind::output ? forward : backward).insert(p.path);
      auto v = value_at(x.run->network, p);
      auto batched = is_batched(x.run->network.values[static_cast<std::size_t>(v)]);
      for (auto value : nonfinite_numbers) {
        auto element = some_element(p);
        auto fault = change_at(p, element, value);
        auto health = x.compute(kind, rung::fast, &fault);
        ASSERT_GT(health.nonfinite, 0) << p.name() << " = " << value;
        EXPECT_EQ(health.first_node, p.name()) << value;
        if (batched) {
          auto row = static_cast<std::size_t>(element / (p.size / static_cast<std::int64_t>(x.rows.size())));
          EXPECT_EQ(health.rows, std::vector{x.rows[row]}) << p.name() << " = " << value;
        }
        EXPECT_EQ(judge(health, rung::fast, kind, true), verdict::reissue) << p.name() << " = " << value;
      }
      ASSERT_TRUE(x.compute(kind, rung::master, nullptr).ok()); // by the same worker
      ASSERT_EQ(x.numbers, master) << "after a fault at " << p.name();
    }
    EXPECT_EQ(backward.size() > 20, kind == lease_kind::train);
    EXPECT_EQ(forward, x.nodes(kind)) << "one was left out";
    ASSERT_TRUE(x.compute(kind, rung::fast, nullptr).ok());
    EXPECT_EQ(x.numbers, fast) << "a fault leaves nothing behind";
  }
}

/// Finite, but not a number that belongs there: found by the range guard or when it overflows, if it does anything at all; a dropout
/// that multiplies it by 0 has mended it.
TEST_P(number_faults, of_the_largest_float_are_found_or_change_nothing) {
  lease_of_a_run x{GetParam().c};
  constexpr double largest = std::numeric_limits<float>::max();
  for (auto kind : {lease_kind::train, lease_kind::predict}) {
    ASSERT_TRUE(x.compute(kind, rung::fast, nullptr).ok());
    auto right = x.numbers;
    std::size_t found = 0, guarded = 0, harmless = 0;
    for (const auto& p : x.places(kind))
      for (double value : {largest, -largest}) {
        auto fault = change_at(p, some_element(p), value);
        auto health = x.compute(kind, rung::fast, &fault);
        if (health.ok()) {
          EXPECT_EQ(x.numbers, right) << p.name() << " = " << value;
          ++harmless;
          continue;
        }
        EXPECT_EQ(health.first_node, p.name()) << value;
        EXPECT_EQ(judge(health, rung::fast, kind, true), verdict::reissue);
        ++found;
        guarded += health.nonfinite == 0;
      }
    EXPECT_GT(guarded, 0u) << "the guard was not needed";
    EXPECT_LT(20 * harmless, found);
  }
}

TEST_P(number_faults, in_weights_and_features_are_told_from_those_in_nodes) {
  lease_of_a_run x{GetParam().c};
  auto all = places_of([&](const number_fault& watch) { x.compute(lease_kind::predict, rung::fast, &watch); });
  std::size_t parameters = 0, features = 0;
  for (const auto& p : all)
    for (auto value : nonfinite_numbers) {
      auto fault = change_at(p, some_element(p), value);
      if (p.what == number_place::kind::parameter && !p.path.ends_with("table")) { // of tables other rows may be read
        auto health = x.compute(lease_kind::predict, rung::fast, &fault);
        bool read = health.nonfinite > 0;
        EXPECT_EQ(health.parameters_finite, !read) << p.path << " = " << value;
        EXPECT_TRUE(health.inputs_finite);
        health = x.compute(lease_kind::train, rung::fast, &fault);
        EXPECT_FALSE(health.parameters_finite) << p.path << " = " << value;
        ++parameters;
      } else if (p.what == number_place::kind::input && p.path == "x") {
        auto element = some_element(p);
        auto health = x.compute(lease_kind::predict, rung::fast, &fault);
        EXPECT_FALSE(health.inputs_finite);
        EXPECT_TRUE(health.parameters_finite);
        auto row = static_cast<std::size_t>(element / (p.size / static_cast<std::int64_t>(x.rows.size())));
        EXPECT_EQ(health.input_rows, std::vector{x.rows[row]});
        EXPECT_EQ(judge(health, rung::fast, lease_kind::predict, true), verdict::leave_out_rows);
        ++features;
      }
    }
  EXPECT_GT(parameters, 20u);
  EXPECT_EQ(features, 3u);
}

INSTANTIATE_TEST_SUITE_P(all, number_faults, ::testing::ValuesIn(network_cases()), [](const auto& x) { return x.param.name; });

} // namespace
} // namespace enn::model::test
