#include "node_processes.hpp"

#include "process.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace enn::apps {
namespace {

constexpr std::uint32_t most_failures = 5;
constexpr std::int64_t look_every = 20, settled_after = 10'000, grace = 5'000, longest_pause = 2'000; // milliseconds

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

} // namespace

node_processes::node_processes(std::uint32_t count, std::vector<std::string> command, std::function<void(const std::string&)> give_up)
  : command_(std::move(command)), give_up_(std::move(give_up)), processes_(count) {
  for (std::uint32_t i = 0; i < count; ++i)
    processes_[i].number = i + 1;
  if (::pipe2(wake_up_, O_CLOEXEC) != 0)
    throw std::system_error(errno, std::generic_category(), "pipe");
  watcher_ = std::thread{[this] { watch(); }};
}

node_processes::~node_processes() {
  ::close(wake_up_[1]);
  watcher_.join();
  ::close(wake_up_[0]);
}

/// False: it is over.
bool node_processes::sleep(std::int64_t milliseconds) {
  pollfd p{wake_up_[0], POLLIN, 0};
  return ::poll(&p, 1, static_cast<int>(milliseconds)) == 0;
}

void node_processes::watch() {
  do {
    for (auto& p : processes_) {
      int status = 0;
      if (p.id > 0 && ::waitpid(p.id, &status, WNOHANG) == p.id)
        ended(p, status);
      if (p.id == 0 && p.failures <= most_failures && now() >= p.start_at)
        start(p);
    }
    auto lost = std::all_of(processes_.begin(), processes_.end(), [](const process& p) { return p.failures > most_failures; });
    if (lost && !std::exchange(told_, true))
      give_up_("every node process ended by itself " + std::to_string(most_failures + 1) + " times");
  } while (sleep(look_every));
  end_all();
}

/// A kill is not its fault: it is only started again, after a pause.
void node_processes::ended(process& p, int status) {
  auto age = now() - p.start_at;
  p.id = 0;
  if (age > settled_after)
    p.failures = 0;
  p.failures += WIFEXITED(status);
  auto pause = std::min<std::int64_t>(longest_pause, look_every << std::min(p.failures, 8u));
  p.start_at = now() + pause;
  spdlog::warn("node process {} {}; {}", p.number, text_of_ending(status), p.failures <= most_failures ? "it is started again" : "that was too often");
}

/// In a process group of its own, so that Ctrl-C reaches the coordinator alone, which ends them in good order.
void node_processes::start(process& p) {
  std::vector<std::string> words{"enn"};
  for (const auto& word : command_) {
    words.push_back(word);
    if (auto place = words.back().find("{}"); place != std::string::npos)
      words.back().replace(place, 2, std::to_string(p.number));
  }
  std::vector<char*> arguments;
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t files;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_init(&files);
  sigset_t none;
  sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  auto problem = ::posix_spawn(&p.id, "/proc/self/exe", &files, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  p.start_at = now();
  if (problem == 0)
    return;
  p.id = 0;
  ++p.failures;
  p.start_at += longest_pause;
  spdlog::error("node process {} cannot be started: {}", p.number, std::strerror(problem));
}

void node_processes::end_all() {
  for (const auto& p : processes_)
    if (p.id > 0)
      ::kill(p.id, SIGTERM);
  for (auto limit = now() + grace; now() < limit; ::usleep(5000)) {
    for (auto& p : processes_)
      if (p.id > 0 && ::waitpid(p.id, nullptr, WNOHANG) == p.id)
        p.id = 0;
    if (std::all_of(processes_.begin(), processes_.end(), [](const process& p) { return p.id == 0; }))
      return;
  }
  for (auto& p : processes_)
    if (p.id > 0) {
      ::kill(p.id, SIGKILL);
      ::waitpid(p.id, nullptr, 0);
    }
}

} // namespace enn::apps
