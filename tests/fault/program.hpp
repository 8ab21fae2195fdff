/// The real program under faults, on a run so small that it takes a tenth of a second.
#pragma once
#include "child.hpp"

#include <cmath>
#include <fstream>
#include <sstream>
#include <vector>

#include <fcntl.h>

namespace enn::fault {

using arguments = std::vector<std::string>;

inline std::string text_in(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// In place, as a failing disk changes a file.
inline void overwrite(const std::filesystem::path& file, const std::string& text) {
  std::ofstream{file, std::ios::binary} << text;
}

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

/// Two nodes, 120 lines; six steps, with a checkpoint after every second and evaluations after every third.
inline std::filesystem::path tiny_config(const std::filesystem::path& scratch) {
  std::string data = "a,b\n";
  for (int line = 0; line < 120; ++line)
    data += std::to_string(std::sin(0.3 * line)) + ',' + std::to_string(std::cos(0.3 * line) + 0.1 * std::sin(1.7 * line)) + '\n';
  overwrite(scratch / "tiny.csv", data);
  overwrite(scratch / "tiny.toml",
            "[data]\npath = \"" + (scratch / "tiny.csv").string() + "\"\nstart = \"2020-01-01\"\ninterval-seconds = 3600\n"
            "history = 4\nhorizon = 2\n"
            "[model]\nd-model = 8\nheads = 2\nlatents = 2\nspatial-depth = 1\ncollector-depth = 1\ngate-hidden = 8\n"
            "[train]\nsteps = 6\nbatch-rows = 8\nleases = 2\nvalidate-every = 3\nwarmup-steps = 2\n"
            "[run]\nworkers = 1\ncheckpoint-every = 2\n");
  return scratch / "tiny.toml";
}

} // namespace enn::fault
