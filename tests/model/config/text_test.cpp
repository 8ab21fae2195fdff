#include <enn/model/config/text.hpp>

#include <gtest/gtest.h>

#include <limits>
#include <set>

namespace {

using namespace enn;
using namespace enn::model;
using texts = std::vector<std::string>;
using integers = std::vector<std::int64_t>;

template <class Value>
Value round_trip(const Value& value) {
  Value result{};
  EXPECT_TRUE(from_text(to_text(value), result)) << to_text(value);
  return result;
}

template <class Value>
bool is(std::string_view text) {
  Value value{};
  return from_text(text, value);
}

std::string error_of_setting(std::string_view key, std::string_view text, std::string_view origin = {}) {
  config c;
  auto done = set(c, key, text, origin);
  EXPECT_FALSE(done);
  if (done)
    return {};
  EXPECT_EQ(code_of(done.error()), ec::bad_config);
  EXPECT_EQ(to_name_values(c), to_name_values(config{})) << "a refused value must change nothing";
  EXPECT_TRUE(c.origins.empty());
  return text_of(done.error());
}

// -- values ----

TEST(config_text, numbers_are_written_as_people_write_them) {
  EXPECT_EQ(to_text(0.1), "0.1");
  EXPECT_EQ(to_text(2.0), "2");
  EXPECT_EQ(to_text(1e-8), "1e-8");
  EXPECT_EQ(to_text(1e6), "1e6");
  EXPECT_EQ(to_text(1e10), "1e10");
  EXPECT_EQ(to_text(-2.5e-300), "-2.5e-300");
  EXPECT_EQ(to_text(std::int64_t{-7}), "-7");
  EXPECT_EQ(to_text(true), "true");
}

TEST(config_text, every_number_keeps_its_bits) {
  for (double x : {0.0, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.1, 2e-3, 123456789.123, 1e22, 1e23})
    EXPECT_EQ(round_trip(x), x);
  for (std::int64_t n : {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()})
    EXPECT_EQ(round_trip(n), n);
}

TEST(config_text, a_text_of_another_type_is_no_value) {
  EXPECT_FALSE(is<bool>("yes"));
  EXPECT_FALSE(is<bool>("1"));
  for (auto text : {"", "1.5", "1e3", "12 ", " 12", "0x10", "99999999999999999999"})
    EXPECT_FALSE(is<std::int64_t>(text)) << text;
  for (auto text : {"", "one", "1.5s", "1,5"})
    EXPECT_FALSE(is<double>(text)) << text;
}

TEST(config_text, a_value_stays_when_the_text_is_refused) {
  std::int64_t n = 3;
  EXPECT_FALSE(from_text("4 heads", n));
  EXPECT_EQ(n, 3);
  texts list = {"a"};
  EXPECT_FALSE(from_text("b,\"c", list));
  EXPECT_EQ(list, texts{"a"});
}

TEST(config_text, a_list_is_written_with_commas_and_quoted_only_where_needed) {
  EXPECT_EQ(to_text(texts{"a", "b c"}), "a,b c");
  EXPECT_EQ(to_text(texts{"", "NA", "a,b", "say \"x\"", " x"}), R"("",NA,"a,b","say ""x"""," x")");
  EXPECT_EQ(to_text(texts{}), "");
  EXPECT_EQ(to_text(integers{1, -2, 3}), "1,-2,3");
}

TEST(config_text, lists_come_back_as_they_were) {
  for (const auto& list : {texts{}, texts{""}, texts{"", ""}, texts{"a"}, texts{",", "\"", "\"\"", " ", "\t", "a\nb"}})
    EXPECT_EQ(round_trip(list), list);
  for (const auto& list : {integers{}, integers{0}, integers{3, -1, 2}})
    EXPECT_EQ(round_trip(list), list);
}

TEST(config_text, spaces_around_elements_do_not_count) {
  texts list;
  EXPECT_TRUE(from_text(" a , \"b\" ,c d", list));
  EXPECT_EQ(list, (texts{"a", "b", "c d"}));
}

TEST(config_text, an_element_may_be_empty) {
  texts list;
  EXPECT_TRUE(from_text("a,,b,", list));
  EXPECT_EQ(list, (texts{"a", "", "b", ""}));
}

TEST(config_text, misplaced_quotes_are_no_list) {
  EXPECT_FALSE(is<texts>("\"a"));
  EXPECT_FALSE(is<texts>("a\"b"));
  EXPECT_FALSE(is<texts>("\"a\"b"));
  EXPECT_FALSE(is<integers>("1,x"));
  EXPECT_FALSE(is<integers>("1,,2"));
}

TEST(config_text, a_literal_is_what_toml_reads) {
  EXPECT_EQ(literal(0.5), "0.5");
  EXPECT_EQ(literal(false), "false");
  EXPECT_EQ(literal(std::string{"a \"b\" \\ \t\n\x01"}), R"("a \"b\" \\ \t\n\u0001")");
  EXPECT_EQ(literal(texts{"", "a"}), R"(["", "a"])");
  EXPECT_EQ(literal(integers{1, 2}), "[1, 2]");
}

// -- one value of a configuration ----

TEST(config_set, sets_every_type_and_remembers_the_origin) {
  config c;
  EXPECT_TRUE(set(c, "data.header", "false", "los.toml:2"));
  EXPECT_TRUE(set(c, "model.heads", "8", "los.toml:3"));
  EXPECT_TRUE(set(c, "train.learning-rate", "1e-3", "--train.learning-rate"));
  EXPECT_TRUE(set(c, "model.norm", "rmsnorm"));
  EXPECT_TRUE(set(c, "model.calendar", "time-of-day,day-of-week"));
  EXPECT_FALSE(c.data.header);
  EXPECT_EQ(c.model.heads, 8);
  EXPECT_EQ(c.train.learning_rate, 1e-3);
  EXPECT_EQ(c.model.norm, "rmsnorm");
  EXPECT_EQ(c.model.calendar, (texts{"time-of-day", "day-of-week"}));
  EXPECT_EQ(c.origins, (std::map<std::string, std::string>{{"data.header", "los.toml:2"},
                                                           {"model.heads", "los.toml:3"},
                                                           {"train.learning-rate", "--train.learning-rate"}}));
}

TEST(config_set, a_later_value_replaces_the_origin_too) {
  config c;
  EXPECT_TRUE(set(c, "model.heads", "8", "los.toml:3"));
  EXPECT_TRUE(set(c, "model.heads", "2", "--model.heads"));
  EXPECT_EQ(c.origins["model.heads"], "--model.heads");
  EXPECT_TRUE(set(c, "model.heads", "3"));
  EXPECT_TRUE(c.origins.empty());
}

TEST(config_set, refuses_text_of_another_type) {
  EXPECT_EQ(error_of_setting("model.heads", "four", "--model.heads"),
            "--model.heads: model.heads = \"four\" is not an integer; allowed: 1 to 1024");
  EXPECT_EQ(error_of_setting("model.dropout", "", "--model.dropout"),
            "--model.dropout: model.dropout = \"\" is not a number; allowed: 0 to 0.95");
  EXPECT_EQ(error_of_setting("model.gate", "yes"), "model.gate = \"yes\" is not true or false");
  EXPECT_EQ(error_of_setting("data.columns", "\"a"), "data.columns = \"\\\"a\" is not a list of texts");
}

TEST(config_set, refuses_numbers_outside_their_range) {
  EXPECT_EQ(error_of_setting("model.heads", "0", "los.toml:12"), "los.toml:12: model.heads = 0 is outside 1 to 1024");
  EXPECT_EQ(error_of_setting("train.batch-rows", "2000000000"), "train.batch-rows = 2000000000 is outside 1 to 1e9");
  EXPECT_EQ(error_of_setting("model.dropout", "nan"), "model.dropout = nan is outside 0 to 0.95");
  EXPECT_EQ(error_of_setting("train.clip-norm", "inf"), "train.clip-norm = inf is outside 0 to 1e30");
}

TEST(config_set, takes_both_ends_of_a_range) {
  config c;
  EXPECT_TRUE(set(c, "model.heads", "1"));
  EXPECT_TRUE(set(c, "model.heads", "1024"));
  EXPECT_TRUE(set(c, "model.dropout", "0"));
  EXPECT_TRUE(set(c, "model.dropout", "0.95"));
}

TEST(config_set, refuses_words_that_are_not_listed) {
  EXPECT_EQ(error_of_setting("model.norm", "batch", "los.toml:3"),
            "los.toml:3: model.norm = \"batch\" is not among layernorm, rmsnorm");
  EXPECT_EQ(error_of_setting("model.calendar", "time-of-day,moon"),
            "model.calendar = [\"time-of-day\", \"moon\"] is not among time-of-day, day-of-week");
}

TEST(config_set, names_the_nearest_key) {
  EXPECT_EQ(error_of_setting("model.d_model", "8", "x.toml:1"),
            "x.toml:1: unknown key model.d_model; the nearest is model.d-model");
  EXPECT_EQ(error_of_setting("model.learning-rate", "8"),
            "unknown key model.learning-rate; the nearest is train.learning-rate");
  EXPECT_EQ(error_of_setting("trian.epochs", "8"), "unknown key trian.epochs; the nearest is train.epochs");
  EXPECT_EQ(error_of_setting("epoch", "8"), "unknown key epoch; the nearest is train.epochs");
  EXPECT_EQ(error_of_setting("", "8"), "unknown key ");
  EXPECT_EQ(error_of_setting("train.bogus", "8"), "unknown key train.bogus") << "nothing is near";
}

TEST(config_get, gives_the_text_of_a_value) {
  config c;
  EXPECT_EQ(*get(c, "model.mlp-ratio"), "2");
  EXPECT_EQ(*get(c, "data.missing"), "\"\",NA,NaN,nan,null,?");
  auto missing = get(c, "model.head-count");
  ASSERT_FALSE(missing);
  EXPECT_EQ(text_of(missing.error()), "unknown key model.head-count; the nearest is model.heads");
}

TEST(config_limits, are_checked_for_values_set_in_code) {
  config c;
  EXPECT_TRUE(check_limits(c));
  c.train.seed = -1;
  c.origins["train.seed"] = "main.cpp";
  auto done = check_limits(c);
  ASSERT_FALSE(done);
  EXPECT_EQ(text_of(done.error()), "main.cpp: train.seed = -1 is outside 0 to 9e15");
}

// -- all values ----

TEST(config_fields, have_unique_keys_in_kebab_case_a_meaning_and_an_allowed_default) {
  std::set<std::string> seen;
  const config defaults;
  for_each_value(defaults, [&](const std::string& key, const auto& field, const auto&) {
    EXPECT_TRUE(seen.insert(key).second) << key;
    EXPECT_EQ(key.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-."), key.npos) << key;
    EXPECT_TRUE(!field.meaning.empty() && field.meaning.back() == '.') << key;
  });
  EXPECT_EQ(texts(seen.begin(), seen.end()).size(), keys().size());
  EXPECT_TRUE(check_limits(defaults));
}

TEST(config_name_values, hold_every_field_and_come_back_equal) {
  config c;
  c.model.beta_first = 1.0 / 3;
  c.data.missing = {"", ",", "\""};
  c.data.path = "/tmp/a b\n.csv";
  auto values = to_name_values(c);
  EXPECT_EQ(values.size(), keys().size());
  auto copy = from_name_values(values);
  ASSERT_TRUE(copy) << text_of(copy.error());
  EXPECT_EQ(to_name_values(*copy), values);
  EXPECT_EQ(copy->model.beta_first, 1.0 / 3);
  EXPECT_TRUE(copy->origins.empty());
}

std::string error_of(const name_values& values) {
  auto c = from_name_values(values, "last.h5");
  EXPECT_FALSE(c);
  return c ? "" : text_of(c.error());
}

TEST(config_name_values, must_be_complete) {
  auto values = to_name_values(config{});
  values.erase(values.begin());
  EXPECT_EQ(error_of(values), "last.h5: key data.kind is missing");
}

TEST(config_name_values, may_be_older_than_a_key_that_changes_no_bit) {
  auto values = to_name_values(config{});
  std::erase_if(values, [](const auto& v) { return v.first == "run.check-every"; });
  auto c = from_name_values(values);
  ASSERT_TRUE(c) << text_of(c.error());
  EXPECT_EQ(c->run.check_every, 0);
}

TEST(config_name_values, must_not_repeat_a_key) {
  auto values = to_name_values(config{});
  values.push_back(values.front());
  EXPECT_EQ(error_of(values), "last.h5: key data.kind is there twice");
}

TEST(config_name_values, must_not_have_unknown_keys_or_bad_values) {
  auto values = to_name_values(config{});
  values.emplace_back("model.headz", "4");
  EXPECT_EQ(error_of(values), "last.h5: unknown key model.headz; the nearest is model.heads");
  values.back() = {"model.heads", "0"};
  EXPECT_EQ(error_of(values), "last.h5: model.heads = 0 is outside 1 to 1024");
}

} // namespace
