#include <enn/model/data/dataset.hpp>
#include <enn/model/data/category.hpp>
#include <enn/model/data/date_time.hpp>
#include <enn/model/data/nearest_name.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>

namespace enn::model {

using std::string;
using i64 = std::int64_t;

namespace {

constexpr i64 absent = -1;
constexpr i64 seconds_per_day = 86400;

i64 place_of(const string& name, const std::vector<string>& names) {
  const auto place = std::ranges::find(names, name);
  return place == names.end() ? absent : place - names.begin();
}

/// Of the two forms that the text may have, the one that names a feature.
bool find_category(std::string_view text, const std::vector<string>& features, category& out) {
  for (const std::size_t numbers : {3u, 2u})
    if (const auto found = parse_category(text, numbers)) {
      out = {place_of(found->name, features), found->count, found->width, found->first};
      if (out.column != absent)
        return true;
    }
  return false;
}

i64 floor_modulo(i64 a, i64 b) { return ((a % b) + b) % b; }

/// The most frequent distance between neighbours, the least of equals; 0 for less than two times.
i64 usual_distance(const std::vector<i64>& times) {
  std::map<i64, i64> counts;
  for (std::size_t i = 1; i < times.size(); ++i)
    ++counts[times[i] - times[i - 1]];
  const auto most = std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  return most == counts.end() ? 0 : most->first;
}

struct moments {
  i64 values = 0;
  double mean = 0, deviation = 1, least = 0, greatest = 0;
};

} // namespace

// -- building -----------------------------------------------------------------

/// What make and make_for do, step by step. Each step returns no error (a default one) if all is well.
class dataset_builder {
public:
  dataset_builder(table source, const data_config& config) : table_(std::move(source)), config_(config), data_(new dataset) {
    data_->lines_ = table_.lines;
  }

  caf::error name_columns();
  caf::error parse_categories();
  caf::error cut(std::uint64_t seed);
  caf::error measure_time();
  caf::error check_values() const;
  caf::error take_statistics();

  caf::error adopt(const data_facts& facts, bool tail);
  caf::error check_time() const;

  void count_missing();
  caf::error fill();
  std::shared_ptr<const dataset> take() { return std::move(data_); }

private:
  double at(i64 line, i64 column) const {
    return column == absent ? std::numeric_limits<double>::quiet_NaN()
                            : table_.values[static_cast<std::size_t>(line) * table_.columns.size() + static_cast<std::size_t>(column)];
  }
  bool is_category(std::size_t feature) const {
    return std::ranges::any_of(facts().categories, [&](const category& c) { return c.column == static_cast<i64>(feature); });
  }
  template <class Columns>
  moments moments_of(const Columns& columns) const;
  caf::error bad_data(string text) const { return fail(ec::bad_data, table_.source + ": " + std::move(text)); }
  caf::error bad_line(i64 line, string text) const { return fail(ec::bad_data, table_.place(line) + ": " + std::move(text)); }
  caf::error bad_value(i64 line, const string& column, const string& text) const {
    return bad_line(line, "column '" + column + "': " + text);
  }
  caf::error check_order() const;
  caf::error check_gaps(i64 distance) const;
  caf::error fill_features();
  void fill_targets();
  data_facts& facts() const { return data_->facts_; }

