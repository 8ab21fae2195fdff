#include <enn/model/graph/graph.hpp>

#include <enn/kernels/random.hpp>

#include <algorithm>

namespace enn::model {

std::int64_t elements(const shape& s, std::int64_t rows) {
  std::int64_t n = 1;
  for (auto extent : s)
    n *= extent == batch ? rows : extent;
  return n;
}

bool is_batched(const shape& s) {
  return !s.empty() && s.front() == batch;
}

std::string to_string(const shape& s) {
  std::string text = "(";
  for (std::size_t i = 0; i < s.size(); ++i)
    text += (i ? ", " : "") + (s[i] == batch ? std::string{"B"} : std::to_string(s[i]));
  return text + ")";
}

const input* find_input(const graph& g, std::string_view path) {
  auto found = std::find_if(g.inputs.begin(), g.inputs.end(), [&](const input& x) { return x.path == path; });
  return found == g.inputs.end() ? nullptr : &*found;
}

const output* find_output(const graph& g, std::string_view path) {
  auto found = std::find_if(g.outputs.begin(), g.outputs.end(), [&](const output& x) { return x.path == path; });
  return found == g.outputs.end() ? nullptr : &*found;
}

graph without_training(const graph& g) {
  graph result = g;
  result.nodes.clear();
  std::vector<value_id> now(g.values.size()); // by what a value of g is replaced
  for (std::size_t v = 0; v < now.size(); ++v)
    now[v] = static_cast<value_id>(v);
  for (node n : g.nodes) {
    for (auto& v : n.inputs)
      v = now[static_cast<std::size_t>(v)];
    auto probability = n.attrs.find("dropout");
    if (n.op == "dropout" || n.op == "drop_path") {
      now[static_cast<std::size_t>(n.outputs[0])] = n.inputs[0];
      continue;
    }
    if (probability != n.attrs.end())
      probability->second = 0.0;
    result.nodes.push_back(std::move(n));
  }
  for (auto& o : result.outputs)
    o.value = now[static_cast<std::size_t>(o.value)];
  return result;
}

weight_layout layout_of(const graph& g) {
  weight_layout layout;
  for (const auto& p : g.parameters) {
    if (!p.trainable)
      continue;
    const auto& extent = g.values[static_cast<std::size_t>(p.value)];
    layout.spans.push_back({p.path, extent, layout.size, elements(extent), p.decay});
    layout.size += elements(extent);
  }
  return layout;
}

namespace {

double initial_value(const parameter& p, const kernels::random_place& place, std::int64_t element, std::int64_t size) {
  auto e = static_cast<std::uint64_t>(element);
  switch (p.rule) {
    case init::uniform: return p.scale * (2 * static_cast<double>(kernels::random_uniform(place, e)) - 1);
    case init::normal: return p.scale * kernels::random_normal(place, e);
    case init::constant: return p.scale;
    case init::linear_space:
      return size == 1 ? p.scale : p.scale + (p.scale_last - p.scale) * static_cast<double>(element) / static_cast<double>(size - 1);
    case init::given: return p.data[e];
  }
  return 0;
}

} // namespace

std::vector<float> initial_weights(const graph& g, std::uint64_t seed) {
  std::vector<float> weights;
  for (const auto& p : g.parameters) {
    if (!p.trainable)
      continue;
    auto size = elements(g.values[static_cast<std::size_t>(p.value)]);
    kernels::random_place place{.seed = seed, .purpose = kernels::purpose_hash(p.path)};
    for (std::int64_t i = 0; i < size; ++i)
      weights.push_back(static_cast<float>(initial_value(p, place, i, size)));
  }
  return weights;
}

} // namespace enn::model
