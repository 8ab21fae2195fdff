#include <enn/model/config/text.hpp>

#include <gtest/gtest.h>

namespace {

using namespace enn;
using namespace enn::model;

/// A configuration with these values from lines 1, 2, ... of los.toml.
config with(const name_values& values) {
  config c;
  int line = 0;
  for (const auto& [key, text] : values) {
    auto done = set(c, key, text, "los.toml:" + std::to_string(++line));
    EXPECT_TRUE(done) << text_of(done.error());
  }
  return c;
}

std::string problem(const name_values& values) {
  auto done = check(with(values));
  if (done)
    return "none";
  EXPECT_EQ(code_of(done.error()), ec::bad_config);
  return text_of(done.error());
}

TEST(config_check, accepts_the_defaults) {
  EXPECT_EQ(problem({}), "none");
}

TEST(config_check, checks_the_limits_of_values_set_in_code) {
  config c;
  c.model.heads = 0; // would be a division by zero further on
  auto done = check(c);
  ASSERT_FALSE(done);
  EXPECT_EQ(text_of(done.error()), "model.heads = 0 is outside 1 to 1024");
}

// -- [data] ----

TEST(config_check, the_delimiter_is_one_character) {
  const std::string rest = " is not one character that can stand between fields; choose \",\", \";\", \"\\t\" or the like";
  EXPECT_EQ(problem({{"data.delimiter", ";;"}}), "los.toml:1: data.delimiter = \";;\"" + rest);
  EXPECT_EQ(problem({{"data.delimiter", ""}}), "los.toml:1: data.delimiter = \"\"" + rest);
  EXPECT_EQ(problem({{"data.delimiter", "\""}}), "los.toml:1: data.delimiter = \"\\\"\"" + rest);
  EXPECT_EQ(problem({{"data.delimiter", "\t"}}), "none");
  EXPECT_EQ(problem({{"data.delimiter", "\\t"}}), "none") << "as a shell passes it";
}

TEST(config_check, columns_and_targets_are_named_once) {
  EXPECT_EQ(problem({{"data.columns", "a,b,a"}}), "los.toml:1: data.columns names a twice; remove one");
  EXPECT_EQ(problem({{"data.targets", "a,a"}}), "los.toml:1: data.targets names a twice; remove one");
}

TEST(config_check, a_target_is_not_an_input) {
  EXPECT_EQ(problem({{"data.columns", "a,b"}, {"data.targets", "b"}}),
            "los.toml:2, los.toml:1: data.targets and data.columns both name b; an input cannot be predicted");
}

TEST(config_check, the_time_column_is_not_an_input) {
  EXPECT_EQ(problem({{"data.columns", "t,b"}, {"data.time-column", "t"}}),
            "los.toml:2, los.toml:1: data.time-column = \"t\" is also in data.columns; remove it there");
}

TEST(config_check, rows_need_targets_and_a_dense_head_and_have_no_calendar) {
  EXPECT_EQ(problem({{"data.kind", "row"}}),
            "los.toml:1: data.kind = \"row\" needs data.targets; name the columns to predict");
  EXPECT_EQ(problem({{"data.kind", "row"}, {"data.targets", "y"}}),
            "los.toml:1: model.head = \"grid\" needs data.kind = \"window\"; set model.head = \"dense\"");
  EXPECT_EQ(problem({{"data.kind", "row"}, {"data.targets", "y"}, {"model.head", "dense"},
                     {"model.calendar", "day-of-week"}}),
            "los.toml:4, los.toml:1: model.calendar needs data.kind = \"window\"; remove it");
  EXPECT_EQ(problem({{"data.kind", "row"}, {"data.targets", "y"}, {"model.head", "dense"},
                     {"data.categorical", "zip:100:4"}}),
            "none");
}

TEST(config_check, windows_have_neither_targets_nor_categories) {
  EXPECT_EQ(problem({{"data.targets", "y"}}),
            "los.toml:1: data.targets needs data.kind = \"row\"; windows predict all their columns, so remove it");
  EXPECT_EQ(problem({{"data.categorical", "zip:100:4"}}),
            "los.toml:1: data.categorical needs data.kind = \"row\"; remove it");
}

TEST(config_check, a_patch_is_no_longer_than_the_history_of_a_window) {
  EXPECT_EQ(problem({{"model.patch-size", "13"}}), "none") << "the spatial template has no patches";
  EXPECT_EQ(problem({{"model.patch-size", "13"}, {"model.preset", "temporal"}}),
            "los.toml:1: model.patch-size = 13 is longer than data.history = 12; choose a patch of at most 12");
  EXPECT_EQ(problem({{"data.kind", "row"}, {"data.targets", "y"}, {"model.head", "dense"}, {"model.patch-size", "13"}}),
            "none");
}

TEST(config_check, the_time_of_lines_has_one_source) {
  EXPECT_EQ(problem({{"data.time-column", "t"}, {"data.start", "2012-03-01"}}),
            "los.toml:1, los.toml:2: data.time-column = \"t\" and data.start = \"2012-03-01\" both tell the time of the "
            "first line; remove one");
}

TEST(config_check, the_start_is_a_date_and_goes_with_an_interval) {
  EXPECT_EQ(problem({{"data.interval-seconds", "300"}, {"data.start", "yesterday"}}),
            "los.toml:2: data.start: found \"yesterday\", expected a date and time such as 2012-03-01T00:00:00");
  EXPECT_EQ(problem({{"data.start", "2012-03-01"}}),
            "los.toml:1: data.start = \"2012-03-01\" needs data.interval-seconds: the times of the lines follow from both");
}

TEST(config_check, categories_have_a_name_and_numbers_above_0) {
  auto of = [](const std::string& text) {
    return problem({{"data.kind", "row"}, {"data.targets", "y"}, {"model.head", "dense"}, {"data.categorical", text}});
  };
  for (const std::string text : {"colour:4:0", "colour", "colour:4", "colour:0:4", "colour:x:4", ":4:4", "colour:-4:4"})
    EXPECT_EQ(of(text), "los.toml:4: data.categorical: found \"" + text + "\", expected name:count:width or name:count:width:first with "
                        "the name of a feature column and numbers above 0");
  EXPECT_EQ(of("a:4:2,b:3:2,a:4:2:1"), "los.toml:4: data.categorical names a twice; remove one");
  EXPECT_EQ(of("y:4:2"), "los.toml:4, los.toml:2: data.categorical and data.targets both name y; only inputs can be categories");
  EXPECT_EQ(of("a:4:2,b:3:2:1,12:30:4:4"), "none");
}

TEST(config_check, a_calendar_needs_the_time_of_lines) {
  EXPECT_EQ(problem({{"model.calendar", "day-of-week"}, {"data.interval-seconds", "300"}}),
            "los.toml:1, los.toml:2: model.calendar needs the time of each line; set data.time-column, or data.start and "
            "data.interval-seconds");
  EXPECT_EQ(problem({{"model.calendar", "day-of-week"}, {"data.time-column", "t"}}), "none");
  EXPECT_EQ(problem({{"model.calendar", "time-of-day"}, {"data.start", "2012-03-01"}, {"data.interval-seconds", "300"}}),
            "none");
}

TEST(config_check, a_calendar_names_each_cycle_once) {
  EXPECT_EQ(problem({{"model.calendar", "day-of-week,day-of-week"}, {"data.time-column", "t"}}),
            "los.toml:1: model.calendar names day-of-week twice; remove one");
}

TEST(config_check, one_vector_a_line_of_the_day_needs_whole_lines_a_day) {
  name_values values = {{"data.interval-seconds", "7000"}, {"data.start", "2012-03-01"}, {"model.calendar", "time-of-day"}};
  EXPECT_EQ(problem(values), "los.toml:1: data.interval-seconds = 7000 does not divide a day of 86400 s, so "
                             "model.calendar-vectors = 0 cannot give each line of the day a vector; set "
                             "model.calendar-vectors, for instance to 24");
  values.emplace_back("model.calendar-vectors", "24");
  EXPECT_EQ(problem(values), "none");
}

TEST(config_check, the_end_of_training_has_one_source) {
  EXPECT_EQ(problem({{"data.train-rows", "1000"}, {"data.train-fraction", "0.5"}}),
            "los.toml:1, los.toml:2: data.train-rows = 1000 and data.train-fraction = 0.5 both tell where training ends; "
            "remove one");
  EXPECT_EQ(problem({{"data.train-rows", "1000"}, {"data.train-fraction", "0.8"}}), "none") << "as run.toml has it";
}

TEST(config_check, test_lines_need_room) {
  EXPECT_EQ(problem({{"data.test-rows", "100"}, {"data.train-fraction", "1"}}),
            "los.toml:1, los.toml:2: data.train-fraction = 1 leaves nothing for data.test-rows = 100; lower the fraction "
            "or set data.test-rows = 0");
}

TEST(config_check, the_validation_part_has_one_source) {
  EXPECT_EQ(problem({{"data.validation-rows", "100"}, {"data.validation-fraction", "0.2"}}),
            "los.toml:1, los.toml:2: data.validation-rows = 100 and data.validation-fraction = 0.2 both tell what "
            "validation is; remove one");
  EXPECT_EQ(problem({{"data.validation-rows", "100"}, {"data.validation-fraction", "0"}}), "none");
  EXPECT_EQ(problem({{"data.validation-rows", "100"}}), "none");
}

TEST(config_check, each_part_holds_a_window) {
  EXPECT_EQ(problem({{"data.train-rows", "23"}}),
            "los.toml:1: data.train-rows = 23 cannot hold one window of data.history = 12 and data.horizon = 12; use 24 "
            "or more");
  EXPECT_EQ(problem({{"data.train-rows", "24"}}), "none");
  EXPECT_EQ(problem({{"data.test-rows", "23"}}),
            "los.toml:1: data.test-rows = 23 cannot hold one test window of 24 lines; use 24 or more");
  EXPECT_EQ(problem({{"data.test-rows", "11"}, {"data.test-inputs-in-test", "false"}}),
            "los.toml:1, los.toml:2: data.test-rows = 11 cannot hold one test window of 12 lines; use 12 or more");
  EXPECT_EQ(problem({{"data.test-rows", "12"}, {"data.test-inputs-in-test", "false"}}), "none");
}

// -- [model] ----

TEST(config_check, heads_divide_the_width) {
  EXPECT_EQ(problem({{"model.d-model", "48"}, {"model.heads", "5"}}),
            "los.toml:2, los.toml:1: model.heads = 5 does not divide model.d-model = 48; choose a divisor such as 4");
  EXPECT_EQ(problem({{"model.heads", "100"}}),
            "los.toml:1: model.heads = 100 does not divide model.d-model = 48; choose a divisor such as 48");
}

TEST(config_check, a_gated_layer_has_a_hidden_unit) {
  EXPECT_EQ(problem({{"model.d-model", "4"}, {"model.mlp-ratio", "0.3"}}),
            "los.toml:2, los.toml:1: model.mlp-ratio = 0.3 leaves gated feed-forward layers of model.d-model = 4 no hidden "
            "unit; use a ratio of at least 0.375");
  EXPECT_EQ(problem({{"model.d-model", "4"}, {"model.mlp-ratio", "0.375"}}), "none");
}

TEST(config_check, the_templates_of_the_preset_have_blocks) {
  EXPECT_EQ(problem({{"model.spatial-depth", "0"}, {"model.preset", "spatiotemporal"}}),
            "los.toml:2, los.toml:1: model.preset = \"spatiotemporal\" needs spatial blocks, but model.spatial-depth = 0; use 1 or "
            "more, or model.preset = \"temporal\"");
  EXPECT_EQ(problem({{"model.temporal-depth", "0"}, {"model.preset", "spatiotemporal"}}),
            "los.toml:2, los.toml:1: model.preset = \"spatiotemporal\" needs temporal blocks, but model.temporal-depth = 0; use 1 or "
            "more, or model.preset = \"spatial\"");
  EXPECT_EQ(problem({{"model.temporal-depth", "0"}, {"model.preset", "spatial"}}), "none");
  EXPECT_EQ(problem({{"model.spatial-depth", "0"}, {"model.preset", "temporal"}}), "none");
}

TEST(config_check, leases_are_a_power_of_two) {
  EXPECT_EQ(problem({{"train.leases", "6"}}), "los.toml:1: train.leases = 6 is not a power of two; choose 4 or 8");
  EXPECT_EQ(problem({{"train.leases", "1"}}), "none");
}

TEST(config_check, there_may_be_more_leases_than_rows) {
  EXPECT_EQ(problem({{"train.leases", "64"}, {"train.batch-rows", "32"}}), "none");
}

TEST(config_check, the_moments_of_adamw_fit_together) {
  EXPECT_EQ(problem({{"train.momentum", "0.99"}, {"train.beta2", "0.9"}}),
            "los.toml:1, los.toml:2: train.momentum = 0.99 is too large for train.beta2 = 0.9: AdamW needs momentum^2 below "
            "the root of beta2; lower the one or raise the other");
  EXPECT_EQ(problem({{"train.momentum", "0.99"}, {"train.beta2", "0.9"}, {"train.optimizer", "sgd"}}), "none");
  EXPECT_EQ(problem({{"train.momentum", "0"}, {"train.beta2", "0"}}), "none");
}

TEST(config_check, something_is_learnt_from) {
  name_values values = {{"train.final-weight", "0"}, {"train.base-weight", "0"}};
  EXPECT_EQ(problem(values), "los.toml:1, los.toml:2: train.final-weight, train.base-weight are all 0, so there is nothing to learn "
                             "from; set one above 0");
  values.emplace_back("model.refine", "true");
  EXPECT_EQ(problem(values), "los.toml:2: train.base-weight = 0 leaves nothing to train the encoder when "
                             "train.detach-refinement = true; raise the one, or set the other to false");
  values.emplace_back("train.detach-refinement", "false");
  EXPECT_EQ(problem(values), "none") << "the refined prediction has a loss by default";
  values.back() = {"train.refined-weight", "0"};
  EXPECT_EQ(problem(values), "los.toml:1, los.toml:2, los.toml:4, los.toml:3: train.final-weight, train.base-weight and "
                             "train.refined-weight are all 0, so there is nothing to learn from; set one above 0");
}

TEST(config_check, stopping_early_needs_a_validation_part) {
  EXPECT_EQ(problem({{"data.validation-fraction", "0"}, {"train.patience", "3"}}),
            "los.toml:2, los.toml:1: train.patience = 3 needs a validation part, but data.validation-fraction = 0; set a "
            "fraction such as 0.1, or train.patience = 0");
  EXPECT_EQ(problem({{"data.validation-fraction", "0"}, {"train.validate-every", "5"}}),
            "los.toml:2, los.toml:1: train.validate-every = 5 needs a validation part, but data.validation-fraction = 0; "
            "set a fraction such as 0.1, or train.validate-every = 0");
  EXPECT_EQ(problem({{"data.validation-fraction", "0"}, {"data.validation-rows", "90"}, {"train.patience", "3"}}), "none");
}

// -- messages ----

TEST(config_check, an_origin_is_told_once) {
  config c;
  ASSERT_TRUE(set(c, "model.heads", "5", "checkpoint last.h5"));
  ASSERT_TRUE(set(c, "model.d-model", "48", "checkpoint last.h5"));
  auto done = check(c);
  ASSERT_FALSE(done);
  EXPECT_EQ(text_of(done.error()),
            "checkpoint last.h5: model.heads = 5 does not divide model.d-model = 48; choose a divisor such as 4");
}

} // namespace
