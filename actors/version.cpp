#include <enn/actors/version.hpp>

#include <enn/kernels/machine.hpp>
#include <enn/model/config/text.hpp>
#include <enn/serialization/build.hpp>
#include <enn/serialization/file.hpp>
#include <enn/serialization/graph_wire.hpp>

#include <algorithm>

namespace enn::actors {
namespace {

const std::string* find(const serialization::name_values& values, std::string_view name) {
  auto it = std::find_if(values.begin(), values.end(), [&](const auto& v) { return v.first == name; });
  return it == values.end() ? nullptr : &it->second;
}

caf::expected<std::int64_t> number(const serialization::name_values& facts, std::string_view name) {
  auto text = find(facts, name);
  std::int64_t value = 0;
  if (!text || !model::from_text(*text, value))
    return fail(ec::bad_checkpoint, "fact '" + std::string{name} + "' is missing or no integer");
  return value;
}

std::vector<float> tensor(const serialization::checkpoint& from, std::string_view name) {
  for (const auto& [key, values] : from.tensors)
    if (key == name)
      return values;
  return {};
}

caf::expected<model::training_tensors> tensors_of(const serialization::checkpoint& from, std::int64_t size) {
  model::training_tensors t{tensor(from, "weights"), tensor(from, "first"), tensor(from, "second"), tensor(from, "average")};
  auto wrong = [&](const std::vector<float>& v, bool may_be_absent) {
    return v.size() != static_cast<std::size_t>(size) && !(may_be_absent && v.empty());
  };
  if (wrong(t.weights, false) || wrong(t.first, true) || wrong(t.second, true) || wrong(t.average, true))
    return fail(ec::bad_checkpoint, "a tensor has another size than the graph's " + std::to_string(size) + " weights");
  return t;
}

} // namespace

std::string blas_of(const model::run_definition& run) {
  return run.kernels == "openblas" ? kernels::describe_machine().blas : "";
}

std::string blas_of(const serialization::checkpoint& from) {
  auto blas = find(from.facts, "blas");
  return blas ? *blas : "";
}

std::string losses_of(const serialization::checkpoint& from) {
  auto losses = find(from.facts, "losses-xxh3-128");
  return losses ? *losses : "";
}

version_ptr first_version(const model::run_definition& run) {
  return std::make_shared<const training_version>(training_version{model::initial_tensors(run), {}});
}

std::uint64_t hash_of_weights(const training_version& version) {
  serialization::block all;
  all.numbers = serialization::flat_vector{version.tensors.weights};
  return serialization::hash_of(all);
}

serialization::checkpoint to_checkpoint(const model::run_definition& run, const training_version& version, std::string losses) {
  serialization::checkpoint result;
  result.step = version.state.step;
  result.configuration = model::to_name_values(run.settings);
  result.state = serialization::values_of(version.state);
  result.facts = {{"version", std::string{serialization::program_version()}},
                  {"kernels", run.kernels},
                  {"total-steps", std::to_string(run.total_steps)},
                  {"steps-per-epoch", std::to_string(run.steps_per_epoch)},
                  {"data-fingerprint", run.facts.fingerprint}};
  if (auto blas = blas_of(run); !blas.empty())
    result.facts.emplace_back("blas", std::move(blas));
  if (!losses.empty())
    result.facts.emplace_back("losses-xxh3-128", std::move(losses));
  result.graph = serialization::encode(run.network);
  result.data_facts = serialization::encode(run.facts);
  const auto& t = version.tensors;
  result.tensors = {{"weights", t.weights}};
  for (auto& [name, values] : {std::pair{"first", &t.first}, {"second", &t.second}, {"average", &t.average}})
    if (!values->empty())
      result.tensors.emplace_back(name, *values);
  for (const auto& span : run.layout.spans)
    result.layout.push_back({span.path, span.extent, span.offset});
  return result;
}

caf::expected<restored> restore(const serialization::checkpoint& from) {
  auto run = std::make_shared<model::run_definition>();
  auto settings = model::from_name_values(from.configuration);
  if (!settings)
    return fail(ec::bad_checkpoint, text_of(settings.error()));
  auto graph = serialization::decode_graph(from.graph);
  if (!graph)
    return graph.error();
  auto facts = serialization::decode_facts(from.data_facts);
  if (!facts)
    return facts.error();
  auto total = number(from.facts, "total-steps"), epoch = number(from.facts, "steps-per-epoch");
  if (!total)
    return total.error();
  if (!epoch)
    return epoch.error();
  auto kernels = find(from.facts, "kernels");
  if (!kernels)
    return fail(ec::bad_checkpoint, "fact 'kernels' is missing");
  run->layout = model::layout_of(*graph);
  run->settings = std::move(*settings);
  run->network = std::move(*graph);
  run->facts = std::move(*facts);
  run->total_steps = *total;
  run->steps_per_epoch = *epoch;
  run->kernels = *kernels;
  auto state = serialization::state_from(from.state);
  if (!state)
    return state.error();
  if (state->step != from.step)
    return fail(ec::bad_checkpoint, "is of step " + std::to_string(from.step) + ", but its state of step "
                                      + std::to_string(state->step));
  auto tensors = tensors_of(from, run->layout.size);
  if (!tensors)
    return tensors.error();
  return restored{std::move(run), std::make_shared<const training_version>(training_version{std::move(*tensors), *state})};
}

caf::expected<void> check_same_settings(const model::config& asked, const model::config& recorded) {
  auto theirs = model::to_name_values(recorded);
  for (const auto& [name, value] : model::to_name_values(asked)) {
    if (name.starts_with("run.") || name == "data.path") // the fingerprint says what the data is
      continue;
    auto other = find(theirs, name);
    if (!other || *other != value)
      return fail(ec::bad_config, name + ": the run was made with " + (other ? *other : "no value") + ", asked for is " + value);
  }
  return caf::unit;
}

caf::expected<void> check_same_run(const model::run_definition& asked, const model::run_definition& recorded) {
  if (auto same = check_same_settings(asked.settings, recorded.settings); !same)
    return same;
  if (serialization::encode(asked.facts) != serialization::encode(recorded.facts))
    return fail(ec::data_mismatch, "the data is not what the run was made with: fingerprint " + asked.facts.fingerprint + ", recorded "
                                     + recorded.facts.fingerprint);
  if (serialization::encode(asked.network) != serialization::encode(recorded.network))
    return fail(ec::bad_checkpoint, "the recorded network differs from the one that this program builds");
  return caf::unit;
}

namespace {

/// Its bits depend on all that the library says of itself. Without a checkpoint every step is compared with losses.jsonl.
caf::expected<void> check_blas(const model::run_definition& run, const std::optional<std::string>& recorded) {
  auto found = blas_of(run);
  if (!recorded || *recorded == found)
    return caf::unit;
  if (recorded->empty())
    return fail(ec::kernel_unavailable, "the run's kernel set openblas gives other bits with another library or core type, and its "
                                        "checkpoint does not say which one it was made with; train anew");
  auto core = recorded->substr(recorded->rfind(' ') + 1);
  return fail(ec::kernel_unavailable, "the run's kernel set openblas gives other bits with another library or core type: recorded is \""
                                        + *recorded + "\", found \"" + found + "\"; use that library, with the environment variable "
                                        "OPENBLAS_CORETYPE=" + core + " on a processor that has its instructions, or train anew with "
                                        "train.kernels = \"portable\", which gives the same bits everywhere");
}

} // namespace

caf::expected<void> check_kernels(const model::run_definition& run, const std::optional<std::string>& recorded_blas) {
  std::string why_not;
  if (kernels::find_kernels(run.kernels, why_not))
    return check_blas(run, recorded_blas);
  return fail(ec::kernel_unavailable, "the run's kernel set " + run.kernels + " cannot run on this machine: " + why_not
                                        + "; use a machine that has it (enn doctor lists its sets), or train anew with "
                                          "train.kernels = \"portable\", which runs everywhere");
}

} // namespace enn::actors
