/// A run ends with the same bits whichever call to the file system kills it or fails, and says so if it cannot go on.
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

} // namespace
} // namespace enn::fault
