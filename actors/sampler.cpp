#include <enn/actors/sampler.hpp>

#include <enn/actors/spawn.hpp>

namespace enn::actors {
namespace {

using serialization::row_list;

struct sampler_state {
  static inline const char* name = "sampler";
};

/// Without a valid cell all sums are zero, and stay so.
double denominator(const model::dataset& data, std::span<const std::uint64_t> rows) {
  auto cells = model::denominator_of(data, rows);
  return cells > 0 ? cells : 1;
}

row_list of_step(const model::run_definition& run, const model::dataset& data, std::int64_t step) {
  auto rows = model::rows_of_step(run, data, step);
  auto cells = denominator(data, rows);
  return {step, std::move(rows), cells};
}

row_list of_part(const model::dataset& data, model::part part) {
  row_list result;
  result.rows.resize(data.rows(part));
  for (std::uint64_t i = 0; i < result.rows.size(); ++i)
    result.rows[i] = data.row(part, i);
  result.denominator = denominator(data, result.rows);
  return result;
}

/// Whether the data set has this row: parts list theirs in ascending order.
bool exists(const model::dataset& data, std::uint64_t row) {
  for (auto part : {model::part::train, model::part::validation, model::part::test}) {
    std::uint64_t first = 0, last = data.rows(part);
    while (first < last) {
      auto middle = first + (last - first) / 2;
      if (data.row(part, middle) < row)
        first = middle + 1;
      else
        last = middle;
    }
    if (first < data.rows(part) && data.row(part, first) == row)
      return true;
  }
  return false;
}

model::row_values values_of(const model::dataset& data, std::uint64_t row) {
  auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  model::row_values v;
  v.targets.resize(size(data.target_size()));
  v.mask.resize(size(data.target_size()));
  v.calendar.resize(size(data.calendar_size()));
  std::vector<double> features(size(data.feature_size())); // they are floats
  data.copy_features(row, std::span{features}, std::span{v.calendar});
  v.features.assign(features.begin(), features.end());
  data.copy_targets(row, std::span{v.targets}, std::span{v.mask});
  return v;
}

/// As many of the rows, from the first on, as one bulk message holds; at least one.
caf::expected<serialization::raw_rows> raw(const model::dataset& data, const std::vector<std::uint64_t>& rows) {
  const auto& facts = data.facts();
  auto bytes = sizeof(float) * static_cast<std::uint64_t>(facts.feature_size() + 2 * facts.calendar_size() + 2 * facts.target_size());
  auto room = std::max<std::uint64_t>(1, serialization::bulk_chunks * serialization::chunk_bytes / bytes);
  serialization::raw_rows x;
  for (auto row : std::span{rows}.first(std::min<std::size_t>(rows.size(), room))) {
    if (!exists(data, row))
      return fail(ec::protocol, "raw rows: there is no row " + std::to_string(row));
    x.rows.push_back(row);
    x.values.push_back(values_of(data, row));
  }
  return x;
}

sampler_actor::behavior_type sampler(sampler_actor::stateful_pointer<sampler_state> self, caf::actor_addr parent, run_ptr run,
                                     data_ptr data) {
  use_log(self);
  follow(self, parent);
  return {
    [=](rows_atom, std::int64_t step) -> caf::result<msg<wire::Rows>> {
      if (step < 0)
        return fail(ec::protocol, "rows: there is no step " + std::to_string(step));
      return serialization::write(of_step(*run, *data, step));
    },
    [=](rows_atom, std::uint8_t part) -> caf::result<msg<wire::Rows>> {
      if (part > static_cast<std::uint8_t>(model::part::test))
        return fail(ec::protocol, "rows: there is no part " + std::to_string(part));
      return serialization::write(of_part(*data, static_cast<model::part>(part)));
    },
    [=](rows_atom, const msg<wire::Rows>& m) -> caf::result<msg<wire::RawRows>> {
      auto list = serialization::read(m, serialization::bounds_of(*run));
      if (!list)
        return list.error();
      auto rows = raw(*data, list->rows);
      if (!rows)
        return rows.error();
      return serialization::write(*rows);
    }};
}

} // namespace

sampler_actor spawn_sampler(caf::actor_system& system, caf::actor_addr parent, run_ptr run, data_ptr data, const policy& rules) {
  return spawn_computing(system, rules, sampler, std::move(parent), std::move(run), std::move(data));
}

} // namespace enn::actors
