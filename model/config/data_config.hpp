/// [data]: where rows come from and how a series is cut into training, validation and test parts.
#pragma once
#include <enn/model/config/field.hpp>

namespace enn::model {

struct data_config {
  std::string kind = "window";
  std::string path;
  std::string delimiter = ",";
  bool header = true;
  std::vector<std::string> columns;
  std::vector<std::string> targets;
  std::vector<std::string> categorical;
  std::vector<std::string> missing = {"", "NA", "NaN", "nan", "null", "?"};
  std::string missing_features = "error";
  std::string time_column;
  std::string start;
  std::int64_t interval_seconds = 0;
  std::int64_t history = 12;
  std::int64_t horizon = 12;
  std::int64_t stride = 1;
  double train_fraction = 0.8;
  std::int64_t train_rows = 0;
  std::int64_t test_rows = 0;
  double validation_fraction = 0.1;
  std::int64_t validation_rows = 0;
  bool test_inputs_in_test = true;
  bool shuffle_rows = true;

  static auto fields() {
    using c = data_config;
    return std::tuple{
      field<c, std::string>{&c::kind, "kind", "", "What a sample is: a window of a time series, or a row of a table.", {.words = {"window", "row"}}},
      field<c, std::string>{&c::path, "path", "", "CSV file, plain or gzip; relative to the configuration file."},
      field<c, std::string>{&c::delimiter, "delimiter", "", "Character between fields."},
      field<c, bool>{&c::header, "header", "", "Whether the first line names the columns (otherwise they are c0, c1, ...)."},
      field<c, std::vector<std::string>>{&c::columns, "columns", "", "Columns to use, in order; empty: all but time-column and targets. For windows these are the nodes."},
      field<c, std::vector<std::string>>{&c::targets, "targets", "", "Columns to predict (kind row only)."},
      field<c, std::vector<std::string>>{&c::categorical, "categorical", "", "Columns whose integers are categories, each as name:count:width[:first] (kind row only)."},
      field<c, std::vector<std::string>>{&c::missing, "missing", "", "Texts that stand for a missing value."},
      field<c, std::string>{&c::missing_features, "missing-features", "", "What to do with missing inputs: refuse, carry the last value forward, or use the training mean. Missing labels are always masked.", {.words = {"error", "forward", "mean"}}},
      field<c, std::string>{&c::time_column, "time-column", "", "Column with the date and time of each line; empty: start and interval-seconds."},
      field<c, std::string>{&c::start, "start", "", "Date and time of the first line, as 2012-03-01 or 2012-03-01T00:00:00."},
      field<c, std::int64_t>{&c::interval_seconds, "interval-seconds", "s", "Time between lines, for calendar features without a time column.", {0, 1e9}},
      field<c, std::int64_t>{&c::history, "history", "lines", "Lines of the past that a window shows the model.", {1, 1e6}},
      field<c, std::int64_t>{&c::horizon, "horizon", "lines", "Lines of the future that it predicts.", {1, 1e6}},
      field<c, std::int64_t>{&c::stride, "stride", "lines", "Distance between the starts of training windows.", {1, 1e6}},
      field<c, double>{&c::train_fraction, "train-fraction", "1", "Share of the lines, in time order, that is not test.", {0.05, 1}},
      field<c, std::int64_t>{&c::train_rows, "train-rows", "lines", "As train-fraction, in lines; 0: use the fraction.", {0, 1e12}},
      field<c, std::int64_t>{&c::test_rows, "test-rows", "lines", "Lines of the test part, which follows training and validation; 0: all that remain.", {0, 1e12}},
      field<c, double>{&c::validation_fraction, "validation-fraction", "1", "Share of the training part, its end, on which the best step is chosen.", {0, 0.9}},
      field<c, std::int64_t>{&c::validation_rows, "validation-rows", "lines", "Lines of a validation part between training and test; 0: take validation-fraction from the training part.", {0, 1e12}},
      field<c, bool>{&c::test_inputs_in_test, "test-inputs-in-test", "", "Whether test windows take their history from the test part alone."},
      field<c, bool>{&c::shuffle_rows, "shuffle-rows", "", "Whether rows of a table are split at random (keyed by the seed) rather than in file order (kind row only)."},
    };
  }
};

} // namespace enn::model
