// Every composite operator against the simpler operators it is made of.
#include "../graph/networks.hpp"

#include <set>

namespace enn::model::test {
namespace {

struct composite {
  std::string name, op;
  std::vector<shape> inputs; // batched if they start with batch, else weights
  attributes attrs;
  friend std::ostream& operator<<(std::ostream& out, const composite& c) { return out << c.name; }
};

std::vector<composite> composites() {
  attributes gate{{"floor", 0.1}, {"ceil", 0.9}, {"epsilon", 1e-6}};
  return {
    {"linear", "linear", {{batch, 3, 4}, {4, 5}, {5}}, {}},
    {"linear_flat", "linear", {{batch, 4}, {4, 5}}, {}},
    {"layernorm", "layernorm", {{batch, 3, 6}, {6}, {6}}, {{"epsilon", 1e-5}}},
    {"rmsnorm", "rmsnorm", {{batch, 3, 6}, {6}}, {{"epsilon", 1e-5}}},
    {"swiglu", "gated", {{batch, 3, 6}}, {{"activation", "silu"}}},
    {"geglu", "gated", {{batch, 3, 6}}, {{"activation", "gelu"}}},
    {"attention", "attention", {{batch, 3, 4}, {batch, 5, 4}, {batch, 5, 4}, {5}}, {{"heads", 2}, {"dilation", 1}, {"dropout", 0.0}}},
    {"dilated", "attention", {{batch, 6, 4}, {batch, 6, 4}, {batch, 6, 4}}, {{"heads", 2}, {"dilation", 2}, {"dropout", 0.0}}},
    {"causal", "retention", {{batch, 5, 4}, {batch, 5, 4}, {2}, {batch, 4}}, {{"causal", true}}},
    {"both_ways", "retention", {{batch, 5, 4}, {batch, 5, 4}, {2}}, {{"causal", false}}},
    {"gate", "gate", {{batch, 8}, {batch, 8}, {batch, 8}, {8}, {8}}, gate},
  };
}

/// The outputs of the operator itself, or of its lowering, for the same inputs.
std::vector<std::vector<double>> outputs_of(const composite& c, bool lowered) {
  graph_builder b{standard_operators()};
  std::vector<value_id> in;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    auto name = "in" + std::to_string(i);
    if (is_batched(c.inputs[i])) {
      in.push_back(b.add_input(name, input_role::feature, c.inputs[i]));
      continue;
    }
    std::vector<double> data;
    for (std::int64_t e = 0; e < elements(c.inputs[i]); ++e) {
      auto x = normal(name, static_cast<std::uint64_t>(e));
      data.push_back(c.op == "retention" ? 1 + std::abs(x) : c.op == "gate" ? (i == 3 ? -std::abs(x) : std::abs(x)) : x);
    }
    in.push_back(b.add_buffer(name, c.inputs[i], data));
  }
  node_facts f{&c.attrs, c.inputs, {}};
  const auto* d = standard_operators().find(c.op);
  f.outputs = d->infer(f);
  auto out = lowered ? d->lower(b, f, in) : b.apply_all(c.op, in, c.attrs);
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(b.shape_of(out[i]), f.outputs[i]);
    paths.push_back("out" + std::to_string(i));
    b.add_output(paths.back(), output_role::diagnostic, out[i]);
  }
  auto g = std::make_shared<const graph>(std::move(b).finish());
  for (const auto& n : g->nodes)
    EXPECT_TRUE(!lowered || n.op != c.op);
  schedule<double> s{g, {3, paths, false}, table<double>()};
  for (const auto& x : g->inputs) {
    auto to = s.input(x.path);
    for (std::size_t i = 0; i < to.size(); ++i)
      to[i] = normal(x.path, i);
  }
  auto rows = numbers(3);
  s.run({.row_numbers = rows, .weights = {}}, {});
  std::vector<std::vector<double>> result;
  for (const auto& path : paths)
    result.emplace_back(s.output(path).begin(), s.output(path).end());
  return result;
}

class lowering : public ::testing::TestWithParam<composite> {};

TEST_P(lowering, computes_the_same) {
  auto whole = outputs_of(GetParam(), false), parts = outputs_of(GetParam(), true);
  ASSERT_EQ(whole.size(), parts.size());
  for (std::size_t o = 0; o < whole.size(); ++o)
    for (std::size_t i = 0; i < whole[o].size(); ++i)
      EXPECT_NEAR(whole[o][i], parts[o][i], 1e-12 * std::max(1.0, std::abs(whole[o][i]))) << "output " << o << ", element " << i;
}

INSTANTIATE_TEST_SUITE_P(all, lowering, ::testing::ValuesIn(composites()), [](const auto& x) { return x.param.name; });

TEST(operators, all_composites_have_a_lowering_test) {
  std::set<std::string> tested;
  for (const auto& c : composites())
    tested.insert(c.op);
  for (const auto& d : standard_operators().all())
    EXPECT_EQ(tested.count(d.name) > 0, static_cast<bool>(d.lower)) << d.name;
}

} // namespace
} // namespace enn::model::test
