/// The program as a process, and something small for it to train on.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace enn::apps {

namespace fs = std::filesystem;
using arguments = std::vector<std::string>;

inline std::string read(const fs::path& file) {
  std::ifstream in{file, std::ios::binary};
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream{file, std::ios::binary} << text;
}

/// Of this process, not of its forks; gone when it ends.
inline const fs::path& scratch() {
  struct folder {
    fs::path path = fs::temp_directory_path() / ("enn_program_test_" + std::to_string(getpid()));
    pid_t owner = getpid();
    folder() { fs::create_directories(path); }
    ~folder() {
      std::error_code ignored;
      if (getpid() == owner)
        fs::remove_all(path, ignored);
    }
  };
  static folder it;
  return it.path;
}

struct result {
  int status = -1; // 128 and its number for a signal
  std::string out, err;
};

/// The program, running; with this in its environment, besides what is there.
class process {
public:
  explicit process(const arguments& given, const std::vector<std::pair<std::string, std::string>>& environment = {}) {
    static int number = 0;
    base_ = scratch() / ("process" + std::to_string(++number));
    std::vector<std::string> words{ENN_PROGRAM};
    words.insert(words.end(), given.begin(), given.end());
    std::vector<char*> pointers;
    for (auto& word : words)
      pointers.push_back(word.data());
    pointers.push_back(nullptr);
    pid_ = fork();
    EXPECT_GE(pid_, 0);
    if (pid_ != 0)
      return;
    prctl(PR_SET_PDEATHSIG, SIGKILL); // of a test that is killed because it hangs, nothing stays
    auto redirect = [](int to, const std::string& name, int flags) { dup2(open(name.c_str(), flags, 0600), to); };
    redirect(0, "/dev/null", O_RDONLY);
    redirect(1, base_.string() + ".out", O_WRONLY | O_CREAT | O_TRUNC);
    redirect(2, base_.string() + ".err", O_WRONLY | O_CREAT | O_TRUNC);
    for (const auto& [name, value] : environment)
      setenv(name.c_str(), value.c_str(), 1);
    execv(ENN_PROGRAM, pointers.data());
    _exit(127);
  }

  process(const process&) = delete;
  process& operator=(const process&) = delete;
  ~process() { // of a test that failed
    if (!ended_)
      signal(SIGKILL);
    wait();
  }

  pid_t id() const { return pid_; }
  /// So far.
  std::string err() const { return read(base_.string() + ".err"); }
  bool alive() { return ended_ || waitpid(pid_, &state_, WNOHANG) == 0 ? !ended_ : !(ended_ = true); }
  void signal(int number) { kill(pid_, number); }

  result wait() {
    if (!ended_)
      waitpid(pid_, &state_, 0);
    ended_ = true;
    return {WIFEXITED(state_) ? WEXITSTATUS(state_) : 128 + WTERMSIG(state_), read(base_.string() + ".out"),
            read(base_.string() + ".err")};
  }

private:
  fs::path base_;
  pid_t pid_ = -1;
  int state_ = 0;
  bool ended_ = false;
};

inline result enn(const arguments& given) {
  return process{given}.wait();
}

/// The program refused: this status, and one line on standard error, which has all these words.
inline void expect_refused(const result& r, int status, const arguments& words) {
  EXPECT_EQ(r.status, status) << r.out << r.err;
  EXPECT_TRUE(r.err.starts_with("enn: ")) << r.err;
  EXPECT_EQ(r.err.find('\n'), r.err.size() - 1) << r.err;
  for (const auto& word : words)
    EXPECT_NE(r.err.find(word), std::string::npos) << "expected: " << word << "\nfound: " << r.err;
}

// -- data and runs ------------------------------------------------------------------------------------------------------------

inline std::string line_of_data(int line) {
  std::string text;
  for (int node = 0; node < 4; ++node)
    text.append(node > 0 ? "," : "").append(std::to_string(std::sin(0.3 * line + node) + 0.1 * std::cos(1.7 * line * (node + 1))));
  return text;
}

/// Four nodes, 300 lines; `change` may spoil a line.
inline fs::path data_file(const std::string& name, const std::function<std::string(int, std::string)>& change = {}) {
  std::string text = "a,b,c,d\n";
  for (int line = 0; line < 300; ++line)
    text += (change ? change(line, line_of_data(line)) : line_of_data(line)) + "\n";
  write(scratch() / name, text);
  return scratch() / name;
}

inline fs::path config_file(const fs::path& data = data_file("data.csv")) {
  auto file = scratch() / (data.stem().string() + ".toml");
  write(file, "[data]\npath = \"" + data.string() + "\"\nstart = \"2020-01-01\"\ninterval-seconds = 3600\n"
              "history = 6\nhorizon = 4\n"
              "[model]\nd-model = 8\nheads = 2\nlatents = 4\nspatial-depth = 1\ncollector-depth = 1\ngate-hidden = 8\n"
              "[train]\nsteps = 30\nbatch-rows = 16\nleases = 2\nvalidate-every = 10\nwarmup-steps = 5\n"
              "[run]\nworkers = 2\ncheckpoint-every = 10\n");
  return file;
}

inline arguments train_into(const fs::path& folder, const std::string& steps = "30") {
  return {"train", config_file().string(), "--run.folder", folder.string(), "--steps", steps};
}

inline fs::path checkpoint_named(const fs::path& run, const std::string& which) {
  auto name = read(run / "checkpoints" / which);
  return run / "checkpoints" / name.substr(0, name.find('\n'));
}

inline void flip_bit(const fs::path& file) {
  auto bytes = read(file);
  ASSERT_FALSE(bytes.empty()) << file;
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  write(file, bytes);
}

inline std::ptrdiff_t lines_in(const fs::path& file) {
  auto text = read(file);
  return std::count(text.begin(), text.end(), '\n');
}

/// Until `done`, or for long enough that only something broken takes longer.
inline bool eventually(const std::function<bool()>& done) {
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds{60};
  for (; std::chrono::steady_clock::now() < until; std::this_thread::sleep_for(std::chrono::milliseconds{1}))
    if (done())
      return true;
  return done();
}

/// The processes that this one started, by whichever thread.
inline std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> found;
  std::error_code gone;
  for (const auto& thread : fs::directory_iterator{"/proc/" + std::to_string(parent) + "/task", gone}) {
    std::ifstream in{thread.path() / "children"};
    for (pid_t child; in >> child;)
      found.push_back(child);
  }
  return found;
}

} // namespace enn::apps
