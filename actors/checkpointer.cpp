#include <enn/actors/checkpointer.hpp>

#include <enn/actors/spawn.hpp>

namespace enn::actors {
namespace {

struct checkpointer_state {
  static inline const char* name = "checkpointer";
};

caf::result<std::int64_t> save(const std::filesystem::path& path, const model::run_definition& run, const training_version& version,
                               bool best) {
  // Opened anew each time: that also sweeps what a crash left behind.
  auto folder = serialization::checkpoint_folder::open(path, static_cast<std::size_t>(run.settings.run.keep_checkpoints));
  if (!folder)
    return folder.error();
  if (auto saved = folder->save(to_checkpoint(run, version), best); !saved)
    return saved.error();
  return version.state.step;
}

checkpointer_actor::behavior_type checkpointer(checkpointer_actor::stateful_pointer<checkpointer_state> self, caf::actor_addr parent,
                                               run_ptr run, std::filesystem::path folder) {
  use_log(self);
  follow(self, parent);
  return {[=](save_atom, const version_ptr& version, bool best) { return save(folder, *run, *version, best); }};
}

} // namespace

checkpointer_actor spawn_checkpointer(caf::actor_system& system, caf::actor_addr parent, run_ptr run, std::filesystem::path folder,
                                      const policy& rules) {
  return spawn_computing(system, rules, checkpointer, std::move(parent), std::move(run), std::move(folder));
}

} // namespace enn::actors
