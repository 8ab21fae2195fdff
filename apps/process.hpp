/// What concerns the whole process and therefore no library: environment, log, signals, exit status.
#pragma once
#include <enn/model/error.hpp>

#include <atomic>
#include <csignal>
#include <mutex>
#include <string>
#include <thread>

namespace enn::apps {

/// OpenBLAS reads its environment when it is loaded, before main. Where it is linked in and the environment says nothing, this
/// runs the program again with one BLAS thread (more would take signals and cores from the actors) and, if OpenBLAS does not
/// know this processor and fell back to Prescott, with the core type that the processor's instructions allow. Call first.
void prepare_blas(char** arguments);

/// Buffers of gradients come and go with every lease. Without this malloc gives them back to the system each time, which then
/// fills every page with zeros again: a fifth of a step of a wide network.
void keep_large_buffers();

/// From now on this process is killed when the thread that made it ends. False: its parent is another one already.
bool end_with(pid_t parent);

/// How a child ended, as waitpid tells it: "was killed by signal 9 (Killed)", "ended with status 4".
std::string text_of_ending(int state);

/// Warnings and errors of the actors go to standard error, a line each.
void log_to_stderr();

/// 2 usage, 3 data, 4 run, 5 checkpoint; 128 and the signal's number if one interrupted the command.
int exit_status(const caf::error& error);

/// A file that may not grow is an error of the write, not the end of the process.
void ignore_file_size_signal();

/// For commands that go on when nobody reads their standard output any more; it is an error in the end.
void ignore_closed_output();

/// SIGINT, SIGTERM and, unless it is ignored as under nohup, SIGHUP.
sigset_t signals_to_stop();

/// A line on standard error, past stdio, whose lock a stuck writer may hold. On a terminal the progress line makes room.
void say_at_once(const std::string& text);

/// While it lives, SIGINT, SIGTERM and SIGHUP (unless ignored, as under nohup) ask to stop in good order, which is said at once
/// on standard error; a second one ends the process at once. One that comes directly and, by sigqueue, from the process that
/// would start this one again is one (restarter.hpp). Make it before any other thread, as they inherit the blocked
/// signals. One at a time.
class stop_signals {
public:
  stop_signals();
  ~stop_signals();
  stop_signals(const stop_signals&) = delete;
  stop_signals& operator=(const stop_signals&) = delete;
  const std::atomic<bool>* asked() const { return &asked_; }
  /// As a signal would, without a word.
  void ask_to_stop() { asked_ = true; }
  /// What to say at the first signal, and at the second; empty: nothing.
  void on_signal(std::string first, std::string second);

private:
  void watch();
  std::atomic<bool> asked_ = false;
  std::mutex texts_;
  std::string first_ = "stopping; a second signal ends at once", second_ = "ended at once";
  sigset_t watched_;
  std::thread watcher_;
};

} // namespace enn::apps