  table table_;
  data_config config_;
  std::shared_ptr<dataset> data_;
  std::vector<i64> features_, targets_; // their columns in the table
};

caf::error dataset_builder::name_columns() {
  auto& f = facts();
  f.kind = config_.kind;
  f.fingerprint = table_.fingerprint;
  const bool windows = f.kind == "window";
  if (!windows && config_.targets.empty())
    return fail(ec::bad_config, "data.targets is empty: rows of a table need columns to predict");
  if (!windows && config_.shuffle_rows && config_.missing_features == "forward")
    return fail(ec::bad_config, "data.missing-features = \"forward\" needs lines in the order of time: set data.shuffle-rows to "
                                "false, or use \"mean\"");
  if (std::set<string>(table_.columns.begin(), table_.columns.end()).size() != table_.columns.size())
    return bad_data("two columns have the same name");
  f.outputs = windows ? table_.columns : config_.targets;
  for (const auto& target : f.outputs) {
    targets_.push_back(place_of(target, table_.columns));
    if (targets_.back() == absent)
      return bad_data("there is no column '" + target + "' (data.targets)" + nearest_hint(target, table_.columns, "; did you mean '", "'?"));
  }
  for (i64 column = 0; column < static_cast<i64>(table_.columns.size()); ++column) {
    if (!windows && std::ranges::find(targets_, column) != targets_.end())
      continue;
    features_.push_back(column);
    f.features.push_back(table_.columns[static_cast<std::size_t>(column)]);
  }
  if (f.features.empty())
    return bad_data("there are no columns but the targets");
  f.history = windows ? config_.history : 0;
  f.horizon = windows ? config_.horizon : 0;
  return {};
}

caf::error dataset_builder::parse_categories() {
  auto& f = facts();
  if (f.kind == "window" && !config_.categorical.empty())
    return fail(ec::bad_config, "data.categorical is for kind row only");
  for (const auto& text : config_.categorical) {
    category c;
    if (!find_category(text, f.features, c))
      return fail(ec::bad_config, "data.categorical: found \"" + text + "\", expected " + string{category_form}
                                    + nearest_hint(text.substr(0, text.find(':')), f.features, "; the nearest column is '", "'"));
    if (std::ranges::any_of(f.categories, [&](const category& other) { return other.column == c.column; }))
      return fail(ec::bad_config, "data.categorical names '" + f.features[static_cast<std::size_t>(c.column)] + "' twice; remove one");
    f.categories.push_back(c);
  }
  return {};
}

caf::error dataset_builder::cut(std::uint64_t seed) {
  auto s = split_lines(table_.lines, config_, seed, table_.source);
  if (!s)
    return s.error();
  data_->split_ = std::move(*s);
  return {};
}

caf::error dataset_builder::check_order() const {
  for (std::size_t i = 1; i < table_.times.size(); ++i)
    if (table_.times[i] <= table_.times[i - 1])
      return bad_line(static_cast<i64>(i), "found " + date_time_text(table_.times[i]) + ", expected a time later than that of the line "
                                           "before, " + date_time_text(table_.times[i - 1]) + "; windows need lines in the order of time");
  return {};
}

/// A window takes its lines to be equally far apart. Series of which that is not so for most lines, as of months, are let be: there
/// is nothing to fill in.
caf::error dataset_builder::check_gaps(i64 distance) const {
  constexpr double regular_share = 2.0 / 3;
  const auto& times = table_.times;
  std::size_t first = 0, regular = 0;
  for (std::size_t i = 1; i < times.size(); ++i) {
    if (times[i] - times[i - 1] == distance)
      ++regular;
    else if (first == 0)
      first = i;
  }
  if (first == 0 || static_cast<double>(regular) < regular_share * static_cast<double>(times.size() - 1))
    return {};
  return bad_line(static_cast<i64>(first),
                  "found " + date_time_text(times[first]) + ", expected " + date_time_text(times[first - 1] + distance) + ", as lines are "
                    + std::to_string(distance) + " s apart and windows need every one; add the lines that are missing, with empty "
                    "values and data.missing-features = \"forward\" or \"mean\", or do without times: leave data.time-column out and "
                    "name the other columns in data.columns");
}

caf::error dataset_builder::measure_time() {
  data_->times_ = table_.times;
  if (facts().kind != "window" || table_.times.empty())
    return {};
  if (auto error = check_order())
    return error;
  const i64 distance = usual_distance(table_.times);
  if (config_.interval_seconds > 0 && distance != config_.interval_seconds)
    return bad_data("lines are " + std::to_string(distance) + " s apart, but data.interval-seconds is " +
                    std::to_string(config_.interval_seconds) + "; leave it out where data.time-column is set");
  if (auto error = check_gaps(distance))
    return error;
  facts().interval_seconds = distance;
  facts().lines_per_day = distance > 0 && seconds_per_day % distance == 0 ? seconds_per_day / distance : 0;
  return {};
}

/// Of the values of some columns over the fitted lines: two passes in double, in ascending order of lines.
template <class Columns>
moments dataset_builder::moments_of(const Columns& columns) const {
  moments m;
  const auto for_each_value = [&](auto&& visit) {
    for (const auto line : data_->split_.fitted_lines)
      for (const i64 column : columns)
        if (const double value = at(static_cast<i64>(line), column); !std::isnan(value))
          visit(value);
  };
  double sum = 0, squares = 0;
  for_each_value([&](double value) {
    sum += value;
    m.least = m.values == 0 ? value : std::min(m.least, value);
    m.greatest = m.values == 0 ? value : std::max(m.greatest, value);
    ++m.values;
  });
  if (m.values == 0)
    return m;
  if (m.least == m.greatest) { // said here, as the rounded mean of equal values may differ from them
    m.mean = m.least;
    return m;
  }
  m.mean = sum / static_cast<double>(m.values);
  for_each_value([&](double value) { squares += (value - m.mean) * (value - m.mean); });
  m.deviation = std::sqrt(squares / static_cast<double>(m.values));
  return m;
}

caf::error dataset_builder::take_statistics() {
  auto& f = facts();
  std::vector<i64> continuous;
  for (std::size_t i = 0; i < features_.size(); ++i) {
    const auto m = moments_of(std::array{features_[i]});
    if (m.values == 0)
      return bad_data("column '" + f.features[i] + "' has no value in the training part; leave it out of data.columns");
    f.mean.push_back(is_category(i) ? 0 : m.mean);
    f.deviation.push_back(is_category(i) ? 1 : m.deviation);
    if (!is_category(i))
      continuous.push_back(features_[i]);
  }
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    const auto m = moments_of(std::array{targets_[i]});
    if (m.values == 0)
      return bad_data("column '" + f.outputs[i] + "' has no value in the training part, so nothing can be learnt from it");
    f.target_mean.push_back(m.mean);
    f.target_deviation.push_back(m.deviation);
    f.target_least.push_back(m.least);
    f.target_greatest.push_back(m.greatest);
  }
  const auto all = moments_of(continuous);
  f.mean_all = all.mean;
  f.deviation_all = all.deviation;
  return {};
}

