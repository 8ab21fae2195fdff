#include <enn/serialization/hdf5_file.hpp>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

namespace enn::serialization {
namespace fs = std::filesystem;
namespace {

class files : public testing::Test {
protected:
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
  std::size_t count_files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator{folder}, fs::directory_iterator{}));
  }
  fs::path folder = fs::path{testing::TempDir()} / ("enn-files-" + std::to_string(::getpid()));
};

/// No file may grow beyond `bytes` while this lives: a full disk for a process that has no disk of its own.
class small_disk {
public:
  explicit small_disk(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit now{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &now);
  }
  ~small_disk() { setrlimit(RLIMIT_FSIZE, &before_); }

private:
  rlimit before_;
};

void append_raw(const fs::path& path, std::string_view text) {
  std::ofstream{path, std::ios::app | std::ios::binary} << text;
}

TEST_F(files, a_file_is_read_as_it_was_written) {
  std::string content("a\0b\n\xff", 5);
  content += std::string(3'000'000, 'x');
  ASSERT_TRUE(write_file(folder / "deep" / "er" / "file", content));
  auto read = read_file(folder / "deep" / "er" / "file");
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, content);
}

TEST_F(files, writing_replaces_the_old_content_and_leaves_nothing_else) {
  ASSERT_TRUE(write_file(folder / "file", "old and long"));
  ASSERT_TRUE(write_file(folder / "file", "new"));
  EXPECT_EQ(*read_file(folder / "file"), "new");
  EXPECT_EQ(count_files(), 1u);
}

TEST_F(files, a_write_that_fails_keeps_the_old_content_and_names_the_reason) {
  ASSERT_TRUE(write_file(folder / "file", "old"));
  {
    small_disk disk{100};
    auto written = write_file(folder / "file", std::string(1000, 'x'));
    ASSERT_FALSE(written);
    EXPECT_EQ(code_of(written.error()), ec::io_failed);
    EXPECT_NE(text_of(written.error()).find("File too large"), std::string::npos) << text_of(written.error());
  }
  EXPECT_EQ(*read_file(folder / "file"), "old");
  EXPECT_EQ(count_files(), 1u);
}

TEST_F(files, a_missing_file_is_named_with_the_reason) {
  auto read = read_file(folder / "none");
  ASSERT_FALSE(read);
  EXPECT_EQ(text_of(read.error()), (folder / "none").string() + ": cannot open: No such file or directory");
  EXPECT_FALSE(fingerprint_file(folder / "none"));
  EXPECT_FALSE(line_log::lines(folder / "none"));
}

TEST_F(files, a_file_cannot_be_written_below_a_file) {
  ASSERT_TRUE(write_file(folder / "file", ""));
  EXPECT_FALSE(write_file(folder / "file" / "child", ""));
  EXPECT_FALSE(line_log::open(folder / "file" / "child"));
}

TEST_F(files, a_draft_that_is_not_committed_goes_away) {
  {
    auto file = draft::create(folder / "file");
    ASSERT_TRUE(file && file->write("text"));
    EXPECT_TRUE(file->path().string().ends_with(".tmp"));
    EXPECT_EQ(count_files(), 1u);
  }
  EXPECT_EQ(count_files(), 0u);
}

TEST_F(files, a_log_gives_back_its_lines) {
  auto log = line_log::open(folder / "logs" / "log");
  ASSERT_TRUE(log);
  ASSERT_TRUE(log->append("one"));
  ASSERT_TRUE(log->append("", true));
  ASSERT_TRUE(log->append("three"));
  ASSERT_TRUE(log->sync());
  EXPECT_EQ(*line_log::lines(folder / "logs" / "log"), (std::vector<std::string>{"one", "", "three"}));
}

TEST_F(files, a_torn_last_line_is_cut_when_the_log_is_opened) {
  for (auto torn : {"", "t", "{\"step\": 3"}) {
    fs::remove(folder / "log");
    append_raw(folder / "log", std::string{"one\ntwo\n"} + torn);
    EXPECT_EQ(line_log::lines(folder / "log")->size(), 2u);
    auto log = line_log::open(folder / "log");
    ASSERT_TRUE(log && log->append("three"));
    EXPECT_EQ(*read_file(folder / "log"), "one\ntwo\nthree\n");
  }
}

