#include <enn/model/data/dataset.hpp>
#include <enn/model/data/date_time.hpp>
#include <enn/model/data/nearest_name.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace {

using namespace enn;
using namespace enn::model;
constexpr double gap = std::numeric_limits<double>::quiet_NaN();
using made = caf::expected<std::shared_ptr<const dataset>>;

/// Two nodes; at line i they hold i and 100 + i.
table ramp(std::int64_t lines) {
  table t;
  t.columns = {"a", "b"};
  t.lines = lines;
  t.source = "x.csv";
  for (std::int64_t i = 0; i < lines; ++i) {
    t.values.push_back(static_cast<double>(i));
    t.values.push_back(static_cast<double>(100 + i));
  }
  return t;
}

data_config windows(std::int64_t history, std::int64_t horizon) {
  data_config c;
  c.history = history;
  c.horizon = horizon;
  return c;
}

std::shared_ptr<const dataset> must(made d) {
  EXPECT_TRUE(d) << text_of(d.error());
  return d ? *d : nullptr;
}

std::string error_of(const made& d, ec code = ec::bad_data) {
  if (d)
    return "no error";
  EXPECT_EQ(code_of(d.error()), code);
  return text_of(d.error());
}

std::vector<float> features(const dataset& d, std::uint64_t row) {
  std::vector<float> x(static_cast<std::size_t>(d.feature_size())), calendar(static_cast<std::size_t>(d.calendar_size()));
  d.copy_features(row, std::span{x}, std::span{calendar});
  return x;
}

std::vector<double> calendar(const dataset& d, std::uint64_t row) {
  std::vector<double> x(static_cast<std::size_t>(d.feature_size())), result(static_cast<std::size_t>(d.calendar_size()));
  d.copy_features(row, std::span{x}, std::span{result});
  return result;
}

std::pair<std::vector<float>, std::vector<float>> targets(const dataset& d, std::uint64_t row) {
  std::vector<float> target(static_cast<std::size_t>(d.target_size())), mask(target.size());
  d.copy_targets(row, std::span{target}, std::span{mask});
  return {target, mask};
}

std::vector<std::uint64_t> rows(const dataset& d, part p) {
  std::vector<std::uint64_t> result;
  for (std::uint64_t i = 0; i < d.rows(p); ++i)
    result.push_back(d.row(p, i));
  return result;
}

// -- windows ------------------------------------------------------------------

