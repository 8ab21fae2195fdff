#include <enn/model/config/text.hpp>
#include <enn/serialization/config_file.hpp>

#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>

namespace {

using namespace enn;
using namespace enn::serialization;
namespace fs = std::filesystem;

model::config parsed(const std::string& text) {
  auto c = parse_config(text, "los.toml");
  EXPECT_TRUE(c) << text_of(c.error());
  return c ? *c : model::config{};
}

std::string problem(const std::string& text) {
  auto c = parse_config(text, "los.toml");
  if (c)
    return "none";
  EXPECT_EQ(code_of(c.error()), ec::bad_config);
  return text_of(c.error());
}

TEST(config_file, sets_values_of_every_type_and_remembers_their_lines) {
  auto c = parsed("[data]\nheader = false\ncolumns = [\"a\", \"b,c\"]\n\n[model]\nheads = 8\nmlp-ratio = 1.5\n"
                  "norm = \"rmsnorm\" # a comment\n");
  EXPECT_FALSE(c.data.header);
  EXPECT_EQ(c.data.columns, (std::vector<std::string>{"a", "b,c"}));
  EXPECT_EQ(c.model.heads, 8);
  EXPECT_EQ(c.model.mlp_ratio, 1.5);
  EXPECT_EQ(c.model.norm, "rmsnorm");
  EXPECT_EQ(c.origins, (std::map<std::string, std::string>{{"data.header", "los.toml:2"},
                                                           {"data.columns", "los.toml:3"},
                                                           {"model.heads", "los.toml:6"},
                                                           {"model.mlp-ratio", "los.toml:7"},
                                                           {"model.norm", "los.toml:8"}}));
}

TEST(config_file, an_empty_file_gives_the_defaults) {
  EXPECT_EQ(to_toml(parsed(""), true), to_toml({}, true));
}

TEST(config_file, a_section_may_be_written_in_any_way_that_toml_has) {
  EXPECT_EQ(parsed("model.heads = 8\n").model.heads, 8);
  EXPECT_EQ(parsed("model = { heads = 8 }\n").model.heads, 8);
}

TEST(config_file, an_integer_is_a_number) {
  EXPECT_EQ(parsed("[model]\ndropout = 0\n").model.dropout, 0.0);
  EXPECT_EQ(parsed("[train]\nclip-norm = 5\n").train.clip_norm, 5.0);
}

// -- errors ----

TEST(config_file, a_syntax_error_names_line_and_column) {
  EXPECT_EQ(problem("[model\n"), "los.toml:1:7: not TOML: Error while parsing table header: expected ']', saw '\\n'");
  EXPECT_EQ(problem("[model]\nheads = 4\nheads = 8\n"),
            "los.toml:3:9: not TOML: Error while parsing key-value pair: cannot redefine existing integer 'heads'");
  EXPECT_EQ(problem("\xff"), "los.toml:1:1: not TOML: Encountered invalid utf-8 sequence");
}

TEST(config_file, an_unknown_section_names_the_nearest) {
  EXPECT_EQ(problem("\n[modle]\nheads = 4\n"), "los.toml:2: unknown section [modle]; the nearest is [model]");
}

TEST(config_file, an_unknown_key_names_the_nearest) {
  EXPECT_EQ(problem("[model]\nhead-count = 4\n"), "los.toml:2: unknown key model.head-count; the nearest is model.heads");
  EXPECT_EQ(problem("[model]\nlearning-rate = 0.1\n"),
            "los.toml:2: unknown key model.learning-rate; the nearest is train.learning-rate");
}

TEST(config_file, a_key_outside_all_sections_is_unknown) {
  EXPECT_EQ(problem("epochs = 4\n"), "los.toml:1: unknown key epochs; the nearest is train.epochs");
}

TEST(config_file, a_section_is_not_a_value) {
  EXPECT_EQ(problem("model = 3\n"), "los.toml:1: model is a section: expected [model], found an integer");
  EXPECT_EQ(problem("[[model]]\nheads = 4\n"), "los.toml:1: model is a section: expected [model], found a list");
  EXPECT_EQ(problem("[model.heads]\nx = 4\n"), "los.toml:1: model.heads: expected an integer, found a section");
}

TEST(config_file, a_value_of_another_type_tells_both) {
  EXPECT_EQ(problem("[model]\nheads = \"4\"\n"), "los.toml:2: model.heads: expected an integer, found text");
  EXPECT_EQ(problem("[model]\nheads = 4.0\n"), "los.toml:2: model.heads: expected an integer, found a number");
  EXPECT_EQ(problem("[model]\ndropout = true\n"), "los.toml:2: model.dropout: expected a number, found true or false");
  EXPECT_EQ(problem("[model]\ngate = 1\n"), "los.toml:2: model.gate: expected true or false, found an integer");
  EXPECT_EQ(problem("[data]\nstart = 2012-03-01\n"),
            "los.toml:2: data.start: expected text, found a date or time without quotes");
  EXPECT_EQ(problem("[data]\npath = [\"a\"]\n"), "los.toml:2: data.path: expected text, found a list");
}

TEST(config_file, a_list_has_texts_only) {
  EXPECT_EQ(problem("[data]\ncolumns = \"a\"\n"), "los.toml:2: data.columns: expected a list of texts, found text");
  EXPECT_EQ(problem("[data]\ncolumns = [\"a\", 2]\n"),
            "los.toml:2: data.columns: expected a list of texts, found a list with an integer in it");
}

TEST(config_file, a_value_outside_its_limits_names_them) {
  EXPECT_EQ(problem("[model]\nheads = 0\n"), "los.toml:2: model.heads = 0 is outside 1 to 1024");
  EXPECT_EQ(problem("[model]\nnorm = \"batch\"\n"), "los.toml:2: model.norm = \"batch\" is not among layernorm, rmsnorm");
  EXPECT_EQ(problem("[model]\ndropout = nan\n"), "los.toml:2: model.dropout = nan is outside 0 to 0.95");
}

TEST(config_file, the_first_error_of_the_file_is_told) {
  EXPECT_EQ(problem("[train]\nzeal = 1\nbeta9 = 2\n[data]\nx = 3\n").substr(0, 34), "los.toml:2: unknown key train.zeal");
}

TEST(config_file, a_missing_file_is_an_error_of_the_operating_system) {
  auto c = load_config("/nowhere/los.toml");
  ASSERT_FALSE(c);
  EXPECT_EQ(code_of(c.error()), ec::io_failed);
  EXPECT_NE(text_of(c.error()).find("/nowhere/los.toml"), std::string::npos) << text_of(c.error());
}

// -- data.path ----

TEST(config_file, a_relative_data_path_starts_at_the_folder_of_the_file) {
  EXPECT_EQ(parse_config("[data]\npath = \"../a/x.csv\"\n", "/home/me/runs/los.toml")->data.path, "/home/me/a/x.csv");
  EXPECT_EQ(parse_config("[data]\npath = \"/a/x.csv\"\n", "/home/me/los.toml")->data.path, "/a/x.csv");
  EXPECT_EQ(parsed("[data]\npath = \"x.csv\"\n").data.path, (fs::current_path() / "x.csv").string());
  EXPECT_EQ(parsed("").data.path, "");
}

// -- writing ----

TEST(config_file, a_written_file_loads_back_equal) {
  model::config c;
  c.data.path = "/data/los \"loop\".csv";
  c.data.delimiter = "\t";
  c.data.missing = {"", "a\\b", "\x01"};
  c.model.beta_first = 1.0 / 3;
  c.train.epsilon = 1e-30;
  c.train.seed = 9'000'000'000'000'000;
  c.model.calendar = {"time-of-day"};
  for (bool with_origins : {false, true})
    EXPECT_EQ(model::to_name_values(parsed(to_toml(c, with_origins))), model::to_name_values(c));
}

TEST(config_file, a_file_on_disk_loads_back_equal) {
  auto path = fs::temp_directory_path() / ("enn_config_" + std::to_string(::getpid()) + ".toml");
  model::config c;
  c.train.epochs = 7;
  std::ofstream{path} << to_toml(c, true);
  auto loaded = load_config(path);
  fs::remove(path);
  ASSERT_TRUE(loaded) << text_of(loaded.error());
  EXPECT_EQ(loaded->train.epochs, 7);
  EXPECT_EQ(model::to_name_values(*loaded), model::to_name_values(c));
}

TEST(config_file, values_other_than_the_default_tell_their_origin) {
  auto c = parsed("[model]\nheads = 8\nd-model = 48\n");
  ASSERT_TRUE(model::set(c, "train.epochs", "3", "--train.epochs"));
  auto text = to_toml(c, true);
  EXPECT_NE(text.find("\nheads = 8  # los.toml:2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nepochs = 3  # --train.epochs\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nd-model = 48\n"), std::string::npos) << "a default needs no origin";
  EXPECT_EQ(to_toml(c, false).find('#'), std::string::npos);
}

TEST(config_file, a_strange_file_name_cannot_break_a_comment) {
  model::config c;
  ASSERT_TRUE(model::set(c, "model.heads", "8", "a\nheads = 9:1"));
  EXPECT_EQ(parsed(to_toml(c, true)).model.heads, 8);
}

} // namespace
