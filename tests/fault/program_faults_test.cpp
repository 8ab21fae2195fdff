/// A run ends with the same bits whichever call to the file system kills it or fails, and says so if it cannot go on.
#include "power_cut.hpp"
#include "program.hpp"

#include <enn/serialization/checkpoint.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <functional>

#include <sys/mount.h>

namespace enn::fault {
namespace {

namespace fs = std::filesystem;
using serialization::checkpoint_folder;

constexpr int killed = 128 + SIGKILL, stopped = 128 + SIGSTOP;

/// What must be the same, whatever happened: every loss, the last weights and moments, the table.
struct result_of_run {
  std::string losses, table;
  std::vector<std::pair<std::string, std::vector<float>>> tensors;
  bool operator==(const result_of_run&) const = default;
};

class program_faults : public testing::Test {
protected:
  arguments train() const { return {"train", config.string(), "--run.folder", run.string()}; }
  arguments resume() const { return {"train", "--resume", run.string()}; }
  /// Of a run that was stopped anywhere.
  arguments go_on() const { return fs::exists(run / "run.toml") ? resume() : train(); }

  program start(const arguments& words, const plan& faults = {}) const { return {scratch.path(), words, faults}; }
  plan of_the_run(std::uint64_t at = 0, deed what = deed::nothing, int code = 0, bool lasting = false) const {
    return {run.c_str(), at, what, code, lasting};
  }
  result_of_run result() const {
    std::vector<std::string> skipped;
    auto last = checkpoint_folder::view(run / "checkpoints").load_last(skipped);
    EXPECT_TRUE(last) << text_of(last.error());
    EXPECT_TRUE(skipped.empty()) << skipped.front();
    return {text_in(run / "losses.jsonl"), text_in(run / "table.md"), last ? last->tensors : decltype(last->tensors){}};
  }
  void expect_done(const result_of_run& expected) const {
    auto p = start(go_on());
    ASSERT_EQ(p.wait(), 0) << p.err();
    EXPECT_TRUE(result() == expected) << "other bits than undisturbed";
    for (const auto& entry : fs::recursive_directory_iterator{run})
      EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
  }
  /// The newest checkpoint is whole, or there is none and no trace of one.
  void expect_whole_checkpoints() const {
    if (!fs::exists(run / "checkpoints" / "last"))
      return;
    std::vector<std::string> skipped;
    auto found = checkpoint_folder::view(run / "checkpoints").load_last(skipped);
    EXPECT_TRUE(found && skipped.empty());
  }
  /// Under faults the run is right, or it says so and then can be gone on with.
  void expect_right_or_said(const result_of_run& expected, const plan& faults, const std::string& reason) const {
    auto p = start(train(), faults);
    auto status = p.wait();
    if (status == 0) { // of closing a file that is synced, say
      EXPECT_TRUE(result() == expected) << "silently wrong";
    } else {
      EXPECT_EQ(status, 4);
      EXPECT_NE(p.err().find(reason), std::string::npos) << p.err();
    }
    expect_whole_checkpoints();
    expect_done(expected);
  }
  /// The calls of an undisturbed run, and what it gives.
  std::uint64_t undisturbed(result_of_run& expected) {
    auto p = start(train(), of_the_run());
    EXPECT_EQ(p.wait(), 0) << p.err();
    expected = result();
    EXPECT_GE(p.counts().calls, 200u);
    EXPECT_LE(p.counts().calls, 2000u);
    fs::remove_all(run);
    return p.counts().calls;
  }
  /// Every stride-th call; with --gtest_shuffle --gtest_repeat=STRIDE, every call once.
  static void for_some(std::uint64_t calls, std::uint64_t stride, const std::function<void(std::uint64_t at)>& visit) {
    auto seed = seed_of_cases();
    for (std::uint64_t at = 1 + seed % stride; at <= calls; at += stride) {
      visit(at);
      if (HasFailure())
        FAIL() << "at call " << at << " of " << calls;
    }
  }

