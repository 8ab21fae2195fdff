/// The Elastic Neural Network as a graph. docs/model.md has the figure.
#pragma once
#include <enn/model/config/config.hpp>
#include <enn/model/data/dataset.hpp>
#include <enn/model/graph/graph.hpp>

namespace enn::model {

/// The whole network: inputs x, calendar (windows with calendar embeddings), target, mask; outputs
///   prediction                     raw units, (B, horizon, nodes) or (B, outputs)
///   loss.final, .base, .refined    sums a row, in normalised units; those with a part in the model and a weight
///   base, refined, gate            diagnostics: normalised predictions, and the share p
/// and the states of causal retention. Pre: check(c); the facts are of such data.
graph build_enn(const config& c, const data_facts& facts);

} // namespace enn::model
