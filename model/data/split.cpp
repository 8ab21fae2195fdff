#include <enn/kernels/random.hpp>
#include <enn/model/data/split.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace enn::model {
namespace {

using std::string;
using i64 = std::int64_t;

/// Where the parts begin, in lines: [0, fitted), [fitted, test), [test, end); training before early stopping is [0, train).
struct cuts {
  i64 train = 0, fitted = 0, test = 0, end = 0;
};

/// Fractions like 0.29 * 100 fall just below the whole number that is meant.
i64 share(double fraction, i64 lines) {
  return static_cast<i64>(std::floor(fraction * static_cast<double>(lines) + 1e-9));
}

caf::expected<cuts> cut(i64 lines, const data_config& config, const string& source) {
  cuts c;
  c.train = config.train_rows > 0 ? config.train_rows : share(config.train_fraction, lines);
  c.fitted = config.validation_rows > 0 ? c.train : share(1 - config.validation_fraction, c.train);
  c.test = c.train + config.validation_rows;
  c.end = config.test_rows > 0 ? c.test + config.test_rows : lines;
  if (c.test > lines || c.end > lines)
    return fail(ec::bad_data, source + ": has " + std::to_string(lines) + " lines, but the parts need " +
                                std::to_string(std::max(c.test, c.end)) + " (" + std::to_string(c.train) + " for training, " +
                                std::to_string(config.validation_rows) + " for data.validation-rows, " +
                                std::to_string(config.test_rows) + " for data.test-rows)");
  return c;
}

// -- windows ------------------------------------------------------------------

/// Windows whose first target line is first, first + stride, ... and whose targets end before `end`.
void add_windows(split& s, part p, i64 first, i64 end, i64 stride, i64 horizon) {
  const auto k = static_cast<std::size_t>(p);
  s.end[k] = end;
  for (i64 row = first; row < end; row += stride) {
    s.rows[k].push_back(static_cast<std::uint64_t>(row));
    s.whole[k] += row + horizon <= end;
  }
}

/// A part that has lines must have a window.
caf::error too_short(part p, i64 from, i64 to, i64 needed, const string& source) {
  return fail(ec::bad_data, source + ": the " + string{name(p)} + " part, lines " + std::to_string(from) + " to " +
                              std::to_string(to - 1) + " counted from 0, is too short for one window: it needs " +
                              std::to_string(needed) + " lines (see data.history and data.horizon)");
}

caf::expected<split> split_windows(i64 lines, const data_config& config, const string& source) {
  const auto c = cut(lines, config, source);
  if (!c)
    return c.error();
  const i64 history = config.history, horizon = config.horizon;
  const i64 test_first = config.test_inputs_in_test ? c->test + history : std::max(c->test, history);
  split s;
  add_windows(s, part::train, history, c->fitted, config.stride, horizon);
  add_windows(s, part::validation, std::max(c->fitted, history), c->test, 1, horizon);
  add_windows(s, part::test, test_first, c->end, 1, horizon);
  if (s.whole[0] == 0)
    return too_short(part::train, 0, c->fitted, history + horizon, source);
  if (s.whole[1] == 0 && c->test > c->fitted)
    return too_short(part::validation, c->fitted, c->test, horizon, source);
  if (s.whole[2] == 0 && c->end > c->test)
    return too_short(part::test, c->test, c->end, horizon + (test_first - c->test), source);
  s.fitted_lines.resize(static_cast<std::size_t>(c->fitted));
  std::iota(s.fitted_lines.begin(), s.fitted_lines.end(), std::uint64_t{0});
  for (i64 row = history; row + horizon <= c->train; row += config.stride)
    s.rows_before_test.push_back(static_cast<std::uint64_t>(row));
  return s;
}

// -- tables -------------------------------------------------------------------

/// Far from the epochs of training, whose permutations share the seed.
constexpr auto split_epoch = std::numeric_limits<std::uint64_t>::max();

caf::expected<split> split_table(i64 lines, const data_config& config, std::uint64_t seed, const string& source) {
  const auto c = cut(lines, config, source);
  if (!c)
    return c.error();
  const auto lines_between = [&](i64 from, i64 to) {
    std::vector<std::uint64_t> result;
    for (auto i = static_cast<std::uint64_t>(from); i < static_cast<std::uint64_t>(to); ++i)
      result.push_back(config.shuffle_rows ? kernels::permute(i, static_cast<std::uint64_t>(lines), seed, split_epoch) : i);
    std::ranges::sort(result);
    return result;
  };
  if (c->fitted == 0)
    return fail(ec::bad_data, source + ": no line is left for training (see data.train-fraction and data.validation-fraction)");
  split s;
  s.rows = {lines_between(0, c->fitted), lines_between(c->fitted, c->test), lines_between(c->test, c->end)};
  for (std::size_t k = 0; k < 3; ++k)
    s.whole[k] = s.rows[k].size();
  s.fitted_lines = s.rows[0];
  s.rows_before_test = lines_between(0, c->train);
  return s;
}

} // namespace

std::string_view name(part p) {
  switch (p) {
    case part::train: return "train";
    case part::validation: return "validation";
    case part::test: return "test";
  }
  return "unknown part";
}

std::uint64_t split::count(part p, i64 steps) const {
  const auto k = static_cast<std::size_t>(p);
  const auto fits = std::ranges::partition_point(rows[k], [&](std::uint64_t row) { return static_cast<i64>(row) + steps <= end[k]; });
  return std::max(whole[k], static_cast<std::uint64_t>(fits - rows[k].begin()));
}

caf::expected<split> split_lines(i64 lines, const data_config& config, std::uint64_t seed, const string& source) {
  return config.kind == "row" ? split_table(lines, config, seed, source) : split_windows(lines, config, source);
}

caf::expected<split> all_as_test(i64 lines, const data_config& config, bool tail, const string& source) {
  split s;
  const auto test = static_cast<std::size_t>(part::test);
  if (config.kind == "row") {
    s.rows[test].resize(static_cast<std::size_t>(lines));
    std::iota(s.rows[test].begin(), s.rows[test].end(), std::uint64_t{0});
    s.whole[test] = s.rows[test].size();
  } else if (tail) {
    for (i64 row = config.history; row <= lines; ++row)
      if (row + config.horizon <= lines || row == lines)
        s.rows[test].push_back(static_cast<std::uint64_t>(row));
    s.whole[test] = s.rows[test].size();
    s.end[test] = lines;
  } else {
    add_windows(s, part::test, config.history, lines, 1, config.horizon);
  }
  if (s.whole[test] == 0)
    return fail(ec::bad_data, source + ": has " + std::to_string(lines) + " lines, too few to predict from: one window needs " +
                                std::to_string(config.history + (tail ? 0 : config.horizon)));
  return s;
}

} // namespace enn::model
