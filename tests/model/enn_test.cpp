// The Elastic Neural Network: its size, its gradients, who is trained by which loss, and the golden values of the model that it
// re-implements.
#include "graph/allocations.hpp"
#include "graph/networks.hpp"

#include <enn/model/enn.hpp>
#include <enn/model/layers/parts.hpp>

namespace enn::model::test {
namespace {

data_facts window_facts(std::int64_t nodes = 3) {
  data_facts f;
  f.kind = "window";
  for (std::int64_t i = 0; i < nodes; ++i) {
    auto x = static_cast<double>(i);
    f.features.push_back("n" + std::to_string(i));
    f.mean.push_back(0.3 + 0.1 * x);
    f.deviation.push_back(1.2 + 0.1 * x);
    f.target_least.push_back(-2.5);
    f.target_greatest.push_back(2.5 + 0.1 * x);
  }
  f.outputs = f.features;
  f.target_mean = f.mean;
  f.target_deviation = f.deviation;
  f.history = 8;
  f.horizon = 4;
  f.lines_per_day = 24;
  f.interval_seconds = 3600;
  f.mean_all = 0.4;
  f.deviation_all = 1.3;
  return f;
}

/// Eleven values a row: 2 continuous columns and 3 categories of widths 4, 3 and 2, as many outputs as asked for.
data_facts row_facts(std::int64_t outputs = 4) {
  data_facts f;
  f.kind = "row";
  f.features = {"a", "month", "day", "b", "way"};
  f.mean = {0.2, 0, 0, -0.1, 0};
  f.deviation = {1.1, 1, 1, 0.9, 1};
  f.categories = {{1, 12, 4, 1}, {2, 7, 3, 0}, {4, 2, 2, 0}};
  for (std::int64_t i = 0; i < outputs; ++i) {
    f.outputs.push_back("y" + std::to_string(i));
    f.target_mean.push_back(0.1);
    f.target_deviation.push_back(1.5);
    f.target_least.push_back(-3);
    f.target_greatest.push_back(3);
  }
  return f;
}

config small_config() {
  config c;
  c.model.preset = "spatiotemporal";
  c.model.refine = true;
  c.model.d_model = 8;
  c.model.heads = 2;
  c.model.latents = 4;
  c.model.spatial_tokens = c.model.temporal_tokens = 3;
  c.model.spatial_depth = c.model.temporal_depth = 2;
  c.model.gate_hidden = 5;
  c.model.dropout = 0.1;
  c.model.drop_path = 0.1;
  return c;
}

config row_config() {
  auto c = small_config();
  c.data.kind = "row";
  c.model.head = "dense";
  c.model.gate_logit = "sample";
  c.model.spatial_mixer = "retention";
  return c;
}

/// Inputs that make sense: calendar and category numbers inside their tables.
void set_inputs(network& n, const data_facts& f) {
  if (auto calendar = n.input("calendar"); !calendar.empty())
    for (std::size_t i = 0; i < calendar.size(); i += 2) {
      calendar[i] = static_cast<double>(5 * i % 24);
      calendar[i + 1] = static_cast<double>(i % 7);
    }
  auto x = n.input("x");
  for (const auto& k : f.categories)
    for (std::size_t r = 0; r < n.row_numbers.size(); ++r)
      x[r * f.features.size() + static_cast<std::size_t>(k.column)] = static_cast<double>(k.first) + static_cast<double>(r) * 0.999 / 2;
  auto mask = n.input("mask");
  for (std::size_t i = 0; i < mask.size(); ++i)
    mask[i] = i % 3 != 1;
}

// -- gradients -------------------------------------------------------------------------------------------------------------------

struct network_case {
  std::string name;
  config c;
  data_facts f;
  friend std::ostream& operator<<(std::ostream& out, const network_case& c) { return out << c.name; }
};

std::vector<network_case> network_cases() {
  std::vector<network_case> all;
  auto add = [&](std::string name, config c, data_facts f) {
    c.train.loss = "mse"; // the others bend
    c.model.gate_bounds = false; // the interval is taken as given: its own slope is left out on purpose
    all.push_back({std::move(name), std::move(c), std::move(f)});
  };
  auto w = small_config();
  add("window", w, window_facts());
  w.model.calendar = {"time-of-day", "day-of-week"};
  w.model.calendar_vectors = 5;
  w.model.spatial_mixer = "attention";
  w.model.instance_norm = "standard";
  w.model.scaler = "column";
  w.model.norm = "rmsnorm";
  w.train.detach_refinement = false;
  add("window_attention_standard_rms", w, window_facts());
  w = small_config();
  w.model.head = "dense";
  w.model.gate_logit = "sample";
  w.model.self_feedforward = "reference";
  w.model.instance_norm = "mean";
  w.model.preset = "temporal";
  add("window_dense_temporal", w, window_facts());
  w = small_config();
  w.model.refine = false;
  w.model.preset = "spatial";
  add("window_spatial_base_only", w, window_facts());
  add("row", row_config(), row_facts());
  auto r = row_config();
  r.model.gate = false;
  r.train.detach_refinement = false;
  add("row_half", r, row_facts(1));
  return all;
}

class whole_network : public ::testing::TestWithParam<network_case> {};

TEST_P(whole_network, gradients_agree_with_central_differences) {
  const auto& p = GetParam();
  auto c = p.c;
  // What is cut by stop_gradient is a part of the value all the same, so differences see it: compare without the cuts' paths.
  c.train.detach_refinement = false;
  c.model.gate = false;
  network n{build_enn(c, p.f), 3};
  set_inputs(n, p.f);
  check_gradients(n, 7);
}

TEST_P(whole_network, gate_gradients_agree_with_central_differences) {
  const auto& p = GetParam();
  if (!p.c.model.gate || !p.c.model.refine)
    return;
  network n{build_enn(p.c, p.f), 3};
  set_inputs(n, p.f);
  n.run();
  auto found = n.gradient;
  std::size_t tested = 0;
  for (const auto& span : layout_of(n.description()).spans) {
    if (!span.path.starts_with("gate."))
      continue;
    for (auto i = static_cast<std::size_t>(span.offset); i < static_cast<std::size_t>(span.offset + span.size); ++i, ++tested) {
      auto w = n.weights[i];
      auto at = [&](double x) {
        n.weights[i] = x;
        return n.run();
      };
      double h = 1e-3;
      auto slope = (8 * (at(w + h / 2) - at(w - h / 2)) - (at(w + h) - at(w - h))) / (6 * h);
      n.weights[i] = w;
      EXPECT_NEAR(slope, found[i], 1e-6 * std::max(1e-2, std::abs(slope))) << span.path;
    }
  }
  EXPECT_GT(tested, 0u);
}

INSTANTIATE_TEST_SUITE_P(all, whole_network, ::testing::ValuesIn(network_cases()), [](const auto& x) { return x.param.name; });

// -- who is trained by what --------------------------------------------------------------------------------------------------------

/// Sum of absolute gradients of the weights below a path, when only one loss counts.
double trained(const graph& whole, std::string_view loss, std::string_view part) {
  auto g = whole;
  for (auto& o : g.outputs)
    if (o.role == output_role::loss && o.path != loss)
      o.weight = 0;
  network n{g, 3};
  set_inputs(n, window_facts());
  n.run();
  double sum = 0;
  for (const auto& span : layout_of(g).spans)
    if (span.path.starts_with(part))
      for (auto i = span.offset; i < span.offset + span.size; ++i)
        sum += std::abs(n.gradient[static_cast<std::size_t>(i)]);
  return sum;
}

TEST(routing, losses_train_what_they_should) {
  auto g = build_enn(small_config(), window_facts());
  for (std::string_view part : {"spatial.", "temporal.", "fuser."}) {
    EXPECT_GT(trained(g, "loss.base", part), 0) << part;
    EXPECT_EQ(trained(g, "loss.final", part), 0) << part;
    EXPECT_EQ(trained(g, "loss.refined", part), 0) << part;
  }
  for (std::string_view part : {"collector.", "gate."})
    EXPECT_EQ(trained(g, "loss.base", part), 0) << part;
  EXPECT_GT(trained(g, "loss.final", "collector."), 0);
  EXPECT_GT(trained(g, "loss.final", "gate.tile.out"), 0);
  EXPECT_GT(trained(g, "loss.final", "gate.sample.out"), 0);
  for (std::string_view loss : {"loss.base", "loss.final", "loss.refined"})
    EXPECT_GT(trained(g, loss, "head."), 0) << loss;
}

TEST(routing, masked_cells_count_nowhere) {
  network n{build_enn(small_config(), window_facts()), 3};
  set_inputs(n, window_facts());
  auto before = n.run();
  auto gradient = n.gradient;
  auto mask = n.input("mask");
  for (std::size_t i = 0; i < mask.size(); ++i)
    if (mask[i] == 0)
      n.input("target")[i] += 100;
  EXPECT_EQ(n.run(), before);
  EXPECT_EQ(n.gradient, gradient);
}

// -- size: closed forms of the re-implemented model --------------------------------------------------------------------------------

std::int64_t size_of(std::int64_t d, std::int64_t heads, double ratio, std::int64_t depth, std::int64_t tokens) {
  config c;
  c.data.kind = "row";
  c.model.preset = "spatiotemporal";
  c.model.refine = true;
  c.model.d_model = d;
  c.model.heads = heads;
  c.model.mlp_ratio = ratio;
  c.model.spatial_depth = c.model.temporal_depth = c.model.fuser_depth = c.model.collector_depth = depth;
  c.model.spatial_tokens = c.model.temporal_tokens = tokens;
  c.model.latents = 2 * tokens;
  c.model.spatial_mixer = c.model.temporal_mixer = "retention";
  c.model.self_feedforward = "reference";
  c.model.head = "dense";
  c.model.gate_logit = "sample";
  c.model.linear_branch = false;
  auto f = row_facts(936);
  f.features = {"month", "day", "way"};
  f.mean = {0, 0, 0};
  f.deviation = {1, 1, 1};
  f.categories = {{0, 12, 4, 1}, {1, 7, 3, 0}, {2, 2, 2, 0}};
  return layout_of(build_enn(c, f)).size;
}

TEST(size, is_that_of_the_published_configurations) {
  EXPECT_EQ(size_of(96, 2, 2, 1, 16), 676826);
  EXPECT_EQ(size_of(256, 2, 2, 2, 32), 6887162);
  EXPECT_EQ(size_of(1024, 16, 4, 4, 128), 346891622);
}

TEST(size, hidden_widths) {
  model_config m;
  m.d_model = 96;
  m.mlp_ratio = 2;
  EXPECT_EQ(layers::gated_width(m), 128);
  EXPECT_EQ(layers::plain_width(m), 192);
  m.d_model = 1024;
  m.mlp_ratio = 4;
  EXPECT_EQ(layers::gated_width(m), 2730);
}

// -- golden values -----------------------------------------------------------------------------------------------------------------

/// Outputs of retention with q = 1 for v = (1, 2, 3) and lambda = 1/2.
std::vector<double> retained(bool causal, double state, std::vector<double>* gradient_of_v = nullptr) {
  graph_builder b{standard_operators()};
  auto v = b.add_weight("v", {3, 1}, init::constant, 0);
  auto per_row = b.apply("add", {b.add_input("zero", input_role::feature, {batch, 3, 1}), v});
  auto q = layers::affine(b, per_row, 0, 1);
  auto beta = b.add_weight("beta", {1}, init::constant, 1);
  std::vector<value_id> in{q, per_row, beta};
  if (causal)
    in.push_back(b.add_input("state", input_role::state, {batch, 1}));
  auto y = b.apply_all("retention", in, {{"causal", causal}});
  b.add_output("y", output_role::diagnostic, y[0]);
  auto sum = layers::affine(b, layers::mean(b, layers::reshape(b, y[0], {batch, 3}), 1), 3, 0);
  b.add_output("loss.sum", output_role::loss, layers::reshape(b, sum, {batch}));
  auto g = std::make_shared<const graph>(std::move(b).finish());
  schedule<double> s{g, {1, {"y"}, true}, table<double>()};
  if (causal)
    s.input("state")[0] = state;
  std::vector<double> weights{1, 2, 3, 1}, gradient(4);
  auto rows = numbers(1);
  s.run({.row_numbers = rows, .weights = weights}, gradient);
  if (gradient_of_v)
    *gradient_of_v = gradient;
  auto out = s.output("y");
  return {out.begin(), out.end()};
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected, double tolerance = 1e-12) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], tolerance) << i;
}

