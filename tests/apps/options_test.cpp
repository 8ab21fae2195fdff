#include "../../apps/options.hpp"

#include <CLI/CLI.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace {

using namespace enn;
using namespace enn::apps;

/// What the program would read from these arguments; CLI11's own errors are thrown.
model::name_values given(std::vector<std::string> arguments) {
  CLI::App app;
  model::name_values result;
  add_config_options(app, result);
  std::reverse(arguments.begin(), arguments.end()); // CLI11 wants them so
  app.parse(arguments);
  return result;
}

model::config applied(const std::vector<std::string>& arguments, model::config c = {}) {
  auto done = apply_options(given(arguments), c);
  EXPECT_TRUE(done) << text_of(done.error());
  return c;
}

std::string problem(const std::vector<std::string>& arguments) {
  model::config c;
  auto done = apply_options(given(arguments), c);
  return done ? "none" : text_of(done.error());
}

TEST(options, there_is_one_for_every_key) {
  CLI::App app;
  model::name_values values;
  add_config_options(app, values);
  for (const auto& key : model::keys())
    EXPECT_NE(app.get_option_no_throw("--" + key), nullptr) << key;
}

TEST(options, set_values_over_those_of_the_file) {
  model::config file;
  ASSERT_TRUE(model::set(file, "model.heads", "2", "los.toml:3"));
  ASSERT_TRUE(model::set(file, "train.epochs", "9", "los.toml:7"));
  auto c = applied({"--model.heads", "8", "--train.learning-rate=1e-3", "--model.gate", "false"}, file);
  EXPECT_EQ(c.model.heads, 8);
  EXPECT_EQ(c.train.epochs, 9);
  EXPECT_EQ(c.train.learning_rate, 1e-3);
  EXPECT_FALSE(c.model.gate);
  EXPECT_EQ(c.origins["model.heads"], "--model.heads");
  EXPECT_EQ(c.origins["train.epochs"], "los.toml:7");
  EXPECT_EQ(c.origins.count("model.d-model"), 0u);
}

TEST(options, of_an_option_given_twice_the_last_counts) {
  EXPECT_EQ(applied({"--train.seed", "1", "--train.seed", "2"}).train.seed, 2);
  EXPECT_EQ(applied({"--train.seed", "1", "--seed", "2"}).train.seed, 2);
  EXPECT_EQ(applied({"--seed", "1", "--train.seed", "2"}).train.seed, 2);
}

TEST(options, some_have_a_short_name) {
  auto c = applied({"--epochs=3", "--steps=4", "--seed=5", "--kernels=portable", "--folder=runs/x", "--workers=6"});
  EXPECT_EQ(c.train.epochs, 3);
  EXPECT_EQ(c.train.steps, 4);
  EXPECT_EQ(c.train.seed, 5);
  EXPECT_EQ(c.train.kernels, "portable");
  EXPECT_EQ(c.run.folder, "runs/x");
  EXPECT_EQ(c.run.workers, 6);
  EXPECT_EQ(c.origins["run.workers"], "--run.workers");
}

TEST(options, a_list_is_one_argument_with_commas) {
  EXPECT_EQ(applied({"--data.columns", "a,b c,\"d,e\""}).data.columns, (std::vector<std::string>{"a", "b c", "d,e"}));
  EXPECT_EQ(applied({"--data.missing", "[x]"}).data.missing, std::vector<std::string>{"[x]"});
}

TEST(options, a_value_may_be_empty) {
  model::config file;
  file.data.start = "2012-03-01";
  file.data.columns = {"a"};
  auto c = applied({"--data.start", "", "--data.columns", ""}, file);
  EXPECT_EQ(c.data.start, "");
  EXPECT_TRUE(c.data.columns.empty());
}

TEST(options, a_relative_data_path_starts_at_the_current_folder) {
  auto here = std::filesystem::current_path();
  EXPECT_EQ(applied({"--data.path", "x.csv"}).data.path, (here / "x.csv").string());
  EXPECT_EQ(applied({"--data.path", "/a/x.csv"}).data.path, "/a/x.csv");
  EXPECT_EQ(applied({"--data.path", ""}).data.path, "");
}

// -- errors ----

TEST(options, a_bad_value_names_its_option) {
  EXPECT_EQ(problem({"--model.heads=0"}), "--model.heads: model.heads = 0 is outside 1 to 1024");
  EXPECT_EQ(problem({"--model.heads", "-3"}), "--model.heads: model.heads = -3 is outside 1 to 1024");
  EXPECT_EQ(problem({"--seed=now"}), "--train.seed: train.seed = \"now\" is not an integer; allowed: 0 to 9e15");
}

TEST(options, an_unknown_option_names_the_nearest) {
  auto error = unknown_option("--model.head-count=4");
  EXPECT_EQ(code_of(error), ec::bad_usage);
  EXPECT_EQ(text_of(error), "unknown option --model.head-count; the nearest is --model.heads");
  EXPECT_EQ(text_of(unknown_option("--epoch")), "unknown option --epoch; the nearest is --train.epochs");
  EXPECT_EQ(text_of(unknown_option("-x")), "unexpected argument -x; see --help");
}

TEST(options, cli11_tells_which_arguments_it_does_not_know) {
  CLI::App app;
  model::name_values values;
  add_config_options(app, values);
  EXPECT_THROW(app.parse("--model.head-count=4"), CLI::ExtrasError);
  EXPECT_EQ(app.remaining(), std::vector<std::string>{"--model.head-count=4"});
}

// -- documentation ----

TEST(options, help_groups_by_section_and_tells_meaning_unit_default_and_limits) {
  CLI::App app;
  model::name_values values;
  add_config_options(app, values);
  const auto* rows = app.get_option("--train.batch-rows");
  EXPECT_EQ(rows->get_group(), "[train]");
  EXPECT_EQ(rows->get_type_name(), "INTEGER");
  EXPECT_EQ(app.get_option("--data.columns")->get_type_name(), "TEXT,...");
  EXPECT_EQ(rows->get_description(), "Rows of one optimizer step. (rows; default 32; 1 to 1e9)");
  EXPECT_EQ(app.get_option("--data.delimiter")->get_description(), "Character between fields. (default \",\")");
  EXPECT_EQ(app.get_option("--model.norm")->get_description(),
            "Kind of normalisation in all blocks. (default \"layernorm\"; layernorm, rmsnorm)");
}

TEST(options, the_documentation_is_that_of_the_declarations) {
  std::ifstream file{ENN_SOURCE_DIR "/docs/configuration.md"};
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(text.str() == configuration_markdown())
    << "docs/configuration.md is stale; write it anew with: enn config --markdown > docs/configuration.md";
}

} // namespace
