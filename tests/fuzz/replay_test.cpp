// Every input that fuzzing found worth keeping, through the code of this build; and that there is a target for all that arrives.
#include "targets.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>

namespace enn::fuzz {

/// For GoogleTest, and so for the names in ctest.
void PrintTo(const target& t, std::ostream* out) {
  *out << t.name;
}

namespace {

std::byte digits(std::string_view two) {
  return static_cast<std::byte>(std::stoi(std::string{two}, nullptr, 16));
}

/// One input a line, in hexadecimal digits.
std::vector<bytes> corpus(std::string_view name) {
  std::ifstream file{ENN_SOURCE_DIR "/tests/fuzz/corpus/" + std::string{name} + ".hex"};
  std::vector<bytes> inputs;
  for (std::string line; std::getline(file, line);) {
    bytes input;
    for (std::size_t i = 0; i + 1 < line.size(); i += 2)
      input.push_back(digits(std::string_view{line}.substr(i, 2)));
    inputs.push_back(std::move(input));
  }
  return inputs;
}

class replay : public testing::TestWithParam<target> {};

TEST_P(replay, what_the_fuzzer_kept_breaks_no_promise) {
  auto inputs = corpus(GetParam().name);
  EXPECT_GE(inputs.size(), 200u) << "tests/fuzz/fuzz " << GetParam().name << " adds some";
  std::size_t accepted = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    try {
      accepted += arrive(GetParam(), inputs[i]).has_value();
    } catch (const std::exception& e) {
      ADD_FAILURE() << "line " << i + 1 << ": " << e.what();
    }
  EXPECT_GT(accepted, 0u);
  EXPECT_LT(accepted, inputs.size());
}

TEST_P(replay, what_is_written_comes_back) {
  auto seeds = GetParam().seeds();
  ASSERT_FALSE(seeds.empty());
  for (std::size_t i = 0; i < seeds.size(); ++i)
    EXPECT_EQ(arrive(GetParam(), seeds[i]), seeds[i]) << "seed " << i;
}

std::string name_of(const testing::TestParamInfo<target>& info) {
  return std::string{info.param.name};
}
INSTANTIATE_TEST_SUITE_P(fuzz, replay, testing::ValuesIn(targets().begin(), targets().end()), name_of);

TEST(fuzz, every_message_of_the_actors_has_a_target) {
  std::ifstream file{ENN_SOURCE_DIR "/actors/interfaces.hpp"};
  std::stringstream text;
  text << file.rdbuf();
  auto interfaces = text.str();
  std::regex added{R"(CAF_ADD_TYPE_ID\(\w+, \(enn::serialization::msg<enn::wire::(\w+)>\)\))"};
  int messages = 0;
  for (std::sregex_iterator it{interfaces.begin(), interfaces.end(), added}, end; it != end; ++it, ++messages) {
    auto name = (*it)[1].str();
    EXPECT_TRUE(std::any_of(targets().begin(), targets().end(), [&](const target& t) { return t.name == name; })) << name;
  }
  EXPECT_GE(messages, 11);
}

} // namespace
} // namespace enn::fuzz
