/// Samples of one data set, ready to be copied into a model's inputs. Immutable: shared by all workers of a process.
///
/// A *row* is one sample, known by a number that never changes: for windows the line of the first target, for tables the
/// line (from 0, the header does not count). A row's features have fixed shapes:
///     window: x (history, nodes), calendar (2): line of the day (a fraction if a day is no whole number of lines), day of the week
///             of the first target line (0 = Monday);
///             calendar (0) if times are unknown.  target, mask (horizon, nodes)
///     row:    x (features), calendar (0);  target, mask (outputs)
/// Values are raw (not normalised): normalisation is part of the model. Missing features were filled by the stated policy;
/// a missing label has mask 0 and target 0, and never reaches a loss. Lines after the last have missing labels.
#pragma once
#include <enn/model/config/data_config.hpp>
#include <enn/model/data/row_source.hpp>
#include <enn/model/data/split.hpp>
#include <enn/model/data/table.hpp>
#include <enn/model/error.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace enn::model {

/// A column that holds category numbers first..first+count-1 (kind row).
struct category {
  std::int64_t column = 0, count = 0, width = 0, first = 0;
};

/// Everything a model must know of the data, and all that it keeps of it. Statistics are taken in double over the lines that
/// training rows see (validation and test excluded), missing values skipped, in ascending order of lines.
struct data_facts {
  std::string kind;                        // "window" or "row"
  std::vector<std::string> features;       // nodes, or feature columns
  std::vector<std::string> outputs;        // the same nodes, or target columns
  std::vector<category> categories;
  std::int64_t history = 0, horizon = 0;   // windows; 0 for rows
  std::int64_t lines_per_day = 0;          // 0: times are unknown, or a day is no whole number of lines
  std::int64_t interval_seconds = 0;       // between most lines; 0: times are unknown
  std::vector<double> mean, deviation;     // of features; deviation is of the population, and 1 where it would be 0.
                                           // Category columns: 0 and 1, as their numbers are names
  std::vector<double> target_mean, target_deviation, target_least, target_greatest; // of outputs
  double mean_all = 0, deviation_all = 1;  // of all features but categories together (scaler = global)
  std::string fingerprint;                 // of the file's bytes

  // Elements of a row's arrays.
  std::int64_t feature_size() const;
  std::int64_t calendar_size() const;      // 2 or 0
  std::int64_t target_size() const;        // of target and of mask
};

class dataset final : public row_source {
public:
  /// Cuts and splits as split.hpp says. Errors (bad_data unless said): too few lines for one window of some part, a training
  /// part without rows or a column without values in it, missing features under policy "error" (with line and column), a
  /// category out of range, times that do not ascend (windows), numbers too large for float; bad_config: unknown columns in
  /// data.categorical, no targets (kind row), "forward" for shuffled rows.
  static caf::expected<std::shared_ptr<const dataset>> make(table source, const data_config& config, std::uint64_t seed);
  /// The same for prediction: facts (scaling, names, categories, history, horizon) come from the model; all windows or rows of
  /// the table are in part test; columns are matched by name (error names a missing one); targets may be absent. `tail` adds
  /// the one window whose targets lie beyond the last line. Further errors: data_mismatch.
  static caf::expected<std::shared_ptr<const dataset>> make_for(table source, const data_config& config,
                                                                const data_facts& facts, bool tail);

  /// Of the model for make_for, but with this table's fingerprint.
  const data_facts& facts() const { return facts_; }
  std::uint64_t rows(part p) const { return split_.whole[static_cast<std::size_t>(p)]; }
  /// Rows of which the first `steps` targets lie in the part: for windows and steps < horizon up to horizon - steps more.
  std::uint64_t rows(part p, std::int64_t steps) const { return split_.count(p, steps); }
  /// The index-th row of a part, in ascending order of lines. index < rows(p), or rows(p, 1) to score short horizons.
  std::uint64_t row(part p, std::uint64_t index) const { return split_.rows[static_cast<std::size_t>(p)][index]; }
  /// Rows that methods without early stopping fit on: see split.
  std::span<const std::uint64_t> rows_before_test() const { return split_.rows_before_test; }

  std::int64_t lines() const { return lines_; }
  /// Filled features of a line (features). line < lines().
  std::span<const float> features_of_line(std::uint64_t line) const;

  std::int64_t feature_size() const { return facts_.feature_size(); }
  std::int64_t calendar_size() const { return facts_.calendar_size(); }
  std::int64_t target_size() const { return facts_.target_size(); }

  void copy_features(std::uint64_t row, std::span<float> x, std::span<float> calendar) const override;
  void copy_features(std::uint64_t row, std::span<double> x, std::span<double> calendar) const override;
  void copy_targets(std::uint64_t row, std::span<float> target, std::span<float> mask) const override;
  void copy_targets(std::uint64_t row, std::span<double> target, std::span<double> mask) const override;
  /// Sum of the mask of a row: cells that count in a loss.
  std::int64_t valid_cells(std::uint64_t row) const;
  /// Seconds since 1970 of the first target line, or -1 if times are unknown.
  std::int64_t time_of(std::uint64_t row) const;
  /// Missing values found, per column with any; for the report.
  const std::vector<missing_count>& missing() const { return missing_; }

private:
  friend class dataset_builder; // dataset.cpp
  dataset() = default;
  bool windows() const { return facts_.kind == "window"; }
  std::uint64_t known_cells(std::uint64_t row) const;
  template <class T>
  void features(std::uint64_t row, std::span<T> x, std::span<T> calendar) const;
  template <class T>
  void targets(std::uint64_t row, std::span<T> target, std::span<T> mask) const;

  data_facts facts_;
  split split_;
  std::vector<missing_count> missing_;
  std::int64_t lines_ = 0;
  std::vector<float> values_;         // (lines, features), filled
  std::vector<float> targets_;        // (lines, outputs), 0 where missing
  std::vector<std::uint8_t> valid_;   // (lines, outputs)
  std::vector<std::int64_t> times_;
};

} // namespace enn::model
