/// Runs and predictions as calls that block: the entry for programs and for embedders without actors of their own. Call from
/// any thread that is not an actor. Signals, process-wide settings and rendering of errors belong to the program.
#pragma once
#include <enn/actors/interfaces.hpp>
#include <enn/actors/policy.hpp>

#include <caf/actor_system_config.hpp>

#include <atomic>
#include <filesystem>
#include <functional>

namespace enn::actors {

/// Registers the message types; call in the constructor of the program's configuration. Twice is harmless.
void configure(caf::actor_system_config& config);
/// Scheduler settings that suit these actors (two threads, policy sharing, bounded throughput), for programs without their own.
void set_defaults(caf::actor_system_config& config);

enum class duty : std::uint8_t {
  train,    // into a new folder
  resume,   // from the last checkpoint of the folder, or from step 0 if there is none
  verify,   // compute again, compare with losses.jsonl and the last checkpoint, write nothing
  predict,  // rows, with `version`
  evaluate, // the loss of `version` on `part`
};

struct run_request {
  duty what = duty::train;
  run_ptr run;
  data_ptr data;
  std::filesystem::path folder;          // train, resume, verify
  std::uint32_t workers = 1;             // of this process; 0: others compute, who join by the gate
  version_ptr version;                   // predict, evaluate
  std::vector<std::uint64_t> rows;       // predict
  model::part part = model::part::validation;
  policy rules;
  /// resume: called once, by an actor's thread, before the first step; an empty path: there was no checkpoint.
  std::function<void(std::int64_t step, const std::filesystem::path& checkpoint)> on_start = {};
  /// Makes the gate reachable for other processes; called by an actor's thread, again if the gate had to be started again. Empty:
  /// nobody else takes part.
  std::function<caf::expected<void>(const gate_actor&)> publish = {};
  std::string cluster = "local";         // what those who join must name
  /// Of nodes: (event, name of the node).
  std::function<void(const std::string& event, const std::string& node)> on_node = {};
  /// At every beat while there is work and no node to do it: the run waits, and its actors are well.
  std::function<void()> on_waiting = {};
};

struct run_outcome {
  caf::error error;                      // none: the duty is done, or was stopped in good order
  bool interrupted = false;              // stopped by command; the checkpoint of the last step is written
  version_ptr version;                   // the last one
  std::uint64_t weights_hash = 0;        // of its weights
  std::uint64_t steps_run = 0, restarts = 0;
  double loss = 0;                       // evaluate
  std::vector<std::int64_t> compared;    // verify: steps whose weights are those of a checkpoint, ascending
  bool torn_line = false;                // verify: losses.jsonl ends in a torn line, which was not compared
};

using on_progress = std::function<void(const serialization::progress&)>;

/// Trains, resumes or verifies. `stop`, once true, ends the run after its current step; the outcome is then `interrupted`.
caf::expected<run_outcome> train(caf::actor_system& system, run_request request, const on_progress& progress = {},
                                 const std::atomic<bool>* stop = nullptr);

/// status: 0 ok, 1 not computable (the values are not to be used). Rows come in any order, each once.
using on_prediction = std::function<void(std::uint64_t row, std::span<const float> values, std::uint8_t status, model::rung rung)>;
caf::expected<void> predict(caf::actor_system& system, run_ptr run, version_ptr version, data_ptr data,
                            std::vector<std::uint64_t> rows, std::uint32_t workers, const on_prediction& sink,
                            const std::atomic<bool>* stop = nullptr, const policy& rules = {});
/// All rows of a part, in ascending order of lines.
std::vector<std::uint64_t> rows_of_part(const model::dataset& data, model::part part);

/// The loss of the evaluated weights on a part, as training records it for the validation part.
caf::expected<double> evaluate_loss(caf::actor_system& system, run_ptr run, version_ptr version, data_ptr data, model::part part,
                                    std::uint32_t workers, const policy& rules = {});

} // namespace enn::actors
