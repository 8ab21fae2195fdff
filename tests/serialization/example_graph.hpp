/// A graph that has every kind of thing that a message of one can hold.
#pragma once
#include <enn/model/graph/graph.hpp>

namespace enn::serialization {

inline model::graph example() {
  model::graph g;
  g.values = {{model::batch, 3}, {3, 2}, {2}, {model::batch, 2}, {model::batch}};
  g.inputs = {{"x", model::input_role::feature, 0}};
  g.parameters = {{"w", 1, model::init::uniform, 0.5, 0, true, true, {}}, {"mean", 2, model::init::given, 0, 0, false, false, {0.1, 1e300}}};
  model::node n{.op = "linear", .version = 2, .path = "head.linear", .inputs = {0, 1, 2}, .outputs = {3}, .attrs = {}};
  n.attrs = {{"bias", true}, {"width", std::int64_t{-4}}, {"rate", 0.1}, {"kind", std::string{"gelu"}},
             {"axes", std::vector<std::int64_t>{1, 2}}, {"scales", std::vector<double>{0.5, 0.25}}};
  g.nodes = {n, {.op = "sum", .version = 1, .path = "loss", .inputs = {3}, .outputs = {4}, .attrs = {}}};
  g.outputs = {{"prediction", model::output_role::prediction, 3, 1}, {"loss.final", model::output_role::loss, 4, 0.5}};
  return g;
}

} // namespace enn::serialization
