#include <enn/serialization/hdf5_file.hpp>
#include <enn/serialization/predictions.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>

namespace enn::serialization {
namespace fs = std::filesystem;
namespace {

class prediction_files : public testing::Test {
protected:
  void TearDown() override { fs::remove_all(folder); }
  std::size_t count_files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator{folder}, fs::directory_iterator{}));
  }
  fs::path folder = fs::path{testing::TempDir()} / ("enn-predictions-" + std::to_string(::getpid()));
  fs::path file = folder / "predictions.h5";
};

predictions_header example(std::size_t rows) {
  predictions_header result;
  result.shape = {2, 3};
  result.columns = {"north", "south", "é"};
  for (std::size_t i = 0; i < rows; ++i) {
    result.rows.push_back(1000 + i * i);
    result.times.push_back(1'700'000'000 + static_cast<std::int64_t>(i));
  }
  result.model = "checkpoints/step-00001000.h5";
  result.data_fingerprint = "0123";
  result.kernels = "";
  return result;
}

std::vector<float> row(std::uint64_t index) {
  std::vector<float> result;
  for (std::uint64_t i = 0; i < 6; ++i)
    result.push_back(static_cast<float>(index * 10 + i));
  return result;
}

TEST_F(prediction_files, read_as_they_were_put_in_any_order) {
  auto out = predictions_writer::create(file, example(200'000 / 6));
  ASSERT_TRUE(out) << text_of(out.error());
  const std::uint64_t rows = 200'000 / 6;
  for (std::uint64_t i = 0; i < rows; ++i) {
    auto index = i * 7 % rows; // 7 does not divide it
    auto put = out->put(index, row(index), index == 5 ? 1 : 0, static_cast<std::uint8_t>(index % 3));
    ASSERT_TRUE(put) << text_of(put.error());
  }
  auto finished = out->finish();
  ASSERT_TRUE(finished) << text_of(finished.error());
  auto read = read_predictions(file);
  ASSERT_TRUE(read) << text_of(read.error());
  EXPECT_EQ(read->header.shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(read->header.columns, example(1).columns);
  EXPECT_EQ(read->header.rows, example(rows).rows);
  EXPECT_EQ(read->header.times, example(rows).times);
  EXPECT_EQ(read->header.model, example(1).model);
  EXPECT_EQ(read->header.data_fingerprint, "0123");
  EXPECT_EQ(read->header.kernels, "");
  EXPECT_TRUE(read->targets.empty() && read->masks.empty());
  for (std::uint64_t index = 0; index < rows; ++index) {
    std::vector<float> found(read->values.begin() + static_cast<std::ptrdiff_t>(index * 6),
                             read->values.begin() + static_cast<std::ptrdiff_t>(index * 6 + 6));
    if (index == 5)
      EXPECT_TRUE(std::all_of(found.begin(), found.end(), [](float x) { return std::isnan(x); }));
    else
      ASSERT_EQ(found, row(index));
    ASSERT_EQ(read->status[index], index == 5);
    ASSERT_EQ(read->rungs[index], index % 3);
  }
}

TEST_F(prediction_files, hold_targets_where_there_are_some) {
  auto out = predictions_writer::create(file, example(3));
  for (std::uint64_t i = 0; i < 3; ++i)
    ASSERT_TRUE(out->put(i, row(i), 0, 0));
  ASSERT_TRUE(out->put_target(1, row(8), std::vector<float>{1, 1, 0, 1, 1, 1}));
  ASSERT_TRUE(out->finish());
  auto read = read_predictions(file);
  ASSERT_TRUE(read) << text_of(read.error());
  EXPECT_TRUE(std::isnan(read->targets[0]));
  EXPECT_EQ(read->targets[6], 80);
  EXPECT_EQ(std::vector<float>(read->masks.begin() + 5, read->masks.begin() + 10), (std::vector<float>{0, 1, 1, 0, 1}));
}

TEST_F(prediction_files, with_a_missing_row_are_refused_by_its_name_and_not_left_behind) {
  {
    auto out = predictions_writer::create(file, example(5));
    for (std::uint64_t i : {0, 1, 4})
      ASSERT_TRUE(out->put(i, row(i), 0, 0));
    auto finished = out->finish();
    ASSERT_FALSE(finished);
    EXPECT_EQ(code_of(finished.error()), ec::bad_data);
    EXPECT_EQ(text_of(finished.error()), file.string() + ": row 2 (row 1004 of the data) was never put; 2 of 5 are missing");
    EXPECT_FALSE(fs::exists(file));
    ASSERT_TRUE(out->put(2, row(2), 0, 0) && out->put(3, {}, 1, 0)); // it may still be completed
    ASSERT_TRUE(out->finish());
  }
  EXPECT_EQ(count_files(), 2u);
}

TEST_F(prediction_files, that_are_never_finished_are_not_there) {
  {
    auto out = predictions_writer::create(file, example(5));
    ASSERT_TRUE(out->put(0, row(0), 0, 0));
    EXPECT_EQ(count_files(), 1u);
  }
  EXPECT_EQ(count_files(), 0u);
}

TEST_F(prediction_files, keep_the_last_put_of_a_row) {
  auto out = predictions_writer::create(file, example(1));
  ASSERT_TRUE(out->put(0, row(1), 0, 2));
  ASSERT_TRUE(out->put(0, row(2), 0, 1));
  ASSERT_TRUE(out->finish());
  auto read = read_predictions(file);
  EXPECT_EQ(read->values, row(2));
  EXPECT_EQ(read->rungs[0], 1);
}

TEST_F(prediction_files, refuse_rows_that_do_not_belong) {
  auto out = predictions_writer::create(file, example(2));
  EXPECT_FALSE(out->put(2, row(2), 0, 0));
  EXPECT_FALSE(out->put(0, std::vector<float>(5), 0, 0));
  EXPECT_FALSE(out->put_target(0, row(0), std::vector<float>(7)));
}

TEST_F(prediction_files, refuse_headers_that_contradict_themselves) {
  auto columns = example(2), times = example(2), shape = example(2), large = example(2);
  columns.columns.pop_back();
  times.times.pop_back();
  shape.shape = {};
  large.shape = {std::int64_t{1} << 40, std::int64_t{1} << 40};
  for (const auto& header : {columns, times, shape, large})
    EXPECT_EQ(code_of(predictions_writer::create(file, header).error()), ec::bad_data);
}

TEST_F(prediction_files, may_have_no_rows_and_no_times) {
  auto header = example(0);
  ASSERT_TRUE(predictions_writer::create(file, header)->finish());
  EXPECT_TRUE(read_predictions(file)->header.rows.empty());
  header.rows = {4};
  auto out = predictions_writer::create(file, header);
  ASSERT_TRUE(out->put(0, row(0), 0, 0) && out->finish());
  EXPECT_EQ(read_predictions(file)->header.times, std::vector<std::int64_t>{-1});
}

TEST_F(prediction_files, have_a_manifest_that_describes_them) {
  auto out = predictions_writer::create(file, example(4));
  for (std::uint64_t i = 0; i < 4; ++i)
    ASSERT_TRUE(out->put(i, row(i), i == 3, i == 0 ? 2 : 0));
  ASSERT_TRUE(out->finish());
  auto manifest = nlohmann::json::parse(*read_file(folder / "manifest.json"));
  EXPECT_EQ(manifest["format"], "enn.predictions");
  EXPECT_EQ(manifest["file"], "predictions.h5");
  EXPECT_EQ(manifest["file-xxh3-128"], *fingerprint_file(file));
  EXPECT_EQ(manifest["rows"], 4);
  EXPECT_EQ(manifest["rows-not-computable"], 1);
  EXPECT_EQ(manifest["rows-by-rung"], (std::vector<int>{3, 0, 1}));
  EXPECT_EQ(manifest["columns"], example(1).columns);
  EXPECT_EQ(manifest["datasets"]["prediction"]["extent"], (std::vector<int>{4, 2, 3}));
  auto rungs = std::string("\2\0\0\0", 4);
  EXPECT_EQ(manifest["datasets"]["rung"]["xxh3-128"], fingerprint(rungs));
}

TEST_F(prediction_files, that_are_damaged_are_refused) {
  auto out = predictions_writer::create(file, example(3));
  for (std::uint64_t i = 0; i < 3; ++i)
    ASSERT_TRUE(out->put(i, row(i), 0, 0));
  ASSERT_TRUE(out->finish());
  const auto whole = *read_file(file);
  for (std::size_t at = 0; at < whole.size(); at += 41) {
    auto damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    ASSERT_TRUE(write_file(file, damaged));
    ASSERT_EQ(code_of(read_predictions(file).error()), ec::bad_data) << at;
    if (at > 2000)
      at += 400;
  }
}

TEST_F(prediction_files, that_do_not_fit_on_the_disk_are_known_before_the_first_row) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit now{100'000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &now);
  auto out = predictions_writer::create(file, example(10'000));
  setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(out);
  EXPECT_EQ(code_of(out.error()), ec::io_failed);
  EXPECT_NE(text_of(out.error()).find("cannot write: File too large"), std::string::npos) << text_of(out.error());
  EXPECT_EQ(count_files(), 0u);
}

TEST_F(prediction_files, that_fail_midway_leave_the_old_ones) {
  for (int round : {0, 1}) {
    auto out = predictions_writer::create(file, example(100));
    for (std::uint64_t i = 0; i < 100; ++i)
      ASSERT_TRUE(out->put(i, row(i), 0, 0));
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    rlimit now{round == 0 ? before.rlim_cur : 4000, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &now);
    auto finished = out->finish();
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(static_cast<bool>(finished), round == 0);
  }
  EXPECT_EQ(count_files(), 2u);
  EXPECT_TRUE(read_predictions(file));
}

} // namespace
} // namespace enn::serialization
