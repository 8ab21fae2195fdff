/// Layers: functions that add nodes to a graph. Weights are named by the builder's scope, so calling one twice in a scope of the
/// same name shares them. d is the last extent of x; hidden widths are the caller's.
#pragma once
#include <enn/model/graph/graph_builder.hpp>

#include <optional>

namespace enn::model::layers {

/// What all blocks of a network have in common.
struct style {
  std::string norm = "layernorm"; // or "rmsnorm"
  std::int64_t heads = 1;
  double dropout = 0;
};

enum class start {
  uniform,    // weight and bias within +-1/sqrt(fan in)
  xavier,     // of a (d, 3d) projection; bias 0
  small_bias, // as uniform; bias 0
  zero,
};

/// x (..., in) -> (..., out).
value_id linear(graph_builder& b, std::string_view name, value_id x, std::int64_t out, bool bias = true, start rule = start::uniform);
/// Layer norm or root-mean-square norm along d, with gain (and bias).
value_id normalise(graph_builder& b, std::string_view name, value_id x, std::string_view kind);
/// The identity if the probability is 0.
value_id dropout(graph_builder& b, value_id x, double probability);
/// x + branch, the branch dropped for whole rows with the probability.
value_id residual(graph_builder& b, value_id x, value_id branch, double drop_path);
/// Scale and shift by fixed numbers; mean over an axis; views and moves: one call instead of attribute lists.
value_id affine(graph_builder& b, value_id x, double scale, double shift);
value_id mean(graph_builder& b, value_id x, std::int64_t axis);
value_id reshape(graph_builder& b, value_id x, shape s);
value_id transpose(graph_builder& b, value_id x, std::vector<std::int64_t> order);
value_id broadcast(graph_builder& b, value_id x, shape s);
value_id slice(graph_builder& b, value_id x, std::int64_t axis, std::int64_t begin, std::int64_t size);
value_id concat(graph_builder& b, const std::vector<value_id>& parts, std::int64_t axis);

/// W_2 drop(act(A) * C) + b_2 with [A, C] = x W_1 + b_1, in -> 2 hidden -> out.
value_id gated_feedforward(graph_builder& b, value_id x, std::int64_t hidden, std::int64_t out, std::string_view activation,
                           double dropout);

/// Queries of x (B, N, d) read context (B, K, d), both already normalised: projections with bias, attention, projection.
/// key_bias (K) is added to the scores.
value_id attention(graph_builder& b, value_id x, value_id context, const style& s, std::optional<value_id> key_bias = {},
                   std::int64_t dilation = 1, start projections = start::uniform);

/// (LN(q * s) * SiLU(g)) W_o, with q, v, g projections of x without bias and s the decaying sum of v. Decays are learnt:
/// lambda = 1 - 2^-beta, beta from beta_first to beta_last along the heads. Causal retention reads and continues the state
/// input and output `<scope>state`.
struct decay {
  double first = 5, last = 5.75;
};
value_id retention(graph_builder& b, value_id x, const style& s, bool causal, decay beta);

/// Probability of dropping branch i of n: drop_path * i / (n - 1); for n = 1 drop_path.
double drop_path_at(double drop_path, std::int64_t i, std::int64_t n);

} // namespace enn::model::layers