  scratch_folder scratch{"enn_program_faults"};
  fs::path config = tiny_config(scratch.path()), run = scratch.path() / "run";
};

TEST_F(program_faults, every_kind_of_call_is_seen) {
  auto p = start(train(), of_the_run());
  ASSERT_EQ(p.wait(), 0) << p.err();
  for (auto k : {kind::open, kind::write, kind::allocate, kind::truncate, kind::sync, kind::close, kind::rename, kind::unlink,
                 kind::mkdir})
    EXPECT_GE(p.counts().of_kind[static_cast<std::size_t>(k)], 2u) << static_cast<int>(k);
}

TEST_F(program_faults, killed_at_any_call_it_goes_on_to_the_same_bits) {
  result_of_run expected;
  auto calls = undisturbed(expected);
  for_some(calls, 11, [&](std::uint64_t at) {
    auto what = std::array{deed::kill_before, deed::kill_torn, deed::kill_after}[at % 3];
    fs::remove_all(run);
    EXPECT_EQ(start(train(), of_the_run(at, what)).wait(), killed);
    expect_whole_checkpoints();
    if (at % 2 == 0) // and again, while it goes on; if it still makes that many calls
      start(go_on(), of_the_run(1 + at * 7 % calls, what)).wait();
    expect_done(expected);
  });
}

TEST_F(program_faults, with_the_power_cut_after_any_call_it_goes_on_to_the_same_bits) {
  const auto trace = (scratch.path() / "trace").string();
  auto traced = of_the_run();
  traced.trace = trace.c_str();
  ASSERT_EQ(start(train(), traced).wait(), 0);
  const auto expected = result();
  const power_cuts cuts{{}, run, trace};
  for_some(cuts.calls(), 11, [&](std::uint64_t at) {
    std::mt19937 random{static_cast<std::mt19937::result_type>(seed_of_cases() * cuts.calls() + at)};
    plant(cuts.draw(at, random), run);
    expect_whole_checkpoints();
    expect_done(expected);
  });
}

TEST_F(program_faults, with_a_disk_full_from_any_call_on_it_says_so_and_goes_on_once_there_is_room) {
  result_of_run expected;
  for_some(undisturbed(expected), 17, [&](std::uint64_t at) {
    fs::remove_all(run);
    expect_right_or_said(expected, of_the_run(at, deed::fail, ENOSPC, true), "No space left on device");
  });
}

TEST_F(program_faults, with_any_call_failing_once_it_is_right_or_says_so) {
  result_of_run expected;
  for_some(undisturbed(expected), 17, [&](std::uint64_t at) {
    fs::remove_all(run);
    expect_right_or_said(expected, of_the_run(at, deed::fail, EIO), "Input/output error");
  });
}

TEST_F(program_faults, a_journal_that_cannot_take_the_end_is_an_error) {
  auto journal = (run / "journal.jsonl").string();
  auto p = start(train(), {journal.c_str()});
  ASSERT_EQ(p.wait(), 0) << p.err();
  auto expected = result();
  auto end = p.counts().calls - 2; // its write, sync and close are the last
  for (auto at : {end, end + 1}) {
    fs::remove_all(run);
    auto failing = start(train(), {journal.c_str(), at, deed::fail, ENOSPC});
    EXPECT_EQ(failing.wait(), 4);
    EXPECT_NE(failing.err().find(at == end ? "journal.jsonl: cannot append: No space left" : "journal.jsonl: cannot sync: No space left"), std::string::npos) << failing.err();
    expect_whole_checkpoints();
    expect_done(expected);
  }
}

TEST_F(program_faults, on_a_disk_of_any_size_it_says_if_that_is_full_and_goes_on_once_there_is_room) {
  result_of_run expected;
  undisturbed(expected);
  fs::create_directories(run);
  int full = 0;
  for (int kilobytes = 64; kilobytes <= 384; kilobytes += 64) {
    auto size = "size=" + std::to_string(kilobytes) + "k";
    if (::mount("tmpfs", run.c_str(), "tmpfs", 0, size.c_str()) != 0)
      GTEST_SKIP() << "needs the right to mount a small disk";
    auto p = start(train());
    auto status = p.wait();
    EXPECT_TRUE(status == 0 || (status == 4 && p.err().find("No space left on device") != std::string::npos)) << status << p.err();
    full += status == 4 ? 1 : 0;
    expect_whole_checkpoints();
    EXPECT_EQ(::mount("tmpfs", run.c_str(), "tmpfs", MS_REMOUNT, "size=8m"), 0);
    expect_done(expected);
    EXPECT_EQ(::umount2(run.c_str(), MNT_DETACH), 0);
    if (HasFailure())
      FAIL() << kilobytes << " KiB";
  }
  EXPECT_GT(full, 1);
  EXPECT_LT(full, 6);
}

// -- damage and company -----------------------------------------------------------------------------------------------------

TEST_F(program_faults, with_its_newest_checkpoints_damaged_it_goes_on_from_the_newest_good_one_and_names_the_others) {
  auto words = train(); // one a step, all kept
  words.insert(words.end(), {"--run.checkpoint-every", "1", "--run.keep-checkpoints", "6"});
  ASSERT_EQ(start(words).wait(), 0);
  const auto expected = result();
  for (std::int64_t damaged = 1; damaged <= 3; ++damaged) {
    for (std::int64_t step = 6; step > 6 - damaged; --step) {
      auto file = checkpoint_folder::view(run / "checkpoints").file_of(step);
      auto bytes = text_in(file);
      overwrite(file, step % 2 == 0 ? bytes.substr(0, bytes.size() / 2) : "x" + bytes.substr(1));
    }
    auto p = start(resume());
    EXPECT_EQ(p.wait(), 0) << p.err();
    const auto begin = std::to_string(6 - damaged), said = p.err();
    EXPECT_NE(p.out().find("resume      from step " + begin + ", checkpoints/step-0000000" + begin + ".h5"), std::string::npos) << p.out();
    for (std::int64_t step = 1; step <= 6; ++step)
      EXPECT_EQ(said.find("step-0000000" + std::to_string(step) + ".h5: ") != std::string::npos, step > 6 - damaged) << said;
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), damaged) << said;
    EXPECT_TRUE(result() == expected);
  }
}

