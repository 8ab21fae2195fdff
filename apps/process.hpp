/// What concerns the whole process and therefore no library: environment, log, signals, exit status.
#pragma once
#include <enn/model/error.hpp>

#include <atomic>
#include <thread>

namespace enn::apps {

/// OpenBLAS reads its environment when it is loaded, before main. Where it is linked in and the environment says nothing, this
/// runs the program again with one BLAS thread (more would take signals and cores from the actors) and, if OpenBLAS does not
/// know this processor and fell back to Prescott, with the core type that the processor's instructions allow. Call first.
void prepare_blas(char** arguments);

/// Warnings and errors of the actors go to standard error, a line each.
void log_to_stderr();

/// 2 usage, 3 data, 4 run, 5 checkpoint; 128 and the signal's number if one interrupted the command.
int exit_status(const caf::error& error);

/// While it lives, SIGINT and SIGTERM ask to stop in good order; a second one ends the process at once. Make it before any
/// other thread, as they inherit the blocked signals. One at a time.
class stop_signals {
public:
  stop_signals();
  ~stop_signals();
  stop_signals(const stop_signals&) = delete;
  stop_signals& operator=(const stop_signals&) = delete;
  const std::atomic<bool>* asked() const { return &asked_; }

private:
  void watch();
  std::atomic<bool> asked_ = false;
  std::thread watcher_;
};

} // namespace enn::apps