TEST_F(files, lines_that_a_power_cut_kept_from_the_disk_are_cut_with_all_that_follow) {
  const std::string nothing(700, '\0'), large(2'500'000, 'x');
  for (const auto& lost : {nothing, nothing + "\n", nothing + "xyz\nfour\n", "th" + nothing + "\nfour\n", large + nothing + "\nfour\n"}) {
    fs::remove(folder / "log");
    append_raw(folder / "log", "one\ntwo\n" + lost);
    EXPECT_EQ(*line_log::lines(folder / "log"), (std::vector<std::string>{"one", "two"}));
    auto log = line_log::open(folder / "log");
    ASSERT_TRUE(log && log->append("three"));
    EXPECT_EQ(*read_file(folder / "log"), "one\ntwo\nthree\n");
  }
}

TEST_F(files, a_log_of_one_torn_line_becomes_empty) {
  append_raw(folder / "log", std::string(2'500'000, 'x'));
  ASSERT_TRUE(line_log::open(folder / "log"));
  EXPECT_EQ(fs::file_size(folder / "log"), 0u);
}

TEST_F(files, a_line_that_does_not_fit_on_the_disk_is_taken_back_whole) {
  auto log = line_log::open(folder / "log");
  ASSERT_TRUE(log->append("whole"));
  {
    small_disk disk{10};
    EXPECT_EQ(code_of(log->append("does not fit").error()), ec::io_failed);
  }
  EXPECT_EQ(*read_file(folder / "log"), "whole\n");
  ASSERT_TRUE(log->append("fits"));
  EXPECT_EQ(*read_file(folder / "log"), "whole\nfits\n");
}

TEST_F(files, a_line_with_a_newline_or_a_nul_is_refused) {
  EXPECT_FALSE(line_log::open(folder / "log")->append("one\ntwo"));
  EXPECT_FALSE(line_log::open(folder / "log")->append({"one\0two", 7}));
}

TEST_F(files, fingerprints_are_those_of_xxh128sum) {
  EXPECT_EQ(fingerprint(""), "99aa06d3014798d86001c324468d497f");
  ASSERT_TRUE(write_file(folder / "file", std::string(3'000'000, 'x')));
  EXPECT_EQ(*fingerprint_file(folder / "file"), fingerprint(std::string(3'000'000, 'x')));
  fingerprinter pieces;
  const std::string piece(1000, 'x');
  for (int i = 0; i < 3000; ++i)
    pieces.add(std::as_bytes(std::span{piece}));
  EXPECT_EQ(pieces.text(), fingerprint(std::string(3'000'000, 'x')));
}

std::span<const std::byte> bytes_of(const std::vector<float>& numbers) {
  return std::as_bytes(std::span{numbers});
}

TEST_F(files, hdf5_rows_can_be_written_and_read_in_any_order) {
  auto out = hdf5_file::create(folder / "file.h5");
  ASSERT_TRUE(out);
  for (auto [name, chunk_rows] : {std::pair{"chunked", 2}, std::pair{"flat", 0}}) {
    out->add_dataset(name, hdf5_file::number::float32, {5, 3}, chunk_rows);
    for (int row : {4, 0, 2, 1, 3})
      out->write_rows(name, row, bytes_of(std::vector<float>(3, static_cast<float>(row))));
  }
  ASSERT_TRUE(out->close()) << text_of(out->error());
  auto in = hdf5_file::open(folder / "file.h5", ec::bad_data);
  ASSERT_TRUE(in);
  for (auto name : {"chunked", "flat"}) {
    EXPECT_EQ(in->extent(name), (std::vector<std::int64_t>{5, 3}));
    std::vector<float> rows(6);
    in->read_rows(name, hdf5_file::number::float32, 3, std::as_writable_bytes(std::span{rows}));
    EXPECT_EQ(rows, (std::vector<float>{3, 3, 3, 4, 4, 4}));
  }
  EXPECT_FALSE(in->error());
}