TEST(golden, retention) {
  std::vector<double> gradient;
  expect_near(retained(true, 0, &gradient), {1, 2.5, 4.25});
  // of v, and of beta: dlambda = 1.5 * 1 + 1 * 2.5 = 4, times ln 2 * 2^-beta
  expect_near(gradient, {1.75, 1.5, 1, 4 * 0.6931471805599453 * 0.5});
  expect_near(retained(true, 4), {3, 3.5, 4.75});
  expect_near(retained(false, 0), {2.75, 4, 4.25});
}

TEST(golden, decays_at_the_start) {
  graph_builder b{standard_operators()};
  layers::retention(b, b.add_input("x", input_role::feature, {batch, 2, 4}), {.heads = 4}, true, {5, 5.75});
  auto g = std::move(b).finish();
  auto weights = initial_weights(g, 1);
  std::vector<double> lambda;
  for (const auto& span : layout_of(g).spans)
    if (span.path == "beta")
      for (auto i = span.offset; i < span.offset + span.size; ++i)
        lambda.push_back(1 - std::exp2(-static_cast<double>(weights[static_cast<std::size_t>(i)])));
  expect_near(lambda, {0.96875, 0.973722, 0.977903, 0.981419}, 1e-6);
}

TEST(golden, task_weights_bias_the_keys) {
  auto c = row_config();
  c.model.spatial_tokens = c.model.temporal_tokens = 16;
  c.model.temporal_weight = 2;
  auto g = build_enn(c, row_facts());
  for (const auto& p : g.parameters)
    if (p.path == "fuser.key_bias") {
      ASSERT_EQ(p.data.size(), 32u);
      EXPECT_NEAR(p.data[0], -2.772589, 1e-6);
      EXPECT_NEAR(p.data[31], -2.079442, 1e-6);
      return;
    }
  FAIL() << "no bias";
}