caf::error dataset_builder::check_values() const {
  constexpr double most = std::numeric_limits<float>::max();
  const auto check_column = [&](i64 column, const string& name) -> caf::error {
    for (i64 line = 0; line < table_.lines; ++line)
      if (std::abs(at(line, column)) > most)
        return bad_value(line, name, "the value is too large for single precision; use another unit");
    return {};
  };
  for (std::size_t i = 0; i < features_.size(); ++i)
    if (auto error = check_column(features_[i], facts().features[i]))
      return error;
  for (std::size_t i = 0; i < targets_.size(); ++i)
    if (auto error = check_column(targets_[i], facts().outputs[i]))
      return error;
  for (const auto& c : facts().categories)
    for (i64 line = 0; line < table_.lines; ++line) {
      const double value = at(line, features_[static_cast<std::size_t>(c.column)]);
      const auto least = static_cast<double>(c.first), last = static_cast<double>(c.first + c.count - 1);
      if (value < least || value > last || (!std::isnan(value) && value != std::floor(value)))
        return bad_value(
          line, facts().features[static_cast<std::size_t>(c.column)],
          "found " + (value == std::floor(value) ? std::to_string(static_cast<i64>(std::clamp(value, -1e18, 1e18))) : std::to_string(value))
          + ", expected a category from " + std::to_string(c.first) + " to " + std::to_string(c.first + c.count - 1));
    }
  return {};
}

