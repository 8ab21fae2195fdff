#include "evaluation.hpp"

#include "command.hpp"
#include "progress_line.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <limits>

namespace enn::apps {
namespace {

constexpr std::size_t chunk_floats = std::size_t{16} << 20; // of predictions that wait to be put in order
constexpr std::size_t chart_rows = 2000, chart_panels = 3;

// -- horizons -----------------------------------------------------------------------------------------------------------------

/// Quarters of the horizon; for tables, which have none, one score.
std::vector<std::int64_t> quarters(const model::data_facts& facts) {
  std::vector<std::int64_t> result;
  for (std::int64_t quarter = 1; quarter <= 4; ++quarter) {
    auto steps = std::max<std::int64_t>(facts.horizon * quarter / 4, 1);
    if (result.empty() || result.back() != steps)
      result.push_back(steps);
  }
  if (facts.kind == "row")
    result = {0};
  return result;
}

/// "15 min", "2 h", "3 d".
std::string time_text(std::int64_t seconds) {
  struct unit {
    std::int64_t seconds;
    const char* name;
  };
  for (auto [size, name] : {unit{86400, " d"}, unit{3600, " h"}, unit{60, " min"}})
    if (seconds % size == 0)
      return std::to_string(seconds / size) + name;
  return std::to_string(seconds) + " s";
}

std::string horizon_text(const model::data_facts& facts, std::int64_t steps) {
  if (steps == 0)
    return "all outputs";
  auto text = std::to_string(steps) + (steps == 1 ? " step" : " steps");
  return facts.interval_seconds > 0 ? text + " (" + time_text(steps * facts.interval_seconds) + ")" : text;
}

// -- chart --------------------------------------------------------------------------------------------------------------------

std::string date_text(std::int64_t seconds) {
  std::time_t time = seconds;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts);
  return text;
}

/// Gathers truth and prediction of some outputs at the last step, row by row.
class forecast_chart {
public:
  forecast_chart(const model::dataset& data, std::uint64_t rows) : data_{data}, rows_{std::min<std::uint64_t>(rows, chart_rows)} {
    const auto& facts = data.facts();
    auto outputs = facts.outputs.size();
    auto panels = std::min(outputs, chart_panels);
    for (std::size_t i = 0; i < panels; ++i)
      shown_.push_back(panels == 1 ? 0 : i * (outputs - 1) / (panels - 1));
    for (auto output : shown_)
      chart_.panels.push_back({facts.outputs[output], {{"truth", {}, {}}, {"prediction", {}, {}}}});
    last_step_ = static_cast<std::size_t>(data.target_size()) - outputs;
    target_.resize(static_cast<std::size_t>(data.target_size()));
    mask_ = target_;
    label(facts);
  }

  void add(const predicted_row& p) {
    if (p.index >= rows_)
      return;
    data_.copy_targets(p.row, std::span{target_}, std::span{mask_});
    for (std::size_t i = 0; i < shown_.size(); ++i) {
      auto cell = last_step_ + shown_[i];
      auto truth = mask_[cell] == 0 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(target_[cell]);
      auto& lines = chart_.panels[i].lines;
      for (auto& line : lines)
        line.xs.push_back(x_of(p));
      lines[0].ys.push_back(truth);
      lines[1].ys.push_back(static_cast<double>(p.values[cell]));
    }
  }

  serialization::chart take() { return std::move(chart_); }

private:
  void label(const model::data_facts& facts) {
    bool windows = facts.kind == "window";
    chart_.title = windows ? "Test part, " + horizon_text(facts, facts.horizon) + " ahead" : "Test part";
    start_ = rows_ > 0 ? data_.time_of(data_.row(model::part::test, 0)) : -1;
    chart_.x_label = !windows ? "row of the test part" : start_ < 0 ? "line" : "hours since " + date_text(start_);
    if (windows)
      return;
    for (auto& panel : chart_.panels) // rows have no order in time
      for (auto& line : panel.lines)
        line.style = serialization::stroke::dots;
  }

  double x_of(const predicted_row& p) const {
    const auto& facts = data_.facts();
    if (facts.kind != "window")
      return static_cast<double>(p.index);
    if (start_ < 0)
      return static_cast<double>(p.row) + static_cast<double>(facts.horizon - 1);
    return static_cast<double>(data_.time_of(p.row) - start_ + (facts.horizon - 1) * facts.interval_seconds) / 3600;
  }

  const model::dataset& data_;
  std::uint64_t rows_;
  std::int64_t start_ = -1;
  std::size_t last_step_ = 0;
  std::vector<std::size_t> shown_;
  std::vector<float> target_, mask_;
  serialization::chart chart_;
};

// -- table --------------------------------------------------------------------------------------------------------------------

/// Four digits, without an exponent where it can be helped.
std::string number(double value) {
  auto magnitude = value > 0 ? std::floor(std::log10(value)) : 0;
  bool plain = std::abs(magnitude) <= 8;
  char text[48];
  std::snprintf(text, sizeof text, plain ? "%.*f" : "%.*e", plain ? std::max(3 - static_cast<int>(magnitude), 0) : 3, value);
  return text;
}

std::string aligned(const std::vector<std::vector<std::string>>& cells) {
  std::vector<std::size_t> widths(cells.front().size(), 3);
  for (const auto& row : cells)
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  auto add = [&](std::size_t column, const std::string& cell, char filler) {
    text.append(column == 0 ? "| " : " ").append(cell).append(widths[column] - cell.size(), filler).append(" |");
  };
  for (std::size_t r = 0; r < cells.size(); ++r) {
    for (std::size_t i = 0; i < widths.size(); ++i)
      add(i, cells[r][i], ' ');
    text += '\n';
    for (std::size_t i = 0; r == 0 && i < widths.size(); ++i)
      add(i, {}, '-');
    text += r == 0 ? "\n" : "";
  }
  return text;
}

} // namespace