TEST(golden, drop_path_grows_along_the_layers) {
  EXPECT_EQ(layers::drop_path_at(0.05, 0, 8), 0);
  EXPECT_NEAR(layers::drop_path_at(0.05, 1, 8), 0.0071429, 1e-7);
  EXPECT_EQ(layers::drop_path_at(0.05, 7, 8), 0.05);
  EXPECT_EQ(layers::drop_path_at(0.05, 0, 1), 0.05);
}

std::vector<double> shares(std::vector<double> a, std::vector<double> q, double logit, double least, double greatest) {
  auto n = static_cast<std::int64_t>(a.size());
  graph_builder b{standard_operators()};
  auto in = [&](const char* name) { return b.add_input(name, input_role::feature, {batch, n}); };
  auto bound = [&](const char* name, double x) { return b.add_buffer(name, {n}, std::vector<double>(a.size(), x)); };
  auto p = b.apply("gate", {in("a"), in("q"), in("logit"), bound("least", least), bound("greatest", greatest)},
                   {{"floor", 0.0}, {"ceil", 1.0}, {"epsilon", 1e-6}});
  b.add_output("p", output_role::diagnostic, p);
  schedule<double> s{std::make_shared<const graph>(std::move(b).finish()), {1, {"p"}, false}, table<double>()};
  std::copy(a.begin(), a.end(), s.input("a").begin());
  std::copy(q.begin(), q.end(), s.input("q").begin());
  for (auto& x : s.input("logit"))
    x = logit;
  auto rows = numbers(1);
  s.run({.row_numbers = rows, .weights = {}}, {});
  return {s.output("p").begin(), s.output("p").end()};
}