/// The columns, sizes and statistics of a model that was made from other data.
caf::error dataset_builder::adopt(const data_facts& f, bool tail) {
  facts() = f;
  facts().fingerprint = table_.fingerprint;
  for (const auto& feature : f.features) {
    features_.push_back(place_of(feature, table_.columns));
    if (features_.back() == absent)
      return fail(ec::data_mismatch, table_.source + ": there is no column '" + feature + "', which the model needs" +
                                       nearest_hint(feature, table_.columns, "; the nearest is '", "'"));
  }
  for (const auto& output : f.outputs)
    targets_.push_back(place_of(output, table_.columns));
  config_.kind = f.kind;
  config_.history = f.history;
  config_.horizon = f.horizon;
  auto s = all_as_test(table_.lines, config_, tail, table_.source);
  if (!s)
    return s.error();
  data_->split_ = std::move(*s);
  return {};
}

caf::error dataset_builder::check_time() const {
  data_->times_ = table_.times;
  const i64 expected = facts().interval_seconds;
  if (expected == 0)
    return {};
  if (table_.times.empty())
    return fail(ec::data_mismatch, table_.source + ": the model needs the times of the lines; set data.time-column, or data.start and data.interval-seconds");
  const i64 distance = usual_distance(table_.times);
  if (table_.times.size() > 1 && distance != expected)
    return fail(ec::data_mismatch, table_.source + ": lines are " + std::to_string(distance) + " s apart, but the model was made for " +
                                     std::to_string(expected) + " s");
  if (auto error = check_order())
    return error;
  return check_gaps(expected);
}

void dataset_builder::count_missing() {
  auto used = features_;
  if (facts().kind == "row")
    used.insert(used.end(), targets_.begin(), targets_.end());
  for (const i64 column : used) {
    if (column == absent)
      continue;
    i64 values = 0;
    for (i64 line = 0; line < table_.lines; ++line)
      values += std::isnan(at(line, column));
    if (values > 0)
      data_->missing_.push_back({table_.columns[static_cast<std::size_t>(column)], values});
  }
}

caf::error dataset_builder::fill() {
  if (auto error = fill_features())
    return error;
  fill_targets();
  return {};
}

caf::error dataset_builder::fill_features() {
  const auto& policy = config_.missing_features;
  data_->values_.resize(static_cast<std::size_t>(table_.lines) * features_.size());
  auto last = facts().mean; // what "forward" uses before a column's first value
  for (i64 line = 0; line < table_.lines; ++line)
    for (std::size_t i = 0; i < features_.size(); ++i) {
      double value = at(line, features_[i]);
      if (std::isnan(value)) {
        if (policy == "error")
          return bad_value(line, facts().features[i], "the value is missing; set data.missing-features to \"forward\" or \"mean\"");
        if (is_category(i))
          return bad_value(line, facts().features[i], "the category is missing; give missing ones a number of their own");
        value = policy == "forward" ? last[i] : facts().mean[i];
      }
      last[i] = value;
      data_->values_[static_cast<std::size_t>(line) * features_.size() + i] = static_cast<float>(value);
    }
  return {};
}

void dataset_builder::fill_targets() {
  const auto size = static_cast<std::size_t>(table_.lines) * targets_.size();
  data_->targets_.resize(size);
  data_->valid_.resize(size);
  for (i64 line = 0; line < table_.lines; ++line)
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      const double value = at(line, targets_[i]);
      const auto cell = static_cast<std::size_t>(line) * targets_.size() + i;
      data_->valid_[cell] = !std::isnan(value);
      data_->targets_[cell] = std::isnan(value) ? 0 : static_cast<float>(value);
    }
}

caf::expected<std::shared_ptr<const dataset>> dataset::make(table source, const data_config& config, std::uint64_t seed) {
  dataset_builder builder{std::move(source), config};
  if (auto error = builder.name_columns())
    return error;
  if (auto error = builder.parse_categories())
    return error;
  if (auto error = builder.cut(seed))
    return error;
  if (auto error = builder.measure_time())
    return error;
  if (auto error = builder.check_values())
    return error;
  if (auto error = builder.take_statistics())
    return error;
  builder.count_missing();
  if (auto error = builder.fill())
    return error;
  return builder.take();
}

