/// A checkpoint is old or new and a log a prefix of its lines, whatever a power cut leaves of what was not synced.
#include "child.hpp"
#include "power_cut.hpp"

#include <enn/serialization/checkpoint.hpp>
#include <enn/serialization/file.hpp>

#include <algorithm>
#include <set>

#include <fcntl.h>

namespace enn::fault {
namespace {

namespace fs = std::filesystem;
using namespace serialization;

class power_cut : public testing::Test {
protected:
  /// What the cuts of `work` may leave of the folder; the work ends with 0.
  template <class Work>
  power_cuts cuts_of(Work&& work) {
    auto before = tree_in(folder);
    auto trace = scratch.path() / "trace";
    fs::remove(trace);
    plan traced;
    traced.under = folder.c_str();
    traced.counts = make_tally();
    traced.trace = trace.c_str();
    EXPECT_EQ(in_child(traced, work), 0);
    return {before, folder, trace};
  }
  /// After how many calls a cut may leave what is bad; none: never. check(marks) looks at what is in the folder.
  template <class Check>
  std::optional<std::size_t> first_bad(const power_cuts& cuts, Check&& check) {
    std::optional<std::size_t> bad;
    std::size_t different = 0;
    auto all = cuts.visit_all([&](const tree& files, std::size_t calls) {
      ++different;
      plant(files, folder);
      if (!check(cuts.marks(calls)))
        bad = calls;
      return !bad;
    });
    std::printf("%zu states, %zu of them different, of %zu calls\n", all, different, cuts.calls());
    return bad;
  }

  scratch_folder scratch{"enn_power_cut"};
  fs::path folder = scratch.path() / "run";
};

// -- checkpoints ------------------------------------------------------------------------------------------------------------

checkpoint example(std::int64_t step) {
  checkpoint result;
  result.step = step;
  for (int i = 0; i < 12; ++i) // more than HDF5 keeps in an object's header
    result.facts.emplace_back("fact-" + std::to_string(i), std::string(300, 'x'));
  result.tensors.emplace_back("weights", std::vector<float>(2100, 0.1f * static_cast<float>(step)));
  result.layout = {{"encoder/w", {60, 35}, 0}};
  return result;
}

class power_cut_of_checkpoints : public power_cut {
protected:
  int save(std::int64_t step, bool best) const {
    auto place = checkpoint_folder::open(checkpoints, 2);
    return place && place->save(example(step), best) ? 0 : 1;
  }
  auto save_all(std::vector<std::pair<std::int64_t, bool>> steps) const {
    return [this, steps = std::move(steps)] {
      for (auto [step, best] : steps) {
        if (save(step, best) != 0)
          return 1;
        mark();
      }
      return 0;
    };
  }
  /// A reader finds one of these steps, whole, and passes none over; the best is whole.
  bool finds(const std::set<std::int64_t>& steps) const {
    std::vector<std::string> skipped;
    auto place = checkpoint_folder::view(checkpoints);
    auto found = place.load_last(skipped);
    if (!found || !skipped.empty() || !steps.contains(found->step))
      return false;
    auto best = place.named("best"); // is there before the last
    auto best_is_whole = best ? !!place.load(*best) : !place.named("last");
    return best_is_whole && content_fingerprint(*found) == content_fingerprint(example(found->step));
  }