TEST(golden, gate_keeps_each_cell_within_its_bounds) {
  expect_near(shares({0.5, -1}, {1.5, -0.5}, 0, -2, 1), {0.25, 0.5}); // intervals [0, 0.5] and [0, 1]
  expect_near(shares({2, 0}, {3, 1}, 0, -1, 1), {0, 0.5});            // outside, leading away; then [0, 1]
  expect_near(shares({2}, {1.5}, 0, -1, 1), {1});                     // outside, leading back, but not far enough
  expect_near(shares({2}, {0}, 0, -1, 1), {0.75});                    // must go at least half of the way
  expect_near(shares({0.3}, {0.3}, 0, -1, 1), {0.5});                 // nothing to weigh
  expect_near(shares({0.5, 0}, {100, -7}, 0, -1e30, 1e30), {0.5, 0.5});
}

TEST(golden, dilation_classes) {
  graph_builder b{standard_operators()};
  auto in = [&](const char* name) { return b.add_input(name, input_role::feature, {batch, 6, 1}); };
  auto y = b.apply("attention", {in("q"), in("k"), in("v")}, {{"heads", 1}, {"dilation", 2}, {"dropout", 0.0}});
  b.add_output("y", output_role::diagnostic, y);
  schedule<double> s{std::make_shared<const graph>(std::move(b).finish()), {1, {"y"}, false}, table<double>()};
  for (std::size_t i = 0; i < 6; ++i)
    s.input("v")[i] = std::pow(10.0, static_cast<double>(i));
  auto rows = numbers(1);
  s.run({.row_numbers = rows, .weights = {}}, {});
  auto even = (1 + 100 + 10000) / 3.0, odd = (10 + 1000 + 100000) / 3.0; // equal scores: the mean of a class
  expect_near({s.output("y").begin(), s.output("y").end()}, {even, odd, even, odd, even, odd}, 1e-8);
}

