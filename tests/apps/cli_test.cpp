/// The real program, as people run it: what it prints, its exit status, and what survives signals, full disks and flipped bits.
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
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using arguments = std::vector<std::string>;

std::string read(const fs::path& file) {
  std::ifstream in{file, std::ios::binary};
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream{file, std::ios::binary} << text;
}

/// Of this process; gone when it ends.
const fs::path& scratch() {
  struct folder {
    fs::path path = fs::temp_directory_path() / ("enn_cli_test_" + std::to_string(getpid()));
    folder() { fs::create_directories(path); }
    ~folder() {
      std::error_code ignored;
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

/// The program, running.
class process {
public:
  explicit process(const arguments& given) {
    static int number = 0;
    base_ = scratch() / ("process" + std::to_string(++number));
    std::vector<std::string> words{ENN_PROGRAM};
    words.insert(words.end(), given.begin(), given.end());
    std::vector<char*> pointers;
    for (auto& word : words)
      pointers.push_back(word.data());
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    auto redirect = [&](int to, const std::string& name, int flags) {
      posix_spawn_file_actions_addopen(&files, to, name.c_str(), flags, 0600);
    };
    redirect(0, "/dev/null", O_RDONLY);
    redirect(1, base_.string() + ".out", O_WRONLY | O_CREAT | O_TRUNC);
    redirect(2, base_.string() + ".err", O_WRONLY | O_CREAT | O_TRUNC);
    EXPECT_EQ(posix_spawn(&pid_, ENN_PROGRAM, &files, nullptr, pointers.data(), environ), 0) << ENN_PROGRAM;
    posix_spawn_file_actions_destroy(&files);
  }

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

result enn(const arguments& given) {
  return process{given}.wait();
}

/// The program refused: this status, and one line on standard error, which has all these words.
void expect_refused(const result& r, int status, const arguments& words) {
  EXPECT_EQ(r.status, status) << r.out << r.err;
  EXPECT_TRUE(r.err.starts_with("enn: ")) << r.err;
  EXPECT_EQ(r.err.find('\n'), r.err.size() - 1) << r.err;
  for (const auto& word : words)
    EXPECT_NE(r.err.find(word), std::string::npos) << "expected: " << word << "\nfound: " << r.err;
}

// -- data and runs ------------------------------------------------------------------------------------------------------------

std::string line_of_data(int line) {
  std::string text;
  for (int node = 0; node < 4; ++node)
    text.append(node > 0 ? "," : "").append(std::to_string(std::sin(0.3 * line + node) + 0.1 * std::cos(1.7 * line * (node + 1))));
  return text;
}

/// Four nodes, 300 lines; `change` may spoil a line.
fs::path data_file(const std::string& name, const std::function<std::string(int, std::string)>& change = {}) {
  std::string text = "a,b,c,d\n";
  for (int line = 0; line < 300; ++line)
    text += (change ? change(line, line_of_data(line)) : line_of_data(line)) + "\n";
  write(scratch() / name, text);
  return scratch() / name;
}

/// The line with another first field.
std::string with_first(const char* field, const std::string& line) {
  return field + line.substr(line.find(','));
}

fs::path config_file(const fs::path& data = data_file("data.csv")) {
  auto file = scratch() / (data.stem().string() + ".toml");
  write(file, "[data]\npath = \"" + data.string() + "\"\nstart = \"2020-01-01\"\ninterval-seconds = 3600\n"
              "history = 6\nhorizon = 4\n"
              "[model]\nd-model = 8\nheads = 2\nlatents = 4\nspatial-depth = 1\ncollector-depth = 1\ngate-hidden = 8\n"
              "[train]\nsteps = 30\nbatch-rows = 16\nleases = 2\nvalidate-every = 10\nwarmup-steps = 5\n"
              "[run]\nworkers = 2\ncheckpoint-every = 10\n");
  return file;
}

arguments train_into(const fs::path& folder, const std::string& steps = "30") {
  return {"train", config_file().string(), "--run.folder", folder.string(), "--steps", steps};
}

/// A run that is done; made by the first test that asks.
const fs::path& finished_run() {
  static const fs::path folder = [] {
    auto path = scratch() / "finished";
    auto r = enn(train_into(path));
    EXPECT_EQ(r.status, 0) << r.out << r.err;
    return path;
  }();
  return folder;
}

fs::path copy_of_finished_run(const std::string& name) {
  auto folder = scratch() / name;
  fs::copy(finished_run(), folder, fs::copy_options::recursive);
  return folder;
}

fs::path checkpoint_named(const fs::path& run, const std::string& which) {
  auto name = read(run / "checkpoints" / which);
  return run / "checkpoints" / name.substr(0, name.find('\n'));
}

void flip_bit(const fs::path& file) {
  auto bytes = read(file);
  ASSERT_FALSE(bytes.empty()) << file;
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  write(file, bytes);
}

std::ptrdiff_t lines_in(const fs::path& file) {
  auto text = read(file);
  return std::count(text.begin(), text.end(), '\n');
}

/// Sends the signal once so many steps are recorded.
result disturb(const fs::path& folder, const arguments& given, int signal, std::ptrdiff_t steps) {
  process p{given};
  auto losses = folder / "losses.jsonl";
  while (p.alive() && (!fs::exists(losses) || lines_in(losses) < steps))
    std::this_thread::sleep_for(1ms);
  p.signal(signal);
  return p.wait();
}

// -- usage --------------------------------------------------------------------------------------------------------------------

const arguments commands = {"train", "evaluate", "predict", "describe", "inspect", "verify-run", "doctor", "config"};

TEST(cli, every_command_has_help) {
  auto all = enn({"--help"});
  EXPECT_EQ(all.status, 0);
  for (const auto& command : commands) {
    EXPECT_NE(all.out.find("  " + command), std::string::npos) << command;
    auto r = enn({command, "--help"});
    EXPECT_EQ(r.status, 0) << command;
    EXPECT_NE(r.out.find("Usage"), std::string::npos) << command << r.out;
    EXPECT_EQ(r.err, "") << command;
  }
}

TEST(cli, tells_its_version) {
  auto r = enn({"--version"});
  EXPECT_EQ(r.status, 0);
  ASSERT_TRUE(r.out.starts_with("enn ")) << r.out;
  auto declared = "project(enn VERSION " + r.out.substr(4, r.out.find('\n') - 4) + " ";
  EXPECT_NE(read(ENN_SOURCE_DIR "/CMakeLists.txt").find(declared), std::string::npos) << declared;
}

TEST(cli, refuses_what_it_does_not_know_and_names_the_nearest) {
  expect_refused(enn({}), 2, {"a command is needed"});
  expect_refused(enn({"trian"}), 2, {"unknown command trian; the nearest is train"});
  expect_refused(enn({"train", "--model.hedz", "4", "x.toml"}), 2, {"unknown option --model.hedz; the nearest is --model.heads"});
  expect_refused(enn({"train", "--hedz", "4"}), 2, {"unknown option --hedz"});
  expect_refused(enn({"train", "--d-model", "4"}), 2, {"the nearest is --model.d-model"});
  expect_refused(enn({"train", "--resum", "x"}), 2, {"unknown option --resum; the nearest is --resume"});
  expect_refused(enn({"evaluate", "x", "--checkpiont", "best"}), 2, {"the nearest is --checkpoint"});
  expect_refused(enn({"predict", "x"}), 2, {"--input", "enn predict --help"});
  expect_refused(enn({"train"}), 2, {"needs a configuration file"});
}

TEST(cli, an_unknown_key_in_a_file_is_named_with_its_line) {
  auto file = scratch() / "unknown.toml";
  write(file, "[model]\n\nhedz = 4\n");
  expect_refused(enn({"train", file.string()}), 2, {"unknown.toml:3", "hedz", "model.heads"});
}

TEST(cli, a_bad_value_is_named_with_its_option) {
  expect_refused(enn({"train", config_file().string(), "--model.heads", "0"}), 2, {"--model.heads", "outside 1 to 1024"});
}

TEST(cli, prints_the_configuration_and_its_documentation) {
  EXPECT_EQ(enn({"config", "--markdown"}).out, read(ENN_SOURCE_DIR "/docs/configuration.md"));
  auto r = enn({"config", config_file().string(), "--seed", "7"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_NE(r.out.find("seed = 7  # --train.seed"), std::string::npos) << r.out;
}

TEST(cli, a_full_output_is_an_error) {
  auto command = std::string{ENN_PROGRAM} + " config --markdown > /dev/full 2> /dev/null";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 4);
}

TEST(cli, doctor_shows_machine_kernels_and_libraries) {
  auto r = enn({"doctor"});
  EXPECT_EQ(r.status, 0) << r.err;
  for (const char* word : {"CAF", "Cap'n Proto", "HDF5", "processor", "portable", "open files"})
    EXPECT_NE(r.out.find(word), std::string::npos) << word << "\n" << r.out;
}

// -- data ---------------------------------------------------------------------------------------------------------------------

TEST(cli, a_ragged_row_is_named_with_its_line) {
  auto data = data_file("ragged.csv", [](int line, std::string text) { return line == 99 ? text + ",1" : text; });
  expect_refused(enn({"train", config_file(data).string()}), 3, {"ragged.csv", "101"});
}

TEST(cli, text_in_the_place_of_a_number_is_named_with_its_line) {
  auto data = data_file("text.csv", [](int line, std::string text) { return line == 42 ? with_first("fast", text) : text; });
  expect_refused(enn({"train", config_file(data).string()}), 3, {"text.csv", "44", "fast"});
}

TEST(cli, too_little_data_is_refused) {
  auto file = scratch() / "short.csv";
  write(file, "a,b\n1,2\n3,4\n");
  expect_refused(enn({"train", config_file(file).string()}), 3, {"short.csv"});
}

// -- runs ---------------------------------------------------------------------------------------------------------------------

TEST(cli, training_tells_what_it_found_and_ends_in_a_table) {
  auto r = enn(train_into(scratch() / "told"));
  ASSERT_EQ(r.status, 0) << r.out << r.err;
  for (const char* word : {"300 lines, 4 nodes, no missing values", "train ", "validation ", "test ", "parameters", "step 30/30",
                           "enn", "mean", "last value", "ridge", "4 steps (4 h)"})
    EXPECT_NE(r.out.find(word), std::string::npos) << word << "\n" << r.out;
  for (const char* name : {"run.toml", "losses.jsonl", "metrics.jsonl", "journal.jsonl", "table.md", "forecast.svg",
                           "checkpoints/last", "checkpoints/best", "predictions/predictions.h5", "predictions/manifest.json"})
    EXPECT_TRUE(fs::exists(scratch() / "told" / name)) << name;
  EXPECT_NE(r.out.find(read(scratch() / "told" / "table.md")), std::string::npos);
}

TEST(cli, a_run_keeps_its_settings_with_their_origins_and_what_it_was_made_with) {
  auto text = read(finished_run() / "run.toml");
  for (const char* fact : {"# enn: ", "# CAF: ", "# compiler: ", "# machine: ", " cores\n", "# blas: ", "# kernel sets of this machine: ",
                           "# kernels: rung 0 ", "rung 4 reference in double\n", "# data: 300 lines, XXH3-128 ", "# steps: 30",
                           "\nsteps = 30  # --train.steps\n", "\nheads = 2  # ", "data.toml:8\n"})
    EXPECT_NE(text.find(fact), std::string::npos) << fact << "\n" << text;
}

TEST(cli, a_folder_that_holds_a_run_is_refused_or_moved_aside) {
  auto folder = copy_of_finished_run("held");
  expect_refused(enn(train_into(folder)), 2, {"holds a run already", "--resume"});
  auto again = train_into(folder);
  again.emplace_back("--overwrite");
  auto r = enn(again);
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(read(folder / "losses.jsonl"), read(folder.string() + ".1/losses.jsonl"));
}

TEST(cli, a_folder_that_cannot_be_made_is_an_error) {
  write(scratch() / "file", "in the way");
  expect_refused(enn(train_into(scratch() / "file" / "run")), 4, {(scratch() / "file").string()});
}

TEST(cli, a_full_disk_is_an_error_and_leaves_no_broken_file) {
  auto folder = scratch() / "small";
  fs::create_directories(folder);
  if (mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64k") != 0)
    GTEST_SKIP() << "may not mount a small file system";
  auto r = enn(train_into(folder / "run"));
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
    if (entry.path().extension() == ".h5") {
      EXPECT_EQ(enn({"inspect", entry.path().string()}).status, 0) << entry.path();
    }
  }
  umount(folder.c_str());
  EXPECT_EQ(r.status, 4) << r.out << r.err;
  EXPECT_NE(r.err.find("No space left on device"), std::string::npos) << r.err;
}

TEST(cli, evaluate_gives_the_table_of_training_again) {
  auto r = enn({"evaluate", finished_run().string()});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_NE(r.out.find(read(finished_run() / "table.md")), std::string::npos) << r.out;
  auto last = enn({"evaluate", finished_run().string(), "--checkpoint", "last", "--deviations", "--workers", "1"});
  EXPECT_EQ(last.status, 0) << last.err;
  EXPECT_NE(last.out.find("step 30."), std::string::npos) << last.out;
}

TEST(cli, predict_writes_what_inspect_reads) {
  auto output = scratch() / "new" / "out.h5";
  auto r = enn({"predict", finished_run().string(), "--input", data_file("new.csv").string(), "--output", output.string()});
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_NE(r.out.find("292 windows"), std::string::npos) << r.out; // 300 - 6 - 4 + 1, and the one after the last line
  auto seen = enn({"inspect", output.string()});
  EXPECT_EQ(seen.status, 0) << seen.err;
  EXPECT_NE(seen.out.find("292 of (4, 4)"), std::string::npos) << seen.out;
}

TEST(cli, inspect_shows_a_checkpoint_and_its_network) {
  auto r = enn({"inspect", checkpoint_named(finished_run(), "last").string()});
  EXPECT_EQ(r.status, 0) << r.err;
  for (const char* word : {"every checksum is right", "step        30", "weights", "prediction"})
    EXPECT_NE(r.out.find(word), std::string::npos) << word << "\n" << r.out;
}

TEST(cli, a_flipped_bit_in_a_checkpoint_is_found) {
  auto folder = copy_of_finished_run("flipped");
  flip_bit(checkpoint_named(folder, "best"));
  expect_refused(enn({"evaluate", folder.string()}), 5, {".h5"});
  expect_refused(enn({"inspect", checkpoint_named(folder, "best").string()}), 5, {".h5"});
}

TEST(cli, describe_shows_the_network) {
  auto r = enn({"describe", config_file().string(), "--nodes"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_FALSE(r.out.empty());
}

TEST(cli, verify_run_finds_the_same_bits_and_a_changed_one) {
  auto r = enn({"verify-run", finished_run().string(), "--workers", "1"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_NE(r.out.find("30 steps"), std::string::npos) << r.out;
  auto folder = copy_of_finished_run("changed");
  auto losses = read(folder / "losses.jsonl");
  auto digit = losses.find("0x1.") + 6;
  losses[digit] = losses[digit] == '7' ? '8' : '7';
  write(folder / "losses.jsonl", losses);
  auto changed = enn({"verify-run", folder.string()});
  EXPECT_EQ(changed.status, 4) << changed.err;
  EXPECT_NE(changed.err.find("step 1 gives other numbers than recorded"), std::string::npos) << changed.err;
}

TEST(cli, data_that_was_changed_is_not_the_data_of_the_run) {
  auto other = data_file("other.csv", [](int line, std::string text) { return line == 7 ? with_first("1", text) : text; });
  expect_refused(enn({"evaluate", finished_run().string(), "--data", other.string()}), 3, {"other.csv", "recorded"});
}

// -- interruptions ------------------------------------------------------------------------------------------------------------

/// What a run gives that nothing disturbs, long enough to disturb another.
const std::string& undisturbed() {
  static const std::string losses = [] {
    auto r = enn(train_into(scratch() / "undisturbed", "300"));
    EXPECT_EQ(r.status, 0) << r.err;
    return read(scratch() / "undisturbed" / "losses.jsonl");
  }();
  return losses;
}

TEST(cli, a_run_that_is_interrupted_says_how_to_go_on_and_gives_the_same_bits) {
  auto folder = scratch() / "interrupted";
  auto first = disturb(folder, train_into(folder, "300"), SIGINT, 20);
  expect_refused(first, 130, {"stopped after step ", "enn train --resume " + folder.string()});
  auto second = disturb(folder, {"train", "--resume", folder.string()}, SIGTERM, lines_in(folder / "losses.jsonl") + 20);
  expect_refused(second, 143, {"stopped after step "});
  auto r = enn({"train", "--resume", folder.string(), "--workers", "1"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_TRUE(read(folder / "losses.jsonl") == undisturbed());
  EXPECT_EQ(read(folder / "table.md"), read(scratch() / "undisturbed" / "table.md"));
}

TEST(cli, a_run_that_is_killed_goes_on_and_gives_the_same_bits) {
  auto folder = scratch() / "killed";
  EXPECT_EQ(disturb(folder, train_into(folder, "300"), SIGKILL, 3).status, 128 + SIGKILL);
  for (int steps : {40, 100})
    EXPECT_EQ(disturb(folder, {"train", "--resume", folder.string()}, SIGKILL, steps).status, 128 + SIGKILL);
  auto r = enn({"train", "--resume", folder.string()});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_TRUE(read(folder / "losses.jsonl") == undisturbed());
}

TEST(cli, resume_refuses_what_would_change_the_run) {
  auto folder = finished_run().string();
  expect_refused(enn({"train", "--resume", folder, "--seed", "2"}), 2, {"--train.seed cannot be changed"});
  expect_refused(enn({"train", "--resume", scratch().string()}), 2, {"holds no run"});
}

TEST(cli, one_process_at_a_time_owns_a_run) {
  auto folder = scratch() / "owned";
  process first{train_into(folder, "100000")};
  while (first.alive() && !fs::exists(folder / "losses.jsonl"))
    std::this_thread::sleep_for(1ms);
  expect_refused(enn({"train", "--resume", folder.string()}), 2, {"is in use by another process"});
  first.signal(SIGINT);
  EXPECT_EQ(first.wait().status, 130);
}

} // namespace
