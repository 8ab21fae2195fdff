// What a run is, and which rows each of its steps and leases has.
#include <enn/kernels/machine.hpp>
#include <enn/kernels/random.hpp>
#include <enn/model/enn.hpp>
#include <enn/model/training/trainer.hpp>

#include <algorithm>

namespace enn::model {
namespace {

caf::expected<void> check_calendar(const config& c, const dataset& data) {
  const auto& wanted = c.model.calendar;
  if (wanted.empty())
    return {};
  if (data.calendar_size() == 0)
    return fail(ec::bad_config, "model.calendar needs the time of each line, which the data does not tell; set data.time-column, or "
                                "data.start and data.interval-seconds, or model.calendar = []");
  bool time_of_day = std::find(wanted.begin(), wanted.end(), "time-of-day") != wanted.end();
  if (time_of_day && c.model.calendar_vectors == 0 && data.facts().lines_per_day == 0)
    return fail(ec::bad_config, "model.calendar = [\"time-of-day\"]: a day is no whole number of lines in this data; set "
                                "model.calendar-vectors, for instance to 24");
  return {};
}

/// Weights, moments and average, twice as the next version is made beside the current one, and the gradients of one lease.
caf::expected<void> check_memory(const run_definition& run) {
  const auto& t = run.settings.train;
  auto copies = 2.0 * (2 + (t.optimizer == "adamw" ? 1 : 0) + (t.average_decay > 0 ? 1 : 0)) + 3;
  auto needed = copies * sizeof(float) * static_cast<double>(run.layout.size);
  auto present = static_cast<double>(kernels::describe_machine().memory);
  if (needed <= present)
    return {};
  auto gigabytes = [](double bytes) { return std::to_string(static_cast<std::int64_t>(bytes / 1e9) + 1) + " GB"; };
  return fail(ec::bad_config, "the network has " + std::to_string(run.layout.size) + " parameters; to train them takes "
                                + gigabytes(needed) + " of memory, and this machine has " + gigabytes(present)
                                + "; lower model.d-model, model.latents or the depths (enn describe shows where parameters are)");
}

} // namespace

caf::expected<std::shared_ptr<const run_definition>> define_run(const config& settings, const dataset& data) {
  if (auto ok = check(settings); !ok)
    return ok.error();
  if (auto ok = check_calendar(settings, data); !ok)
    return ok.error();
  std::string why_not;
  const auto* kernels = kernels::find_kernels(settings.train.kernels, why_not);
  if (!kernels)
    return fail(ec::kernel_unavailable, "train.kernels = \"" + settings.train.kernels + "\": " + why_not
                                          + "; for a new run choose another set (enn doctor lists them) or \"auto\"; a recorded "
                                            "run goes on only where its set runs");
  if (settings.run.check_every > 0 && kernels->name == "openblas")
    return fail(ec::bad_config, "run.check-every compares bits with the reference kernels, which kernel set openblas does not have in "
                                "common with them; choose another train.kernels for a new run, or run.check-every = 0");
  auto run = std::make_shared<run_definition>();
  run->settings = settings;
  run->facts = data.facts();
  run->network = build_enn(settings, data.facts());
  run->layout = layout_of(run->network);
  if (auto ok = check_memory(*run); !ok)
    return ok.error();
  auto rows = static_cast<std::int64_t>(data.rows(part::train));
  run->steps_per_epoch = (rows + settings.train.batch_rows - 1) / settings.train.batch_rows;
  run->total_steps = settings.train.steps > 0 ? settings.train.steps : settings.train.epochs * run->steps_per_epoch;
  run->kernels = kernels->name;
  return std::shared_ptr<const run_definition>{std::move(run)};
}

bool is_checked(const run_definition& run, std::int64_t step, std::int64_t index) {
  auto every = run.settings.run.check_every;
  if (every == 0)
    return false;
  static const auto purpose = kernels::purpose_hash("run.check-every");
  kernels::random_place place{static_cast<std::uint64_t>(run.settings.train.seed), static_cast<std::uint64_t>(step), 0, purpose};
  return kernels::random_uniform(place, static_cast<std::uint64_t>(index)) * static_cast<double>(every) < 1;
}

std::vector<std::uint64_t> rows_of_step(const run_definition& run, const dataset& data, std::int64_t step) {
  auto size = data.rows(part::train);
  auto epoch = static_cast<std::uint64_t>(step / run.steps_per_epoch);
  auto first = static_cast<std::uint64_t>(step % run.steps_per_epoch * run.settings.train.batch_rows);
  auto last = std::min(size, first + static_cast<std::uint64_t>(run.settings.train.batch_rows));
  std::vector<std::uint64_t> rows;
  for (auto i = first; i < last; ++i)
    rows.push_back(data.row(part::train, kernels::permute(i, size, static_cast<std::uint64_t>(run.settings.train.seed), epoch)));
  return rows;
}

std::span<const std::uint64_t> rows_of_lease(std::span<const std::uint64_t> rows, std::int64_t index, std::int64_t leases) {
  auto cut = [&](std::int64_t i) { return rows.size() * static_cast<std::size_t>(i) / static_cast<std::size_t>(leases); };
  return rows.subspan(cut(index), cut(index + 1) - cut(index));
}

double denominator_of(const dataset& data, std::span<const std::uint64_t> rows) {
  std::int64_t cells = 0;
  for (auto row : rows)
    cells += data.valid_cells(row);
  return static_cast<double>(std::max<std::int64_t>(cells, 1)); // without a valid cell all sums are 0
}

} // namespace enn::model