  fs::path checkpoints = folder / "checkpoints";
};

TEST_F(power_cut_of_checkpoints, leaves_the_old_or_the_new_one_and_the_new_one_once_it_is_saved) {
  ASSERT_EQ(save(10, true) + save(20, false), 0);
  auto cuts = cuts_of(save_all({{30, true}, {40, false}, {50, false}}));
  EXPECT_EQ(first_bad(cuts, [&](std::size_t saved) {
    auto last = 20 + 10 * static_cast<std::int64_t>(saved);
    return finds({last, last + 10}) && save(60, true) == 0 && finds({60});
  }), std::nullopt);
}

TEST_F(power_cut_of_checkpoints, of_the_first_one_leaves_none_or_a_whole_one) {
  auto cuts = cuts_of(save_all({{30, true}}));
  EXPECT_EQ(first_bad(cuts, [&](std::size_t saved) {
    auto there = fs::exists(checkpoints) ? checkpoint_folder::view(checkpoints).steps() : std::vector<std::int64_t>{};
    auto right = there && there->empty() ? saved == 0 : finds({30});
    return right && save(60, true) == 0 && finds({60});
  }), std::nullopt);
}

// -- what finds no fault must be able to ------------------------------------------------------------------------------------

TEST_F(power_cut, of_a_file_that_is_replaced_without_both_syncs_is_found_bad) {
  const std::string old(5000, 'o'), fresh(9000, 'n');
  const auto file = folder / "file", draft = folder / "draft";
  auto bad_with = [&](bool sync_file, bool sync_folder) {
    fs::create_directories(folder);
    EXPECT_TRUE(write_file(file, old));
    auto cuts = cuts_of([&] {
      auto number = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), directory = ::open(folder.c_str(), O_RDONLY);
      auto written = ::pwrite(number, fresh.data(), fresh.size(), 0) == static_cast<ssize_t>(fresh.size());
      auto done = written && (!sync_file || ::fsync(number) == 0) && ::rename(draft.c_str(), file.c_str()) == 0
                  && (!sync_folder || ::fsync(directory) == 0);
      mark();
      return done ? 0 : 1;
    });
    return first_bad(cuts, [&](std::size_t replaced) {
      auto found = read_file(file);
      return found && (*found == fresh || (*found == old && replaced == 0));
    });
  };
  EXPECT_TRUE(bad_with(false, false));
  EXPECT_TRUE(bad_with(false, true));
  EXPECT_TRUE(bad_with(true, false));
  EXPECT_FALSE(bad_with(true, true));
}

// -- logs -------------------------------------------------------------------------------------------------------------------

class power_cut_of_logs : public power_cut {
protected:
  static std::string line(int number) {
    static constexpr std::size_t sizes[] = {60, 700, 1, 300, 4200, 90, 513};
    return std::to_string(number) + std::string(sizes[number % 7], 'x');
  }
  /// Of a log that is opened, and synced and reported after every third line, from line `first` on.
  std::optional<std::size_t> first_bad_with(int first, int lines, bool sync) {
    auto cuts = cuts_of([&] {
      auto log = line_log::open(file);
      for (int number = first; log && number < lines; ++number) {
        if (!log->append(line(number), sync && number % 3 == 2))
          return 1;
        if (number % 3 == 2)
          mark();
      }
      return log ? 0 : 1;
    });
    return first_bad(cuts, [&](std::size_t synced) {
      auto log = line_log::open(file);
      auto found = line_log::lines(file);
      if (!log || !found || found->size() < std::max(3 * synced, static_cast<std::size_t>(first)))
        return false;
      for (int number = 0; number < static_cast<int>(found->size()); ++number)
        if ((*found)[static_cast<std::size_t>(number)] != line(number))
          return false;
      return log->append("the next") && line_log::lines(file)->back() == "the next";
    });
  }

  fs::path file = folder / "losses.jsonl";
};

TEST_F(power_cut_of_logs, leaves_whole_lines_and_all_that_were_synced) {
  EXPECT_EQ(first_bad_with(0, 21, true), std::nullopt);
}

TEST_F(power_cut_of_logs, leaves_whole_lines_where_the_last_one_was_torn_before) {
  ASSERT_TRUE(write_file(file, line(0) + '\n' + line(1) + '\n' + line(2) + '\n' + std::string(900, 'y'))); // longer than the next
  EXPECT_EQ(first_bad_with(3, 12, true), std::nullopt);
}

TEST_F(power_cut_of_logs, that_was_never_synced_is_found_bad) {
  EXPECT_TRUE(first_bad_with(0, 6, false));
}

} // namespace
} // namespace enn::fault
