/// The baselines of metrics.hpp. They share nothing with the model, so that a mistake in it cannot hide in them.
#include <enn/model/data/least_squares.hpp>
#include <enn/model/data/metrics.hpp>

#include <algorithm>
#include <cmath>
#include <optional>

namespace enn::model {
namespace {

using i64 = std::int64_t;
using u64 = std::uint64_t;
using shared_data = std::shared_ptr<const dataset>;

/// Repeats one line of values for every step.
template <class Value>
void repeat(std::span<float> out, std::size_t nodes, Value&& value) {
  for (std::size_t cell = 0; cell < out.size(); ++cell)
    out[cell] = static_cast<float>(value(cell % nodes));
}

predictor mean(shared_data data) {
  return [data](u64, std::span<float> out) {
    const auto& means = data->facts().target_mean;
    repeat(out, means.size(), [&](std::size_t output) { return means[output]; });
  };
}

predictor window_mean(shared_data data) {
  return [data](u64 row, std::span<float> out) {
    const auto history = static_cast<u64>(data->facts().history);
    std::vector<double> sums(data->facts().outputs.size());
    for (auto line = row - history; line < row; ++line)
      for (std::size_t node = 0; node < sums.size(); ++node)
        sums[node] += data->features_of_line(line)[node];
    repeat(out, sums.size(), [&](std::size_t node) { return sums[node] / static_cast<double>(history); });
  };
}

predictor last_value(shared_data data) {
  return [data](u64 row, std::span<float> out) {
    const auto last = data->features_of_line(row - 1);
    repeat(out, last.size(), [&](std::size_t node) { return last[node]; });
  };
}

predictor seasonal_naive(shared_data data) {
  return [data](u64 row, std::span<float> out) {
    const auto day = static_cast<u64>(data->facts().lines_per_day);
    const auto nodes = data->facts().outputs.size();
    if (row < day) // training rows of the first day
      return last_value(data)(row, out);
    for (std::size_t step = 0; step * nodes < out.size(); ++step) {
      const auto days_back = step / day + 1; // the first whole number of days that ends before `row`
      const auto line = data->features_of_line(row + step - days_back * day);
      std::ranges::copy(line, out.begin() + static_cast<std::ptrdiff_t>(step * nodes));
    }
  };
}

// -- ridge --------------------------------------------------------------------

// Penalties a row of A, in scaled units. Short windows need none but against a singular matrix: this is the published ridge of
// Los-loop (1e-3 in all, speeds divided by their maximum). Long windows do: 1e-2 a window of ETTh1's seven columns.
constexpr double penalty = 1e-6, penalty_of_changes = 1e-2 / 7, penalty_of_tables = 1e-3;

constexpr std::size_t most_inputs = 4096;    // 128 MiB of normal equations
constexpr double most_multiplications = 5e10; // about half a minute

/// Every how many rows are taken, so that `samples` outer products of `inputs` numbers do not take too long.
u64 thinning(u64 samples, std::size_t inputs) {
  const double work = static_cast<double>(samples) * static_cast<double>(inputs) * static_cast<double>(inputs);
  return static_cast<u64>(std::max(1.0, std::ceil(work / most_multiplications)));
}

/// One node of one window, in and out: scaled, with a constant 1 at the end of the input.
class window_sample {
public:
  window_sample(const dataset& data, bool changes)
    : data_(data), changes_(changes), input(static_cast<std::size_t>(data.facts().history) + 1),
      output(static_cast<std::size_t>(data.facts().horizon)) {}

