/// Node processes of this machine that belong to one run: started, started again when they die, and ended with it.
#pragma once
#include <functional>
#include <mutex>
#include <string>
#include <sys/types.h>
#include <thread>
#include <vector>

namespace enn::apps {

class node_processes {
public:
  /// `command`: the arguments of each, after the program's name; "{}" becomes its number. `give_up`: called once, by another
  /// thread, when all of them ended of their own accord too often.
  node_processes(std::uint32_t count, std::vector<std::string> command, std::function<void(const std::string&)> give_up);
  /// Ends them: first politely.
  ~node_processes();
  node_processes(const node_processes&) = delete;
  node_processes& operator=(const node_processes&) = delete;

private:
  struct process {
    std::uint32_t number = 0;
    pid_t id = 0;               // 0: to be started
    std::uint32_t failures = 0; // it ended by itself; since it last lived for a while
    std::int64_t start_at = 0;  // milliseconds of the steady clock
  };
  void watch();
  void start(process& p);
  void ended(process& p, int status);
  bool sleep(std::int64_t milliseconds);
  void end_all();

  std::vector<std::string> command_;
  std::function<void(const std::string&)> give_up_;
  std::vector<process> processes_;
  bool told_ = false;
  int wake_up_[2] = {-1, -1}; // a pipe; closed to end the thread
  std::thread watcher_;       // starts and waits for all of them: they end when this thread ends
};

} // namespace enn::apps
