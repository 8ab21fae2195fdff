#include <enn/model/graph/reach.hpp>

#include <algorithm>

namespace enn::model {
namespace {

std::size_t at(value_id v) {
  return static_cast<std::size_t>(v);
}

} // namespace

bool differentiable(const operator_definition& d, std::size_t input) {
  return (d.differentiable >> std::min<std::size_t>(input, 31)) & 1;
}

reach find_reach(const graph& g, const std::vector<const operator_definition*>& ops, const std::vector<const output*>& outputs,
                 bool backward) {
  reach r;
  r.needed.assign(g.values.size(), false);
  r.wanted.assign(g.values.size(), false);
  std::vector<bool> to_loss(g.values.size(), false);
  for (const auto* o : outputs) {
    r.needed[at(o->value)] = true;
    to_loss[at(o->value)] = backward && o->role == output_role::loss && o->weight != 0;
  }
  for (std::size_t i = g.nodes.size(); i-- > 0;) {
    const auto& n = g.nodes[i];
    auto any = [&](const std::vector<bool>& mark) {
      return std::any_of(n.outputs.begin(), n.outputs.end(), [&](value_id v) { return mark[at(v)]; });
    };
    if (!any(r.needed))
      continue;
    r.nodes.push_back(static_cast<int>(i));
    bool loss = any(to_loss);
    for (std::size_t k = 0; k < n.inputs.size(); ++k) {
      r.needed[at(n.inputs[k])] = true;
      if (loss && differentiable(*ops[i], k))
        to_loss[at(n.inputs[k])] = true;
    }
  }
  std::reverse(r.nodes.begin(), r.nodes.end());
  std::vector<bool> from_weight(g.values.size(), false);
  for (const auto& p : g.parameters)
    from_weight[at(p.value)] = p.trainable;
  for (int i : r.nodes) {
    const auto& n = g.nodes[static_cast<std::size_t>(i)];
    bool depends = false;
    for (std::size_t k = 0; k < n.inputs.size(); ++k)
      depends |= from_weight[at(n.inputs[k])] && differentiable(*ops[static_cast<std::size_t>(i)], k);
    for (auto v : n.outputs)
      from_weight[at(v)] = depends;
  }
  for (std::size_t v = 0; v < g.values.size(); ++v)
    r.wanted[v] = from_weight[v] && to_loss[v];
  return r;
}

} // namespace enn::model
