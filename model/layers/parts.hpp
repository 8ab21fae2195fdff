/// The parts of an ENN, each a stack of blocks. B rows, N tokens, d width.
#pragma once
#include <enn/model/config/model_config.hpp>
#include <enn/model/layers/blocks.hpp>

namespace enn::model::layers {

style style_of(const model_config& m);
/// Hidden width of gated layers, floor(d r 2/3); of plain ones, floor(d r); of the head, floor(d max(1, r)).
std::int64_t gated_width(const model_config& m);
std::int64_t plain_width(const model_config& m);
std::int64_t head_width(const model_config& m);

/// `depth` pre-norm blocks of a token mixer (none, attention, retention) and SwiGLU, and a final norm. tokens (B, N, d) -> same.
/// Retention is causal or reads both ways.
value_id encode(graph_builder& b, const model_config& m, value_id tokens, std::string_view mixer, std::int64_t depth, bool causal);

/// Latents (m.latents, d) read all tokens (B, K, d) by cross attention, then each other by self attention, m.fuser_depth times
/// (Jaegle et al. 2021, arXiv:2103.03206). key_bias (K) weighs the tasks. Returns (B, latents, d).
value_id fuse(graph_builder& b, const model_config& m, value_id tokens, std::optional<value_id> key_bias);

/// Latents minus their mean, through m.collector_depth layers of dilated attention: layer l sees every 2^l-th latent, as long as
/// 2^l is below their number. (B, latents, d) -> same.
value_id collect(graph_builder& b, const model_config& m, value_id latents);

/// Mean of the normalised latents -> MLP -> (B, outputs).
value_id dense_head(graph_builder& b, const model_config& m, value_id latents, std::int64_t outputs);
/// Every query (B, N, d) reads the latents by cross attention -> MLP -> (B, N, outputs).
value_id grid_head(graph_builder& b, const model_config& m, value_id latents, value_id queries, std::int64_t outputs);

} // namespace enn::model::layers
