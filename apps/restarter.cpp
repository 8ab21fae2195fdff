#include "restarter.hpp"

#include "process.hpp"

#include <enn/serialization/checkpoint.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <sys/wait.h>
#include <unistd.h>

namespace enn::apps {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

/// How a child ended, or failed to begin.
struct ending {
  int status = 0; // 128 and its number for a signal
  bool is_final = true;
  std::string text;
};

bool stops(int signal) {
  return signal == SIGHUP || signal == SIGINT || signal == SIGTERM;
}

ending ending_of(int state) {
  if (WIFSIGNALED(state)) {
    int signal = WTERMSIG(state);
    return {128 + signal, stops(signal), text_of_ending(state)};
  }
  int status = WEXITSTATUS(state);
  constexpr int final_ones[] = {0, 2, 3, 5, 128 + SIGHUP, 128 + SIGINT, 128 + SIGTERM};
  return {status, std::find(std::begin(final_ones), std::end(final_ones), status) != std::end(final_ones),
          text_of_ending(state)};
}

/// The process that watches. Signals are blocked in it and taken one by one.
class watcher {
public:
  watcher() {
    std::signal(SIGCHLD, SIG_DFL); // where it is ignored, children leave no status
    ::sigprocmask(SIG_BLOCK, &stop_, &before_);
    auto child = only(SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &child, nullptr);
  }

  /// Whether this is the child. Else it has ended, as `how` says.
  bool run_child(ending& how) {
    auto self = ::getpid();
    std::fflush(nullptr); // or both would write it
    auto child = ::fork();
    if (child == 0) {
      if (!end_with(self))
        ::_exit(128 + SIGKILL); // the watcher died before it could be said that this one should, too
      ::sigprocmask(SIG_SETMASK, &before_, nullptr);
      return true;
    }
    how = child > 0 ? wait_for(child) : ending{4, false, std::string{"cannot be started: "} + std::strerror(errno)};
    return false;
  }

  /// A stop signal was passed on.
  bool stopping() const { return stopping_; }

  /// Waits; the number of a stop signal that came meanwhile, or 0.
  int pause(milliseconds time) {
    timespec limit{time.count() / 1000, time.count() % 1000 * 1000000};
    int signal = 0;
    do
      signal = ::sigtimedwait(&stop_, nullptr, &limit);
    while (signal < 0 && errno == EINTR);
    return std::max(signal, 0);
  }

private:
  static sigset_t only(int signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    return set;
  }

  /// Signals are passed on by sigqueue, so that the child can tell them from the same ones sent to both.
  ending wait_for(pid_t child) {
    auto awaited = stop_;
    sigaddset(&awaited, SIGCHLD);
    for (;;) {
      if (auto over = reap(child))
        return *over;
      int signal = ::sigwaitinfo(&awaited, nullptr);
      if (stops(signal)) {
        stopping_ = true;
        ::sigqueue(child, signal, {});
      }
    }
  }

  /// All that ended: the first process of a container inherits orphans, and one SIGCHLD may stand for several.
  static std::optional<ending> reap(pid_t child) {
    std::optional<ending> result;
    int state = 0;
    for (pid_t gone = 0; (gone = ::waitpid(-1, &state, WNOHANG)) > 0;)
      if (gone == child)
        result = ending_of(state);
    return result;
  }

  sigset_t stop_ = signals_to_stop(), before_{};
  bool stopping_ = false;
};

milliseconds pause_before(std::uint32_t restart, const restart_rules& rules) {
  std::random_device source;
  auto jitter = std::uniform_real_distribution<>{0.5, 1.0}(source); // many that died together are not to come back together
  auto longest = std::min(rules.longest_pause, rules.pause * (1 << std::min(restart - 1, 16u)));
  return milliseconds{static_cast<std::int64_t>(static_cast<double>(longest.count()) * jitter)};
}

std::string seconds(milliseconds time) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(time.count()) / 1000);
  return text;
}

} // namespace

void restart_on_failure(const std::function<bool()>& progressed, const std::string& go_on, const restart_rules& rules,
                        const on_restart& told) {
  watcher self;
  ending last;
  for (std::uint32_t in_vain = 0;;) {
    if (self.run_child(last))
      return;
    if (last.is_final)
      std::exit(last.status); // it said why
    in_vain = progressed() ? 1 : in_vain + 1;
    auto what = "the training process " + last.text;
    if (self.stopping() || in_vain > rules.in_vain) {
      say_at_once(what + (self.stopping() ? " while it was stopping"
                                          : " and is not started again, after " + std::to_string(rules.in_vain)
                                              + " restarts without a new step") + "; go on with: " + go_on);
      std::exit(last.status);
    }
    auto time = pause_before(in_vain, rules);
    auto text = what + "; starting it again in " + seconds(time) + ", restart " + std::to_string(in_vain) + " of "
                + std::to_string(rules.in_vain) + " without a new step";
    say_at_once(text);
    if (told)
      told(text);
    if (auto signal = self.pause(time); signal != 0) {
      say_at_once("stopped while no training process ran; go on with: " + go_on);
      std::exit(128 + signal);
    }
  }
}

bool recorded_progress::advanced() {
  std::error_code none;
  auto bytes = fs::file_size(folder_ / "losses.jsonl", none);
  if (none)
    bytes = 0;
  std::int64_t step = -1;
  if (auto steps = serialization::checkpoint_folder::view(folder_ / "checkpoints").steps(); steps && !steps->empty())
    step = steps->front();
  bool result = bytes > bytes_ || step > step_;
  bytes_ = std::max(bytes, bytes_);
  step_ = std::max(step, step_);
  return result;
}

} // namespace enn::apps
