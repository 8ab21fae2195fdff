#include "command.hpp"
#include "evaluation.hpp"
#include "options.hpp"
#include "progress_line.hpp"
#include "run_folder.hpp"

#include <enn/serialization/readers/csv.hpp>

#include <CLI/CLI.hpp> // slow to compile

namespace enn::apps {
namespace {

struct predict_options {
  std::string run, checkpoint = "best", input, output, start;
  std::int64_t workers = 0;
};

/// The rows of a new file, for a model that was made from another one.
caf::expected<actors::data_ptr> read_input(const predict_options& o, const model::run_definition& run) {
  auto settings = run.settings.data;
  settings.path = o.input;
  if (!o.start.empty())
    settings.start = o.start;
  auto table = serialization::read_csv(o.input, settings, serialization::target_columns::optional);
  if (!table)
    return table.error();
  return model::dataset::make_for(std::move(*table), settings, run.facts, run.facts.kind == "window");
}

caf::expected<void> predict(const predict_options& o) {
  auto found = load_version(o.run, o.checkpoint);
  if (!found)
    return found.error();
  const auto& [run, version] = found->restored;
  auto data = read_input(o, *run);
  if (!data)
    return data.error();
  auto rows = actors::rows_of_part(**data, model::part::test);
  auto out = open_predictions(o.output, run, **data, rows, found->file);
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
  say("predicted", counted(rows.size()) + " " + samples_name((*data)->facts()) + " by " + found->file.string()
                     + (not_computable > 0 ? "; not computable: " + counted(not_computable) : ""));
  say("written", o.output + ", manifest.json beside it");
  return {};
}

} // namespace

action declare_predict(CLI::App& app) {
  auto o = std::make_shared<predict_options>();
  app.add_option("RUN", o->run, "Folder of a run, or a checkpoint file.")->required();
  app.add_option("--input", o->input, "CSV file with the columns that the model was made from, plain or gzip.")
    ->required()->type_name("FILE");
  app.add_option("--output", o->output, "HDF5 file to write; a manifest.json goes beside it.")->required()->type_name("FILE.h5");
  add_checkpoint_option(app, o->checkpoint);
  app.add_option("--start", o->start, "Date and time of the input's first line, where no column says it.")->type_name("DATE");
  add_workers_option(app, o->workers);
  app.footer("Every window of the input is predicted, also the one whose targets lie after its last line.");
  return [o] { return predict(*o); };
}

} // namespace enn::apps
