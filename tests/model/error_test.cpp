#include <enn/model/error.hpp>

#include <caf/sec.hpp>
#include <gtest/gtest.h>

#include <set>

namespace {

using namespace enn;

TEST(error, keeps_its_code_and_text) {
  auto e = fail(ec::bad_data, "los.csv:7: a field is missing");
  EXPECT_EQ(code_of(e), ec::bad_data);
  EXPECT_EQ(text_of(e), "los.csv:7: a field is missing");
}

TEST(error, without_an_error_has_no_text_and_no_code) {
  EXPECT_EQ(text_of(caf::error{}), "");
  EXPECT_EQ(code_of(caf::error{}), ec::none);
  EXPECT_EQ(text_of(caf::none), "");
}

TEST(error, of_caf_is_named_by_category_and_number) {
  caf::error e = caf::sec::request_timeout;
  EXPECT_EQ(code_of(e), ec::none);
  EXPECT_EQ(text_of(e), "system error " + std::to_string(static_cast<int>(caf::sec::request_timeout)));
}

TEST(error, of_caf_with_other_context_than_a_text_is_named_too) {
  auto e = caf::make_error(caf::sec::request_timeout, 42);
  EXPECT_EQ(text_of(e), "system error " + std::to_string(static_cast<int>(caf::sec::request_timeout)));
}

TEST(error, codes_have_different_names) {
  std::set<std::string> names;
  for (int code = 0; code < 256; ++code)
    names.insert(to_string(static_cast<ec>(code)));
  EXPECT_EQ(names.size(), 16u); // fourteen codes, and one name for what is none
}

} // namespace
