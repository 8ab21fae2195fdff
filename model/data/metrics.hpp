/// Errors of predictions, and the baselines that a model must beat. All sums in double, in ascending order of rows.
#pragma once
#include <enn/model/data/dataset.hpp>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace enn::model {

/// Mean absolute and root mean square error over steps 1..horizon of every window (or all outputs of every row), masked.
struct score {
  std::int64_t horizon = 0; // in steps; for tables 0
  double rmse = 0, mae = 0;
  std::int64_t cells = 0;   // that counted; without any, the errors are 0
};

/// In what errors are measured: the data's unit, or the deviation that each output has in the training part (as published for
/// the ETT data sets).
enum class error_unit : std::uint8_t { raw, deviations };

/// Adds up the errors of predictions over a part, at several horizons at once.
///
/// The score at horizon h is over steps 1..h of the windows *of length h* that lie in the part (as published for Los-loop): a
/// short horizon has a few windows more, which start nearer to the part's end. Predictions are always of the full horizon; of
/// those windows only the first h steps count. For tables the horizons do not matter: there is one score.
class scorer {
public:
  /// Pre: 1 <= horizons <= facts().horizon. The data outlives the scorer.
  scorer(const dataset& data, part p, std::span<const std::int64_t> horizons, error_unit unit = error_unit::raw);
  /// How many rows to predict: data.row(p, 0..rows()-1).
  std::uint64_t rows() const { return rows_; }
  /// The next row's prediction, raw values, (horizon, nodes) or (outputs). Called rows() times, in ascending order of rows.
  void add(std::span<const float> prediction);
  std::vector<score> scores() const;

private:
  struct sums {
    double squares = 0, absolutes = 0;
    std::int64_t cells = 0;
  };

  const dataset& data_;
  part part_;
  std::vector<std::int64_t> horizons_;
  std::vector<double> unit_;             // an output: what an error is divided by
  std::uint64_t rows_ = 0, next_ = 0;
  std::vector<sums> totals_;             // a horizon
  std::vector<float> target_, mask_;
};

/// Writes (horizon, nodes) or (outputs) raw values for one row. May be called by several threads.
using predictor = std::function<void(std::uint64_t row, std::span<float> out)>;

/// Scores of a predictor over a part.
std::vector<score> evaluate(const dataset& data, part p, std::span<const std::int64_t> horizons, const predictor& f,
                            error_unit unit = error_unit::raw);

struct baseline {
  std::string name;
  predictor predict;
};

/// Fitted on rows_before_test (training and the validation share taken from it, as published baselines are), but for "mean":
///   mean              mean of each output over the fitted lines
///   window mean       mean of the window's history, for every step (windows)
///   last value        the last line of the window, for every step (windows)
///   seasonal naive    the same line of the latest day that is known (windows, where all test rows have a day before
///                     them; rows that have none get the last value)
///   ridge             linear least squares from all of a node's history to all its steps, one map shared by all nodes; values
///                     scaled by mean_all and deviation_all. For tables: from all features (scaled by column; categories one-hot)
///   ridge of changes  the same on differences to the last value, scaled by column: no level, nodes count alike (windows)
/// Ridges solve (A'A + penalty * rows of A * I) W = A'B, the constant included, with the penalties of baselines.cpp. Windows and
/// rows with a missing label are left out, and of large data every k-th is taken. They are omitted without rows to fit on, and
/// where a sample has too many inputs.
std::vector<baseline> fit_baselines(std::shared_ptr<const dataset> data);

} // namespace enn::model
