/// [model]: the network's hyper-parameters. docs/model.md explains each part with its shapes.
#pragma once
#include <enn/model/config/field.hpp>

namespace enn::model {

struct model_config {
  std::int64_t d_model = 48;
  std::int64_t heads = 4;
  double mlp_ratio = 2;
  double dropout = 0.1;
  double drop_path = 0;
  std::string norm = "layernorm";
  std::string preset = "spatial";
  std::string spatial_mixer = "none";
  std::string temporal_mixer = "retention";
  std::int64_t spatial_depth = 2;
  std::int64_t temporal_depth = 1;
  std::int64_t spatial_tokens = 16;
  std::int64_t temporal_tokens = 16;
  double spatial_weight = 1;
  double temporal_weight = 1;
  std::int64_t patch_size = 3;
  std::int64_t patch_stride = 3;
  std::int64_t latents = 16;
  std::int64_t fuser_depth = 1;
  std::int64_t fuser_self_layers = 1;
  std::string self_feedforward = "plain";
  std::int64_t collector_depth = 2;
  std::string head = "grid";
  bool linear_branch = true;
  std::string scaler = "global";
  std::string instance_norm = "last";
  std::vector<std::string> calendar;
  std::int64_t calendar_vectors = 0;
  double beta_first = 1;
  double beta_last = 7;
  bool refine = false;
  bool gate = true;
  std::string gate_logit = "tile";
  std::int64_t gate_hidden = 64;
  double gate_margin = 0.05;
  bool gate_bounds = true;

  static auto fields() {
    using c = model_config;
    using i = std::int64_t;
    using s = std::string;
    return std::tuple{
      field<c, i>{&c::d_model, "d-model", "1", "Width of every token; divisible by heads.", {1, 65536}},
      field<c, i>{&c::heads, "heads", "1", "Heads of retention and attention.", {1, 1024}},
      field<c, double>{&c::mlp_ratio, "mlp-ratio", "1", "Hidden width of the feed-forward layers, as a multiple of d-model (gated ones use two thirds of it, the head at least d-model).", {0.1, 64}},
      field<c, double>{&c::dropout, "dropout", "1", "Probability of dropping an activation in training.", {0, 0.95}},
      field<c, double>{&c::drop_path, "drop-path", "1", "Largest probability of skipping a residual branch for a sample (stochastic depth).", {0, 0.95}},
      field<c, s>{&c::norm, "norm", "", "Kind of normalisation in all blocks.", {.words = {"layernorm", "rmsnorm"}}},
      field<c, s>{&c::preset, "preset", "", "Which templates encode the input.", {.words = {"spatial", "temporal", "spatiotemporal"}}},
      field<c, s>{&c::spatial_mixer, "spatial-mixer", "", "How spatial tokens exchange information inside their template; none leaves it to the fuser.", {.words = {"none", "attention", "retention"}}},
      field<c, s>{&c::temporal_mixer, "temporal-mixer", "", "The same for temporal tokens; retention is causal, attention is not.", {.words = {"none", "attention", "retention"}}},
      field<c, i>{&c::spatial_depth, "spatial-depth", "layers", "Blocks of the spatial template.", {0, 1000}},
      field<c, i>{&c::temporal_depth, "temporal-depth", "layers", "Blocks of the temporal template.", {0, 1000}},
      field<c, i>{&c::spatial_tokens, "spatial-tokens", "tokens", "Tokens of the spatial template (row inputs; windows have one a node).", {1, 1e6}},
      field<c, i>{&c::temporal_tokens, "temporal-tokens", "tokens", "Tokens of the temporal template (row inputs; windows have one a patch).", {1, 1e6}},
      field<c, double>{&c::spatial_weight, "spatial-weight", "1", "Attention that the fuser pays to spatial tokens as a whole, relative to the other weight.", {1e-6, 1e6}},
      field<c, double>{&c::temporal_weight, "temporal-weight", "1", "The same for temporal tokens.", {1e-6, 1e6}},
      field<c, i>{&c::patch_size, "patch-size", "lines", "Lines of history in one temporal token.", {1, 1e6}},
      field<c, i>{&c::patch_stride, "patch-stride", "lines", "Distance between the starts of patches.", {1, 1e6}},
      field<c, i>{&c::latents, "latents", "tokens", "Latent tokens of the fuser.", {1, 1e6}},
      field<c, i>{&c::fuser_depth, "fuser-depth", "layers", "Cross-attention layers of the fuser.", {1, 1000}},
      field<c, i>{&c::fuser_self_layers, "fuser-self-layers", "layers", "Self-attention layers after each of them.", {0, 1000}},
      field<c, s>{&c::self_feedforward, "self-feedforward", "", "Feed-forward of the fuser's self-attention: plain gated, or with the extra square matrix of the reference.", {.words = {"plain", "reference"}}},
      field<c, i>{&c::collector_depth, "collector-depth", "layers", "Dilated attention layers that refine the latents; layer l attends to every 2^l-th, as long as there are more latents than that.", {1, 1000}},
      field<c, s>{&c::head, "head", "", "Dense: pooled latents to all outputs. Grid: one query a node reads the latents (windows only).", {.words = {"dense", "grid"}}},
      field<c, bool>{&c::linear_branch, "linear-branch", "", "Whether a linear map of the input is added to base and refined predictions."},
      field<c, s>{&c::scaler, "scaler", "", "Whether windows are normalised by one mean and deviation, or by one a column, as rows always are.", {.words = {"global", "column"}}},
      field<c, s>{&c::instance_norm, "instance-norm", "", "What is subtracted from a window and added back: nothing, its last value, its mean, or mean and deviation. The removed statistics are inputs.", {.words = {"none", "last", "mean", "standard"}}},
      field<c, std::vector<s>>{&c::calendar, "calendar", "", "Calendar embeddings of windows.", {.words = {"time-of-day", "day-of-week"}}},
      field<c, i>{&c::calendar_vectors, "calendar-vectors", "1", "Vectors of the time-of-day embedding, interpolated; 0: one a line of the day.", {0, 100000}},
      field<c, double>{&c::beta_first, "beta-first", "1", "Retention decay 1 - 2^-beta of the first head.", {0.1, 20}},
      field<c, double>{&c::beta_last, "beta-last", "1", "The same of the last head; between them evenly.", {0.1, 20}},
      field<c, bool>{&c::refine, "refine", "", "Whether there is a refined prediction beside the base: collector, second reading of the head, gate."},
      field<c, bool>{&c::gate, "gate", "", "Whether the share of the refined prediction is learnt; otherwise it is one half."},
      field<c, s>{&c::gate_logit, "gate-logit", "", "Whether the gate decides for a sample or for each tile (node) of a window; rows have one for a sample.", {.words = {"sample", "tile"}}},
      field<c, i>{&c::gate_hidden, "gate-hidden", "1", "Hidden width of the gate.", {1, 65536}},
      field<c, double>{&c::gate_margin, "gate-margin", "1", "By how much of their width the training range of each output is widened to bound the gate.", {0, 100}},
      field<c, bool>{&c::gate_bounds, "gate-bounds", "", "Whether the gate is bounded by the range of the training outputs at all."},
    };
  }
};

} // namespace enn::model