  /// Scales: by column for changes, so that all nodes count alike, else by one number.
  double scale(std::size_t node) const { return changes_ ? data_.facts().deviation[node] : data_.facts().deviation_all; }
  double shift(u64 row, std::size_t node) const {
    return changes_ ? static_cast<double>(data_.features_of_line(row - 1)[node]) : data_.facts().mean_all;
  }
  void take_input(u64 row, std::size_t node) {
    const auto history = input.size() - 1;
    for (std::size_t i = 0; i < history; ++i)
      input[i] = (data_.features_of_line(row - history + i)[node] - shift(row, node)) / scale(node);
    input[history] = 1;
  }
  void take_output(u64 row, std::size_t node, std::span<const float> targets) {
    const auto nodes = data_.facts().outputs.size();
    for (std::size_t step = 0; step < output.size(); ++step)
      output[step] = (targets[step * nodes + node] - shift(row, node)) / scale(node);
  }

private:
  const dataset& data_;
  bool changes_;

public:
  std::vector<double> input, output;
};

std::optional<predictor> window_ridge(shared_data data, bool changes) {
  const auto rows = data->rows_before_test();
  const auto nodes = data->facts().outputs.size();
  window_sample sample{*data, changes};
  if (sample.input.size() > most_inputs)
    return {};
  least_squares fit{sample.input.size(), sample.output.size()};
  std::vector<float> targets(static_cast<std::size_t>(data->target_size())), mask(targets.size());
  const auto every = thinning(rows.size() * nodes, sample.input.size());
  for (u64 i = 0; i < rows.size(); i += every) {
    data->copy_targets(rows[i], std::span{targets}, std::span{mask});
    for (std::size_t node = 0; node < nodes; ++node) {
      bool complete = true;
      for (std::size_t cell = node; cell < mask.size(); cell += nodes)
        complete &= mask[cell] != 0;
      if (!complete)
        continue;
      sample.take_input(rows[i], node);
      sample.take_output(rows[i], node, targets);
      fit.add(sample.input, sample.output);
    }
  }
  if (fit.rows() == 0)
    return {};
  return [data, changes, weights = fit.solve(changes ? penalty_of_changes : penalty)](u64 row, std::span<float> out) {
    window_sample s{*data, changes};
    const auto width = data->facts().outputs.size(), steps = s.output.size();
    for (std::size_t node = 0; node < width; ++node) {
      s.take_input(row, node);
      std::ranges::fill(s.output, 0.0);
      for (std::size_t i = 0; i < s.input.size(); ++i)
        for (std::size_t step = 0; step < steps; ++step)
          s.output[step] += s.input[i] * weights[i * steps + step];
      for (std::size_t step = 0; step < steps; ++step)
        out[step * width + node] = static_cast<float>(s.output[step] * s.scale(node) + s.shift(row, node));
    }
  };
}

/// A table's row as ridge sees it: scaled features, a place for every category, a constant 1.
std::vector<double> table_input(const dataset& data, u64 row) {
  const auto& facts = data.facts();
  const auto x = data.features_of_line(row);
  std::vector<double> input;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto c = std::ranges::find(facts.categories, static_cast<i64>(i), &category::column);
    if (c == facts.categories.end()) {
      input.push_back((x[i] - facts.mean[i]) / facts.deviation[i]);
    } else {
      const auto first = input.size();
      input.resize(first + static_cast<std::size_t>(c->count));
      input[first + static_cast<std::size_t>(static_cast<i64>(x[i]) - c->first)] = 1;
    }
  }
  input.push_back(1);
  return input;
}

std::optional<predictor> table_ridge(shared_data data) {
  const auto rows = data->rows_before_test();
  const auto& facts = data->facts();
  const auto outputs = facts.outputs.size();
  const auto inputs = rows.empty() ? 0 : table_input(*data, rows[0]).size();
  if (inputs == 0 || inputs > most_inputs)
    return {};
  least_squares fit{inputs, outputs};
  std::vector<double> target(outputs), mask(outputs);
  const auto every = thinning(rows.size(), inputs);
  for (u64 i = 0; i < rows.size(); i += every) {
    data->copy_targets(rows[i], std::span{target}, std::span{mask});
    if (std::ranges::count(mask, 0.0) > 0)
      continue;
    for (std::size_t k = 0; k < outputs; ++k)
      target[k] = (target[k] - facts.target_mean[k]) / facts.target_deviation[k];
    fit.add(table_input(*data, rows[i]), target);
  }
  if (fit.rows() == 0)
    return {};
  return [data, weights = fit.solve(penalty_of_tables)](u64 row, std::span<float> out) {
    const auto input = table_input(*data, row);
    for (std::size_t k = 0; k < out.size(); ++k) {
      double sum = 0;
      for (std::size_t i = 0; i < input.size(); ++i)
        sum += input[i] * weights[i * out.size() + k];
      out[k] = static_cast<float>(sum * data->facts().target_deviation[k] + data->facts().target_mean[k]);
    }
  };
}

} // namespace

std::vector<baseline> fit_baselines(shared_data data) {
  const auto& facts = data->facts();
  std::vector<baseline> result{{"mean", mean(data)}};
  const auto add = [&](const char* name, std::optional<predictor> p) {
    if (p)
      result.push_back({name, std::move(*p)});
  };
  if (facts.kind == "row") {
    add("ridge", table_ridge(data));
    return result;
  }
  add("window mean", window_mean(data));
  add("last value", last_value(data));
  const auto first_test_row = data->rows(part::test) > 0 ? data->row(part::test, 0) : 0;
  if (facts.lines_per_day > 0 && first_test_row >= static_cast<u64>(facts.lines_per_day))
    add("seasonal naive", seasonal_naive(data));
  add("ridge", window_ridge(data, false));
  add("ridge of changes", window_ridge(data, true));
  return result;
}

} // namespace enn::model
