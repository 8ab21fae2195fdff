#include <enn/actors/run.hpp>

#include <enn/actors/driver.hpp>
#include <enn/actors/spawn.hpp>

#include <algorithm>
#include <cmath>

namespace enn::actors {
namespace {

/// Spawns a driver and serves as its observer until the outcome comes.
run_outcome drive(caf::actor_system& system, run_request request, const on_progress& progress,
                  const std::function<void(const msg<wire::Block>&)>& predictions, const std::atomic<bool>* stop) {
  caf::scoped_actor self{system};
  auto on_node = request.on_node;
  auto on_waiting = request.on_waiting;
  auto driver = spawn_driver(system, std::move(request), caf::actor_cast<observer_actor>(self));
  self->monitor(driver);
  run_outcome outcome;
  bool over = false, told = false;
  while (!over) {
    self->receive(
      [&](progress_atom, const msg<wire::Progress>& m) {
        if (auto p = serialization::read(m); p && progress)
          progress(*p);
      },
      [&](predict_atom, const msg<wire::Block>& m) {
        predictions(m);
        self->send(driver, predict_atom_v);
      },
      [&](note_atom, const std::string& event, const std::string& node) {
        if (on_node)
          on_node(event, node);
      },
      [&](beat_atom) {
        if (on_waiting)
          on_waiting();
      },
      [&](outcome_atom, const outcome_ptr& result) {
        outcome = *result;
        over = true;
      },
      [&](caf::down_msg& down) { // without an outcome: it failed itself
        outcome.error = fail(ec::gave_up, "the driver ended: " + reason_text(down.reason));
        over = true;
      },
      caf::after(std::chrono::milliseconds{100}) >> [] {});
    if (!over && !told && stop && *stop) {
      told = true;
      self->send(driver, stop_atom_v);
    }
  }
  return outcome;
}

void hand_out(const serialization::block& b, const on_prediction& sink) {
  auto size = b.rows.empty() ? 0 : b.numbers.size() / b.rows.size();
  for (std::size_t i = 0; i < b.rows.size(); ++i) {
    auto values = b.numbers.view().subspan(i * size, size);
    auto finite = std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
    sink(b.rows[i], values, finite ? 0 : 1, b.rungs.front());
  }
}

} // namespace

void configure(caf::actor_system_config& config) {
  config.add_message_types<caf::id_block::enn_actors>();
  config.add_message_types<caf::id_block::enn_handles>();
}

void set_defaults(caf::actor_system_config& config) {
  config.set("scheduler.policy", caf::atom("sharing"));
  config.set("scheduler.max-threads", std::size_t{2});
  config.set("scheduler.max-throughput", std::size_t{50});
}

caf::expected<run_outcome> train(caf::actor_system& system, run_request request, const on_progress& progress,
                                 const std::atomic<bool>* stop) {
  auto outcome = drive(system, std::move(request), progress, {}, stop);
  if (outcome.error)
    return outcome.error;
  return outcome;
}

caf::expected<void> predict(caf::actor_system& system, run_ptr run, version_ptr version, data_ptr data,
                            std::vector<std::uint64_t> rows, std::uint32_t workers, const on_prediction& sink,
                            const std::atomic<bool>* stop, const policy& rules) {
  auto limits = serialization::bounds_of(*run);
  run_request request{duty::predict, std::move(run), std::move(data), {}, workers, std::move(version), std::move(rows), {}, rules};
  auto take = [&](const msg<wire::Block>& m) {
    if (auto b = serialization::read(m, limits))
      hand_out(*b, sink);
  };
  auto outcome = drive(system, std::move(request), {}, take, stop);
  if (outcome.error)
    return outcome.error;
  if (outcome.interrupted)
    return fail(ec::interrupted, "stopped before all rows were predicted");
  return caf::unit;
}

std::vector<std::uint64_t> rows_of_part(const model::dataset& data, model::part part) {
  std::vector<std::uint64_t> rows(data.rows(part));
  for (std::uint64_t i = 0; i < rows.size(); ++i)
    rows[i] = data.row(part, i);
  return rows;
}

caf::expected<double> evaluate_loss(caf::actor_system& system, run_ptr run, version_ptr version, data_ptr data, model::part part,
                                    std::uint32_t workers, const policy& rules) {
  if (data->rows(part) == 0)
    return fail(ec::data_mismatch, "the " + std::string{model::name(part)} + " part of the data has no rows");
  run_request request{duty::evaluate, std::move(run), std::move(data), {}, workers, std::move(version), {}, part, rules};
  auto outcome = drive(system, std::move(request), {}, {}, nullptr);
  if (outcome.error)
    return outcome.error;
  return outcome.loss;
}

} // namespace enn::actors
