/// A checkpoint is old or new, never half, whichever call to the file system kills the process or fails.
#include "child.hpp"
#include "example_checkpoint.hpp"

#include <enn/serialization/checkpoint.hpp>
#include <enn/serialization/file.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <map>

namespace enn::fault {
namespace {

namespace fs = std::filesystem;
using namespace serialization;

enum said : int { done = 0, refused = 3, wrong = 4, killed = 128 + 9 };

class checkpoint_faults : public testing::Test {
protected:
  static constexpr std::size_t keep = 2;

  void SetUp() override {
    auto old = checkpoint_folder::open(history, keep);
    ASSERT_TRUE(old && old->save(example(10), true) && old->save(example(20), false));
  }
  /// Steps 10, the best, and 20 are there.
  void reset() {
    fs::remove_all(folder);
    fs::copy(history, folder);
  }
  int save(std::int64_t step = 30) {
    auto place = checkpoint_folder::open(folder, keep);
    if (!place)
      return text_of(place.error()).empty() ? wrong : refused;
    auto saved = place->save(example(step), true);
    return saved ? done : text_of(saved.error()).empty() ? wrong : refused;
  }
  plan of_the_folder(tally* counts = nullptr) {
    plan result;
    result.under = folder.c_str();
    result.counts = counts;
    return result;
  }
  std::string names() const {
    std::vector<std::string> all;
    for (const auto& entry : fs::directory_iterator{folder})
      all.push_back(entry.path().filename().string());
    std::sort(all.begin(), all.end());
    std::string result;
    for (const auto& name : all)
      result += name + ' ';
    return result;
  }
  /// What a reader finds is step 20 or 30, and 30 if the save said that it is done; then the save is made again.
  void expect_old_or_new(int status) {
    std::vector<std::string> skipped;
    auto found = checkpoint_folder::view(folder).load_last(skipped);
    ASSERT_TRUE(found) << text_of(found.error());
    EXPECT_TRUE(skipped.empty()) << skipped.front();
    EXPECT_TRUE(found->step == 30 || (found->step == 20 && status != done)) << found->step;
    EXPECT_EQ(content_fingerprint(*found), content_fingerprint(example(found->step)));
    auto best = checkpoint_folder::view(folder).named("best");
    ASSERT_TRUE(best) << text_of(best.error());
    EXPECT_TRUE(*best == 30 || (*best == 10 && found->step == 20)) << *best;
    EXPECT_TRUE(checkpoint_folder::view(folder).load(*best));
    EXPECT_EQ(save(), done);
    EXPECT_EQ(names(), "best last step-00000020.h5 step-00000030.h5 ");
  }

