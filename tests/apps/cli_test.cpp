/// The real program, as people run it: what it prints, its exit status, and what survives signals, full disks and flipped bits.
#include "program.hpp"

#include <chrono>
#include <thread>

#include <sys/mount.h>
#include <sys/stat.h>

namespace enn::apps {
namespace {

using namespace std::chrono_literals;

/// A signal stopped it: said at once, and then where it stopped.
void expect_stopped(const result& r, int status, const arguments& words) {
  EXPECT_EQ(r.status, status) << r.out << r.err;
  EXPECT_TRUE(r.err.starts_with("enn: stopping after the current step")) << r.err;
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 2) << r.err;
  for (const auto& word : words)
    EXPECT_NE(r.err.find(word), std::string::npos) << "expected: " << word << "\nfound: " << r.err;
}

// -- data and runs ------------------------------------------------------------------------------------------------------------

/// The line with another first field.
std::string with_first(const char* field, const std::string& line) {
  return field + line.substr(line.find(','));
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
  expect_refused(enn({"train", "--bogus", "4"}), 2, {"unknown option --bogus; see --help"});
  expect_refused(enn({"jump"}), 2, {"unknown command jump; see enn --help"});
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

TEST(cli, config_checks_what_needs_no_data) {
  auto file = scratch() / "wrong.toml";
  write(file, "[data]\nstart = \"yesterday\"\n");
  expect_refused(enn({"config", file.string()}), 2, {"wrong.toml:2: data.start", "yesterday"});
  expect_refused(enn({"config", "--data.start", "yesterday"}), 2, {"--data.start: data.start", "yesterday"});
  EXPECT_EQ(enn({"config", "--data.delimiter", "\\t"}).status, 0);
}

TEST(cli, prints_the_configuration_and_its_documentation) {
  EXPECT_EQ(enn({"config", "--markdown"}).out, read(ENN_SOURCE_DIR "/docs/configuration.md"));
  auto r = enn({"config", config_file().string(), "--seed", "7"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_NE(r.out.find("seed = 7  # --train.seed"), std::string::npos) << r.out;
}

TEST(cli, what_cannot_be_read_has_the_exit_status_of_its_kind) {
  auto none = (scratch() / "none").string();
  for (const arguments& words : {arguments{"train", none + ".toml"}, {"describe", none + ".toml"}, {"config", none + ".toml"},
                                 {"train", "--resume", none}, {"evaluate", none}, {"verify-run", none}, {"describe", none},
                                 {"predict", none, "--input", none, "--output", none}})
    expect_refused(enn(words), 2, {none, "there is no such file or folder"});
  expect_refused(enn({"train", config_file(scratch() / "none.csv").string()}), 3, {"none.csv", "cannot open"});
  expect_refused(enn({"predict", finished_run().string(), "--input", none + ".csv", "--output", none, "--start", "2020-01-01"}), 3,
                 {"none.csv", "cannot open"});
  expect_refused(enn({"evaluate", finished_run().string(), "--data", none + ".csv"}), 3, {"none.csv", "cannot open"});
  expect_refused(enn({"inspect", none + ".h5"}), 5, {"none.h5"});
  expect_refused(enn({"evaluate", none + ".h5"}), 5, {"none.h5"});
  expect_refused(enn({"evaluate", finished_run().string(), "--checkpoint", none + ".h5"}), 5, {"none.h5"});
  auto folder = copy_of_finished_run("lost");
  fs::remove(checkpoint_named(folder, "best"));
  expect_refused(enn({"evaluate", folder.string()}), 5, {"lost", ".h5"});
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

arguments predict_into(const fs::path& output, const arguments& more = {"--start", "2020-02-01"}) {
  static const auto input = data_file("new.csv").string();
  arguments result{"predict", finished_run().string(), "--input", input, "--output", output.string()};
  result.insert(result.end(), more.begin(), more.end());
  return result;
}

TEST(cli, predict_writes_what_inspect_reads) {
  auto output = scratch() / "new" / "out.h5";
  auto r = enn(predict_into(output));
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_NE(r.out.find("292 windows"), std::string::npos) << r.out; // 300 - 6 - 4 + 1, and the one after the last line
  auto seen = enn({"inspect", output.string()});
  EXPECT_EQ(seen.status, 0) << seen.err;
  EXPECT_NE(seen.out.find("292 of (4, 4)"), std::string::npos) << seen.out;
}

TEST(cli, predict_overwrites_nothing_but_predictions_unless_told) {
  auto folder = scratch() / "outputs";
  auto input = folder / "input.csv", other = folder / "other.h5", link = folder / "link.h5", linked = folder / "linked.h5";
  write(input, read(data_file("new.csv")));
  write(other, "of somebody else");
  fs::create_hard_link(input, linked);
  fs::create_symlink("/dev/null", link);
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  auto into = [&](const fs::path& output) {
    return arguments{"predict", finished_run().string(), "--input", input.string(), "--output", output.string(),
                     "--start", "2020-02-01"};
  };
  auto overwriting = [&](const fs::path& output) {
    auto result = into(output);
    result.emplace_back("--overwrite");
    return result;
  };
  for (const auto& source : {input, linked, checkpoint_named(finished_run(), "best")})
    expect_refused(enn(overwriting(source)), 2, {"--output", source.string(), "is what is read"});
  expect_refused(enn(overwriting(folder)), 2, {"is a folder"});
  expect_refused(enn(overwriting(folder / "")), 2, {"is a folder"});
  expect_refused(enn(overwriting(link)), 2, {"is no regular file"});
  expect_refused(enn(overwriting(folder / "fifo")), 2, {"is no regular file"});
  expect_refused(enn(into(other)), 2, {other.string(), "holds no predictions", "--overwrite"});
  EXPECT_EQ(read(other), "of somebody else");
  EXPECT_EQ(read(input), read(scratch() / "new.csv"));
  auto r = enn(overwriting(other));
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(enn(into(other)).status, 0) << "predictions may be replaced";
  EXPECT_EQ(enn({"inspect", other.string()}).status, 0);
}

TEST(cli, predictions_have_a_manifest_of_their_own) {
  auto folder = scratch() / "manifests";
  write(folder / "manifest.json", "of somebody else");
  for (const char* name : {"a.h5", "b.h5"})
    ASSERT_EQ(enn(predict_into(folder / name)).status, 0);
  EXPECT_EQ(read(folder / "manifest.json"), "of somebody else");
  for (const char* name : {"a.h5", "b.h5"})
    EXPECT_NE(read(folder / (std::string{name} + ".manifest.json")).find("\"file\": \"" + std::string{name} + "\""), std::string::npos);
  EXPECT_EQ(std::distance(fs::directory_iterator{folder}, fs::directory_iterator{}), 5) << "something temporary is left";
  expect_refused(enn(predict_into(folder / "manifest.json", {"--start", "2020-02-01", "--overwrite"})), 2, {"manifest.json", "NAME.h5"});
  write(folder / "c.h5.manifest.json", "of somebody else");
  expect_refused(enn(predict_into(folder / "c.h5")), 2, {"c.h5.manifest.json", "--overwrite"});
  EXPECT_FALSE(fs::exists(folder / "c.h5"));
}

TEST(cli, predict_needs_to_know_the_times_of_the_new_lines) {
  auto output = scratch() / "times.h5";
  expect_refused(enn(predict_into(output, {})), 2, {"new.csv", "--start DATE", "--time-column NAME"});
  expect_refused(enn(predict_into(output, {"--start", "yesterday"})), 2, {"--start", "\"yesterday\"", "2012-03-01T00:00:00"});
  expect_refused(enn(predict_into(output, {"--start", "2020-02-01", "--time-column", "t"})), 2, {"--start and --time-column"});
  auto help = enn({"predict", "--help"}).out;
  for (const char* option : {"--start", "--time-column", "--overwrite"})
    EXPECT_NE(help.find(option), std::string::npos) << help;
  ASSERT_EQ(enn(predict_into(output)).status, 0);
  std::string text = "when,a,b,c,d\n";
  for (int line = 0; line < 24; ++line)
    text += "2020-02-01 " + std::string(line < 10 ? "0" : "") + std::to_string(line) + ":00," + line_of_data(line) + "\n";
  write(scratch() / "timed.csv", text);
  auto timed = [&](const std::string& file, const arguments& more) {
    arguments result{"predict", finished_run().string(), "--input", (scratch() / "timed.csv").string(), "--output", (scratch() / file).string()};
    result.insert(result.end(), more.begin(), more.end());
    return enn(result);
  };
  auto by_column = timed("by_column.h5", {"--time-column", "when"}), by_start = timed("by_start.h5", {"--start", "2020-02-01"});
  EXPECT_EQ(by_column.status, 0) << by_column.err;
  EXPECT_EQ(by_start.status, 0) << by_start.err;
  EXPECT_TRUE(read(scratch() / "by_column.h5") == read(scratch() / "by_start.h5")) << "times or predictions differ";
  expect_refused(timed("none.h5", {"--time-column", "wen"}), 3, {"timed.csv:1", "wen", "when"});
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
  expect_stopped(first, 130, {"stopped after step ", "enn train --resume " + folder.string()});
  auto second = disturb(folder, {"train", "--resume", folder.string()}, SIGTERM, lines_in(folder / "losses.jsonl") + 20);
  expect_stopped(second, 143, {"stopped after step "});
  EXPECT_NE(second.out.find("resume      from step "), std::string::npos) << second.out;
  auto third = disturb(folder, {"train", "--resume", folder.string()}, SIGHUP, lines_in(folder / "losses.jsonl") + 20);
  expect_stopped(third, 128 + SIGHUP, {"stopped after step "});
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

TEST(cli, how_to_go_on_is_said_in_words_that_a_shell_reads) {
  auto folder = scratch() / "it's a run";
  auto quoted = "'" + (scratch() / "it'\\''s a run").string() + "'";
  expect_stopped(disturb(folder, train_into(folder, "100000"), SIGTERM, 5), 143, {"go on with: enn train --resume " + quoted + "\n"});
}

TEST(cli, a_file_that_may_not_grow_is_an_error_of_the_run) {
  auto folder = scratch() / "limited";
  auto words = train_into(folder, "100000");
  std::string command = "ulimit -f 16; exec " ENN_PROGRAM;
  for (const auto& word : words)
    command += " '" + word + "'";
  command += " > /dev/null 2> '" + (scratch() / "limited.err").string() + "'";
  auto status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 4);
  EXPECT_NE(read(scratch() / "limited.err").find("File too large"), std::string::npos) << read(scratch() / "limited.err");
}

TEST(cli, a_closed_output_does_not_end_training) {
  auto folder = scratch() / "closed";
  std::string command = ENN_PROGRAM;
  for (const auto& word : train_into(folder))
    command += " '" + word + "'";
  EXPECT_EQ(WEXITSTATUS(std::system(("(" + command + "; echo $? > '" + (scratch() / "closed.status").string()
                                     + "') 2> /dev/null | true").c_str())), 0);
  EXPECT_EQ(read(scratch() / "closed.status"), "4\n") << "what could not be told is an error in the end";
  EXPECT_TRUE(fs::exists(folder / "table.md"));
}

TEST(cli, resume_sweeps_what_a_killed_run_left_in_its_folders) {
  auto folder = copy_of_finished_run("left");
  for (const char* name : {"table.md.999999999-1.tmp", "predictions/predictions.h5.999999999-1.tmp"})
    write(folder / name, "half");
  auto r = enn({"train", "--resume", folder.string()});
  EXPECT_EQ(r.status, 0) << r.err;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
  EXPECT_NE(r.out.find("resume      from step 30, checkpoints/step-00000030.h5"), std::string::npos) << r.out;
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
} // namespace enn::apps
