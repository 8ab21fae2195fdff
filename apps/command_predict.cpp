#include "command.hpp"
#include "evaluation.hpp"
#include "options.hpp"
#include "prediction_output.hpp"
#include "progress_line.hpp"
#include "run_folder.hpp"

#include <enn/model/data/date_time.hpp>
#include <enn/serialization/readers/csv.hpp>

#include <CLI/CLI.hpp> // slow to compile

namespace enn::apps {
namespace {

struct predict_options {
  std::string run, checkpoint = "best", input, output, start, time_column;
  std::int64_t workers = 0;
  bool overwrite = false;
};

/// How to read the input. What tells the times of the training file's lines says nothing about those of another file, but for the
/// name of a column.
caf::expected<model::data_config> input_settings(const predict_options& o, const model::run_definition& run) {
  auto settings = run.settings.data;
  settings.path = o.input;
  const bool windows = run.facts.kind == "window";
  if (!o.start.empty() && !o.time_column.empty())
    return fail(ec::bad_usage, "--start and --time-column both tell the times of the input's lines; give one");
  if (!o.start.empty()) {
    if (!model::parse_date_time(o.start))
      return fail(ec::bad_usage, "--start: found \"" + o.start + "\", expected a date and time such as 2012-03-01T00:00:00");
    if (settings.interval_seconds == 0)
      settings.interval_seconds = run.facts.interval_seconds;
    if (settings.interval_seconds == 0)
      return fail(ec::bad_usage, "--start: the model was made from lines without times and knows no interval; leave it out");
    if (settings.columns.empty())
      settings.columns = run.facts.features; // a column of times that may be there is not read
    settings.time_column.clear();
  } else if (!o.time_column.empty()) {
    settings.time_column = o.time_column;
  } else if (!settings.start.empty() && windows) {
    return fail(ec::bad_usage, o.input + ": the times of its lines are not known; give --start DATE, the date and time of its first "
                               "line, or --time-column NAME");
  }
  settings.start = o.start;
  return settings;
}

/// The rows of a new file, for a model that was made from another one.
caf::expected<actors::data_ptr> read_input(const predict_options& o, const model::run_definition& run) {
  auto settings = input_settings(o, run);
  if (!settings)
    return settings.error();
  auto table = serialization::read_csv(o.input, *settings, serialization::target_columns::optional);
  if (!table) {
    auto text = text_of(table.error());
    if (o.time_column.empty() && text.find("(data.time-column)") != text.npos)
      return fail(code_of(table.error()), text + "; give --time-column NAME, or --start DATE, the date and time of the first line");
    return table.error();
  }
  return model::dataset::make_for(std::move(*table), *settings, run.facts, run.facts.kind == "window");
}

caf::expected<void> predict(const predict_options& o) {
  auto found = load_version(o.run, o.checkpoint);
  if (!found)
    return code_of(found.error()) == ec::io_failed ? fail(ec::bad_checkpoint, text_of(found.error())) : found.error();
  if (auto good = check_output(o.output, {o.input, found->file}, o.overwrite); !good)
    return good;
  const auto& run = found->restored.run;
  const auto& version = found->restored.version;
  auto data = read_input(o, *run);
  if (!data)
    return data.error();
  auto rows = actors::rows_of_part(**data, model::part::test);
  auto out = open_predictions(o.output, run, **data, rows, found->file, manifest_of(o.output));
  if (!out)
    return out.error();
  auto settings = run->settings;
  settings.run.workers = o.workers;
  std::uint64_t not_computable = 0;
  auto take = [&](const predicted_row& row) {
    not_computable += row.status != 0;
    return write_row(*out, **data, row);
  };
  session s;
  if (auto done = predict_in_order(s, run, version, *data, rows, workers_of(settings), take); !done)
    return done;
  if (auto done = out->finish(); !done)
    return done;
  say("predicted", counted(rows.size(), samples_name((*data)->facts())) + " by " + found->file.string()
                     + (not_computable > 0 ? "; not computable: " + counted(not_computable) : ""));
  say("written", o.output + ", described by " + manifest_of(o.output).filename().string());
  return {};
}

} // namespace

action declare_predict(CLI::App& app) {
  auto o = std::make_shared<predict_options>();
  app.add_option("RUN", o->run, "Folder of a run, or a checkpoint file.")->required();
  app.add_option("--input", o->input, "CSV file with the columns that the model was made from, plain or gzip.")
    ->required()->type_name("FILE");
  app.add_option("--output", o->output, "HDF5 file to write; FILE.h5.manifest.json goes beside it.")->required()->type_name("FILE.h5");
  add_checkpoint_option(app, o->checkpoint);
  app.add_option("--start", o->start, "Date and time of the input's first line, as 2012-03-01T00:00:00, where no column says it.")
    ->type_name("DATE");
  app.add_option("--time-column", o->time_column, "Column of the input with the date and time of each line; otherwise the run's.")
    ->type_name("NAME");
  app.add_flag("--overwrite", o->overwrite, "Replace an output that holds something else than predictions.");
  add_workers_option(app, o->workers);
  app.footer("Every window of the input is predicted, also the one whose targets lie after its last line.");
  return [o] { return predict(*o); };
}

} // namespace enn::apps
