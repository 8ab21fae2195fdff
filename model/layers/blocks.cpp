#include <enn/model/layers/blocks.hpp>

#include <enn/model/operators/operator.hpp>

#include <cmath>

namespace enn::model::layers {
value_id linear(graph_builder& b, std::string_view name, value_id x, std::int64_t out, bool bias, start rule) {
  auto in = b.shape_of(x).back();
  auto bound = 1 / std::sqrt(static_cast<double>(in));
  auto weight_bound = rule == start::zero ? 0 : rule == start::xavier ? std::sqrt(6.0 / static_cast<double>(4 * in)) : bound;
  auto bias_bound = rule == start::uniform ? bound : 0;
  graph_builder::scope here{b, name};
  auto w = b.add_weight("weight", {in, out}, init::uniform, weight_bound, true);
  if (!bias)
    return b.apply("linear", {x, w});
  return b.apply("linear", {x, w, b.add_weight("bias", {out}, init::uniform, bias_bound)});
}

value_id normalise(graph_builder& b, std::string_view name, value_id x, std::string_view kind) {
  auto d = b.shape_of(x).back();
  graph_builder::scope here{b, name};
  auto gain = b.add_weight("gain", {d}, init::constant, 1);
  attributes a{{"epsilon", 1e-5}};
  if (kind == "rmsnorm")
    return b.apply("rmsnorm", {x, gain}, a);
  return b.apply("layernorm", {x, gain, b.add_weight("bias", {d}, init::constant, 0)}, a);
}

value_id dropout(graph_builder& b, value_id x, double probability) {
  return probability > 0 ? b.apply("dropout", {x}, {{"dropout", probability}}) : x;
}

value_id residual(graph_builder& b, value_id x, value_id branch, double drop_path) {
  if (drop_path > 0)
    branch = b.apply("drop_path", {branch}, {{"dropout", drop_path}});
  return b.apply("add", {x, branch}, {}, "residual");
}

value_id affine(graph_builder& b, value_id x, double scale, double shift) {
  return b.apply("affine", {x}, {{"scale", scale}, {"shift", shift}});
}
value_id mean(graph_builder& b, value_id x, std::int64_t axis) {
  return b.apply("mean", {x}, {{"axis", axis}});
}
value_id reshape(graph_builder& b, value_id x, shape s) {
  return b.apply("reshape", {x}, {{"shape", std::move(s)}});
}
value_id transpose(graph_builder& b, value_id x, std::vector<std::int64_t> order) {
  return b.apply("transpose", {x}, {{"order", std::move(order)}});
}
value_id broadcast(graph_builder& b, value_id x, shape s) {
  return b.apply("broadcast", {x}, {{"shape", std::move(s)}});
}
value_id slice(graph_builder& b, value_id x, std::int64_t axis, std::int64_t begin, std::int64_t size) {
  return b.apply("slice", {x}, {{"axis", axis}, {"begin", begin}, {"size", size}});
}
value_id concat(graph_builder& b, const std::vector<value_id>& parts, std::int64_t axis) {
  return parts.size() == 1 ? parts[0] : b.apply_all("concat", parts, {{"axis", axis}}).front();
}

value_id gated_feedforward(graph_builder& b, value_id x, std::int64_t hidden, std::int64_t out, std::string_view activation,
                           double probability) {
  auto y = linear(b, "in", x, 2 * hidden);
  y = b.apply("gated", {y}, {{"activation", std::string{activation}}});
  return linear(b, "out", dropout(b, y, probability), out);
}

value_id attention(graph_builder& b, value_id x, value_id context, const style& s, std::optional<value_id> key_bias, std::int64_t dilation,
                   start projections) {
  auto d = b.shape_of(x).back();
  std::vector<value_id> in{linear(b, "query", x, d, true, projections), linear(b, "key", context, d, true, projections),
                           linear(b, "value", context, d, true, projections)};
  if (key_bias)
    in.push_back(*key_bias);
  auto y = b.apply_all("attention", in, {{"heads", s.heads}, {"dilation", dilation}, {"dropout", s.dropout}}).front();
  return linear(b, "out", y, d, true, projections == start::uniform ? start::uniform : start::small_bias);
}

value_id retention(graph_builder& b, value_id x, const style& s, bool causal, decay beta) {
  auto d = b.shape_of(x).back();
  auto q = linear(b, "query", x, d, false), v = linear(b, "value", x, d, false), g = linear(b, "gate", x, d, false);
  auto decays = b.add_weight("beta", {s.heads}, init::linear_space, beta.first, false, beta.last);
  std::vector<value_id> in{q, v, decays};
  auto path = b.path_of("state");
  if (causal)
    in.push_back(b.add_input(path, input_role::state, {batch, d}));
  auto out = b.apply_all("retention", in, {{"causal", causal}});
  if (causal)
    b.add_output(path, output_role::state, out[1]);
  auto y = normalise(b, "norm", out[0], "layernorm");
  y = b.apply("multiply", {y, b.apply("silu", {g})});
  return linear(b, "out", y, d, false);
}

double drop_path_at(double drop_path, std::int64_t i, std::int64_t n) {
  return n <= 1 ? drop_path : drop_path * static_cast<double>(i) / static_cast<double>(n - 1);
}

} // namespace enn::model::layers
