#include <enn/model/enn.hpp>

#include <enn/model/layers/parts.hpp>
#include <enn/model/operators/operator.hpp>

#include <algorithm>
#include <cmath>

namespace enn::model {
namespace {

using namespace layers;

constexpr double embedding_deviation = 0.1; // of learnt identities, places and calendars at the start

/// What every part of the construction reads.
struct context {
  graph_builder& b;
  const config& c;
  const data_facts& f;
  const model_config& m() const { return c.model; }
  bool windows() const { return f.kind == "window"; }
  std::int64_t d() const { return c.model.d_model; }
  std::int64_t nodes() const { return static_cast<std::int64_t>(f.features.size()); }
  std::int64_t outputs() const { return static_cast<std::int64_t>(f.outputs.size()); }
  bool has(std::string_view task) const { return m().preset == task || m().preset == "spatiotemporal"; }
};

// -- scaling: raw <-> normalised ------------------------------------------------------------------------------------------

/// Mean and deviation, of one number for all or of one a column.
struct scaler {
  value_id mean, deviation;
};

scaler add_scaler(const context& x, std::string_view name, const std::vector<double>& mean, const std::vector<double>& deviation) {
  graph_builder::scope here{x.b, name};
  bool one = x.windows() && x.m().scaler == "global";
  auto size = one ? 1 : static_cast<std::int64_t>(mean.size());
  return {x.b.add_buffer("mean", {size}, one ? std::vector{x.f.mean_all} : mean),
          x.b.add_buffer("deviation", {size}, one ? std::vector{x.f.deviation_all} : deviation)};
}

value_id normalised(const context& x, value_id raw, const scaler& s) {
  return x.b.apply("divide", {x.b.apply("subtract", {raw, s.mean}), s.deviation});
}

value_id denormalised(const context& x, value_id z, const scaler& s) {
  return x.b.apply("add", {x.b.apply("multiply", {z, s.deviation}), s.mean});
}

// -- what the templates read ------------------------------------------------------------------------------------------------

/// A window without its own level (and spread), which predictions get back and which are inputs too. Shapes (B, L, N), (B, 1, N).
struct window {
  value_id series;
  std::optional<value_id> level, spread;
};

window remove_level(const context& x, value_id series) {
  const auto& kind = x.m().instance_norm;
  if (kind == "none")
    return {series, {}, {}};
  graph_builder::scope here{x.b, "instance_norm"};
  auto level = kind == "last" ? slice(x.b, series, 1, x.f.history - 1, 1) : mean(x.b, series, 1);
  auto centred = x.b.apply("subtract", {series, level});
  if (kind != "standard")
    return {centred, level, {}};
  auto variance = mean(x.b, x.b.apply("square", {centred}), 1);
  auto spread = x.b.apply("sqrt", {affine(x.b, variance, 1, 1e-5)});
  return {x.b.apply("divide", {centred, spread}), level, spread};
}

value_id restore_level(const context& x, value_id z, const window& w) {
  graph_builder::scope here{x.b, "instance_norm"};
  if (w.spread)
    z = x.b.apply("multiply", {z, *w.spread});
  return w.level ? x.b.apply("add", {z, *w.level}) : z;
}

/// Of each node its history and what instance normalisation removed: (B, N, L + 0..2).
value_id node_features(const context& x, const window& w) {
  std::vector<value_id> parts{w.series};
  for (auto removed : {w.level, w.spread})
    if (removed)
      parts.push_back(*removed);
  return transpose(x.b, concat(x.b, parts, 1), {0, 2, 1});
}

/// Sum of the calendar embeddings of the first target line, (B, 1, d).
std::optional<value_id> calendar(const context& x) {
  std::optional<value_id> sum;
  if (x.m().calendar.empty())
    return sum;
  graph_builder::scope here{x.b, "calendar"};
  auto input = x.b.add_input("calendar", input_role::feature, {batch, 2});
  for (const auto& name : x.m().calendar) {
    bool day = name == "time-of-day";
    auto lines = x.f.lines_per_day > 0 ? static_cast<double>(x.f.lines_per_day)
                                       : 86400.0 / static_cast<double>(std::max<std::int64_t>(x.f.interval_seconds, 1));
    auto vectors = x.m().calendar_vectors;
    auto rows = !day ? 7 : vectors > 0 ? vectors : static_cast<std::int64_t>(std::ceil(lines));
    graph_builder::scope inner{x.b, name};
    auto index = reshape(x.b, slice(x.b, input, 1, day ? 0 : 1, 1), {batch});
    auto table = x.b.add_weight("table", {rows, x.d()}, init::normal, embedding_deviation);
    auto period = day && vectors > 0 ? lines : 0.0;
    auto vector = x.b.apply("embedding", {index, table}, {{"first", std::int64_t{0}}, {"period", period}});
    vector = reshape(x.b, vector, {batch, 1, x.d()});
    sum = sum ? x.b.apply("add", {*sum, vector}) : vector;
  }
  return sum;
}

/// One token a node: its features projected, who it is, and when. (B, N, d)
value_id node_tokens(const context& x, value_id features, std::optional<value_id> when) {
  graph_builder::scope here{x.b, "spatial"};
  auto tokens = layers::linear(x.b, "tokens", features, x.d());
  tokens = x.b.apply("add", {tokens, x.b.add_weight("nodes", {x.nodes(), x.d()}, init::normal, embedding_deviation)});
  return when ? x.b.apply("add", {tokens, *when}) : tokens;
}

/// One token a stretch of time over all nodes, with its place and the calendar. (B, P, d)
value_id patch_tokens(const context& x, value_id series, std::optional<value_id> when) {
  graph_builder::scope here{x.b, "temporal"};
  auto cut = x.b.apply("patches", {series}, {{"size", x.m().patch_size}, {"stride", x.m().patch_stride}});
  auto tokens = layers::linear(x.b, "tokens", cut, x.d());
  auto count = x.b.shape_of(tokens)[1];
  tokens = x.b.apply("add", {tokens, x.b.add_weight("positions", {count, x.d()}, init::normal, embedding_deviation)});
  return when ? x.b.apply("add", {tokens, *when}) : tokens;
}

/// Continuous columns normalised, then each category's vector: (B, e).
value_id row_features(const context& x, value_id raw, value_id z) {
  graph_builder::scope here{x.b, "embedding"};
  std::vector<value_id> parts;
  std::int64_t begin = 0;
  auto continuous = [&](std::int64_t end) {
    if (end > begin)
      parts.push_back(slice(x.b, z, 1, begin, end - begin));
  };
  auto categories = x.f.categories;
  std::sort(categories.begin(), categories.end(), [](const category& p, const category& q) { return p.column < q.column; });
  for (const auto& k : categories) {
    continuous(k.column);
    begin = k.column + 1;
  }
  continuous(x.nodes());
  for (const auto& k : x.f.categories) {
    graph_builder::scope inner{x.b, x.f.features[static_cast<std::size_t>(k.column)]};
    auto index = reshape(x.b, slice(x.b, raw, 1, k.column, 1), {batch});
    auto table = x.b.add_weight("table", {k.count, k.width}, init::normal, 1);
    parts.push_back(x.b.apply("embedding", {index, table}, {{"first", k.first}, {"period", 0.0}}));
  }
  return concat(x.b, parts, 1);
}

/// A task's own linear expansion of the features to its tokens: (B, e) -> (B, N, d).
value_id expand(const context& x, std::string_view task, value_id features, std::int64_t tokens) {
  graph_builder::scope here{x.b, task};
  return reshape(x.b, layers::linear(x.b, "tokens", features, tokens * x.d()), {batch, tokens, x.d()});
}

// -- encoder: templates and fuser -------------------------------------------------------------------------------------------

/// The kernels' own: a library's logarithm differs between machines.
double log_of(double x) {
  kernels::reference_kernels<double>().map(kernels::unary::log, 1, &x, &x);
  return x;
}

/// Tokens of the tasks that the preset has, before their templates.
struct tokens {
  std::optional<value_id> spatial, temporal;
};

/// All tokens as the fuser sees them, with a bias a key so that a task is attended in proportion to its weight, whatever its number
/// of tokens.
struct encoding {
  value_id all;
  std::optional<value_id> key_bias, spatial;
};

encoding run_templates(const context& x, const tokens& in) {
  std::vector<value_id> parts;
  std::vector<double> bias;
  encoding e{};
  auto task = [&](std::string_view name, std::optional<value_id> start, std::string_view mixer, std::int64_t depth, bool causal,
                  double weight) {
    if (!x.has(name))
      return;
    graph_builder::scope here{x.b, name};
    parts.push_back(encode(x.b, x.m(), *start, mixer, depth, causal));
    auto count = x.b.shape_of(parts.back())[1];
    bias.insert(bias.end(), static_cast<std::size_t>(count), log_of(weight / static_cast<double>(count)));
    if (!causal)
      e.spatial = parts.back();
  };
  task("spatial", in.spatial, x.m().spatial_mixer, x.m().spatial_depth, false, x.m().spatial_weight);
  task("temporal", in.temporal, x.m().temporal_mixer, x.m().temporal_depth, true, x.m().temporal_weight);
  e.all = concat(x.b, parts, 1);
  if (parts.size() > 1) {
    auto keys = static_cast<std::int64_t>(bias.size());
    e.key_bias = x.b.add_buffer("fuser.key_bias", {keys}, std::move(bias));
  }
  return e;
}

// -- refinement: gate ---------------------------------------------------------------------------------------------------------

value_id root_mean_square(const context& x, value_id v, std::int64_t axis) {
  return x.b.apply("sqrt", {affine(x.b, mean(x.b, x.b.apply("square", {v}), axis), 1, 1e-6)});
}

/// features -> norm -> linear -> SiLU -> linear that starts at 0. (..., n) -> (..., 1)
value_id gate_net(const context& x, value_id features) {
  auto y = normalise(x.b, "norm", features, "layernorm");
  y = x.b.apply("silu", {layers::linear(x.b, "in", y, x.m().gate_hidden)});
  return layers::linear(x.b, "out", y, 1, true, start::zero);
}

/// Logit of a sample from pooled latents and the sizes of base and change. All inputs are detached. (B, 1)
value_id sample_logit(const context& x, value_id latents, value_id refined_latents, value_id a, value_id delta) {
  auto cells = elements(x.b.shape_of(a));
  auto pooled = [&](value_id v) { return reshape(x.b, mean(x.b, v, 1), {batch, x.d()}); };
  auto size = [&](value_id v) { return root_mean_square(x, reshape(x.b, v, {batch, cells}), 1); };
  graph_builder::scope here{x.b, "sample"};
  return gate_net(x, concat(x.b, {pooled(latents), pooled(refined_latents), size(a), size(delta)}, 1));
}

/// Logit of each node from the sizes of its base and change and their ratio. a, delta (B, H, N) -> (B, 1, N)
value_id tile_logit(const context& x, value_id a, value_id delta) {
  graph_builder::scope here{x.b, "tile"};
  auto base = root_mean_square(x, a, 1), change = root_mean_square(x, delta, 1);
  auto ratio = x.b.apply("divide", {change, base});
  auto features = transpose(x.b, concat(x.b, {base, change, ratio}, 1), {0, 2, 1}); // (B, N, 3)
  return transpose(x.b, gate_net(x, features), {0, 2, 1});
}

/// Range of the training targets in normalised units, widened by the margin; of every cell.
std::vector<double> bounds(const context& x, bool upper) {
  std::vector<double> all;
  bool one = x.windows() && x.m().scaler == "global";
  for (std::int64_t h = 0; h < (x.windows() ? x.f.horizon : 1); ++h)
    for (std::size_t i = 0; i < x.f.outputs.size(); ++i) {
      auto least = x.f.target_least[i], greatest = x.f.target_greatest[i];
      auto margin = x.m().gate_margin * (greatest - least);
      auto mean = one ? x.f.mean_all : x.f.target_mean[i], deviation = one ? x.f.deviation_all : x.f.target_deviation[i];
      auto bound = x.m().gate_bounds ? (upper ? greatest + margin : least - margin) : (upper ? 1e30 : -1e30);
      all.push_back(x.m().gate_bounds ? (bound - mean) / deviation : bound);
    }
  return all;
}

/// The share p of the refinement, shaped like a: learnt, or one half. No gradient leaves it but to the gate's own weights.
value_id gate_share(const context& x, value_id latents, value_id refined_latents, value_id a, value_id q) {
  graph_builder::scope here{x.b, "gate"};
  auto detached = [&](value_id v) { return x.b.apply("stop_gradient", {v}); };
  a = detached(a);
  q = detached(q);
  auto cells = x.b.shape_of(a);
  if (!x.m().gate)
    return affine(x.b, a, 0, 0.5);
  auto delta = x.b.apply("subtract", {q, a});
  auto logit = sample_logit(x, detached(latents), detached(refined_latents), a, delta);
  if (x.windows()) {
    logit = reshape(x.b, logit, {batch, 1, 1});
    if (x.m().gate_logit == "tile")
      logit = x.b.apply("add", {tile_logit(x, a, delta), logit});
  }
  logit = broadcast(x.b, logit, cells);
  shape row{cells.begin() + 1, cells.end()};
  auto least = x.b.add_buffer("least", row, bounds(x, false)), greatest = x.b.add_buffer("greatest", row, bounds(x, true));
  return x.b.apply("gate", {a, q, logit, least, greatest}, {{"floor", 0.0}, {"ceil", 1.0}, {"epsilon", 1e-6}});
}

// -- the network --------------------------------------------------------------------------------------------------------------

/// What turns latents into a prediction in normalised units, used for base and refined predictions alike.
struct reader {
  std::optional<window> frame;      // windows
  std::optional<value_id> queries;  // grid head: (B, N, d)
  value_id features;                // of the linear branch: (B, N, ...) or (B, e)
};

value_id read(const context& x, const reader& r, value_id latents) {
  auto steps = x.f.horizon, n = x.outputs();
  value_id y;
  {
    graph_builder::scope here{x.b, "head"};
    if (r.queries)
      y = grid_head(x.b, x.m(), latents, *r.queries, steps);
    else
      y = dense_head(x.b, x.m(), latents, x.windows() ? steps * n : n);
  }
  if (!x.windows())
    return x.m().linear_branch ? x.b.apply("add", {y, layers::linear(x.b, "linear_branch", r.features, n, true, start::zero)}) : y;
  y = r.queries ? transpose(x.b, y, {0, 2, 1}) : reshape(x.b, y, {batch, steps, n});
  if (x.m().linear_branch) { // one map for all nodes
    auto line = layers::linear(x.b, "linear_branch", r.features, steps, true, start::zero);
    y = x.b.apply("add", {y, transpose(x.b, line, {0, 2, 1})});
  }
  return restore_level(x, y, *r.frame);
}

/// Reads without training what it reads.
reader detached(const context& x, reader r) {
  if (r.queries)
    r.queries = x.b.apply("stop_gradient", {*r.queries});
  r.features = x.b.apply("stop_gradient", {r.features});
  return r;
}

struct input_side {
  tokens start;
  reader head;
};

input_side read_window(const context& x, value_id z) {
  auto w = remove_level(x, z);
  auto features = node_features(x, w);
  auto when = calendar(x);
  input_side s;
  s.head = {w, {}, features};
  if (x.has("spatial") || x.m().head == "grid")
    s.start.spatial = node_tokens(x, features, when);
  if (x.has("temporal"))
    s.start.temporal = patch_tokens(x, w.series, when);
  return s;
}

input_side read_row(const context& x, value_id raw, value_id z) {
  auto features = row_features(x, raw, z);
  input_side s;
  s.head.features = features;
  if (x.has("spatial"))
    s.start.spatial = expand(x, "spatial", features, x.m().spatial_tokens);
  if (x.has("temporal"))
    s.start.temporal = expand(x, "temporal", features, x.m().temporal_tokens);
  return s;
}

void add_loss(const context& x, const std::string& name, value_id prediction, value_id target, value_id mask, double weight) {
  if (weight <= 0)
    return;
  attributes a{{"kind", x.c.train.loss}, {"delta", x.c.train.huber_delta}};
  x.b.add_output("loss." + name, output_role::loss, x.b.apply("loss", {prediction, target, mask}, a, "loss." + name), weight);
}

} // namespace

graph build_enn(const config& c, const data_facts& facts) {
  graph_builder b{standard_operators()};
  context x{b, c, facts};
  const auto& t = c.train;
  shape cells = x.windows() ? shape{batch, facts.horizon, x.outputs()} : shape{batch, x.outputs()};

  // features -> scaler -> tokens -> templates -> fuser
  auto raw = b.add_input("x", input_role::feature, x.windows() ? shape{batch, facts.history, x.nodes()} : shape{batch, x.nodes()});
  auto z = normalised(x, raw, add_scaler(x, "scaler", facts.mean, facts.deviation));
  auto side = x.windows() ? read_window(x, z) : read_row(x, raw, z);
  auto e = run_templates(x, side.start);
  if (x.m().head == "grid")
    side.head.queries = e.spatial ? *e.spatial : *side.start.spatial;
  value_id latents;
  {
    graph_builder::scope here{b, "fuser"};
    latents = fuse(b, x.m(), e.all, e.key_bias);
  }

  // target, in the units of predictions
  auto target = b.add_input("target", input_role::target, cells);
  auto mask = b.add_input("mask", input_role::mask, cells);
  auto output_scaler = add_scaler(x, "target_scaler", facts.target_mean, facts.target_deviation);
  auto goal = normalised(x, target, output_scaler);

  // base prediction a; refined prediction q; y = a + p (q - a)
  auto a = read(x, side.head, latents);
  auto y = a;
  b.add_output("base", output_role::diagnostic, a);
  if (x.m().refine) {
    value_id refined_latents;
    {
      graph_builder::scope here{b, "collector"};
      refined_latents = collect(b, x.m(), t.detach_refinement ? b.apply("stop_gradient", {latents}) : latents);
    }
    auto q = read(x, t.detach_refinement ? detached(x, side.head) : side.head, refined_latents);
    auto p = gate_share(x, latents, refined_latents, a, q);
    auto from = t.detach_refinement ? b.apply("stop_gradient", {a}) : a;
    y = b.apply("add", {from, b.apply("multiply", {p, b.apply("subtract", {q, from})})}, {}, "composition");
    b.add_output("refined", output_role::diagnostic, q);
    b.add_output("gate", output_role::diagnostic, p);
    add_loss(x, "final", y, goal, mask, t.final_weight);
    add_loss(x, "base", a, goal, mask, t.base_weight);
    add_loss(x, "refined", q, goal, mask, t.refined_weight);
  } else {
    add_loss(x, "final", y, goal, mask, t.final_weight + t.base_weight);
  }
  b.add_output("prediction", output_role::prediction, denormalised(x, y, output_scaler));
  return std::move(b).finish();
}

} // namespace enn::model