TEST_F(program_faults, that_all_its_checkpoints_are_damaged_is_an_error) {
  ASSERT_EQ(start(train()).wait(), 0);
  for (const auto& entry : fs::directory_iterator{run / "checkpoints"})
    if (entry.path().extension() == ".h5")
      overwrite(entry.path(), "x");
  auto p = start(resume());
  EXPECT_EQ(p.wait(), 5);
  EXPECT_NE(p.err().find("holds no checkpoint that verifies"), std::string::npos) << p.err();
}

/// One stops within any of its calls; the other must be refused while that one owns the run, and do it where it does not yet.
TEST_F(program_faults, of_two_that_begin_the_same_run_one_does_it_and_the_other_is_refused) {
  result_of_run expected;
  auto calls = undisturbed(expected);
  auto other_words = train();
  other_words.insert(other_words.end(), {"--train.seed", "2"}); // not to be mistaken for the first
  int second_won = 0;
  auto try_at = [&](std::uint64_t at) {
    fs::remove_all(run);
    auto first = start(train(), of_the_run(at, deed::stop));
    ASSERT_EQ(first.wait(), stopped);
    auto second = start(other_words);
    auto status = second.wait();
    first.go_on();
    auto first_status = first.wait();
    EXPECT_TRUE((status == 2 && first_status == 0) || (status == 0 && first_status == 2)) << status << ' ' << first_status;
    second_won += status == 0 ? 1 : 0;
    EXPECT_EQ(result() == expected, first_status == 0) << "the one that was refused has changed the run";
    auto again = start(resume());
    EXPECT_EQ(again.wait(), 0) << again.err();
  };
  for (std::uint64_t at = 1; at < 12; ++at) // while the run is claimed
    try_at(at);
  for_some(calls, 101, try_at);
  EXPECT_GE(second_won, 1) << "the first was never caught before it owned the run";
}

TEST_F(program_faults, that_was_killed_does_not_own_its_run_any_more) {
  result_of_run expected;
  auto calls = undisturbed(expected);
  auto first = start(train(), of_the_run(calls / 2, deed::stop));
  ASSERT_EQ(first.wait(), stopped);
  auto second = start(resume());
  EXPECT_EQ(second.wait(), 2);
  EXPECT_NE(second.err().find("is in use by another process"), std::string::npos) << second.err();
  first.kill();
  EXPECT_EQ(first.wait(), killed);
  expect_done(expected);
}

} // namespace
} // namespace enn::fault
