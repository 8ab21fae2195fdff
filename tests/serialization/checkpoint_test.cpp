#include <enn/serialization/checkpoint.hpp>
#include <enn/serialization/hdf5_file.hpp>

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <limits>
#include <map>
#include <random>

namespace enn::serialization {
namespace fs = std::filesystem;
namespace {

class checkpoints : public testing::Test {
protected:
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : fs::directory_iterator{folder})
      result.push_back(entry.path().filename().string());
    std::sort(result.begin(), result.end());
    return result;
  }
  /// Of the checkpoint that `best` names; -1: there is no `best`, -2: it names none that can be read.
  std::int64_t best_step() const {
    auto name = read_file(folder / "best");
    if (!name)
      return -1;
    auto found = read_checkpoint(folder / name->substr(0, name->find('\n')));
    return found ? found->step : -2;
  }
  fs::path folder = fs::path{testing::TempDir()} / ("enn-checkpoints-" + std::to_string(::getpid()));
  fs::path file = folder / "a.h5";
};

checkpoint example(std::int64_t step = 7, std::size_t weights = 1000) {
  checkpoint result;
  result.step = step;
  result.configuration = {{"train.seed", "1"}, {"model.hidden-width", "64"}, {"a/name with \"signs\" é", ""}};
  result.state = {{"step", std::to_string(step)}, {"best-loss", "1e+300"}};
  for (int i = 0; i < 40; ++i) // more than HDF5 keeps in an object's header
    result.facts.emplace_back("fact-" + std::to_string(40 - i), std::string(static_cast<std::size_t>(i) * 10, 'x'));
  result.graph = {std::byte{0}, std::byte{255}, std::byte{3}};
  std::vector<float> numbers(weights);
  for (std::size_t i = 0; i < weights; ++i)
    numbers[i] = 0.1f * static_cast<float>(i);
  numbers[0] = -0.0f;
  numbers[1] = std::numeric_limits<float>::signaling_NaN();
  numbers[2] = std::numeric_limits<float>::denorm_min();
  result.tensors = {{"weights", numbers}, {"first", std::vector<float>(weights, 2)}, {"average", {}}};
  result.layout = {{"encoder/w", {20, 40}, 0}, {"scale", {}, 800}, {"empty", {0, 5, 2}, 801}};
  return result;
}

void expect_equal(const checkpoint& found, const checkpoint& expected) {
  EXPECT_EQ(found.step, expected.step);
  EXPECT_EQ(found.configuration, expected.configuration);
  EXPECT_EQ(found.state, expected.state);
  EXPECT_EQ(found.facts, expected.facts);
  EXPECT_EQ(found.graph, expected.graph);
  EXPECT_EQ(found.data_facts, expected.data_facts);
  ASSERT_EQ(found.tensors.size(), expected.tensors.size());
  for (std::size_t i = 0; i < expected.tensors.size(); ++i) {
    EXPECT_EQ(found.tensors[i].first, expected.tensors[i].first);
    auto a = std::as_bytes(std::span{found.tensors[i].second}), b = std::as_bytes(std::span{expected.tensors[i].second});
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << expected.tensors[i].first;
  }
  ASSERT_EQ(found.layout.size(), expected.layout.size());
  for (std::size_t i = 0; i < expected.layout.size(); ++i) {
    EXPECT_EQ(found.layout[i].path, expected.layout[i].path);
    EXPECT_EQ(found.layout[i].extent, expected.layout[i].extent);
    EXPECT_EQ(found.layout[i].offset, expected.layout[i].offset);
  }
  EXPECT_EQ(content_fingerprint(found), content_fingerprint(expected));
}

/// What became of a damaged file: "" if its content reads as the original's or it is refused as a bad checkpoint.
std::string verdict(const fs::path& path, const std::string& original) {
  auto read = read_checkpoint(path);
  if (!read)
    return code_of(read.error()) == ec::bad_checkpoint ? "" : text_of(read.error());
  return content_fingerprint(*read) == original ? "" : "wrong content without an error";
}

/// Overwrites a file in place, as a failing disk does.
void overwrite(const fs::path& path, std::string_view content) {
  auto file = std::fopen(path.c_str(), "wb");
  std::fwrite(content.data(), 1, content.size(), file);
  std::fclose(file);
}

