/// Work in a process of its own, which may be killed by its faults.
#pragma once
#include "faults.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

namespace enn::fault {

/// In memory where there is such a place: thousands of syncs need not wait for a disk that others use.
inline std::filesystem::path place_for_scratch() {
  return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
}

/// A folder of this process; gone when it ends.
class scratch_folder {
public:
  explicit scratch_folder(const std::string& name)
    : path_(place_for_scratch() / (name + "_" + std::to_string(::getpid()))), owner_(::getpid()) {
    std::filesystem::create_directories(path_);
  }
  ~scratch_folder() {
    std::error_code ignored;
    if (::getpid() == owner_) // not of its children
      std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
  pid_t owner_;
};

/// Of the cases that a test tries: 0, so that they are the same each time, unless gtest is asked to shuffle.
inline std::uint64_t seed_of_cases() {
  return testing::GTEST_FLAG(shuffle) ? static_cast<std::uint64_t>(testing::UnitTest::GetInstance()->random_seed()) : 0;
}

/// 128 and its number for a signal, as a shell says it.
inline int exit_status(int state) {
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

/// Starts a child that does `work`, whose answer is its exit status, under `faults`. It ends as programs do: what the libraries
/// have to do at exit is done.
template <class Work>
pid_t start_child(const plan& faults, Work&& work) {
  std::fflush(nullptr);
  auto child = ::fork();
  if (child == 0) {
    if (faults.counts)
      arm(faults);
    auto status = work();
    disarm();
    std::exit(status);
  }
  return child;
}

/// Its exit status once it ended; 128 + SIGSTOP if it stops, and it may be waited for again.
inline int wait_for(pid_t child) {
  int state = 0;
  EXPECT_EQ(::waitpid(child, &state, WUNTRACED), child);
  return WIFSTOPPED(state) ? 128 + WSTOPSIG(state) : exit_status(state);
}

template <class Work>
int in_child(const plan& faults, Work&& work) {
  return wait_for(start_child(faults, work));
}

/// How many calls `work` makes.
template <class Work>
std::uint64_t count_calls(plan faults, Work&& work) {
  faults.at = 0;
  faults.counts = make_tally();
  EXPECT_EQ(in_child(faults, work), 0);
  return faults.counts->calls;
}

} // namespace enn::fault
