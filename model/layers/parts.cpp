#include <enn/model/layers/parts.hpp>

#include <enn/model/operators/operator.hpp>

#include <algorithm>
#include <cmath>

namespace enn::model::layers {

style style_of(const model_config& m) {
  return {m.norm, m.heads, m.dropout};
}

std::int64_t gated_width(const model_config& m) {
  return static_cast<std::int64_t>(std::floor(static_cast<double>(m.d_model) * m.mlp_ratio * (2.0 / 3.0)));
}
std::int64_t plain_width(const model_config& m) {
  return static_cast<std::int64_t>(std::floor(m.mlp_ratio * static_cast<double>(m.d_model)));
}
std::int64_t head_width(const model_config& m) {
  return static_cast<std::int64_t>(std::floor(static_cast<double>(m.d_model) * std::max(1.0, m.mlp_ratio)));
}

value_id encode(graph_builder& b, const model_config& m, value_id tokens, std::string_view mixer, std::int64_t depth, bool causal) {
  auto s = style_of(m);
  for (std::int64_t i = 0; i < depth; ++i) {
    graph_builder::scope here{b, "block" + std::to_string(i)};
    auto drop = drop_path_at(m.drop_path, i, depth);
    if (mixer != "none") {
      auto x = normalise(b, "norm1", tokens, m.norm);
      graph_builder::scope inner{b, mixer};
      auto y = mixer == "attention" ? attention(b, x, x, s) : retention(b, x, s, causal, {m.beta_first, m.beta_last});
      tokens = residual(b, tokens, dropout(b, y, m.dropout), drop);
    }
    auto x = normalise(b, "norm2", tokens, m.norm);
    graph_builder::scope inner{b, "feedforward"};
    auto y = gated_feedforward(b, x, gated_width(m), m.d_model, "silu", m.dropout);
    tokens = residual(b, tokens, dropout(b, y, m.dropout), drop);
  }
  return normalise(b, "norm", tokens, m.norm);
}

namespace {

value_id cross_block(graph_builder& b, const model_config& m, value_id z, value_id tokens, std::optional<value_id> key_bias, double drop) {
  auto s = style_of(m);
  {
    auto q = normalise(b, "norm_query", z, m.norm);
    auto kv = normalise(b, "norm_key", tokens, m.norm);
    graph_builder::scope here{b, "attention"};
    z = residual(b, z, dropout(b, attention(b, q, kv, s, key_bias), m.dropout), drop);
  }
  auto x = normalise(b, "norm2", z, m.norm);
  graph_builder::scope here{b, "feedforward"};
  auto y = gated_feedforward(b, x, gated_width(m), m.d_model, "gelu", m.dropout);
  return residual(b, z, dropout(b, y, m.dropout), drop);
}

value_id self_block(graph_builder& b, const model_config& m, value_id z, double drop) {
  auto s = style_of(m);
  {
    auto x = normalise(b, "norm1", z, m.norm);
    graph_builder::scope here{b, "attention"};
    z = residual(b, z, dropout(b, attention(b, x, x, s), m.dropout), drop);
  }
  auto x = normalise(b, "norm2", z, m.norm);
  graph_builder::scope here{b, "feedforward"};
  if (m.self_feedforward == "plain")
    return residual(b, z, dropout(b, gated_feedforward(b, x, gated_width(m), m.d_model, "gelu", m.dropout), m.dropout), drop);
  auto y = gated_feedforward(b, x, plain_width(m), plain_width(m), "gelu", 0);
  return residual(b, z, linear(b, "last", dropout(b, y, m.dropout), m.d_model), drop);
}

value_id collector_layer(graph_builder& b, const model_config& m, value_id y, std::int64_t dilation) {
  auto s = style_of(m);
  {
    auto x = normalise(b, "norm1", y, "layernorm");
    graph_builder::scope here{b, "attention"};
    y = residual(b, y, dropout(b, attention(b, x, x, s, {}, dilation, start::xavier), m.dropout), 0);
  }
  auto x = normalise(b, "norm2", y, "layernorm");
  graph_builder::scope here{b, "feedforward"};
  x = dropout(b, b.apply("gelu", {linear(b, "in", x, plain_width(m))}), m.dropout);
  return residual(b, y, linear(b, "out", x, m.d_model), 0);
}

value_id mlp(graph_builder& b, const model_config& m, value_id x, std::int64_t outputs) {
  x = dropout(b, b.apply("gelu", {linear(b, "in", x, head_width(m))}), m.dropout);
  return linear(b, "out", x, outputs);
}

} // namespace

value_id fuse(graph_builder& b, const model_config& m, value_id tokens, std::optional<value_id> key_bias) {
  auto start = b.add_weight("latents", {m.latents, m.d_model}, init::normal, 0.02);
  auto z = broadcast(b, start, {batch, m.latents, m.d_model});
  auto layers = m.fuser_depth * (1 + m.fuser_self_layers);
  std::int64_t layer = 0;
  for (std::int64_t i = 0; i < m.fuser_depth; ++i) {
    {
      graph_builder::scope here{b, "cross" + std::to_string(i)};
      z = cross_block(b, m, z, tokens, key_bias, drop_path_at(m.drop_path, layer++, layers));
    }
    for (std::int64_t j = 0; j < m.fuser_self_layers; ++j) {
      graph_builder::scope here{b, "self" + std::to_string(i) + "_" + std::to_string(j)};
      z = self_block(b, m, z, drop_path_at(m.drop_path, layer++, layers));
    }
  }
  return normalise(b, "norm", z, m.norm);
}

value_id collect(graph_builder& b, const model_config& m, value_id latents) {
  auto y = b.apply("subtract", {latents, mean(b, latents, 1)}, {}, "centre");
  std::int64_t dilation = 1;
  for (std::int64_t l = 0; l < m.collector_depth; ++l) {
    graph_builder::scope here{b, "layer" + std::to_string(l)};
    y = collector_layer(b, m, y, dilation);
    if (2 * dilation < m.latents)
      dilation *= 2;
  }
  return normalise(b, "norm", y, "layernorm");
}

value_id dense_head(graph_builder& b, const model_config& m, value_id latents, std::int64_t outputs) {
  auto u = mean(b, normalise(b, "norm1", latents, m.norm), 1);
  u = reshape(b, u, {batch, m.d_model});
  return mlp(b, m, normalise(b, "norm2", u, m.norm), outputs);
}

value_id grid_head(graph_builder& b, const model_config& m, value_id latents, value_id queries, std::int64_t outputs) {
  auto q = normalise(b, "norm_query", queries, m.norm);
  auto kv = normalise(b, "norm_key", latents, m.norm);
  {
    graph_builder::scope here{b, "attention"};
    queries = residual(b, queries, dropout(b, attention(b, q, kv, style_of(m)), m.dropout), 0);
  }
  return mlp(b, m, normalise(b, "norm2", queries, m.norm), outputs);
}

} // namespace enn::model::layers
