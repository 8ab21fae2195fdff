// From a gradient to the next weights. Everything here is computed by one thread in a fixed order, with elementary functions of
// our own, so that all machines agree.
#include <enn/kernels/elementary.hpp>
#include <enn/kernels/machine.hpp>
#include <enn/model/training/trainer.hpp>

#include <algorithm>
#include <cmath>

namespace enn::model {
namespace {

/// For functions whose bits are the same in every set: the fastest one here.
const kernels::kernel_table<float>& any_kernels() {
  std::string why_not;
  return *kernels::find_kernels("auto", why_not);
}

std::int64_t count(const auto& values) {
  return static_cast<std::int64_t>(values.size());
}

/// Squares in double, a chunk of 1 MiB at a time; then chunks as a tree, neighbours first.
double norm_of(const kernels::kernel_table<float>& k, std::span<const float> gradient) {
  constexpr std::size_t chunk = 1 << 18;
  std::vector<double> sums;
  for (std::size_t at = 0; at < gradient.size(); at += chunk)
    sums.push_back(k.sum_of_squares(static_cast<std::int64_t>(std::min(chunk, gradient.size() - at)), gradient.data() + at));
  for (std::size_t width = 1; width < sums.size(); width *= 2)
    for (std::size_t i = 0; i + width < sums.size(); i += 2 * width)
      sums[i] += sums[i + width];
  return sums.empty() ? 0 : std::sqrt(sums[0]);
}

double power(double base, std::int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base)
    if (exponent % 2)
      result *= base;
  return result;
}

/// Linear warm-up, then half a cosine to final-rate (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts).
double learning_rate(const run_definition& run, const run_state& state) {
  const auto& t = run.settings.train;
  auto peak = t.learning_rate * state.learning_rate_scale;
  if (state.step < t.warmup_steps)
    return peak * static_cast<double>(state.step + 1) / static_cast<double>(t.warmup_steps);
  auto span = std::max<std::int64_t>(run.total_steps - t.warmup_steps, 1);
  auto done = std::min(1.0, static_cast<double>(state.step - t.warmup_steps) / static_cast<double>(span));
  constexpr double pi = 3.141592653589793;
  return peak * (t.final_rate + (1 - t.final_rate) * 0.5 * (1 + kernels::elementary::cos(pi * done)));
}

void apply_adamw(const kernels::kernel_table<float>& k, const run_definition& run, std::span<const float> gradient, double rate,
                 float scale, training_tensors& x, std::int64_t applied) {
  const auto& t = run.settings.train;
  kernels::adamw_args<float> a;
  a.rate = static_cast<float>(rate);
  a.beta1 = static_cast<float>(t.momentum);
  a.beta2 = static_cast<float>(t.beta2);
  a.one_minus_beta1 = static_cast<float>(1 - t.momentum);
  a.one_minus_beta2 = static_cast<float>(1 - t.beta2);
  a.correction1 = static_cast<float>(1 / (1 - power(t.momentum, applied + 1)));
  a.correction2 = static_cast<float>(1 / (1 - power(t.beta2, applied + 1)));
  a.epsilon = static_cast<float>(t.epsilon);
  a.scale = scale;
  for (const auto& span : run.layout.spans) {
    a.decay = span.decay ? static_cast<float>(t.weight_decay) : 0;
    a.n = span.size;
    a.gradient = gradient.data() + span.offset;
    a.w = x.weights.data() + span.offset;
    a.m = x.first.data() + span.offset;
    a.v = x.second.data() + span.offset;
    k.adamw(a);
  }
}

/// m = momentum m + g; w -= rate (m + decay w).
void apply_sgd(const run_definition& run, std::span<const float> gradient, double rate, float scale, training_tensors& x) {
  const auto& t = run.settings.train;
  auto momentum = static_cast<float>(t.momentum), step = static_cast<float>(rate);
  for (const auto& span : run.layout.spans) {
    auto decay = span.decay ? static_cast<float>(t.weight_decay) : 0.0f;
    for (auto i = static_cast<std::size_t>(span.offset); i < static_cast<std::size_t>(span.offset + span.size); ++i) {
      x.first[i] = momentum * x.first[i] + scale * gradient[i];
      x.weights[i] -= step * (x.first[i] + decay * x.weights[i]);
    }
  }
}

/// average += (1 - d) (weights - average), with d rising to the configured decay so that the start is forgotten.
void update_average(const run_definition& run, training_tensors& x, std::int64_t applied) {
  if (x.average.empty())
    return;
  auto d = std::min(run.settings.train.average_decay, static_cast<double>(1 + applied) / static_cast<double>(10 + applied));
  auto share = static_cast<float>(1 - d);
  for (std::size_t i = 0; i < x.average.size(); ++i)
    x.average[i] += share * (x.weights[i] - x.average[i]);
}

/// With room for the difference of two.
bool are_finite(const kernels::kernel_table<float>& k, std::span<const float> weights) {
  auto found = k.count_nonfinite(count(weights), weights.data());
  return found.nonfinite == 0 && found.largest < 0x1p126;
}

void count_step(bool applied, run_state& state) {
  ++state.step;
  state.applied_steps += applied;
  state.skipped_steps = applied ? 0 : state.skipped_steps + 1;
  if (state.skipped_steps >= pin_after)
    state.pinned_until = state.step + pin_steps;
}

} // namespace

void add_gradients(std::span<const float> source, std::span<float> destination) {
  any_kernels().axpy(count(destination), 1.0f, source.data(), destination.data());
}

training_tensors initial_tensors(const run_definition& run) {
  training_tensors x;
  x.weights = initial_weights(run.network, static_cast<std::uint64_t>(run.settings.train.seed));
  x.first.assign(x.weights.size(), 0);
  if (run.settings.train.optimizer == "adamw")
    x.second.assign(x.weights.size(), 0);
  if (run.settings.train.average_decay > 0)
    x.average = x.weights;
  return x;
}

step_report apply_step(const run_definition& run, std::span<const float> gradient, training_tensors& tensors, run_state& state,
                       const numeric_health& health) {
  const auto& k = any_kernels();
  const auto& t = run.settings.train;
  step_report report;
  report.learning_rate = learning_rate(run, state);
  report.norm = norm_of(k, gradient);
  bool clip = t.clip_norm > 0 && report.norm > t.clip_norm;
  auto length = clip ? t.clip_norm : report.norm;
  if (health.ok() && std::isfinite(report.norm) && length <= range_limit) { // so moments, squares included, stay finite
    auto scale = clip ? static_cast<float>(t.clip_norm / report.norm) : 1.0f;
    if (t.optimizer == "adamw")
      apply_adamw(k, run, gradient, report.learning_rate, scale, tensors, state.applied_steps);
    else
      apply_sgd(run, gradient, report.learning_rate, scale, tensors);
    report.weights_finite = are_finite(k, tensors.weights);
    update_average(run, tensors, state.applied_steps);
    report.applied = true;
  }
  count_step(report.applied, state);
  state.finished = state.finished || state.step >= run.total_steps;
  return report;
}

std::span<const float> evaluated_weights(const training_tensors& tensors) {
  return tensors.average.empty() ? tensors.weights : tensors.average;
}

bool record_evaluation(const run_definition& run, double loss, run_state& state) {
  if (loss < state.best_loss) {
    state.best_loss = loss;
    state.best_step = state.step;
    state.evaluations_since_best = 0;
    return true;
  }
  ++state.evaluations_since_best;
  auto patience = run.settings.train.patience;
  if (patience > 0 && state.evaluations_since_best >= patience)
    state.finished = true;
  return false;
}

} // namespace enn::model
