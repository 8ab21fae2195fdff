#include "process.hpp"

#include <enn/model/machine.hpp>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace enn::apps {
namespace {

std::atomic<int> last_signal = 0;

/// To wake the watcher when it is no longer needed; nothing else uses it.
constexpr int wake_up = SIGUSR1;

bool ignored(int signal) {
  struct sigaction now {};
  return ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

/// The OpenBLAS core type for what this processor can do; empty: leave the choice to OpenBLAS.
std::string core_type(const model::machine_report& machine) {
  if (machine.blas.find("Prescott") == std::string::npos)
    return {};
  auto runs = [&](std::string_view set) {
    for (const auto& [name, refusal] : machine.kernel_sets)
      if (name == set)
        return refusal.empty();
    return false;
  };
  return runs("avx512") ? "SkylakeX" : runs("avx2") ? "Haswell" : "";
}

} // namespace

void prepare_blas(char** arguments) {
  auto machine = model::describe_machine();
  if (machine.blas == "none")
    return;
  bool changed = false;
  auto set = [&](const char* name, const std::string& value) {
    if (value.empty() || std::getenv(name) != nullptr)
      return;
    changed = ::setenv(name, value.c_str(), 0) == 0 || changed;
  };
  set("OPENBLAS_NUM_THREADS", "1");
  set("OPENBLAS_CORETYPE", core_type(machine));
  if (changed)
    ::execv("/proc/self/exe", arguments); // returns only if it fails; then it is slower, not wrong
}

void keep_large_buffers() {
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20); // the most that glibc takes
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

bool end_with(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  return ::getppid() == parent;
}

std::string text_of_ending(int state) {
  if (!WIFSIGNALED(state))
    return "ended with status " + std::to_string(WEXITSTATUS(state));
  int signal = WTERMSIG(state);
  return "was killed by signal " + std::to_string(signal) + " (" + ::strsignal(signal) + ")";
}

void log_to_stderr() {
  auto log = spdlog::stderr_logger_mt("enn");
  log->set_level(spdlog::level::warn);
  // On a terminal the progress line, which has no newline yet, makes room.
  log->set_pattern(::isatty(STDERR_FILENO) != 0 ? "\r\033[Kenn: %l: %v" : "enn: %l: %v");
  spdlog::set_default_logger(std::move(log));
}

int exit_status(const caf::error& error) {
  switch (code_of(error)) {
    case ec::bad_config:
    case ec::bad_usage: return 2;
    case ec::bad_data:
    case ec::data_mismatch: return 3;
    case ec::bad_checkpoint: return 5;
    case ec::interrupted: return 128 + (last_signal != 0 ? last_signal.load() : SIGINT);
    case ec::none: // CAF's own
    case ec::io_failed:
    case ec::nonfinite:
    case ec::not_reproducible:
    case ec::kernel_unavailable:
    case ec::gave_up:
    case ec::bad_graph:
    case ec::protocol:
    case ec::unavailable: break;
  }
  return 4;
}

void ignore_file_size_signal() {
  std::signal(SIGXFSZ, SIG_IGN);
}

void ignore_closed_output() {
  std::signal(SIGPIPE, SIG_IGN);
}

sigset_t signals_to_stop() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGINT, SIGTERM})
    sigaddset(&set, signal);
  if (!ignored(SIGHUP))
    sigaddset(&set, SIGHUP);
  return set;
}

void say_at_once(const std::string& text) {
  if (text.empty())
    return;
  auto line = std::string{::isatty(STDERR_FILENO) != 0 ? "\r\033[K" : ""} + "enn: " + text + "\n";
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) {
    // nobody listens
  }
}

stop_signals::stop_signals() : watched_{signals_to_stop()} {
  sigaddset(&watched_, wake_up);
  ::pthread_sigmask(SIG_BLOCK, &watched_, nullptr);
  watcher_ = std::thread{[this] { watch(); }};
}

stop_signals::~stop_signals() {
  ::pthread_kill(watcher_.native_handle(), wake_up);
  watcher_.join();
  ::pthread_sigmask(SIG_UNBLOCK, &watched_, nullptr);
}

void stop_signals::on_signal(std::string first, std::string second) {
  std::lock_guard guard{texts_};
  first_ = std::move(first);
  second_ = std::move(second);
}

void stop_signals::watch() {
  int direct = 0, passed_on = 0;
  siginfo_t info{};
  for (int signal = 0; (signal = ::sigwaitinfo(&watched_, &info)) != wake_up;) {
    if (signal < 0)
      continue; // the process was stopped and goes on
    last_signal = signal;
    auto times = info.si_code == SI_QUEUE ? ++passed_on : ++direct;
    if (times == 1 && asked_)
      continue;
    std::lock_guard guard{texts_};
    bool again = asked_.exchange(true);
    say_at_once(again ? second_ : first_);
    if (again)
      ::_exit(128 + signal);
  }
}

} // namespace enn::apps
