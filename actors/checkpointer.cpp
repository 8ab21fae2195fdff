#include <enn/actors/checkpointer.hpp>

#include <enn/actors/spawn.hpp>
#include <enn/serialization/file.hpp>

#include <optional>

namespace enn::actors {
namespace {

struct checkpointer_state {
  static inline const char* name = "checkpointer";
  run_ptr run;
  std::filesystem::path folder;
  std::optional<serialization::lines_fingerprint> losses; // of the steps up to the version saved last

  caf::result<std::int64_t> save(const training_version& version, bool best);
};

caf::result<std::int64_t> checkpointer_state::save(const training_version& version, bool best) {
  auto recorded = losses->of(static_cast<std::uint64_t>(version.state.step));
  if (!recorded)
    return recorded.error();
  // Opened anew each time: that also sweeps what a crash left behind.
  auto place = serialization::checkpoint_folder::open(folder, static_cast<std::size_t>(run->settings.run.keep_checkpoints));
  if (!place)
    return place.error();
  if (auto saved = place->save(to_checkpoint(*run, version, std::move(*recorded)), best); !saved)
    return saved.error();
  return version.state.step;
}

checkpointer_actor::behavior_type checkpointer(checkpointer_actor::stateful_pointer<checkpointer_state> self, caf::actor_addr parent,
                                               run_ptr run, std::filesystem::path folder) {
  use_log(self);
  follow(self, parent);
  auto& st = self->state;
  st.losses.emplace(folder.parent_path() / "losses.jsonl");
  st.run = std::move(run);
  st.folder = std::move(folder);
  return {[=](save_atom, const version_ptr& version, bool best) { return self->state.save(*version, best); }};
}

} // namespace

checkpointer_actor spawn_checkpointer(caf::actor_system& system, caf::actor_addr parent, run_ptr run, std::filesystem::path folder,
                                      const policy& rules) {
  return spawn_computing(system, rules, checkpointer, std::move(parent), std::move(run), std::move(folder));
}

} // namespace enn::actors
