/// Small graphs, and ways to compute and to differentiate them, for tests.
#pragma once
#include <enn/kernels/machine.hpp>
#include <enn/kernels/random.hpp>
#include <enn/model/graph/schedule.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace enn::model::test {

inline double normal(std::string_view name, std::uint64_t i) {
  return kernels::random_normal({.seed = 5, .purpose = kernels::purpose_hash(name)}, i);
}

template <class T>
const kernels::kernel_table<T>& table(std::string_view set = "reference") {
  if constexpr (std::is_same_v<T, double>) {
    return kernels::reference_kernels<double>();
  } else {
    std::string why;
    const auto* found = kernels::find_kernels(set, why);
    return found ? *found : kernels::reference_kernels<float>();
  }
}

/// Row numbers 100, 101, ...
inline std::vector<std::uint64_t> numbers(std::int64_t rows, std::uint64_t first = 100) {
  std::vector<std::uint64_t> n(static_cast<std::size_t>(rows));
  std::iota(n.begin(), n.end(), first);
  return n;
}

/// One graph in double, with weights and inputs that a test may change.
class network {
public:
  network(graph g, std::int64_t rows) : graph_(std::make_shared<const graph>(std::move(g))), rows_(rows), row_numbers(numbers(rows)) {
    for (const auto& o : graph_->outputs)
      if (o.role == output_role::loss)
        losses_.push_back(o.path);
    auto floats = initial_weights(*graph_, 3);
    weights.assign(floats.begin(), floats.end());
    for (std::size_t i = 0; i < weights.size(); ++i) // no gradient shall be tested at a symmetric point
      weights[i] += 0.1 * normal("weights", i);
    plan_ = schedule_plan{rows, losses_, true};
    schedule_.emplace(graph_, plan_, table<double>());
    for (const auto& x : graph_->inputs) {
      auto to = schedule_->input(x.path);
      for (std::size_t i = 0; i < to.size(); ++i)
        to[i] = normal(x.path, i);
    }
    gradient.resize(weights.size());
  }

  std::span<double> input(std::string_view path) { return schedule_->input(path); }

  /// Sum of all losses times their weights, over rows; fills gradient.
  double run() {
    schedule_->run({.seed = 1, .step = 2, .row_numbers = row_numbers, .weights = weights, .loss_scale = 1}, gradient);
    double sum = 0;
    for (const auto& path : losses_)
      for (auto v : schedule_->output(path))
        sum += find_output(*graph_, path)->weight * v;
    return sum;
  }

  const graph& description() const { return *graph_; }

  std::vector<double> weights, gradient;

private:
  std::shared_ptr<const graph> graph_;
  std::int64_t rows_;
  schedule_plan plan_;
  std::optional<schedule<double>> schedule_;
  std::vector<std::string> losses_;

public:
  std::vector<std::uint64_t> row_numbers;
};

/// Compares every gradient (every `stride`-th) with central differences: |difference| <= 1e-6 of the larger, or of the largest
/// gradient where both are tiny.
inline void check_gradients(network& n, std::size_t stride = 1) {
  n.run();
  auto found = n.gradient;
  double largest = 1e-8;
  for (auto g : found)
    largest = std::max(largest, std::abs(g));
  std::size_t nonzero = 0;
  for (std::size_t i = 0; i < found.size(); i += stride) {
    auto w = n.weights[i];
    auto at = [&](double x) {
      n.weights[i] = x;
      return n.run();
    };
    double h = 1e-3 * std::max(1.0, std::abs(w)); // fourth order
    auto slope = (8 * (at(w + h / 2) - at(w - h / 2)) - (at(w + h) - at(w - h))) / (6 * h);
    n.weights[i] = w;
    auto scale = std::max({std::abs(slope), std::abs(found[i]), 1e-3 * largest});
    EXPECT_LE(std::abs(slope - found[i]), 1e-6 * scale) << "weight " << i << ": " << found[i] << ", by differences " << slope;
    nonzero += found[i] != 0;
  }
  EXPECT_GT(nonzero, 0u) << "nothing was tested";
}

/// A weight of this shape, per row if `batched`: then a row sees w + its own input, so that gradients pass through the batch.
inline value_id variable(graph_builder& b, const std::string& name, shape s, bool batched = true) {
  auto w = b.add_weight(name, s, init::normal, 1);
  if (!batched)
    return w;
  shape all = s;
  all.insert(all.begin(), batch);
  return b.apply("add", {b.add_input("in." + name, input_role::feature, all), w});
}

/// Makes a value of any shape a loss: the sum over a row of value * its own random numbers.
inline void add_probe(graph_builder& b, value_id v, const std::string& name = "probe") {
  shape s = b.shape_of(v);
  auto n = elements(s);
  auto flat = b.apply("reshape", {v}, {{"shape", shape{batch, n}}});
  auto weighted = b.apply("multiply", {flat, b.add_input("weight." + name, input_role::feature, {batch, n})});
  auto sum = b.apply("affine", {b.apply("mean", {weighted}, {{"axis", 1}})}, {{"scale", static_cast<double>(n)}, {"shift", 0.0}});
  b.add_output("loss." + name, output_role::loss, b.apply("reshape", {sum}, {{"shape", shape{batch}}}), 0.7);
}

using build = std::function<value_id(graph_builder&)>;

inline graph probed(const build& f) {
  graph_builder b{standard_operators()};
  add_probe(b, f(b));
  return std::move(b).finish();
}

} // namespace enn::model::test