TEST(windows, show_the_lines_before_a_row_and_ask_for_those_from_it) {
  const auto d = must(dataset::make(ramp(40), windows(3, 2), 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(features(*d, 5), (std::vector<float>{2, 102, 3, 103, 4, 104}));
  EXPECT_EQ(targets(*d, 5).first, (std::vector<float>{5, 105, 6, 106}));
  EXPECT_EQ(targets(*d, 5).second, (std::vector<float>{1, 1, 1, 1}));
  EXPECT_EQ(d->valid_cells(5), 4);
  EXPECT_EQ(d->calendar_size(), 0);
  EXPECT_EQ(d->time_of(5), -1);
}

TEST(windows, never_share_a_target_between_parts) {
  for (const auto own_validation : {false, true})
    for (const auto inputs_in_test : {false, true}) {
      auto c = windows(4, 3);
      c.train_rows = 60;
      c.validation_rows = own_validation ? 15 : 0;
      c.test_inputs_in_test = inputs_in_test;
      const auto d = must(dataset::make(ramp(100), c, 1));
      ASSERT_TRUE(d);
      std::set<std::uint64_t> lines[3];
      for (const auto p : {part::train, part::validation, part::test})
        for (const auto row : rows(*d, p))
          for (std::uint64_t step = 0; step < 3; ++step)
            lines[static_cast<int>(p)].insert(row + step);
      const std::uint64_t fitted = own_validation ? 60 : 54, test = own_validation ? 75 : 60;
      EXPECT_EQ(*lines[0].begin(), 4u);
      EXPECT_EQ(*lines[0].rbegin(), fitted - 1);
      EXPECT_EQ(*lines[1].begin(), fitted);
      EXPECT_EQ(*lines[1].rbegin(), test - 1);
      EXPECT_EQ(*lines[2].begin(), test + (inputs_in_test ? 4 : 0));
      EXPECT_EQ(*lines[2].rbegin(), 99u);
    }
}

TEST(windows, of_the_ett_protocol_have_the_published_number) {
  auto c = windows(336, 96);
  c.train_rows = 8640;
  c.validation_rows = c.test_rows = 2880;
  c.test_inputs_in_test = false;
  const auto d = must(dataset::make(ramp(17420), c, 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->rows(part::train), 8640u - 336 - 95);
  EXPECT_EQ(d->rows(part::validation), 2785u);
  EXPECT_EQ(d->rows(part::test), 2785u);
  EXPECT_EQ(d->row(part::test, 0), 11520u);
  EXPECT_EQ(d->rows_before_test().size(), d->rows(part::train));
  EXPECT_EQ(d->facts().target_greatest[0], 8639);
}

TEST(windows, of_a_short_horizon_are_a_few_more) {
  auto c = windows(3, 5);
  c.train_rows = 40;
  c.validation_fraction = 0;
  const auto d = must(dataset::make(ramp(60), c, 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->rows(part::test, 5), d->rows(part::test));
  for (std::int64_t h = 1; h <= 5; ++h)
    EXPECT_EQ(d->rows(part::test, h), static_cast<std::uint64_t>(20 - 3 - h + 1));
  EXPECT_EQ(d->row(part::test, d->rows(part::test, 1) - 1), 59u);
  EXPECT_EQ(targets(*d, 59).second, (std::vector<float>{1, 1, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST(windows, are_strided_in_training_only) {
  auto c = windows(3, 2);
  c.stride = 4;
  const auto d = must(dataset::make(ramp(60), c, 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->row(part::train, 1), d->row(part::train, 0) + 4);
  EXPECT_EQ(d->row(part::validation, 1), d->row(part::validation, 0) + 1);
  EXPECT_EQ(d->row(part::test, 1), d->row(part::test, 0) + 1);
}

TEST(windows, keep_their_row_numbers_when_lines_are_appended) {
  auto c = windows(3, 2);
  c.train_rows = 30;
  const auto short_one = must(dataset::make(ramp(50), c, 1)), long_one = must(dataset::make(ramp(70), c, 2));
  ASSERT_TRUE(short_one && long_one);
  EXPECT_EQ(rows(*short_one, part::train), rows(*long_one, part::train));
  EXPECT_EQ(features(*short_one, 40), features(*long_one, 40));
}

TEST(windows, need_enough_lines_in_every_part) {
  EXPECT_EQ(error_of(dataset::make(ramp(20), windows(12, 12), 1)),
            "x.csv: the train part, lines 0 to 13 counted from 0, is too short for one window: it needs 24 lines (see data.history and data.horizon)");
  EXPECT_EQ(error_of(dataset::make(ramp(60), windows(5, 6), 1)),
            "x.csv: the validation part, lines 43 to 47 counted from 0, is too short for one window: it needs 6 lines (see data.history and data.horizon)");
  EXPECT_EQ(error_of(dataset::make(ramp(100), windows(16, 6), 1)),
            "x.csv: the test part, lines 80 to 99 counted from 0, is too short for one window: it needs 22 lines (see data.history and data.horizon)");
  auto c = windows(3, 2);
  c.train_rows = 50;
  c.test_rows = 60;
  EXPECT_EQ(error_of(dataset::make(ramp(100), c, 1)),
            "x.csv: has 100 lines, but the parts need 110 (50 for training, 0 for data.validation-rows, 60 for data.test-rows)");
}

TEST(windows, may_do_without_validation_and_test) {
  auto c = windows(3, 2);
  c.train_fraction = 1;
  c.validation_fraction = 0;
  const auto d = must(dataset::make(ramp(30), c, 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->rows(part::train), 26u);
  EXPECT_EQ(d->rows(part::validation) + d->rows(part::test), 0u);
}

// -- calendar -----------------------------------------------------------------

TEST(calendar, tells_line_of_the_day_and_day_of_the_week_of_the_first_target) {
  auto t = ramp(600);
  for (std::int64_t i = 0; i < 600; ++i)
    t.times.push_back(1330560000 + 300 * i); // Thursday 2012-03-01
  const auto d = must(dataset::make(t, windows(12, 12), 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->facts().interval_seconds, 300);
  EXPECT_EQ(d->facts().lines_per_day, 288);
  EXPECT_EQ(calendar(*d, 12), (std::vector<double>{12, 3}));
  EXPECT_EQ(calendar(*d, 288 + 7), (std::vector<double>{7, 4}));
  EXPECT_EQ(d->time_of(12), 1330560000 + 3600);
}

TEST(calendar, works_before_1970) {
  auto t = ramp(50);
  for (std::int64_t i = 0; i < 50; ++i)
    t.times.push_back(-100 * 3600 + 3600 * i);
  const auto d = must(dataset::make(t, windows(2, 2), 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->facts().interval_seconds, 3600);
  EXPECT_EQ(calendar(*d, 4), (std::vector<double>{0, 6})); // 96 hours before 1970: Sunday 1969-12-28
  EXPECT_EQ(calendar(*d, 3), (std::vector<double>{23, 5}));
}

TEST(calendar, has_no_line_of_the_day_where_a_day_is_no_whole_number_of_lines) {
  auto t = ramp(50);
  for (std::int64_t i = 0; i < 50; ++i)
    t.times.push_back(604800 * i);
  const auto d = must(dataset::make(t, windows(2, 2), 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->facts().lines_per_day, 0);
  EXPECT_EQ(calendar(*d, 4), (std::vector<double>{0, 3}));
}

TEST(calendar, refuses_lines_out_of_order) {
  auto t = ramp(50);
  for (std::int64_t i = 0; i < 50; ++i)
    t.times.push_back(i == 30 ? 29 : i);
  EXPECT_EQ(error_of(dataset::make(t, windows(2, 2), 1)),
            "x.csv:31: found 1970-01-01 00:00:29, expected a time later than that of the line before, 1970-01-01 00:00:29; windows need "
            "lines in the order of time");
}

TEST(calendar, refuses_gaps_in_a_regular_series) {
  auto t = ramp(50);
  for (std::int64_t i = 0; i < 50; ++i) {
    t.times.push_back(3600 * i + (i > 20 ? 7200 : 0));
    t.places.push_back(i + 2);
  }
  const std::string start = "x.csv:23: found 1970-01-01 23:00:00, expected 1970-01-01 21:00:00, as lines are 3600 s apart";
  EXPECT_TRUE(error_of(dataset::make(t, windows(2, 2), 1)).starts_with(start)) << error_of(dataset::make(t, windows(2, 2), 1));
  auto whole = t;
  for (std::int64_t i = 0; i < 50; ++i)
    whole.times[static_cast<std::size_t>(i)] = 3600 * i;
  const auto trained = must(dataset::make(whole, windows(2, 2), 1));
  ASSERT_TRUE(trained);
  EXPECT_TRUE(error_of(dataset::make_for(t, {}, trained->facts(), true)).starts_with(start));
}

TEST(calendar, lets_an_irregular_series_be) {
  auto t = ramp(48);
  constexpr std::int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  std::int64_t time = 0;
  for (std::int64_t i = 0; i < 48; time += 86400 * days[i++ % 12])
    t.times.push_back(time);
  const auto d = must(dataset::make(t, windows(2, 2), 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->facts().interval_seconds, 31 * 86400);
}

// -- statistics and missing values --------------------------------------------

TEST(facts, are_taken_over_the_fitted_lines_alone) {
  auto c = windows(2, 2);
  c.train_rows = 20;
  c.validation_fraction = 0.5;
  auto t = ramp(60);
  for (std::size_t i = 20; i < 120; i += 2)
    t.values[i] = 1e6;
  const auto d = must(dataset::make(t, c, 1));
  ASSERT_TRUE(d);
  const auto& f = d->facts();
  EXPECT_DOUBLE_EQ(f.mean[0], 4.5);
  EXPECT_DOUBLE_EQ(f.mean[1], 104.5);
  EXPECT_DOUBLE_EQ(f.deviation[0], std::sqrt(8.25));
  EXPECT_DOUBLE_EQ(f.mean_all, 54.5);
  EXPECT_DOUBLE_EQ(f.deviation_all, std::sqrt(8.25 + 2500));
  EXPECT_EQ(f.target_least[1], 100);
  EXPECT_EQ(f.target_greatest[1], 109);
}

TEST(facts, give_a_constant_column_the_deviation_1) {
  auto t = ramp(60);
  for (std::size_t i = 0; i < 120; i += 2)
    t.values[i] = 0.1;
  const auto d = must(dataset::make(t, windows(2, 2), 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->facts().mean[0], 0.1);
  EXPECT_EQ(d->facts().deviation[0], 1);
}

TEST(missing_values, are_refused_with_their_place) {
  auto t = ramp(60);
  t.values[2 * 7 + 1] = gap;
  EXPECT_EQ(error_of(dataset::make(t, windows(2, 2), 1)),
            "x.csv:8: column 'b': the value is missing; set data.missing-features to \"forward\" or \"mean\"");
}

TEST(missing_values, are_carried_forward_as_inputs_and_masked_as_targets) {
  auto t = ramp(60);
  t.values[0] = t.values[2 * 7 + 1] = t.values[2 * 8 + 1] = gap;
  auto c = windows(2, 2);
  c.missing_features = "forward";
  const auto d = must(dataset::make(t, c, 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(features(*d, 9), (std::vector<float>{7, 106, 8, 106}));
  EXPECT_EQ(features(*d, 2)[0], static_cast<float>(d->facts().mean[0])); // nothing to carry yet
  EXPECT_EQ(targets(*d, 7).first, (std::vector<float>{7, 0, 8, 0}));
  EXPECT_EQ(targets(*d, 7).second, (std::vector<float>{1, 0, 1, 0}));
  EXPECT_EQ(d->valid_cells(7), 2);
  ASSERT_EQ(d->missing().size(), 2u);
  EXPECT_EQ(d->missing()[1].column, "b");
  EXPECT_EQ(d->missing()[1].values, 2);
}

TEST(missing_values, become_the_training_mean_by_policy) {
  auto t = ramp(60);
  t.values[2 * 7 + 1] = gap;
  auto c = windows(2, 2);
  c.missing_features = "mean";
  const auto d = must(dataset::make(t, c, 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(features(*d, 9)[1], static_cast<float>(d->facts().mean[1]));
}

TEST(missing_values, must_not_be_all_that_a_column_has) {
  auto t = ramp(60);
  for (std::size_t i = 1; i < 90; i += 2)
    t.values[i] = gap;
  EXPECT_EQ(error_of(dataset::make(t, windows(2, 2), 1)), "x.csv: column 'b' has no value in the training part; leave it out of data.columns");
}

TEST(values, too_large_for_float_are_refused) {
  auto t = ramp(60);
  t.values[2 * 50] = 1e39;
  EXPECT_EQ(error_of(dataset::make(t, windows(2, 2), 1)),
            "x.csv:51: column 'a': the value is too large for single precision; use another unit");
}

// -- tables -------------------------------------------------------------------

table people(std::int64_t lines) {
  table t;
  t.columns = {"age", "kind", "y"};
  t.source = "x.csv";
  t.lines = lines;
  for (std::int64_t i = 0; i < lines; ++i)
    t.values.insert(t.values.end(), {static_cast<double>(20 + i), static_cast<double>(5 + i % 3), static_cast<double>(i)});
  return t;
}

data_config table_config() {
  data_config c;
  c.kind = "row";
  c.targets = {"y"};
  return c;
}

TEST(tables, are_split_at_random_by_the_seed_into_parts_that_cover_all_lines) {
  const auto d = must(dataset::make(people(200), table_config(), 7)), again = must(dataset::make(people(200), table_config(), 7)),
             other = must(dataset::make(people(200), table_config(), 8));
  ASSERT_TRUE(d && again && other);
  std::set<std::uint64_t> seen;
  for (const auto p : {part::train, part::validation, part::test}) {
    const auto r = rows(*d, p);
    EXPECT_TRUE(std::ranges::is_sorted(r));
    EXPECT_EQ(r, rows(*again, p));
    EXPECT_NE(r, rows(*other, p));
    seen.insert(r.begin(), r.end());
  }
  EXPECT_EQ(d->rows(part::train), 144u);
  EXPECT_EQ(d->rows(part::validation), 16u);
  EXPECT_EQ(d->rows(part::test), 40u);
  EXPECT_EQ(seen.size(), 200u);
  EXPECT_EQ(d->rows_before_test().size(), 160u);
}

TEST(tables, can_be_split_in_the_order_of_the_file) {
  auto c = table_config();
  c.shuffle_rows = false;
  const auto d = must(dataset::make(people(10), c, 7));
  ASSERT_TRUE(d);
  EXPECT_EQ(rows(*d, part::validation), (std::vector<std::uint64_t>{7}));
  EXPECT_EQ(rows(*d, part::test), (std::vector<std::uint64_t>{8, 9}));
  EXPECT_EQ(features(*d, 8), (std::vector<float>{28, 7}));
  EXPECT_EQ(targets(*d, 8).first, (std::vector<float>{8}));
}

TEST(tables, mask_a_missing_target) {
  auto t = people(10);
  t.values[3 * 4 + 2] = gap;
  const auto d = must(dataset::make(t, table_config(), 7));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->valid_cells(4), 0);
  EXPECT_EQ(d->valid_cells(5), 1);
  EXPECT_EQ(targets(*d, 4).first, (std::vector<float>{0}));
}

TEST(tables, know_their_categories_and_do_not_scale_them) {
  auto c = table_config();
  c.categorical = {"kind:3:4:5"};
  const auto d = must(dataset::make(people(50), c, 7));
  ASSERT_TRUE(d);
  ASSERT_EQ(d->facts().categories.size(), 1u);
  const auto& k = d->facts().categories[0];
  EXPECT_EQ(k.column, 1);
  EXPECT_EQ(k.count, 3);
  EXPECT_EQ(k.width, 4);
  EXPECT_EQ(k.first, 5);
  EXPECT_EQ(d->facts().mean[1], 0);
  EXPECT_EQ(d->facts().deviation[1], 1);
  EXPECT_EQ(d->facts().mean_all, d->facts().mean[0]);
}

TEST(tables, refuse_categories_out_of_range) {
  auto c = table_config();
  c.categorical = {"kind:2:4:5"};
  EXPECT_EQ(error_of(dataset::make(people(50), c, 7)), "x.csv:3: column 'kind': found 7, expected a category from 5 to 6");
  auto t = people(50);
  t.values[1] = 5.5;
  EXPECT_EQ(error_of(dataset::make(t, c, 7)), "x.csv:1: column 'kind': found 5.500000, expected a category from 5 to 6");
}

TEST(tables, refuse_a_wrong_list_of_categories) {
  auto c = table_config();
  for (const std::string text : {"kin:3:4", "kind", "kind:3", "kind:x:4", "kind:0:4", "y:3:4"}) {
    c.categorical = {text};
    const auto name = text.substr(0, text.find(':'));
    EXPECT_TRUE(error_of(dataset::make(people(50), c, 7), ec::bad_config)
                  .starts_with("data.categorical: found \"" + text + "\", expected name:count:width or name:count:width:first with the name of a feature column"))
      << text;
  }
  c.categorical = {"kind:0:4"};
  EXPECT_EQ(error_of(dataset::make(people(50), c, 7), ec::bad_config).find("nearest column is 'age'"), std::string::npos);
  c.categorical = {"kin:3:4"};
  EXPECT_TRUE(error_of(dataset::make(people(50), c, 7), ec::bad_config).ends_with("; the nearest column is 'kind'"));
  c.categorical = {"kind:3:0:5"};
  EXPECT_EQ(error_of(dataset::make(people(50), c, 7), ec::bad_config).find("nearest"), std::string::npos) << "kind is there";
  c.categorical = {"kind:3:4:5", "kind:3:2:5"};
  EXPECT_EQ(error_of(dataset::make(people(50), c, 7), ec::bad_config), "data.categorical names 'kind' twice; remove one");
}

TEST(tables, need_targets_that_exist) {
  auto c = table_config();
  c.targets = {};
  EXPECT_EQ(error_of(dataset::make(people(50), c, 7), ec::bad_config), "data.targets is empty: rows of a table need columns to predict");
  c.targets = {"x"};
  EXPECT_EQ(error_of(dataset::make(people(50), c, 7)), "x.csv: there is no column 'x' (data.targets)");
}

TEST(tables, do_not_carry_values_forward_between_shuffled_lines) {
  auto c = table_config();
  c.missing_features = "forward";
  EXPECT_EQ(error_of(dataset::make(people(50), c, 7), ec::bad_config),
            "data.missing-features = \"forward\" needs lines in the order of time: set data.shuffle-rows to false, or use \"mean\"");
}

// -- prediction ---------------------------------------------------------------

TEST(prediction, finds_columns_by_name_and_keeps_the_facts_of_the_model) {
  const auto trained = must(dataset::make(ramp(40), windows(3, 2), 1));
  ASSERT_TRUE(trained);
  table t;
  t.columns = {"b", "extra", "a"};
  t.lines = 6;
  t.fingerprint = "new";
  for (int i = 0; i < 6; ++i)
    t.values.insert(t.values.end(), {200.0 + i, gap, 10.0 + i});
  const auto d = must(dataset::make_for(t, {}, trained->facts(), false));
  ASSERT_TRUE(d);
  EXPECT_EQ(rows(*d, part::test), (std::vector<std::uint64_t>{3, 4}));
  EXPECT_EQ(d->rows(part::train), 0u);
  EXPECT_EQ(features(*d, 3), (std::vector<float>{10, 200, 11, 201, 12, 202}));
  EXPECT_EQ(d->facts().mean, trained->facts().mean);
  EXPECT_EQ(d->facts().fingerprint, "new");
}

TEST(prediction, can_add_the_window_that_starts_after_the_last_line) {
  auto source = ramp(40);
  for (std::int64_t i = 0; i < 40; ++i)
    source.times.push_back(3600 * i);
  const auto trained = must(dataset::make(source, windows(3, 2), 1));
  ASSERT_TRUE(trained);
  source.lines = 3;
  source.values.resize(6);
  source.times.resize(3);
  const auto d = must(dataset::make_for(source, {}, trained->facts(), true));
  ASSERT_TRUE(d);
  EXPECT_EQ(rows(*d, part::test), (std::vector<std::uint64_t>{3}));
  EXPECT_EQ(d->time_of(3), 3 * 3600);
  EXPECT_EQ(d->valid_cells(3), 0);
  EXPECT_EQ(targets(*d, 3).second, (std::vector<float>(4, 0.0f)));
  EXPECT_EQ(features(*d, 3), (std::vector<float>{0, 100, 1, 101, 2, 102}));
  EXPECT_EQ(calendar(*d, 3), (std::vector<double>{3, 3}));
}

TEST(prediction, may_lack_targets_of_tables) {
  const auto trained = must(dataset::make(people(50), table_config(), 7));
  ASSERT_TRUE(trained);
  table t;
  t.columns = {"age", "kind"};
  t.lines = 2;
  t.values = {30, 5, 40, 6};
  const auto d = must(dataset::make_for(t, {}, trained->facts(), false));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->rows(part::test), 2u);
  EXPECT_EQ(d->valid_cells(1), 0);
  EXPECT_TRUE(d->missing().empty());
}

TEST(prediction, refuses_data_that_the_model_was_not_made_for) {
  auto source = ramp(40);
  for (std::int64_t i = 0; i < 40; ++i)
    source.times.push_back(3600 * i);
  const auto trained = must(dataset::make(source, windows(3, 2), 1));
  ASSERT_TRUE(trained);
  auto other = source;
  other.columns[1] = "bb";
  EXPECT_EQ(error_of(dataset::make_for(other, {}, trained->facts(), false), ec::data_mismatch),
            "x.csv: there is no column 'b', which the model needs");
  other = source;
  for (auto& time : other.times)
    time /= 2;
  EXPECT_EQ(error_of(dataset::make_for(other, {}, trained->facts(), false), ec::data_mismatch),
            "x.csv: lines are 1800 s apart, but the model was made for 3600 s");
  other.times.clear();
  EXPECT_EQ(error_of(dataset::make_for(other, {}, trained->facts(), false), ec::data_mismatch),
            "x.csv: the model needs the times of the lines; set data.time-column, or data.start and data.interval-seconds");
  other = ramp(4);
  other.times = {0, 3600, 7200, 10800};
  EXPECT_EQ(error_of(dataset::make_for(other, {}, trained->facts(), false)),
            "x.csv: has 4 lines, too few to predict from: one window needs 5");
}

TEST(date_time, is_written_as_it_is_read) {
  for (std::int64_t seconds = -62167219200; seconds < 253402300800; seconds += 86400 * 13 + 3661) // years 0 to 9999
    ASSERT_EQ(parse_date_time(date_time_text(seconds)), seconds) << date_time_text(seconds);
  EXPECT_EQ(date_time_text(1330560000), "2012-03-01 00:00:00");
  EXPECT_EQ(parse_date_time("1900-02-29"), std::nullopt);
  EXPECT_EQ(parse_date_time("2000-02-29"), 951782400);
}

TEST(nearest_name, has_the_least_edit_distance) {
  const std::vector<std::string> names{"speed", "flow", "occupancy"};
  EXPECT_EQ(nearest_name("spede", names), "speed");
  EXPECT_EQ(nearest_name("flows", names), "flow");
  EXPECT_EQ(nearest_name("", names), "flow");
  EXPECT_EQ(nearest_name("x", {}), "");
}

TEST(nearest_name, is_told_only_where_it_may_have_been_meant) {
  const std::vector<std::string> names{"speed", "epochs"};
  EXPECT_EQ(nearest_hint("spede", names, "; did you mean '", "'?"), "; did you mean 'speed'?");
  EXPECT_EQ(nearest_hint("epoch", names, "; the nearest is "), "; the nearest is epochs");
  for (const char* wanted : {"bogus", "x", "", "speed"})
    EXPECT_EQ(nearest_hint(wanted, names, "; "), "") << wanted;
  EXPECT_EQ(nearest_hint("x", {}, "; "), "");
}

} // namespace
