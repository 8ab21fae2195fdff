// The gradient of every operator against central differences, in double; and that no operator hides a nonfinite number.
#include "../graph/faults.hpp"
#include "../graph/networks.hpp"

#include <enn/model/layers/blocks.hpp>

#include <set>

namespace enn::model::test {
namespace {

struct op_case {
  std::string name;
  build make;
  friend std::ostream& operator<<(std::ostream& out, const op_case& c) { return out << c.name; }
};

value_id apply_all_outputs(graph_builder& b, std::string_view op, std::vector<value_id> in, attributes a, const std::vector<shape>& flat) {
  auto out = b.apply_all(op, in, std::move(a));
  std::vector<value_id> parts;
  for (std::size_t i = 0; i < out.size(); ++i)
    parts.push_back(layers::reshape(b, out[i], flat[i]));
  return layers::concat(b, parts, 1);
}

std::vector<op_case> cases() {
  std::vector<op_case> all;
  for (int i = 0; i < kernels::unary_count; ++i) {
    std::string op{kernels::name(static_cast<kernels::unary>(i))};
    all.push_back({op, [op](graph_builder& b) {
                     auto x = variable(b, "x", {3, 5});
                     if (op == "log" || op == "sqrt" || op == "reciprocal")
                       x = layers::affine(b, b.apply("square", {x}), 1, 0.3); // where it is defined
                     return b.apply(op, {x});
                   }});
  }
  for (std::string op : {"add", "subtract", "multiply", "divide", "maximum", "minimum"})
    for (auto [suffix, second, batched] : {std::tuple{"", shape{3, 4, 5}, true}, {"_row", shape{5}, false}, {"_column", shape{3, 4, 1}, true},
                                           {"_middle", shape{3, 1, 5}, true}, {"_ends", shape{4, 1}, false}, {"_one", shape{1}, false}})
      all.push_back({op + suffix, [op, s = second, is_batched = batched](graph_builder& b) {
                       auto y = variable(b, "y", s, is_batched);
                       if (op == "divide")
                         y = layers::affine(b, b.apply("square", {y}), 1, 0.5);
                       auto x = layers::affine(b, variable(b, "x", {3, 4, 5}), 5, 0); // far from where maximum bends
                       return b.apply(op, {x, y});
                     }});
  auto one = [&](std::string op, shape s, attributes a) {
    all.push_back({op, [=](graph_builder& b) { return b.apply(op, {variable(b, "x", s)}, a); }});
  };
  one("affine", {3, 2}, {{"scale", -1.5}, {"shift", 0.5}});
  one("reshape", {6}, {{"shape", shape{batch, 2, 3}}});
  one("transpose", {2, 3, 4}, {{"order", shape{0, 3, 1, 2}}});
  one("slice", {4, 3}, {{"axis", 1}, {"begin", 1}, {"size", 2}});
  one("broadcast", {1, 3}, {{"shape", shape{batch, 4, 3}}});
  one("patches", {7, 2}, {{"size", 3}, {"stride", 2}});
  one("mean", {3, 4}, {{"axis", 2}});
  one("softmax", {3, 4}, {});
  one("gated", {3, 8}, {{"activation", "silu"}});
  one("dropout", {3, 8}, {{"dropout", 0.4}});
  one("drop_path", {3, 8}, {{"dropout", 0.4}});
  all.push_back({"mean_inner", [](graph_builder& b) { return layers::mean(b, variable(b, "x", {3, 4}), 1); }});
  all.push_back({"gated_gelu", [](graph_builder& b) { return b.apply("gated", {variable(b, "x", {3, 8})}, {{"activation", "gelu"}}); }});
  all.push_back({"broadcast_weight", [](graph_builder& b) { return layers::broadcast(b, variable(b, "x", {2, 3}, false), {batch, 2, 3}); }});
  all.push_back({"concat", [](graph_builder& b) {
                   return layers::concat(b, {variable(b, "x", {2, 3}), variable(b, "y", {4, 3})}, 1);
                 }});
  for (bool ta : {false, true})
    for (bool tb : {false, true})
      for (int kind : {0, 1, 2})
        all.push_back({std::string{"matmul_"} + (ta ? "t" : "n") + (tb ? "t" : "n") + std::to_string(kind), [=](graph_builder& b) {
                         shape x = ta ? shape{4, 3} : shape{3, 4}, y = tb ? shape{5, 4} : shape{4, 5};
                         if (kind == 0) {
                           x.insert(x.begin(), 2);
                           y.insert(y.begin(), 2);
                         }
                         auto p = variable(b, "x", x, kind != 2), q = variable(b, "y", y, kind != 1);
                         return b.apply("matmul", {p, q}, {{"transpose_a", ta}, {"transpose_b", tb}});
                       }});
  all.push_back({"linear", [](graph_builder& b) {
                   return b.apply("linear", {variable(b, "x", {3, 4}), variable(b, "w", {4, 5}, false), variable(b, "b", {5}, false)});
                 }});
  all.push_back({"layernorm", [](graph_builder& b) {
                   return b.apply("layernorm", {variable(b, "x", {3, 6}), variable(b, "g", {6}, false), variable(b, "b", {6}, false)},
                                  {{"epsilon", 1e-5}});
                 }});
  all.push_back({"rmsnorm", [](graph_builder& b) {
                   return b.apply("rmsnorm", {variable(b, "x", {3, 6}), variable(b, "g", {6}, false)}, {{"epsilon", 1e-5}});
                 }});
  for (double period : {0.0, 24.0})
    all.push_back({period > 0 ? "embedding_ring" : "embedding", [=](graph_builder& b) {
                     auto index = b.apply("affine", {b.add_input("index", input_role::feature, {batch})}, {{"scale", 0.0}, {"shift", period > 0 ? 22.7 : 3.0}});
                     return b.apply("embedding", {index, variable(b, "t", {5, 3}, false)}, {{"first", period > 0 ? 0 : 1}, {"period", period}});
                   }});
  for (auto [name, bias, dilation, p] : {std::tuple{"attention", false, 1, 0.0}, {"attention_bias", true, 1, 0.0}, {"attention_dilated", false, 2, 0.0},
                                         {"attention_dropout", true, 1, 0.3}})
    all.push_back({name, [=, bias = bias, dilation = dilation, p = p](graph_builder& b) {
                     shape keys = dilation > 1 ? shape{3, 4} : shape{5, 4};
                     std::vector<value_id> in{variable(b, "q", {3, 4}), variable(b, "k", keys), variable(b, "v", keys)};
                     if (bias)
                       in.push_back(variable(b, "bias", {5}, false));
                     return b.apply_all("attention", in, {{"heads", 2}, {"dilation", dilation}, {"dropout", p}}).front();
                   }});
  for (bool causal : {true, false})
    all.push_back({causal ? "retention_causal" : "retention_both_ways", [=](graph_builder& b) {
                     auto beta = b.apply("softplus", {variable(b, "beta", {2}, false)});
                     std::vector<value_id> in{variable(b, "q", {5, 4}), variable(b, "v", {5, 4}), beta};
                     if (causal)
                       in.push_back(variable(b, "state", {4}));
                     return apply_all_outputs(b, "retention", in, {{"causal", causal}}, {{batch, 20}, {batch, 4}});
                   }});
  all.push_back({"gate", [](graph_builder& b) {
                   auto fixed = [&](const char* name) { return b.add_input(name, input_role::feature, {batch, 6}); };
                   auto bound = [&](const char* name, double x) { return b.add_buffer(name, {6}, std::vector<double>(6, x)); };
                   auto logit = variable(b, "logit", {6});
                   return b.apply("gate", {fixed("a"), fixed("q"), logit, bound("least", -0.7), bound("greatest", 0.6)},
                                  {{"floor", 0.0}, {"ceil", 1.0}, {"epsilon", 1e-6}});
                 }});
  for (std::string kind : {"mse", "mae", "huber"})
    all.push_back({"loss_" + kind, [=](graph_builder& b) {
                     auto target = b.add_input("target", input_role::target, {batch, 3, 4});
                     auto mask = b.apply("square", {b.add_input("mask", input_role::mask, {batch, 3, 4})});
                     auto l = b.apply("loss", {variable(b, "x", {3, 4}), target, mask}, {{"kind", kind}, {"delta", 0.8}});
                     return layers::reshape(b, l, {batch, 1});
                   }});
  return all;
}

class operator_gradient : public ::testing::TestWithParam<op_case> {};

TEST_P(operator_gradient, agrees_with_central_differences) {
  network n{probed(GetParam().make), 3};
  check_gradients(n);
}

INSTANTIATE_TEST_SUITE_P(all, operator_gradient, ::testing::ValuesIn(cases()), [](const auto& x) { return x.param.name; });

/// Every element of every array that the nodes of a graph read or write, forward and backward: a number that is not finite there is
/// found, by what reaches a result or by what the operators declare.
void expect_no_hidden_number(graph of) {
  constexpr std::int64_t rows = 2;
  auto g = std::make_shared<const graph>(std::move(of));
  std::vector<std::string> losses;
  for (const auto& o : g->outputs)
    losses.push_back(o.path);
  auto weights = initial_weights(*g, 3);
  std::vector<float> gradient(weights.size());
  auto row_numbers = numbers(rows);
  for (std::string_view set : {"reference", "auto"}) {
    schedule<float> s{g, {rows, losses, true}, table<float>(set)};
    auto health_with = [&](const number_fault& fault) {
      for (const auto& x : g->inputs) {
        auto to = s.input(x.path);
        for (std::size_t i = 0; i < to.size(); ++i)
          to[i] = static_cast<float>(normal(x.path, i));
      }
      schedule_inputs<float> in{.seed = 1, .step = 2, .row_numbers = row_numbers, .weights = weights, .fault = &fault};
      s.run(in, gradient);
      return s.inspect(in, gradient);
    };
    for (const auto& p : places_of([&](const number_fault& watch) { EXPECT_TRUE(health_with(watch).ok()); }))
      for (std::int64_t element = 0; element < p.size; ++element)
        for (auto value : nonfinite_numbers) {
          auto health = health_with(change_at(p, element, value));
          ASSERT_GT(health.nonfinite, 0) << set << ": " << p.name() << " [" << element << "] = " << value;
          ASSERT_TRUE(p.what == number_place::kind::input || health.first_node == p.name())
            << set << ": " << health.first_node << " for " << p.name() << " [" << element << "] = " << value;
        }
  }
}

TEST_P(operator_gradient, hides_no_nonfinite_number) {
  expect_no_hidden_number(probed(GetParam().make));
}

/// Where a gradient would go to an input that needs none.
TEST(operators, hide_no_gradient_if_only_some_inputs_need_one) {
  auto fixed = [](graph_builder& b, shape s) { return b.add_input("fixed", input_role::feature, s); };
  expect_no_hidden_number(probed([&](graph_builder& b) {
    return layers::concat(b, {variable(b, "x", {2, 3}), fixed(b, {batch, 4, 3})}, 1);
  }));
  for (auto op : {"maximum", "minimum"})
    expect_no_hidden_number(probed([&](graph_builder& b) { return b.apply(op, {fixed(b, {batch, 6}), variable(b, "x", {6})}); }));
  expect_no_hidden_number(probed([&](graph_builder& b) { // so slow a decay that it is clamped
    auto beta = layers::affine(b, variable(b, "beta", {2}, false), 1, 60);
    auto q = fixed(b, {batch, 5, 4});
    return b.apply("retention", {q, q, beta}, {{"causal", false}});
  }));
}

/// As causal retention's last state where nothing goes on from it.
TEST(operators, hide_no_number_that_nobody_reads) {
  expect_no_hidden_number(probed([](graph_builder& b) {
    auto beta = b.apply("softplus", {variable(b, "beta", {2}, false)});
    std::vector<value_id> in{variable(b, "q", {3, 4}), variable(b, "v", {3, 4}), beta, variable(b, "state", {4})};
    return b.apply_all("retention", in, {{"causal", true}}).front();
  }));
}

TEST(operators, all_have_a_gradient_test) {
  std::set<std::string> tested;
  for (const auto& c : cases())
    for (const auto& n : probed(c.make).nodes)
      tested.insert(n.op);
  for (const auto& d : standard_operators().all())
    EXPECT_EQ(tested.count(d.name) > 0, d.differentiable != 0) << d.name;
}

} // namespace
} // namespace enn::model::test
