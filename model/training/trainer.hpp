/// Training as pure functions: what one step computes, apart from who computes it. Actors call these; tests call them without
/// actors. Nothing here knows messages, clocks or files.
#pragma once
#include <enn/kernels/kernel_table.hpp>
#include <enn/model/config/config.hpp>
#include <enn/model/data/dataset.hpp>
#include <enn/model/graph/graph.hpp>
#include <enn/model/graph/number_fault.hpp>
#include <enn/model/operators/helpers.hpp>
#include <enn/model/training/health.hpp>
#include <enn/model/training/run_state.hpp>

#include <memory>
#include <span>

namespace enn::model {

/// What everybody who computes for a run must agree on. Made once by the driver; shared, immutable.
struct run_definition {
  config settings;
  data_facts facts;
  graph network;
  weight_layout layout;
  std::int64_t total_steps = 0;   // of the schedule
  std::int64_t steps_per_epoch = 0;
  std::string kernels;            // name of the float kernel set of the fast rung, resolved before step 0
};
caf::expected<std::shared_ptr<const run_definition>> define_run(const config& settings, const dataset& data);

/// Rows of optimizer step t (0-based): the t-th slice of a permutation of the training rows keyed by (seed, epoch).
/// The last slice of an epoch may be shorter.
std::vector<std::uint64_t> rows_of_step(const run_definition& run, const dataset& data, std::int64_t step);

/// Rows of lease `index`: rows[size*index/leases, size*(index+1)/leases). May be empty.
std::span<const std::uint64_t> rows_of_lease(std::span<const std::uint64_t> rows, std::int64_t index, std::int64_t leases);

/// Number of valid cells among the rows: the denominator of every loss term for the whole step.
double denominator_of(const dataset& data, std::span<const std::uint64_t> rows);

/// Whether a lease is one of those that run.check-every picks: drawn by seed, step and index, so that every place in a step has its
/// turn, and the same for whoever computes it.
bool is_checked(const run_definition& run, std::int64_t step, std::int64_t index);

enum class lease_kind : std::uint8_t {
  train,    // gradient and loss sums
  evaluate, // loss sums only
  predict,  // predictions in raw units
};

struct lease_request {
  lease_kind kind = lease_kind::train;
  std::int64_t step = 0;                   // random key; validation uses the step it evaluates
  const row_source* source = nullptr;      // has the rows
  std::span<const std::uint64_t> rows;
  double denominator = 1;
  rung start = rung::fast;
  const number_fault* fault = nullptr; // a test's
  bool by_reference = false;           // rung fast: by the reference kernels, which promise the same bits (not to openblas)
  model::helpers* helpers = nullptr;   // with large products; null: nobody
};

struct lease_result {
  std::vector<double> losses;     // one a loss output of the graph, in its order: sums over rows, divided by the denominator
  numeric_health health;
};

/// One execution context: schedules and arena. One thread at a time. Allocates when it first meets a number of rows.
class lease_computer {
public:
  explicit lease_computer(std::shared_ptr<const run_definition> run);
  ~lease_computer();
  /// `gradient` (train): layout.size floats, overwritten. `predictions` (predict): rows * target_size floats, overwritten.
  /// The result is a pure function of the arguments and the run. Nonfinite numbers are reported, not an error.
  lease_result compute(const lease_request& request, std::span<const float> weights, std::span<float> gradient,
                       std::span<float> predictions);

private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

/// sum = left + right, elementwise, for two sibling blocks; `sum` may be `left`. Same bits on every kernel set, and whoever helps.
void add_gradients(std::span<const float> left, std::span<const float> right, std::span<float> sum, model::helpers* helpers = nullptr);

/// Weights and moments: with run_state, a training version.
struct training_tensors {
  std::vector<float> weights, first, second, average; // second: adamw only; average: only if average-decay > 0
};
training_tensors initial_tensors(const run_definition& run);

struct step_report {
  double norm = 0;          // of the whole gradient, before clipping: double a chunk, then a tree over chunks
  double learning_rate = 0;
  bool applied = false;     // false: the gradient was not to be used; weights unchanged, state.skipped_steps counted
  bool weights_finite = true; // false: the step was too long; the tensors are spoilt and must not become a version
};
/// One optimizer step from `now` to `next`, which may be the same: clip by global norm, AdamW or SGD, moving average, state.step + 1.
/// `health`: of all accepted leases; not ok: no rung gave a gradient that can be trusted, so the step is skipped, as it is if the
/// gradient is nonfinite or, clipped, beyond range_limit. After `pin_after` skips in a row leases start on the master rung for
/// `pin_steps` steps after the last one. No bit depends on who helps.
step_report apply_step(const run_definition& run, std::span<const float> gradient, const training_tensors& now, training_tensors& next,
                       run_state& state, const numeric_health& health = {}, model::helpers* helpers = nullptr);
inline constexpr std::int64_t pin_after = 3, pin_steps = 256;

/// The weights that are evaluated, predicted with and chosen as best: the average if there is one.
std::span<const float> evaluated_weights(const training_tensors& tensors);

/// Records a validation loss: best, patience. Returns true if it is the best so far.
bool record_evaluation(const run_definition& run, double loss, run_state& state);

} // namespace enn::model
