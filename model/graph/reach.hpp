/// Which parts of a graph a schedule needs. Used by schedule.cpp alone.
#pragma once
#include <enn/model/graph/graph.hpp>
#include <enn/model/operators/operator.hpp>

#include <vector>

namespace enn::model {

/// What of a graph takes part: found once, before anything has memory.
struct reach {
  std::vector<bool> needed;   // a value: some chosen output depends on it
  std::vector<bool> wanted;   // a value: has a gradient, as it lies between a weight and a loss
  std::vector<int> nodes;     // indices, in graph order
};

/// Bit `input` of d.differentiable.
bool differentiable(const operator_definition& d, std::size_t input);

/// `ops`: the definition of each node. `backward`: gradients of the loss outputs among `outputs` are wanted.
reach find_reach(const graph& g, const std::vector<const operator_definition*>& ops, const std::vector<const output*>& outputs,
                 bool backward);

} // namespace enn::model
