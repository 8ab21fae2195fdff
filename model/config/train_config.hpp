/// [train]: how weights are found. Everything here is part of a run's identity.
#pragma once
#include <enn/model/config/field.hpp>

namespace enn::model {

struct train_config {
  std::int64_t epochs = 20;
  std::int64_t steps = 0;
  std::int64_t batch_rows = 32;
  std::int64_t leases = 8;
  std::string optimizer = "adamw";
  double learning_rate = 2e-3;
  double weight_decay = 1e-2;
  double momentum = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  std::int64_t warmup_steps = 50;
  double final_rate = 0;
  double clip_norm = 1;
  std::string loss = "huber";
  double huber_delta = 0.3;
  double final_weight = 0.5;
  double base_weight = 0.5;
  double refined_weight = 0.25;
  bool detach_refinement = true;
  double average_decay = 0;
  std::int64_t validate_every = 0;
  std::int64_t patience = 0;
  std::int64_t seed = 1;
  std::string kernels = "auto";

  static auto fields() {
    using c = train_config;
    using i = std::int64_t;
    using s = std::string;
    return std::tuple{
      field<c, i>{&c::epochs, "epochs", "1", "Passes over the training rows.", {1, 1e9}},
      field<c, i>{&c::steps, "steps", "steps", "Optimizer steps; 0: as many as epochs says.", {0, 1e12}},
      field<c, i>{&c::batch_rows, "batch-rows", "rows", "Rows of one optimizer step.", {1, 1e9}},
      field<c, i>{&c::leases, "leases", "1", "Pieces that a step is cut into, a power of two; their number, not that of workers, decides the bits.", {1, 4096}},
      field<c, s>{&c::optimizer, "optimizer", "", "AdamW, or stochastic gradient descent with momentum.", {.words = {"adamw", "sgd"}}},
      field<c, double>{&c::learning_rate, "learning-rate", "1", "Peak step size.", {0, 1000}},
      field<c, double>{&c::weight_decay, "weight-decay", "1", "Decoupled decay of matrices (not of biases, norms, embeddings, latents, decays).", {0, 1000}},
      field<c, double>{&c::momentum, "momentum", "1", "First moment's decay (AdamW's beta1).", {0, 0.99999}},
      field<c, double>{&c::beta2, "beta2", "1", "Second moment's decay (AdamW).", {0, 0.9999999}},
      field<c, double>{&c::epsilon, "epsilon", "1", "Added to the root of the second moment (AdamW).", {1e-30, 1}},
      field<c, i>{&c::warmup_steps, "warmup-steps", "steps", "Steps over which the rate rises linearly to its peak.", {0, 1e12}},
      field<c, double>{&c::final_rate, "final-rate", "1", "Rate that half a cosine falls to at the end, as a share of the peak.", {0, 1}},
      field<c, double>{&c::clip_norm, "clip-norm", "1", "Longest gradient, by its global L2 norm; 0: no limit.", {0, 1e30}},
      field<c, s>{&c::loss, "loss", "", "Error function, in normalised units.", {.words = {"mse", "mae", "huber"}}},
      field<c, double>{&c::huber_delta, "huber-delta", "1", "Where Huber's loss turns linear, in deviations of the target.", {1e-6, 1e6}},
      field<c, double>{&c::final_weight, "final-weight", "1", "Weight of the final prediction's loss.", {0, 1e6}},
      field<c, double>{&c::base_weight, "base-weight", "1", "Weight of the base prediction's loss. With detach-refinement it alone trains the encoder.", {0, 1e6}},
      field<c, double>{&c::refined_weight, "refined-weight", "1", "Weight of the refined prediction's own loss.", {0, 1e6}},
      field<c, bool>{&c::detach_refinement, "detach-refinement", "", "Whether refinement and gate leave the encoder's gradient alone."},
      field<c, double>{&c::average_decay, "average-decay", "1", "Decay of the moving average of weights that is evaluated and saved beside them; 0: none.", {0, 0.99999}},
      field<c, i>{&c::validate_every, "validate-every", "steps", "Steps between evaluations on the validation part; 0: once an epoch.", {0, 1e12}},
      field<c, i>{&c::patience, "patience", "1", "Evaluations without a better one after which training stops; 0: never.", {0, 1e9}},
      field<c, i>{&c::seed, "seed", "1", "Key of every random number.", {0, 9e15}},
      field<c, s>{&c::kernels, "kernels", "", "Kernel set; auto: the fastest that this machine has.", {.words = {"auto", "avx512", "avx2", "portable", "openblas", "reference"}}},
    };
  }
};

/// [run]: where a run lives and how it is executed. No value here can change a bit of the result.
struct run_config {
  std::string folder;
  std::int64_t workers = 0;
  std::int64_t checkpoint_every = 200;
  std::int64_t keep_checkpoints = 3;
  std::int64_t check_every = 0;

  static auto fields() {
    using c = run_config;
    using i = std::int64_t;
    return std::tuple{
      field<c, std::string>{&c::folder, "folder", "", "Folder of the run; empty: runs/ and the configuration's name."},
      field<c, i>{&c::workers, "workers", "1", "Workers of this process; 0: one a core.", {0, 1024}},
      field<c, i>{&c::checkpoint_every, "checkpoint-every", "steps", "Steps between checkpoints.", {1, 1e12}},
      field<c, i>{&c::keep_checkpoints, "keep-checkpoints", "1", "Numbered checkpoints that are kept, besides last and best.", {1, 1e6}},
      field<c, i>{&c::check_every, "check-every", "leases", "One lease of so many, on average, is computed by the reference kernels too and compared bit for bit; 0: none.", {0, 1e12}},
    };
  }
};

} // namespace enn::model