// -- properties --------------------------------------------------------------------------------------------------------------------

graph retention_stack(std::int64_t length, bool causal) {
  graph_builder b{standard_operators()};
  model_config m;
  m.d_model = 8;
  m.heads = 2;
  m.dropout = 0;
  auto x = b.add_input("x", input_role::feature, {batch, length, 8});
  b.add_output("y", output_role::diagnostic, layers::encode(b, m, x, "retention", 2, causal));
  return std::move(b).finish();
}

std::vector<float> run_stack(schedule<float>& s, std::span<const float> weights, std::span<const float> x) {
  std::copy(x.begin(), x.end(), s.input("x").begin());
  auto rows = numbers(1);
  s.run({.row_numbers = rows, .weights = weights}, {});
  return {s.output("y").begin(), s.output("y").end()};
}

TEST(template_, causal_retention_streams_token_by_token_with_the_same_bits) {
  constexpr std::int64_t length = 7, d = 8;
  auto whole = std::make_shared<const graph>(retention_stack(length, true)), one = std::make_shared<const graph>(retention_stack(1, true));
  auto weights = initial_weights(*whole, 4);
  ASSERT_EQ(weights, initial_weights(*one, 4));
  std::vector<std::string> states;
  for (const auto& o : one->outputs)
    if (o.role == output_role::state)
      states.push_back(o.path);
  ASSERT_EQ(states.size(), 2u);
  std::vector<float> x;
  for (std::size_t i = 0; i < length * d; ++i)
    x.push_back(static_cast<float>(normal("x", i)));
  auto outputs = states;
  outputs.push_back("y");
  for (std::string_view set : {"reference", "auto"}) {
    schedule<float> all{whole, {1, {"y"}, false}, table<float>(set)}, step{one, {1, outputs, false}, table<float>(set)};
    auto expected = run_stack(all, weights, x);
    std::vector<float> found;
    for (std::int64_t t = 0; t < length; ++t) {
      auto y = run_stack(step, weights, std::span{x}.subspan(static_cast<std::size_t>(t * d), d));
      found.insert(found.end(), y.begin(), y.end());
      for (const auto& path : states)
        std::copy(step.output(path).begin(), step.output(path).end(), step.input(path).begin());
    }
    EXPECT_EQ(found, expected) << set;
  }
}