// -- predictions --------------------------------------------------------------------------------------------------------------

caf::expected<void> predict_in_order(session& s, const actors::run_ptr& run, const actors::version_ptr& version,
                                     const actors::data_ptr& data, std::span<const std::uint64_t> rows, std::uint32_t workers,
                                     const std::function<caf::expected<void>(const predicted_row&)>& sink) {
  auto size = static_cast<std::size_t>(data->target_size());
  auto chunk = std::max<std::size_t>(chunk_floats / size, 64);
  for (std::size_t first = 0; first < rows.size(); first += chunk) {
    auto part = rows.subspan(first, std::min(chunk, rows.size() - first));
    std::vector<std::pair<std::uint64_t, std::size_t>> places; // of rows, to find them again
    for (std::size_t i = 0; i < part.size(); ++i)
      places.emplace_back(part[i], i);
    std::sort(places.begin(), places.end());
    std::vector<float> values(part.size() * size);
    std::vector<predicted_row> found(part.size());
    auto take = [&](std::uint64_t row, std::span<const float> v, std::uint8_t status, model::rung rung) {
      auto place = std::lower_bound(places.begin(), places.end(), std::pair{row, std::size_t{0}})->second;
      auto here = std::span{values}.subspan(place * size, size);
      std::copy(v.begin(), v.end(), here.begin());
      found[place] = {first + place, row, here, status, static_cast<std::uint8_t>(rung)};
    };
    auto done = actors::predict(s.system(), run, version, data, {part.begin(), part.end()}, workers, take, s.stop());
    for (std::size_t i = 0; done && i < found.size(); ++i)
      done = sink(found[i]);
    if (!done)
      return done;
  }
  return {};
}

caf::expected<serialization::predictions_writer> open_predictions(const std::filesystem::path& file, const actors::run_ptr& run,
                                                                  const model::dataset& data, std::vector<std::uint64_t> rows,
                                                                  const std::filesystem::path& checkpoint,
                                                                  std::filesystem::path manifest) {
  const auto& facts = data.facts();
  serialization::predictions_header header;
  if (facts.kind == "window")
    header.shape = {facts.horizon};
  header.shape.push_back(static_cast<std::int64_t>(facts.outputs.size()));
  header.columns = facts.outputs;
  for (auto row : rows)
    header.times.push_back(data.time_of(row));
  header.rows = std::move(rows);
  header.model = checkpoint.filename().string();
  header.data_fingerprint = facts.fingerprint;
  header.kernels = run->kernels;
  return serialization::predictions_writer::create(file, std::move(header), std::move(manifest));
}

caf::expected<void> write_row(serialization::predictions_writer& out, const model::dataset& data, const predicted_row& row) {
  if (auto done = out.put(row.index, row.values, row.status, row.rung); !done || data.valid_cells(row.row) == 0)
    return done;
  std::vector<float> target(row.values.size()), mask(row.values.size());
  data.copy_targets(row.row, std::span{target}, std::span{mask});
  return out.put_target(row.index, target, mask);
}

// -- evaluation ---------------------------------------------------------------------------------------------------------------

caf::expected<evaluation> evaluate(session& s, const evaluation_request& r) {
  const auto& data = *r.data;
  auto whole = data.rows(model::part::test);
  if (whole == 0)
    return fail(ec::data_mismatch, "the test part of the data has no " + samples_name(data.facts()));
  auto horizons = quarters(data.facts());
  model::scorer scorer{data, model::part::test, horizons, r.unit};
  std::vector<std::uint64_t> rows(scorer.rows());
  for (std::uint64_t i = 0; i < rows.size(); ++i)
    rows[i] = data.row(model::part::test, i);
  evaluation result{counted(whole, samples_name(data.facts())), 0, r.unit, {}, {}, {}};
  forecast_chart forecast{data, whole};
  auto take = [&](const predicted_row& p) -> caf::expected<void> {
    scorer.add(p.values);
    result.not_computable += p.status != 0;
    if (p.index >= whole)
      return {}; // of which only short horizons are scored
    forecast.add(p);
    return r.predictions ? write_row(*r.predictions, data, p) : caf::expected<void>{caf::unit};
  };
  if (auto done = predict_in_order(s, r.run, r.version, r.data, rows, r.workers, take); !done)
    return done.error();
  result.methods.push_back({"enn", scorer.scores()});
  for (const auto& baseline : model::fit_baselines(r.data))
    result.methods.push_back({baseline.name, model::evaluate(data, model::part::test, horizons, baseline.predict, r.unit)});
  for (auto steps : horizons)
    result.horizons.push_back(horizon_text(data.facts(), steps));
  result.forecast = forecast.take();
  return result;
}

std::string table_text(const evaluation& e) {
  std::vector<std::vector<std::string>> cells(1, {"RMSE / MAE"});
  cells[0].insert(cells[0].end(), e.horizons.begin(), e.horizons.end());
  for (const auto& method : e.methods) {
    cells.push_back({method.name});
    for (const auto& score : method.scores)
      cells.back().push_back(number(score.rmse) + " / " + number(score.mae));
  }
  std::string text = "Test part, " + e.samples + ", errors in "
                     + (e.unit == model::error_unit::raw ? "the data's unit" : "deviations of the training part")
                     + (e.horizons.size() > 1 ? ", over all steps up to the horizon" : "") + ".\n\n" + aligned(cells);
  if (e.not_computable > 0)
    text += "\nNot computable: " + counted(e.not_computable, "predictions") + "; the model's errors are without meaning.\n";
  return text;
}

} // namespace enn::apps
