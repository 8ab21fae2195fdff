// Schedules: what runs, what does not allocate, and that a row does not know its neighbours.
#include "allocations.hpp"
#include "networks.hpp"

#include <enn/model/layers/blocks.hpp>

namespace enn::model::test {
namespace {

/// Two layers with attention, retention and dropout between an input and two losses.
graph small_graph(bool detached_side = true) {
  graph_builder b{standard_operators()};
  layers::style s{.heads = 2, .dropout = 0.2};
  auto x = b.add_input("x", input_role::feature, {batch, 6, 8});
  auto y = layers::normalise(b, "norm", x, "layernorm");
  {
    graph_builder::scope here{b, "attention"};
    y = layers::residual(b, x, layers::dropout(b, layers::attention(b, y, y, s), 0.3), 0.2);
  }
  {
    graph_builder::scope here{b, "retention"};
    y = layers::residual(b, y, layers::retention(b, y, s, true, {1, 3}), 0);
  }
  auto z = layers::linear(b, "side", detached_side ? b.apply("stop_gradient", {y}) : y, 3);
  add_probe(b, y, "main");
  add_probe(b, z, "side");
  b.add_output("y", output_role::diagnostic, y);
  return std::move(b).finish();
}

template <class T>
void fill(schedule<T>& s, const graph& g, std::int64_t rows, std::int64_t skip = 0) {
  for (const auto& x : g.inputs) {
    auto to = s.input(x.path);
    auto row = static_cast<std::int64_t>(to.size()) / rows;
    for (std::size_t i = 0; i < to.size(); ++i)
      to[i] = static_cast<T>(normal(x.path, i + static_cast<std::size_t>(skip * row)));
  }
}

TEST(schedule, runs_only_what_its_outputs_need) {
  auto g = std::make_shared<const graph>(small_graph());
  schedule<float> all{g, {2, {"y"}, true}, table<float>()};
  schedule<float> y{g, {2, {"y"}, false}, table<float>()};
  for (const auto* n : y.nodes())
    EXPECT_EQ(n->path.find("side"), std::string::npos) << n->path;
  EXPECT_LT(y.step_count(), all.step_count());
  EXPECT_LT(y.arena_size(), all.arena_size());
  EXPECT_THROW((schedule<float>{g, {2, {"z"}, false}, table<float>()}), std::logic_error);
}

TEST(schedule, does_not_allocate_in_a_step) {
  auto g = std::make_shared<const graph>(small_graph());
  for (std::string_view set : {"reference", "portable", "auto"}) {
    schedule<float> s{g, {4, {"y"}, true}, table<float>(set)};
    fill(s, *g, 4);
    SCOPED_TRACE(set);
    expect_no_allocation(s, *g);
  }
  auto before = allocations();
  std::vector<int> one(10);
  EXPECT_EQ(allocations(), before + 1) << "the counter counts";
}

TEST(schedule, gives_a_row_the_same_bits_in_any_company) {
  auto g = std::make_shared<const graph>(small_graph());
  auto weights = initial_weights(*g, 1);
  for (std::string_view set : {"reference", "portable", "auto"}) {
    schedule<float> many{g, {256, {"y", "loss.main"}, false}, table<float>(set)}, two{g, {2, {"y", "loss.main"}, false}, table<float>(set)};
    fill(many, *g, 256);
    fill(two, *g, 2, 131);
    auto all = numbers(256), some = numbers(2, 231);
    many.run({.seed = 1, .step = 5, .row_numbers = all, .weights = weights}, {});
    two.run({.seed = 1, .step = 5, .row_numbers = some, .weights = weights}, {});
    for (std::string_view path : {"y", "loss.main"}) {
      auto whole = many.output(path), piece = two.output(path);
      auto size = piece.size() / 2;
      EXPECT_TRUE(std::equal(piece.begin(), piece.end(), whole.begin() + static_cast<std::ptrdiff_t>(131 * size))) << set << " " << path;
    }
  }
}

TEST(schedule, has_the_same_bits_in_every_set_of_our_own) {
  auto g = std::make_shared<const graph>(small_graph());
  auto weights = initial_weights(*g, 1);
  auto rows = numbers(5);
  std::vector<std::vector<float>> gradients;
  for (const auto& set : kernels::kernel_sets()) {
    if (!set.refusal.empty() || set.name == "openblas")
      continue;
    schedule<float> s{g, {5, {"y"}, true}, *set.table};
    fill(s, *g, 5);
    gradients.emplace_back(weights.size());
    s.run({.seed = 1, .step = 5, .row_numbers = rows, .weights = weights}, gradients.back());
    EXPECT_EQ(gradients.back(), gradients.front()) << set.name;
  }
  EXPECT_GE(gradients.size(), 2u);
}

TEST(schedule, gradients_are_those_of_central_differences) {
  network n{small_graph(false), 3};
  check_gradients(n, 3);
}

TEST(schedule, stopped_gradients_do_not_pass) {
  network n{small_graph(), 3};
  n.run();
  auto with_both = n.gradient;
  auto g = n.description();
  for (auto& o : g.outputs)
    if (o.path == "loss.side")
      o.weight = 0;
  network main_only{g, 3};
  main_only.weights = n.weights;
  main_only.run();
  for (const auto& span : layout_of(g).spans)
    for (auto i = static_cast<std::size_t>(span.offset); i < static_cast<std::size_t>(span.offset + span.size); ++i)
      EXPECT_EQ(main_only.gradient[i], span.path.starts_with("side.") ? 0 : with_both[i]) << span.path;
}

TEST(schedule, finds_and_names_the_first_node_with_a_nonfinite_number) {
  auto g = std::make_shared<const graph>(small_graph());
  schedule<float> s{g, {2, {"y"}, true}, table<float>()};
  auto weights = initial_weights(*g, 1);
  std::vector<float> gradient(weights.size());
  auto rows = numbers(2);
  schedule_inputs<float> in{.seed = 1, .step = 0, .row_numbers = rows, .weights = weights};
  fill(s, *g, 2);
  s.run(in, gradient);
  EXPECT_TRUE(s.inspect(in, gradient).ok());

  s.input("x")[3] = std::numeric_limits<float>::infinity();
  s.run(in, gradient);
  auto health = s.inspect(in, gradient);
  EXPECT_GT(health.nonfinite, 0);
  EXPECT_FALSE(health.inputs_finite);
  EXPECT_TRUE(health.parameters_finite);
  EXPECT_EQ(health.first_node, "norm.layernorm");

  fill(s, *g, 2);
  s.input("x")[3] = 1e30f; // finite, but not its square
  s.run(in, gradient);
  health = s.inspect(in, gradient);
  EXPECT_GT(health.nonfinite, 0);
  EXPECT_TRUE(health.inputs_finite);
  EXPECT_FALSE(health.first_node.empty());

  fill(s, *g, 2);
  for (const auto& span : layout_of(*g).spans) {
    if (span.path == "side.weight")
      weights[static_cast<std::size_t>(span.offset)] = std::numeric_limits<float>::quiet_NaN();
  }
  s.run(in, gradient);
  health = s.inspect(in, gradient);
  EXPECT_FALSE(health.parameters_finite);
  EXPECT_EQ(health.first_node, "side.linear");
}

TEST(graph, without_training_has_no_random_numbers) {
  auto g = small_graph();
  auto inference = without_training(g);
  EXPECT_LT(inference.nodes.size(), g.nodes.size());
  for (const auto& n : inference.nodes) {
    EXPECT_NE(n.op, "dropout");
    EXPECT_NE(n.op, "drop_path");
    auto p = n.attrs.find("dropout");
    EXPECT_TRUE(p == n.attrs.end() || std::get<double>(p->second) == 0) << n.path;
  }
  auto shared = std::make_shared<const graph>(inference);
  auto weights = initial_weights(inference, 1);
  std::vector<std::vector<float>> found;
  for (std::uint64_t step : {1, 2}) {
    schedule<float> s{shared, {2, {"y"}, false}, table<float>()};
    fill(s, inference, 2);
    auto rows = numbers(2, step);
    s.run({.seed = step, .step = step, .row_numbers = rows, .weights = weights}, {});
    found.emplace_back(s.output("y").begin(), s.output("y").end());
  }
  EXPECT_EQ(found[0], found[1]);
}

TEST(graph, initial_weights_follow_from_path_and_seed) {
  auto g = small_graph();
  EXPECT_EQ(initial_weights(g, 1), initial_weights(g, 1));
  EXPECT_NE(initial_weights(g, 1), initial_weights(g, 2));
  EXPECT_EQ(static_cast<std::int64_t>(initial_weights(g, 1).size()), layout_of(g).size);
}

TEST(graph_builder, tells_mistakes_where_they_are_made) {
  graph_builder b{standard_operators()};
  auto x = b.add_input("x", input_role::feature, {batch, 3});
  auto w = b.add_weight("w", {4, 2}, init::constant);
  auto text = [&](auto&& f) -> std::string {
    try {
      f();
    } catch (const std::logic_error& e) {
      return e.what();
    }
    return "";
  };
  graph_builder::scope here{b, "layer1"};
  EXPECT_NE(text([&] { b.apply("linear", {x, w}); }).find("layer1.linear"), std::string::npos);
  EXPECT_NE(text([&] { b.apply("convolve", {x}); }).find("convolve"), std::string::npos);
  EXPECT_NE(text([&] { b.apply("mean", {x}, {{"axis", 0}}); }).find("axis 0"), std::string::npos) << "would mix rows of the batch";
  EXPECT_NE(text([&] { b.apply("transpose", {x}, {{"order", shape{1, 0}}}); }).find("batch"), std::string::npos);
  EXPECT_NE(text([&] { b.apply("reshape", {x}, {{"shape", shape{3}}}); }).find("elements"), std::string::npos);
}

} // namespace
} // namespace enn::model::test