TEST(template_, causal_tokens_do_not_see_later_ones) {
  auto g = std::make_shared<const graph>(retention_stack(5, true));
  auto weights = initial_weights(*g, 4);
  schedule<float> s{g, {1, {"y"}, false}, table<float>()};
  std::vector<float> x(40, 0.5f);
  auto before = run_stack(s, weights, x);
  x[35] = 9;
  auto after = run_stack(s, weights, x);
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + 32, after.begin()));
  EXPECT_NE(before, after);
}

TEST(template_, both_way_retention_reverses_with_its_tokens) {
  auto g = std::make_shared<const graph>(retention_stack(5, false));
  auto weights = initial_weights(*g, 4);
  schedule<float> s{g, {1, {"y"}, false}, table<float>()};
  std::vector<float> x, reversed;
  for (std::size_t i = 0; i < 40; ++i)
    x.push_back(static_cast<float>(normal("x", i)));
  for (std::size_t t = 5; t-- > 0;)
    reversed.insert(reversed.end(), x.begin() + static_cast<std::ptrdiff_t>(8 * t), x.begin() + static_cast<std::ptrdiff_t>(8 * t + 8));
  auto y = run_stack(s, weights, x), z = run_stack(s, weights, reversed);
  for (std::size_t t = 0; t < 5; ++t)
    for (std::size_t i = 0; i < 8; ++i)
      EXPECT_NEAR(y[8 * t + i], z[8 * (4 - t) + i], 1e-5) << t;
}

TEST(network, a_training_step_does_not_allocate) {
  auto c = small_config();
  c.model.calendar = {"time-of-day"};
  c.model.spatial_mixer = "attention";
  auto g = std::make_shared<const graph>(build_enn(c, window_facts()));
  schedule<float> s{g, {4, {"prediction"}, true}, table<float>("auto")};
  expect_no_allocation(s, *g);
}

TEST(network, base_prediction_does_not_depend_on_the_collector) {
  auto g = std::make_shared<const graph>(without_training(build_enn(small_config(), window_facts())));
  auto weights = initial_weights(*g, 1);
  schedule<float> s{g, {1, {"base", "refined"}, false}, table<float>()};
  auto rows = numbers(1);
  auto run = [&] {
    s.run({.row_numbers = rows, .weights = weights}, {});
    return std::vector<float>(s.output("base").begin(), s.output("base").end());
  };
  auto before = run();
  std::vector<float> refined(s.output("refined").begin(), s.output("refined").end());
  for (const auto& span : layout_of(*g).spans)
    if (span.path.starts_with("collector."))
      for (auto i = span.offset; i < span.offset + span.size; ++i)
        weights[static_cast<std::size_t>(i)] += 0.5f;
  EXPECT_EQ(run(), before);
  EXPECT_FALSE(std::equal(refined.begin(), refined.end(), s.output("refined").begin()));
}

} // namespace
} // namespace enn::model::test
