#include <enn/serialization/plot.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace enn::serialization {
namespace {

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t result = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    ++result;
  return result;
}

chart simple(std::vector<double> xs, std::vector<double> ys) {
  return {"Title", "hour", "mph", {{"one", {{"truth", std::move(xs), std::move(ys)}}}}};
}

TEST(plot, shows_titles_labels_and_one_key_a_name) {
  auto two = simple({0, 1, 2}, {0, 3, 2});
  two.panels.push_back(two.panels[0]);
  auto svg = line_chart(two);
  EXPECT_TRUE(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
  EXPECT_EQ(count(svg, ">Title<"), 1u);
  EXPECT_EQ(count(svg, ">hour<"), 1u);
  EXPECT_EQ(count(svg, ">mph<"), 1u);
  EXPECT_EQ(count(svg, ">truth<"), 1u);
  EXPECT_EQ(count(svg, ">one<"), 2u);
  EXPECT_EQ(count(svg, "http"), 1u); // the name space: nothing is fetched
}

TEST(plot, has_ticks_at_round_numbers) {
  auto svg = line_chart(simple({0, 50}, {0.13, 0.87}));
  for (auto label : {">0<", ">10<", ">50<", ">0.0<", ">0.2<", ">0.8<", ">1.0<"})
    EXPECT_GE(count(svg, label), 1u) << label;
}

TEST(plot, breaks_a_line_where_a_number_is_missing) {
  auto svg = line_chart(simple({0, 1, 2, 3, 4}, {1, 2, NAN, 3, 4}));
  auto path = svg.substr(svg.rfind("<path"));
  EXPECT_EQ(count(path, "M"), 2u);
  EXPECT_EQ(count(path, "L"), 2u);
  EXPECT_EQ(count(svg, "nan"), 0u);
}

TEST(plot, survives_numbers_of_every_size) {
  const auto most = std::numeric_limits<double>::max(), least = std::numeric_limits<double>::denorm_min();
  for (auto ys : {std::vector<double>{}, {NAN, INFINITY}, {5, 5}, {0, 0}, {-most, most}, {-1e300, 1e300}, {0, least},
                  {1e-300, 2e-300}, {1e9, 1e9 + 1e-3}, {-1e7, 3}}) {
    auto svg = line_chart(simple({0, 1}, ys));
    EXPECT_EQ(count(svg, "nan") + count(svg, "inf"), 0u) << svg;
    EXPECT_LT(svg.size(), 20'000u);
  }
  EXPECT_TRUE(line_chart({}).ends_with("</svg>\n"));
}

TEST(plot, escapes_names) {
  auto hostile = simple({0, 1}, {0, 1});
  hostile.title = "</text><script>";
  hostile.panels[0].lines[0].name = "a & \"b\"";
  hostile.panels[0].lines[0].color = "\"/><script>";
  auto svg = line_chart(hostile);
  EXPECT_EQ(count(svg, "<script>"), 0u);
  EXPECT_EQ(count(svg, ">a &amp; &quot;b&quot;<"), 1u);
}

TEST(plot, keeps_a_names_color_in_every_panel) {
  chart chart{"", "", "", {{"", {{"a", {0, 1}, {0, 1}}, {"b", {0, 1}, {1, 0}}}}, {"", {{"b", {0, 1}, {1, 0}}}}}};
  auto svg = line_chart(chart);
  EXPECT_EQ(count(svg, "stroke=\"#1f2937\""), 2u); // line and key
  EXPECT_EQ(count(svg, "stroke=\"#2563eb\""), 3u);
}

} // namespace
} // namespace enn::serialization
