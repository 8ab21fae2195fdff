/// A trained model on the test part, beside the baselines: numbers, table, chart, predictions.
#pragma once
#include "session.hpp"

#include <enn/model/data/metrics.hpp>
#include <enn/serialization/plot.hpp>
#include <enn/serialization/predictions.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace enn::apps {

struct predicted_row {
  std::uint64_t index = 0, row = 0; // place in the rows asked for, number in the data
  std::span<const float> values;
  std::uint8_t status = 0, rung = 0;
};
/// Predicts rows and hands them on in the order given; memory is that of some thousand of them.
caf::expected<void> predict_in_order(session& s, const actors::run_ptr& run, const actors::version_ptr& version,
                                     const actors::data_ptr& data, std::span<const std::uint64_t> rows, std::uint32_t workers,
                                     const std::function<caf::expected<void>(const predicted_row&)>& sink);

/// Opens a file of predictions of these rows; the manifest as predictions_writer::create() says.
caf::expected<serialization::predictions_writer> open_predictions(const std::filesystem::path& file, const actors::run_ptr& run,
                                                                  const model::dataset& data, std::vector<std::uint64_t> rows,
                                                                  const std::filesystem::path& checkpoint,
                                                                  std::filesystem::path manifest = {});
/// Writes the row, and its target if it has one.
caf::expected<void> write_row(serialization::predictions_writer& out, const model::dataset& data, const predicted_row& row);

struct evaluation {
  std::string samples;            // "381 windows"
  std::uint64_t not_computable = 0;
  model::error_unit unit = model::error_unit::raw;
  std::vector<std::string> horizons; // heads of the columns
  struct method {
    std::string name;
    std::vector<model::score> scores;
  };
  std::vector<method> methods;    // the model first
  serialization::chart forecast;  // truth and prediction of three outputs, at the longest horizon
};

struct evaluation_request {
  actors::run_ptr run;
  actors::version_ptr version;
  actors::data_ptr data;
  std::uint32_t workers = 1;
  model::error_unit unit = model::error_unit::raw;
  serialization::predictions_writer* predictions = nullptr; // for the rows of the test part
};
/// Errors: those of predicting and writing, ec::data_mismatch without test rows.
caf::expected<evaluation> evaluate(session& s, const evaluation_request& request);

/// Markdown that is aligned, so that it reads well on a terminal too.
std::string table_text(const evaluation& e);

} // namespace enn::apps
