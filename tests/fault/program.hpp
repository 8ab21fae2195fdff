/// The real program under faults.
#pragma once
#include "child.hpp"
#include "tiny_run.hpp"

#include <vector>

#include <fcntl.h>

namespace enn::fault {

using arguments = std::vector<std::string>;

/// `enn` with these arguments, on its way.
class program {
public:
  program(const std::filesystem::path& scratch, arguments words, const plan& faults = {}) : base_(scratch / "program") {
    static int number = 0;
    base_ += std::to_string(++number);
    words.insert(words.begin(), ENN_PROGRAM);
    auto environment = std::to_string(faults.at) + ' ' + std::to_string(static_cast<int>(faults.what)) + ' '
                       + std::to_string(faults.code) + ' ' + (faults.lasting ? "1 " : "0 ") + base_.string() + ".tally " + faults.under + ' '
                       + faults.trace;
    if (*faults.under)
      counts_ = make_tally((base_.string() + ".tally").c_str());
    pid_ = ::fork();
    if (pid_ != 0)
      return;
    for (auto [to, name] : {std::pair{1, ".out"}, {2, ".err"}})
      ::dup2(::open((base_.string() + name).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), to);
    if (*faults.under) {
      ::setenv("LD_PRELOAD", ENN_FAULT_LIBRARY, 1);
      ::setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 0);
      ::setenv("ENN_TEST_FAULT", environment.c_str(), 1);
    }
    std::vector<char*> pointers;
    for (auto& word : words)
      pointers.push_back(word.data());
    pointers.push_back(nullptr);
    ::execv(ENN_PROGRAM, pointers.data());
    ::_exit(127);
  }

  /// See wait_for().
  int wait() { return wait_for(pid_); }
  void go_on() { ::kill(pid_, SIGCONT); }
  void kill() { ::kill(pid_, SIGKILL); }
  std::string out() const { return text_in(base_.string() + ".out"); }
  std::string err() const { return text_in(base_.string() + ".err"); }
  const tally& counts() const { return *counts_; }

private:
  std::filesystem::path base_;
  tally* counts_ = nullptr; // of a program under faults
  pid_t pid_ = -1;
};

} // namespace enn::fault
