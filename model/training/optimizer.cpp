// From a gradient to the next weights. Everything here is computed chunk by chunk in a fixed order within each, with elementary
// functions of our own, so that all machines agree, whoever computes which chunk.
#include <enn/kernels/elementary.hpp>
#include <enn/kernels/machine.hpp>
#include <enn/model/training/trainer.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

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

// Floats. That of the norm decides its bits; the other does not, and is small enough for two threads to end at about the same time.
constexpr std::int64_t norm_chunk = std::int64_t{1} << 18, elementwise_chunk = std::int64_t{1} << 16;

std::int64_t chunks_of(std::int64_t size, std::int64_t chunk) {
  return (size + chunk - 1) / chunk;
}

/// Squares in double, a chunk at a time; then chunks as a tree, neighbours first.
double norm_of(const kernels::kernel_table<float>& k, std::span<const float> gradient, model::helpers* helpers) {
  std::vector<double> sums(static_cast<std::size_t>(chunks_of(count(gradient), norm_chunk)));
  share(helpers, count(sums), [&](std::int64_t i) {
    auto first = i * norm_chunk;
    sums[static_cast<std::size_t>(i)] = k.sum_of_squares(std::min(norm_chunk, count(gradient) - first), gradient.data() + first);
  });
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

/// What a step does to some of its weights: alike in decay, and in one chunk.
struct update {
  const kernels::kernel_table<float>& k;
  bool is_sgd;
  kernels::adamw_args<float> common; // to all weights; sgd takes rate, scale and beta1 from here
  float weight_decay, average_share;
  const float* gradient;
  const training_tensors& now;
  training_tensors& next;

  /// True: the new weights are finite, with room for the difference of two.
  bool apply(std::int64_t first, std::int64_t size, bool decays) const;

private:
  void adamw(std::int64_t first, std::int64_t size, float decay) const;
  void sgd(std::int64_t first, std::int64_t size, float decay) const;
  void average(std::int64_t first, std::int64_t size) const;
};

bool update::apply(std::int64_t first, std::int64_t size, bool decays) const {
  auto decay = decays ? weight_decay : 0;
  is_sgd ? sgd(first, size, decay) : adamw(first, size, decay);
  if (!next.average.empty())
    average(first, size);
  auto found = k.count_nonfinite(size, next.weights.data() + first);
  return found.nonfinite == 0 && found.largest < 0x1p126;
}

void update::adamw(std::int64_t first, std::int64_t size, float decay) const {
  auto a = common;
  a.decay = decay;
  a.n = size;
  a.gradient = gradient + first;
  a.from_w = now.weights.data() + first;
  a.from_m = now.first.data() + first;
  a.from_v = now.second.data() + first;
  a.w = next.weights.data() + first;
  a.m = next.first.data() + first;
  a.v = next.second.data() + first;
  k.adamw(a);
}

/// m = momentum m + g; w -= rate (m + decay w).
void update::sgd(std::int64_t first, std::int64_t size, float decay) const {
  for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(first + size); ++i) {
    next.first[i] = common.beta1 * now.first[i] + common.scale * gradient[i];
    next.weights[i] = now.weights[i] - common.rate * (next.first[i] + decay * now.weights[i]);
  }
}

void update::average(std::int64_t first, std::int64_t size) const {
  for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(first + size); ++i)
    next.average[i] = now.average[i] + average_share * (next.weights[i] - now.average[i]);
}

/// True: all new weights are finite.
bool apply_to_all(const update& u, const weight_layout& layout, model::helpers* helpers) {
  std::atomic<bool> finite = true;
  share(helpers, chunks_of(layout.size, elementwise_chunk), [&](std::int64_t i) {
    for (const auto& span : layout.spans) {
      auto first = std::max(span.offset, i * elementwise_chunk), end = std::min(span.offset + span.size, (i + 1) * elementwise_chunk);
      if (first < end && !u.apply(first, end - first, span.decay))
        finite = false;
    }
  });
  return finite;
}

kernels::adamw_args<float> coefficients_of(const train_config& t, double rate, float scale, std::int64_t applied) {
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
  return a;
}

/// average += (1 - d) (weights - average), with d rising to the configured decay so that the start is forgotten.
float average_share(double decay, std::int64_t applied) {
  return static_cast<float>(1 - std::min(decay, static_cast<double>(1 + applied) / static_cast<double>(10 + applied)));
}

void take_sizes(const training_tensors& from, training_tensors& to) {
  to.weights.resize(from.weights.size());
  to.first.resize(from.first.size());
  to.second.resize(from.second.size());
  to.average.resize(from.average.size());
}

void count_step(bool applied, run_state& state) {
  ++state.step;
  state.applied_steps += applied;
  state.skipped_steps = applied ? 0 : state.skipped_steps + 1;
  if (state.skipped_steps >= pin_after)
    state.pinned_until = state.step + pin_steps;
}

} // namespace

void add_gradients(std::span<const float> left, std::span<const float> right, std::span<float> sum, model::helpers* helpers) {
  const auto& k = any_kernels();
  share(helpers, chunks_of(count(sum), elementwise_chunk), [&](std::int64_t i) {
    auto first = i * elementwise_chunk, size = std::min(elementwise_chunk, count(sum) - first);
    k.zip(kernels::binary::add, size, left.data() + first, right.data() + first, sum.data() + first);
  });
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

step_report apply_step(const run_definition& run, std::span<const float> gradient, const training_tensors& now, training_tensors& next,
                       run_state& state, const numeric_health& health, model::helpers* helpers) {
  const auto& k = any_kernels();
  const auto& t = run.settings.train;
  step_report report;
  report.learning_rate = learning_rate(run, state);
  report.norm = norm_of(k, gradient, helpers);
  bool clip = t.clip_norm > 0 && report.norm > t.clip_norm;
  auto length = clip ? t.clip_norm : report.norm;
  report.applied = health.ok() && std::isfinite(report.norm) && length <= range_limit; // so moments, squares included, stay finite
  if (report.applied) {
    auto scale = clip ? static_cast<float>(t.clip_norm / report.norm) : 1.0f;
    take_sizes(now, next);
    update u{.k = k, .is_sgd = t.optimizer == "sgd", .common = coefficients_of(t, report.learning_rate, scale, state.applied_steps),
             .weight_decay = static_cast<float>(t.weight_decay), .average_share = average_share(t.average_decay, state.applied_steps),
             .gradient = gradient.data(), .now = now, .next = next};
    report.weights_finite = apply_to_all(u, run.layout, helpers);
  } else if (&now != &next) {
    next = now;
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
