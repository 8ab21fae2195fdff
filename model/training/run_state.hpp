/// The only mutable state of training besides weights and moments. What is not in here cannot influence a bit. Declared once
/// with the fields of a configuration, so that wire and checkpoint need no list of their own.
#pragma once
#include <enn/model/config/field.hpp>

namespace enn::model {

struct run_state {
  std::int64_t step = 0;                  // optimizer steps done, skipped ones included
  std::int64_t applied_steps = 0;         // of these: those that changed the weights
  double learning_rate_scale = 1;         // `set` from the console
  double best_loss = 1e300;               // on the validation part
  std::int64_t best_step = -1;
  std::int64_t evaluations_since_best = 0;
  std::int64_t skipped_steps = 0;         // in a row: gradient nonfinite at every rung
  std::int64_t pinned_until = 0;          // leases start on the master rung before this step
  bool finished = false;                  // early stop or last step

  static auto fields() {
    using c = run_state;
    using i = std::int64_t;
    return std::tuple{
      field<c, i>{&c::step, "step", "steps", "Optimizer steps done."},
      field<c, i>{&c::applied_steps, "applied-steps", "steps", "Those of them that changed the weights."},
      field<c, double>{&c::learning_rate_scale, "learning-rate-scale", "1", "Factor on the schedule, set by command."},
      field<c, double>{&c::best_loss, "best-loss", "1", "Lowest validation loss so far."},
      field<c, i>{&c::best_step, "best-step", "steps", "The step that had it; -1: none."},
      field<c, i>{&c::evaluations_since_best, "evaluations-since-best", "1", "Evaluations since then."},
      field<c, i>{&c::skipped_steps, "skipped-steps", "steps", "Steps skipped in a row because no rung gave finite numbers."},
      field<c, i>{&c::pinned_until, "pinned-until", "steps", "Leases start on the master rung before this step."},
      field<c, bool>{&c::finished, "finished", "", "Whether training is over."},
    };
  }
};

} // namespace enn::model