/// Sets one byte of a file.
void poke(const fs::path& path, std::size_t at, char byte) {
  auto file = std::fopen(path.c_str(), "r+b");
  std::fseek(file, static_cast<long>(at), SEEK_SET);
  std::fputc(byte, file);
  std::fclose(file);
}

TEST_F(checkpoints, read_as_they_were_written_bit_by_bit) {
  for (const auto& value : {example(), example(0, 700'000), checkpoint{}}) {
    auto written = write_checkpoint(file, value);
    ASSERT_TRUE(written) << text_of(written.error());
    auto read = read_checkpoint(file);
    ASSERT_TRUE(read) << text_of(read.error());
    expect_equal(*read, value);
  }
  EXPECT_EQ(names(), std::vector<std::string>{"a.h5"});
}

TEST_F(checkpoints, of_equal_content_have_equal_bytes) {
  ASSERT_TRUE(write_checkpoint(file, example(3, 300'000)));
  ::sleep(1); // HDF5 would store the second
  ASSERT_TRUE(write_checkpoint(folder / "b.h5", example(3, 300'000)));
  EXPECT_EQ(*read_file(file), *read_file(folder / "b.h5"));
}

TEST_F(checkpoints, hold_texts_that_are_longer_than_an_object_header) {
  auto value = example();
  value.facts.emplace_back("machine", std::string(300'000, 'm'));
  ASSERT_TRUE(write_checkpoint(file, value));
  expect_equal(*read_checkpoint(file), value);
}

TEST_F(checkpoints, that_cannot_be_stored_are_refused_and_leave_no_file) {
  auto twice = example(), nul = example(), slash = example(), nameless = example();
  twice.facts.push_back(twice.facts[0]);
  nul.state[0].second = std::string("a\0b", 3);
  slash.tensors[0].first = "a/b";
  nameless.configuration[0].first = "";
  for (const auto& value : {twice, nul, slash, nameless}) {
    auto written = write_checkpoint(file, value);
    ASSERT_FALSE(written);
    EXPECT_EQ(code_of(written.error()), ec::io_failed);
  }
  EXPECT_TRUE(names().empty());
}

TEST_F(checkpoints, with_any_single_byte_flipped_are_refused_or_read_the_same) {
  auto value = example(7, 300);
  ASSERT_TRUE(write_checkpoint(file, value));
  const auto original = content_fingerprint(value);
  const auto whole = *read_file(file);
  for (std::size_t at = 0; at < whole.size(); at += at < 4096 ? 1 : 3) {
    poke(file, at, static_cast<char>(whole[at] ^ (1 << at % 8)));
    ASSERT_EQ(verdict(file, original), "") << "byte " << at;
    poke(file, at, whole[at]);
  }
  EXPECT_TRUE(read_checkpoint(file));
}

TEST_F(checkpoints, with_a_flipped_byte_under_a_fresh_seal_are_still_never_read_wrong) {
  // Not damage but malice or a bug: HDF5's parser sees it, so only the numbers are flipped; the content's hashes must hold.
  auto value = example(7, 300);
  ASSERT_TRUE(write_checkpoint(file, value));
  auto whole = *read_file(file);
  const auto& weights = value.tensors[0].second;
  std::string needle(reinterpret_cast<const char*>(weights.data()), weights.size() * sizeof(float));
  auto place = whole.find(needle);
  ASSERT_NE(place, std::string::npos);
  whole[place + 500] = static_cast<char>(whole[place + 500] ^ 16);
  auto hash = whole.find("512 to ");
  hash = whole.find(": ", hash) + 2;
  whole.replace(hash, 32, fingerprint(std::string_view{whole}.substr(512)));
  overwrite(file, whole);
  auto read = read_checkpoint(file);
  ASSERT_FALSE(read);
  EXPECT_EQ(code_of(read.error()), ec::bad_checkpoint);
  EXPECT_NE(text_of(read.error()).find("a.h5: dataset \"tensors/weights\" is damaged: XXH3-128 expected "), std::string::npos)
    << text_of(read.error());
}

TEST_F(checkpoints, whose_seal_is_filled_up_wrongly_are_not_said_to_differ_in_what_is_the_same) {
  ASSERT_TRUE(write_checkpoint(folder / "c.h5", example(7)));
  poke(folder / "c.h5", 400, '!');
  auto e = read_checkpoint(folder / "c.h5").error();
  EXPECT_EQ(code_of(e), ec::bad_checkpoint);
  EXPECT_NE(text_of(e).find("what fills up its seal"), std::string::npos) << text_of(e);
  EXPECT_EQ(text_of(e).find("seal says"), std::string::npos) << text_of(e);
}

TEST_F(checkpoints, that_are_cut_anywhere_are_refused) {
  ASSERT_TRUE(write_checkpoint(file, example()));
  const auto whole = *read_file(file);
  for (std::size_t size = 0; size < whole.size(); size += size < 600 ? 1 : 97) {
    overwrite(file, std::string_view{whole}.substr(0, size));
    auto read = read_checkpoint(file);
    ASSERT_FALSE(read) << size;
    ASSERT_EQ(code_of(read.error()), ec::bad_checkpoint) << size;
  }
  overwrite(file, whole + "x");
  EXPECT_EQ(code_of(read_checkpoint(file).error()), ec::bad_checkpoint);
}

TEST_F(checkpoints, with_swapped_or_zeroed_blocks_are_refused) {
  ASSERT_TRUE(write_checkpoint(file, example()));
  const auto whole = *read_file(file);
  for (std::size_t at = 0; at + 1024 <= whole.size(); at += 512) {
    auto zeroed = whole, swapped = whole;
    std::fill_n(zeroed.begin() + static_cast<std::ptrdiff_t>(at), 512, '\0');
    std::swap_ranges(swapped.begin() + static_cast<std::ptrdiff_t>(at), swapped.begin() + static_cast<std::ptrdiff_t>(at + 512),
                     swapped.begin() + static_cast<std::ptrdiff_t>(at + 512));
    for (const auto& damaged : {zeroed, swapped})
      if (damaged != whole) {
        overwrite(file, damaged);
        ASSERT_EQ(code_of(read_checkpoint(file).error()), ec::bad_checkpoint) << at;
      }
  }
}

TEST_F(checkpoints, that_are_missing_are_an_io_failure) {
  auto read = read_checkpoint(file);
  ASSERT_FALSE(read);
  EXPECT_EQ(code_of(read.error()), ec::io_failed);
  EXPECT_EQ(text_of(read.error()), file.string() + ": cannot open: No such file or directory");
}

TEST_F(checkpoints, of_another_format_or_version_are_refused_with_a_clear_word) {
  auto other = hdf5_file::create(file);
  other->add_text("", "format", "enn.predictions");
  other->add_integer("", "format-version", 1);
  ASSERT_TRUE(other->close());
  EXPECT_NE(text_of(read_checkpoint(file).error()).find("holds \"enn.predictions\", not \"enn.checkpoint\""), std::string::npos);
  fs::remove(file);
  auto newer = hdf5_file::create(file);
  newer->add_text("", "format", "enn.checkpoint");
  newer->add_integer("", "format-version", 2);
  ASSERT_TRUE(newer->close());
  auto read = read_checkpoint(file);
  EXPECT_EQ(code_of(read.error()), ec::bad_checkpoint);
  EXPECT_NE(text_of(read.error()).find("format-version 2 is unknown to this program, which reads 1"), std::string::npos);
}

TEST_F(checkpoints, whose_datasets_claim_more_than_the_file_has_are_not_allocated) {
  auto huge = hdf5_file::create(file);
  huge->add_text("", "format", "enn.checkpoint");
  huge->add_integer("", "format-version", 1);
  huge->add_integer("", "step", 1);
  for (auto group : {"configuration", "state", "facts"})
    huge->add_group(group);
  huge->add_dataset("graph", hdf5_file::number::uint8, {std::int64_t{1} << 50}, 1 << 20); // chunks that nobody wrote
  ASSERT_TRUE(huge->close());
  ASSERT_LT(fs::file_size(file), 100'000u);
  auto read = read_checkpoint(file);
  EXPECT_NE(text_of(read.error()).find("\"graph\" claims more numbers than the file has bytes"), std::string::npos)
    << text_of(read.error());
}

// -- failing disks ----------------------------------------------------------------------------------------------------------

void limit_files_to(rlim_t bytes) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit now;
  getrlimit(RLIMIT_FSIZE, &now);
  now.rlim_cur = bytes;
  setrlimit(RLIMIT_FSIZE, &now);
}

TEST_F(checkpoints, that_do_not_fit_leave_the_old_one_and_nothing_else_wherever_the_write_fails) {
  ASSERT_TRUE(write_checkpoint(file, example(1)));
  const auto whole = fs::file_size(file);
  const auto content = *read_file(file);
  for (rlim_t limit = 0; limit < whole; limit += limit < 1024 ? 64 : 487) {
    limit_files_to(limit);
    auto written = write_checkpoint(file, example(1));
    limit_files_to(RLIM_INFINITY);
    ASSERT_FALSE(written) << limit;
    ASSERT_EQ(code_of(written.error()), ec::io_failed) << limit;
    ASSERT_NE(text_of(written.error()).find("cannot write: File too large"), std::string::npos) << text_of(written.error());
    ASSERT_EQ(names(), std::vector<std::string>{"a.h5"}) << limit;
    ASSERT_EQ(*read_file(file), content) << limit;
  }
  ASSERT_TRUE(write_checkpoint(file, example(2)));
}

TEST_F(checkpoints, that_did_not_fit_do_not_crash_the_program_at_its_end) {
  // HDF5 1.10.8 does so, with its own driver, after any failed write.
  testing::FLAGS_gtest_death_test_style = "fast";
  EXPECT_EXIT(
    {
      for (rlim_t limit : {0, 600, 2000, 20'000, 1'200'000}) {
        limit_files_to(limit);
        if (write_checkpoint(file, example(1, 400'000)))
          std::exit(1);
      }
      std::exit(0);
    },
    testing::ExitedWithCode(0), "^$"); // and HDF5 prints nothing
}

/// A disk of one MiB, for those who may mount one.
class mounted_disk {
public:
  explicit mounted_disk(fs::path folder) : folder_(std::move(folder)) {
    fs::create_directories(folder_);
    works_ = ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=1m") == 0;
  }
  ~mounted_disk() {
    if (works_)
      ::umount2(folder_.c_str(), MNT_DETACH);
  }
  bool works() const { return works_; }

private:
  fs::path folder_;
  bool works_ = false;
};

TEST_F(checkpoints, on_a_full_disk_say_so_and_succeed_when_space_returns) {
  auto place = folder / "disk";
  mounted_disk disk{place};
  if (!disk.works())
    GTEST_SKIP() << "needs the right to mount a small disk";
  ASSERT_TRUE(write_checkpoint(place / "a.h5", example(1)));
  for (std::size_t weights : {130'000, 140'000, 200'000, 1'000'000}) {
    auto written = write_checkpoint(place / "a.h5", example(2, weights));
    ASSERT_FALSE(written) << weights;
    auto text = text_of(written.error());
    EXPECT_NE(text.find("cannot write: No space left on device"), std::string::npos) << text;
    EXPECT_EQ(std::distance(fs::directory_iterator{place}, {}), 1);
    auto old = read_checkpoint(place / "a.h5");
    EXPECT_TRUE(old && old->step == 1);
  }
  EXPECT_TRUE(write_checkpoint(place / "a.h5", example(3, 50'000)));
}

TEST_F(checkpoints, in_a_folder_that_is_a_file_are_refused) {
  ASSERT_TRUE(write_file(folder / "file", ""));
  EXPECT_EQ(code_of(write_checkpoint(folder / "file" / "a.h5", example()).error()), ec::io_failed);
  EXPECT_EQ(code_of(checkpoint_folder::open(folder / "file", 3).error()), ec::io_failed);
}

// -- folders ----------------------------------------------------------------------------------------------------------------

TEST_F(checkpoints, beyond_the_newest_go_but_never_the_best) {
  auto place = checkpoint_folder::open(folder, 2);
  ASSERT_TRUE(place);
  for (std::int64_t step : {100, 200, 300, 400, 500})
    ASSERT_TRUE(place->save(example(step), step == 200));
  EXPECT_EQ(names(), (std::vector<std::string>{"best", "last", "step-00000200.h5", "step-00000400.h5", "step-00000500.h5"}));
  EXPECT_EQ(*read_file(folder / "last"), "step-00000500.h5\nxxh3-128 " + fingerprint("step-00000500.h5") + "\n");
  EXPECT_EQ(*place->named("last"), 500);
  EXPECT_EQ(*place->named("best"), 200);
  std::vector<std::string> skipped;
  EXPECT_EQ(place->load_last(skipped)->step, 500);
  EXPECT_TRUE(skipped.empty());
}

TEST_F(checkpoints, last_and_best_are_never_removed_whatever_the_history) {
  std::mt19937 random{1};
  for (int history = 0; history < 4; ++history) {
    fs::remove_all(folder);
    auto place = checkpoint_folder::open(folder, random() % 3);
    std::int64_t best = -1;
    for (int save = 0; save < 8; ++save) {
      auto step = static_cast<std::int64_t>(random() % 12);
      auto is_best = random() % 3 == 0;
      ASSERT_TRUE(place->save(example(step, 5), is_best));
      best = is_best ? step : best;
      std::vector<std::string> skipped;
      auto last = place->load_last(skipped);
      ASSERT_TRUE(last && last->step == step && skipped.empty());
      ASSERT_EQ(best_step(), best);
    }
  }
}

/// A folder as a set of steps, some of them damaged.
struct history {
  std::map<std::int64_t, bool> good; // by step
  std::int64_t last = -1, best = -1;
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> result;
    for (auto it = good.rbegin(); it != good.rend(); ++it)
      result.push_back(it->first);
    return result;
  }
  void save(std::int64_t step, bool is_best, std::size_t keep) {
    good[step] = true; // it is read back before anything is removed
    last = step;
    best = is_best ? step : best;
    for (auto gone : superfluous(steps(), last, best, keep))
      good.erase(gone);
  }
  /// Where a resume begins: the newest good one up to the last.
  std::int64_t start() const {
    for (auto it = good.rbegin(); it != good.rend(); ++it)
      if (it->second && it->first <= last)
        return it->first;
    return 0;
  }
};

TEST_F(checkpoints, that_are_kept_always_have_a_good_one_among_them) {
  std::mt19937 random{7};
  for (int number = 0; number < 100'000; ++number) {
    history h;
    auto keep = 1 + random() % 4;
    std::int64_t step = 0;
    for (int event = 0; event < 12; ++event)
      switch (random() % 4) {
        case 0: // a disk spoils any of them
          if (!h.good.empty())
            std::next(h.good.begin(), static_cast<std::ptrdiff_t>(random() % h.good.size()))->second = false;
          break;
        case 1: // a resume, which steps back over what is damaged
          step = h.start();
          break;
        default:
          h.save(++step, random() % 3 == 0, keep);
          ASSERT_EQ(h.start(), step) << "the one just saved, in history " << number;
          ASSERT_TRUE(h.best < 0 || h.good.contains(h.best)) << number;
          auto up_to = static_cast<std::size_t>(std::distance(h.good.begin(), h.good.upper_bound(step)));
          ASSERT_LE(up_to, keep + 1) << number;
      }
  }
}

TEST_F(checkpoints, that_are_damaged_are_skipped_with_reasons_for_the_newest_good_one) {
  auto place = checkpoint_folder::open(folder, 4);
  for (std::int64_t step : {1, 2, 3, 4})
    ASSERT_TRUE(place->save(example(step), false));
  overwrite(folder / "step-00000004.h5", "");
  auto content = *read_file(folder / "step-00000003.h5");
  overwrite(folder / "step-00000003.h5", content.substr(0, content.size() / 2));
  std::vector<std::string> skipped;
  auto read = place->load_last(skipped);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->step, 2);
  ASSERT_EQ(skipped.size(), 2u);
  EXPECT_NE(skipped[0].find("step-00000004.h5: truncated"), std::string::npos);
  EXPECT_NE(skipped[1].find("step-00000003.h5: damaged"), std::string::npos);
  overwrite(folder / "step-00000002.h5", content);
  overwrite(folder / "step-00000001.h5", "x");
  skipped.clear();
  EXPECT_EQ(code_of(place->load(2).error()), ec::bad_checkpoint);
  EXPECT_EQ(code_of(place->load_last(skipped).error()), ec::bad_checkpoint);
  ASSERT_EQ(skipped.size(), 4u);
  EXPECT_NE(skipped[2].find("step-00000002.h5: holds step 3, not the one in its name"), std::string::npos) << skipped[2];
}

TEST_F(checkpoints, are_listed_up_to_the_last_one_by_who_only_looks) {
  overwrite(folder / "step-00000005.h5.123-1.tmp", "half");
  auto place = checkpoint_folder::view(folder);
  EXPECT_TRUE(place.steps()->empty()) << "what a crash left behind is no checkpoint";
  EXPECT_EQ(names(), std::vector<std::string>{"step-00000005.h5.123-1.tmp"});
  for (auto step : {1, 2, 4})
    overwrite(folder / ("step-0000000" + std::to_string(step) + ".h5"), "");
  EXPECT_EQ(*place.steps(), (std::vector<std::int64_t>{4, 2, 1}));
  overwrite(folder / "last", "step-00000002.h5\n");
  EXPECT_EQ(*place.steps(), (std::vector<std::int64_t>{2, 1}));
  overwrite(folder / "last", "step-00000003.h5\n");
  EXPECT_EQ(*place.steps(), (std::vector<std::int64_t>{3, 2, 1})) << "missing, though named";
}

TEST_F(checkpoints, of_an_abandoned_future_are_not_loaded_after_a_rewind) {
  auto place = checkpoint_folder::open(folder, 3);
  for (std::int64_t step : {10, 20, 30, 15})
    ASSERT_TRUE(place->save(example(step), false));
  std::vector<std::string> skipped;
  EXPECT_EQ(place->load_last(skipped)->step, 15);
  overwrite(folder / "step-00000015.h5", "");
  EXPECT_EQ(place->load_last(skipped)->step, 10);
}

TEST_F(checkpoints, are_found_without_the_pointer_files) {
  auto place = checkpoint_folder::open(folder, 3);
  std::vector<std::string> skipped;
  EXPECT_EQ(code_of(place->load_last(skipped).error()), ec::io_failed);
  ASSERT_TRUE(place->save(example(5), true));
  auto of_another = "step-00000004.h5\nxxh3-128 " + fingerprint("step-00000005.h5") + "\n";
  for (const std::string& text : {std::string{}, std::string{"../../etc/passwd\n"}, std::string{"step-00000005.h5"},
                                  std::string{"step-5.h5\n"}, of_another}) {
    overwrite(folder / "last", text);
    skipped.clear();
    EXPECT_EQ(place->load_last(skipped)->step, 5) << text;
    ASSERT_EQ(skipped.size(), 1u);
    EXPECT_NE(skipped[0].find("last: damaged"), std::string::npos) << skipped[0];
  }
  fs::remove(folder / "last");
  skipped.clear();
  EXPECT_EQ(place->load_last(skipped)->step, 5);
  EXPECT_TRUE(skipped.empty());
  ASSERT_TRUE(write_file(folder / "last", "step-00000009.h5\n"));
  skipped.clear();
  EXPECT_EQ(place->load_last(skipped)->step, 5);
  EXPECT_EQ(skipped.size(), 1u);
}

TEST_F(checkpoints, that_a_crash_left_half_written_are_swept) {
  const auto ours = "step-00000005.h5." + std::to_string(::getpid()) + "-1.tmp"; // of another thread, say
  overwrite(folder / "step-00000005.h5.999999999-1.tmp", "half");
  overwrite(folder / ours, "in the making");
  overwrite(folder / "notes.txt", "mine");
  ASSERT_TRUE(checkpoint_folder::open(folder, 3));
  EXPECT_EQ(names(), (std::vector<std::string>{"notes.txt", ours}));
}

} // namespace
} // namespace enn::serialization