caf::expected<std::shared_ptr<const dataset>> dataset::make_for(table source, const data_config& config,
                                                                const data_facts& facts, bool tail) {
  dataset_builder builder{std::move(source), config};
  if (auto error = builder.adopt(facts, tail))
    return error;
  if (auto error = builder.check_time())
    return error;
  if (auto error = builder.check_values())
    return error;
  builder.count_missing();
  if (auto error = builder.fill())
    return error;
  return builder.take();
}

// -- reading ------------------------------------------------------------------

std::span<const float> dataset::features_of_line(std::uint64_t line) const {
  const auto width = facts_.features.size();
  return std::span{values_}.subspan(line * width, width);
}

i64 data_facts::feature_size() const { return (kind == "window" ? history : 1) * static_cast<i64>(features.size()); }

i64 data_facts::calendar_size() const { return kind == "window" && interval_seconds > 0 ? 2 : 0; }

i64 data_facts::target_size() const { return (kind == "window" ? horizon : 1) * static_cast<i64>(outputs.size()); }

/// Cells of a row's target that lie on known lines.
std::uint64_t dataset::known_cells(std::uint64_t row) const {
  const auto steps = windows() ? static_cast<std::uint64_t>(facts_.horizon) : 1;
  return std::min(steps, static_cast<std::uint64_t>(lines_) - row) * facts_.outputs.size();
}

template <class T>
void dataset::features(std::uint64_t row, std::span<T> x, std::span<T> calendar) const {
  const auto first = row - static_cast<std::uint64_t>(facts_.history); // history is 0 for tables
  const auto size = static_cast<std::size_t>(feature_size());
  std::ranges::copy(std::span{values_}.subspan(first * facts_.features.size(), size), x.begin());
  if (calendar_size() == 0)
    return;
  const i64 time = time_of(row), second_of_day = floor_modulo(time, seconds_per_day);
  const i64 day = (time - second_of_day) / seconds_per_day;
  constexpr i64 weekday_of_1970 = 3; // a Thursday
  // Divided as double for every T, so that a row that travels as double has the same bits.
  calendar[0] = facts_.lines_per_day > 0
                  ? static_cast<T>(second_of_day / facts_.interval_seconds)
                  : static_cast<T>(static_cast<double>(second_of_day) / static_cast<double>(facts_.interval_seconds));
  calendar[1] = static_cast<T>(floor_modulo(day + weekday_of_1970, 7));
}

template <class T>
void dataset::targets(std::uint64_t row, std::span<T> target, std::span<T> mask) const {
  const auto first = row * facts_.outputs.size(), known = known_cells(row);
  std::ranges::copy(std::span{targets_}.subspan(first, known), target.begin());
  std::ranges::copy(std::span{valid_}.subspan(first, known), mask.begin());
  std::ranges::fill(target.subspan(known), T{0});
  std::ranges::fill(mask.subspan(known), T{0});
}

void dataset::copy_features(std::uint64_t row, std::span<float> x, std::span<float> calendar) const { features(row, x, calendar); }
void dataset::copy_features(std::uint64_t row, std::span<double> x, std::span<double> calendar) const { features(row, x, calendar); }
void dataset::copy_targets(std::uint64_t row, std::span<float> target, std::span<float> mask) const { targets(row, target, mask); }
void dataset::copy_targets(std::uint64_t row, std::span<double> target, std::span<double> mask) const { targets(row, target, mask); }

i64 dataset::valid_cells(std::uint64_t row) const {
  const auto cells = std::span{valid_}.subspan(row * facts_.outputs.size(), known_cells(row));
  return std::ranges::count(cells, std::uint8_t{1});
}

i64 dataset::time_of(std::uint64_t row) const {
  if (times_.empty())
    return -1;
  return row < times_.size() ? times_[row] : times_.back() + facts_.interval_seconds;
}

} // namespace enn::model
