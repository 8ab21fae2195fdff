/// Training in a process of its own, which is started again when it dies: what `--restart` adds. The watching process has one
/// thread and does nothing else, so little can happen to it.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace enn::apps {

struct restart_rules {
  std::uint32_t in_vain = 5; // restarts in a row without progress, after which the failure stands
  std::chrono::milliseconds pause{250}, longest_pause{30000}; // before the first of them; doubles with each
};

/// What a failure of the training process is told to, in words, before it is started again.
using on_restart = std::function<void(const std::string& why)>;

/// Returns in a child process, and when that dies in another one. The process that called never comes back: it passes stop
/// signals on, and exits with the last child's status once that is final: done, stopped by a signal, a mistake in usage, data
/// or checkpoint that would be there again, or too many restarts without progress. Then `go_on` is said to be the way on.
/// `progressed` answers whether there was progress since it was asked last. If the caller is killed, so is the child.
/// Call before any thread is made.
void restart_on_failure(const std::function<bool()>& progressed, const std::string& go_on, const restart_rules& rules = {},
                        const on_restart& told = {});

/// Whether a run got further than it ever was, by the lines and checkpoints in its folder: steps that are computed a second
/// time are no progress.
class recorded_progress {
public:
  explicit recorded_progress(std::filesystem::path folder) : folder_{std::move(folder)} { advanced(); }
  bool advanced();

private:
  std::filesystem::path folder_;
  std::uintmax_t bytes_ = 0;
  std::int64_t step_ = -1;
};

} // namespace enn::apps