  scratch_folder scratch{"enn_checkpoint_faults"};
  fs::path history = scratch.path() / "history", folder = scratch.path() / "checkpoints";
};

/// Whether what failed is a call that a signal can interrupt, on the file systems that we know.
bool may_be_interrupted(const tally& counts) {
  auto it = static_cast<kind>(counts.met - 1);
  return it == kind::open || it == kind::write || it == kind::allocate || it == kind::truncate || it == kind::sync;
}

/// The calls that write, as the kernel counts them for this process; -1 where it does not tell.
long writes_of_the_kernel() {
  std::ifstream facts{"/proc/self/io"};
  std::string name;
  for (long number = 0; facts >> name >> number;)
    if (name == "syscw:")
      return number;
  return -1;
}

TEST_F(checkpoint_faults, every_call_is_seen) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer makes calls of its own";
#endif
  reset();
  auto counts = make_tally();
  auto seen = [&](kind k) { return counts->of_kind[static_cast<std::size_t>(k)].load(); };
  EXPECT_EQ(in_child(of_the_folder(counts), [&] {
    auto before = writes_of_the_kernel();
    auto status = save();
    auto writes = writes_of_the_kernel() - before;
    return status == done && before >= 0 && writes != static_cast<long>(seen(kind::write)) ? wrong : status;
  }), done) << "the kernel counts other writes than the " << seen(kind::write) << " that were seen";
  EXPECT_GE(counts->calls, 50u);
  EXPECT_LE(counts->calls, 600u);
  EXPECT_GE(seen(kind::write), 30u);
  EXPECT_EQ(seen(kind::open), 3u) << "the checkpoint, last, best";
  EXPECT_EQ(seen(kind::close), 3u);
  EXPECT_EQ(seen(kind::rename), 3u);
  EXPECT_GE(seen(kind::sync), 7u) << "each file, the folder after each, and the checkpoint when it is sealed";
  EXPECT_GE(seen(kind::truncate), 1u);
  EXPECT_GE(seen(kind::allocate), 1u);
  EXPECT_GE(seen(kind::unlink), 1u) << "step 10";
}

TEST_F(checkpoint_faults, killed_at_any_call_leave_the_old_or_the_new_one) {
  reset();
  auto calls = count_calls(of_the_folder(), [&] { return save(); });
  int fresh = 0;
  for (auto what : {deed::kill_before, deed::kill_torn, deed::kill_after})
    for (std::uint64_t at = 1; at <= calls; ++at) {
      reset();
      auto faults = of_the_folder(make_tally());
      faults.at = at;
      faults.what = what;
      ASSERT_EQ(in_child(faults, [&] { return save(); }), killed) << at << " of " << calls;
      fresh += checkpoint_folder::view(folder).named("last") == std::int64_t{30} ? 1 : 0;
      expect_old_or_new(killed);
      if (HasFailure())
        FAIL() << "killed at call " << at << " of " << calls << ", deed " << static_cast<int>(what);
    }
  EXPECT_GT(fresh, 0);
  EXPECT_LT(fresh, static_cast<int>(calls));
}

TEST_F(checkpoint_faults, killed_at_any_call_of_the_first_save_leave_none_or_a_whole_one) {
  fs::remove_all(folder);
  auto calls = count_calls(of_the_folder(), [&] { return save(); });
  for (std::uint64_t at = 1; at <= calls; ++at) {
    fs::remove_all(folder);
    auto faults = of_the_folder(make_tally());
    faults.at = at;
    faults.what = at % 2 == 0 ? deed::kill_torn : deed::kill_before;
    ASSERT_EQ(in_child(faults, [&] { return save(); }), killed) << at << " of " << calls;
    auto place = checkpoint_folder::view(folder);
    if (auto steps = place.steps(); steps && !steps->empty()) {
      std::vector<std::string> skipped;
      auto found = place.load_last(skipped);
      ASSERT_TRUE(found && skipped.empty()) << "killed at call " << at;
      EXPECT_EQ(content_fingerprint(*found), content_fingerprint(example(30)));
    }
    ASSERT_EQ(save(), done) << "killed at call " << at;
    EXPECT_EQ(names(), "best last step-00000030.h5 ");
  }
}

TEST_F(checkpoint_faults, with_any_call_failing_are_refused_or_right) {
  reset();
  auto calls = count_calls(of_the_folder(), [&] { return save(); });
  struct failure {
    deed what;
    int code;
    bool lasting;
  };
  std::map<int, int> statuses;
  for (auto [what, code, lasting] : {failure{deed::fail, EIO, false}, {deed::fail, EIO, true}, {deed::fail, ENOSPC, false},
                                     {deed::fail, ENOSPC, true}, {deed::fail, EINTR, false}, {deed::shorten, 0, false},
                                     {deed::shorten, 0, true}})
    for (std::uint64_t at = 1; at <= calls; ++at) {
      reset();
      auto faults = of_the_folder(make_tally());
      faults.at = at;
      faults.what = what;
      faults.code = code;
      faults.lasting = lasting;
      auto status = in_child(faults, [&] { return save(); });
      ++statuses[status];
      EXPECT_TRUE(status == done || status == refused) << status;
      EXPECT_TRUE(faults.counts->met);
      EXPECT_TRUE(status == done || (what != deed::shorten && !(code == EINTR && may_be_interrupted(*faults.counts))))
        << "could have gone on";
      expect_old_or_new(status);
      if (HasFailure())
        FAIL() << "call " << at << " of " << calls << ", deed " << static_cast<int>(what) << ", code " << code << ", lasting " << lasting;
    }
  EXPECT_GT(statuses[refused], 100);
}

TEST_F(checkpoint_faults, of_two_checkpointers_are_whole_whichever_call_the_other_one_falls_into) {
  // Nothing in the library keeps two from one folder: one that was given up may still be writing when the next begins.
  reset();
  auto calls = count_calls(of_the_folder(), [&] { return save(); });
  for (std::uint64_t at = 1; at <= calls; ++at) {
    reset();
    auto faults = of_the_folder(make_tally());
    faults.at = at;
    faults.what = deed::stop;
    auto first = start_child(faults, [&] { return save(30); });
    ASSERT_EQ(wait_for(first), 128 + SIGSTOP);
    EXPECT_EQ(save(40), done);
    ::kill(first, SIGCONT);
    EXPECT_EQ(wait_for(first), done);
    std::vector<std::string> skipped;
    auto found = checkpoint_folder::view(folder).load_last(skipped);
    ASSERT_TRUE(found && skipped.empty());
    EXPECT_EQ(content_fingerprint(*found), content_fingerprint(example(found->step)));
    EXPECT_TRUE(read_checkpoint(folder / "step-00000030.h5"));
    EXPECT_TRUE(read_checkpoint(folder / "step-00000040.h5"));
    EXPECT_EQ(names().find(".tmp"), std::string::npos) << names();
    if (HasFailure())
      FAIL() << "stopped at call " << at << " of " << calls;
  }
}

TEST_F(checkpoint_faults, that_cannot_be_read_are_never_read_wrong) {
  reset();
  auto load = [&]() -> int {
    if (!std::freopen("/dev/null", "w", stderr)) // HDF5 1.10.8 grumbles at exit once a read failed
      return wrong;
    std::vector<std::string> skipped;
    auto found = checkpoint_folder::view(folder).load_last(skipped);
    if (!found)
      return text_of(found.error()).empty() ? wrong : refused;
    auto older = found->step == 20 || !skipped.empty();
    return older && content_fingerprint(*found) == content_fingerprint(example(found->step)) ? done : wrong;
  };
  auto faults = of_the_folder();
  faults.reads = true;
  auto calls = count_calls(faults, load);
  EXPECT_GE(calls, 10u);
  EXPECT_LE(calls, 600u);
  for (auto [what, lasting] : {std::pair{deed::fail, false}, {deed::fail, true}, {deed::shorten, false}})
    for (std::uint64_t at = 1; at <= calls; ++at) {
      faults.counts = make_tally();
      faults.at = at;
      faults.what = what;
      faults.code = EIO;
      faults.lasting = lasting;
      auto status = in_child(faults, load);
      EXPECT_TRUE(faults.counts->met);
      ASSERT_TRUE(status == done || (status == refused && what == deed::fail))
        << status << " at read " << at << " of " << calls << ", lasting " << lasting;
    }
}

// -- logs -------------------------------------------------------------------------------------------------------------------

TEST_F(checkpoint_faults, logs_hold_every_line_that_was_acknowledged_and_no_torn_one) {
  constexpr int lines = 5;
  auto text = [](int line) { return "line " + std::to_string(line) + " of them"; };
  fs::create_directories(folder);
  const auto file = folder / "losses.jsonl";
  auto acknowledged = make_tally(); // bit i of its number: line i is written
  auto append = [&] {
    auto log = line_log::open(file);
    for (int line = 0; log && line < lines; ++line)
      if (log->append(text(line), line % 2 == 0)) // goes on after an error, as no actor does
        acknowledged->calls |= 1u << line;
    return done;
  };
  auto calls = count_calls(of_the_folder(), append);
  EXPECT_GE(calls, 10u);
  EXPECT_EQ(acknowledged->calls, (1u << lines) - 1);
  for (auto [what, code] : {std::pair{deed::kill_before, 0}, {deed::kill_torn, 0}, {deed::kill_after, 0}, {deed::fail, EIO},
                            {deed::fail, ENOSPC}, {deed::fail, EINTR}, {deed::shorten, 0}})
    for (std::uint64_t at = 1; at <= calls; ++at)
      for (bool lasting : {false, true}) {
        if (lasting && code == EINTR)
          continue; // no system is interrupted for ever
        fs::remove(file);
        acknowledged->calls = 0;
        auto faults = of_the_folder(make_tally());
        faults.at = at;
        faults.what = what;
        faults.code = code;
        faults.lasting = lasting;
        in_child(faults, append);
        auto again = line_log::open(file);
        ASSERT_TRUE(again && again->append("the next"));
        auto found = line_log::lines(file);
        ASSERT_TRUE(found);
        auto it = found->begin();
        for (int line = 0; line < lines; ++line)
          if (it != found->end() && *it == text(line))
            ++it;
          else
            EXPECT_EQ(acknowledged->calls >> line & 1u, 0u) << "line " << line << " is lost";
        EXPECT_TRUE(it != found->end() && *it == "the next") << "is no line: " << *it;
        if (HasFailure())
          FAIL() << "call " << at << " of " << calls << ", deed " << static_cast<int>(what) << ", code " << code << ", lasting " << lasting;
      }
}

} // namespace
} // namespace enn::fault