TEST_F(files, the_first_hdf5_error_sticks_and_later_calls_do_nothing) {
  auto out = hdf5_file::create(folder / "file.h5");
  ASSERT_TRUE(out);
  out->add_dataset("numbers", hdf5_file::number::float32, {2});
  out->write_rows("numbers", 1, bytes_of({1, 2}));
  out->add_group("later");
  EXPECT_FALSE(out->has("later"));
  EXPECT_EQ(text_of(out->close().error()), (folder / "file.h5").string() + ": dataset \"numbers\" has no such rows");
}

TEST_F(files, hdf5_mistakes_of_a_reader_are_errors) {
  auto out = hdf5_file::create(folder / "file.h5");
  out->add_dataset("numbers", hdf5_file::number::float32, {2});
  out->write_rows("numbers", 0, bytes_of({1, 2}));
  out->add_text("numbers", "unit", "m/s");
  ASSERT_TRUE(out->close());
  using call = void (*)(hdf5_file&);
  auto integers = [](hdf5_file& in) {
    std::vector<std::int64_t> two(2);
    in.read_rows("numbers", hdf5_file::number::int64, 0, std::as_writable_bytes(std::span{two}));
  };
  for (auto mistake : {call{[](hdf5_file& in) { in.extent("none"); }}, call{[](hdf5_file& in) { in.texts("numbers"); }},
                       call{[](hdf5_file& in) { in.text("numbers", "none"); }},
                       call{[](hdf5_file& in) { in.integer("numbers", "unit"); }},
                       call{[](hdf5_file& in) { in.children("numbers"); }}, call{integers}}) {
    auto in = hdf5_file::open(folder / "file.h5", ec::bad_data);
    ASSERT_TRUE(in);
    EXPECT_EQ(in->text("numbers", "unit"), "m/s");
    mistake(*in);
    EXPECT_EQ(code_of(in->error()), ec::bad_data);
  }
}

TEST_F(files, a_file_without_a_seal_never_reaches_hdf5) {
  ASSERT_TRUE(write_file(folder / "file.h5", "\x89HDF\r\n\x1a\n" + std::string(2000, '\0')));
  auto in = hdf5_file::open(folder / "file.h5", ec::bad_data);
  ASSERT_FALSE(in);
  EXPECT_NE(text_of(in.error()).find("not a file of this program"), std::string::npos);
}

TEST_F(files, that_a_process_left_half_written_are_swept_once_it_is_gone) {
  auto alive = "a.h5." + std::to_string(getpid()) + "-1.tmp";
  for (const auto& name : {std::string{"a.h5.999999999-1.tmp"}, alive, std::string{"notes.tmp"}, std::string{"a.1-x.tmp"}})
    ASSERT_TRUE(write_file(folder / name, "half"));
  ASSERT_TRUE(sweep_drafts(folder));
  EXPECT_FALSE(fs::exists(folder / "a.h5.999999999-1.tmp"));
  for (const auto& name : {alive, std::string{"notes.tmp"}, std::string{"a.1-x.tmp"}})
    EXPECT_TRUE(fs::exists(folder / name)) << name;
  EXPECT_TRUE(sweep_drafts(folder / "none"));
}

TEST_F(files, a_process_that_ended_is_gone_before_its_parent_asks_for_it) {
  auto ended = fork();
  if (ended == 0)
    _exit(0);
  siginfo_t facts;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(ended), &facts, WEXITED | WNOWAIT), 0);
  auto left = folder / ("a.h5." + std::to_string(ended) + "-1.tmp");
  EXPECT_TRUE(write_file(left, "half"));
  EXPECT_TRUE(sweep_drafts(folder));
  EXPECT_FALSE(fs::exists(left));
  EXPECT_EQ(waitpid(ended, nullptr, 0), ended);
}

} // namespace
} // namespace enn::serialization
