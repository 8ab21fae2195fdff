#include <enn/serialization/readers/csv.hpp>

#include <gtest/gtest.h>
#include <xxhash.h>
#include <unistd.h>
#include <zlib.h>

#include <cmath>
#include <cstdio>
#include <fstream>

namespace {

using namespace enn;
using model::data_config;
using serialization::read_csv;
using serialization::target_columns;
using strings = std::vector<std::string>;

/// A file of the running test; gone when the test ends.
class temporary_file {
public:
  explicit temporary_file(const std::string& bytes) {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    static int number = 0;
    path = ::testing::TempDir() + test->name() + "_" + std::to_string(::getpid()) + "_" + std::to_string(number++) + ".csv";
    std::ofstream{path, std::ios::binary} << bytes;
  }
  ~temporary_file() { std::remove(path.c_str()); }
  temporary_file(const temporary_file&) = delete;
  temporary_file& operator=(const temporary_file&) = delete;
  std::string path;
};

std::string gzip(const std::string& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

model::table read(const std::string& bytes, const data_config& config = {}) {
  const temporary_file file{bytes};
  auto result = read_csv(file.path, config);
  EXPECT_TRUE(result) << text_of(result.error());
  return result ? std::move(*result) : model::table{};
}

/// The error's text without the folder of the file, and its code.
std::string error_of(const std::string& bytes, const data_config& config = {}, ec code = ec::bad_data) {
  const temporary_file file{bytes};
  const auto result = read_csv(file.path, config);
  if (result)
    return "no error";
  EXPECT_EQ(code_of(result.error()), code);
  auto text = text_of(result.error());
  if (const auto at = text.find(file.path); at != text.npos)
    text.replace(at, file.path.size(), "x.csv");
  return text;
}

TEST(csv, a_plain_file_is_read_with_the_names_of_its_header) {
  const auto t = read("a,b\n1,2.5\n-3e2,+4\n");
  EXPECT_EQ(t.columns, (strings{"a", "b"}));
  EXPECT_EQ(t.lines, 2);
  EXPECT_EQ(t.values, (std::vector<double>{1, 2.5, -300, 4}));
  EXPECT_TRUE(t.times.empty());
}

TEST(csv, the_last_line_needs_no_newline_and_empty_lines_may_end_the_file) {
  EXPECT_EQ(read("a\n1\n2").lines, 2);
  EXPECT_EQ(read("a\n1\n2\n\n  \n").lines, 2);
}

TEST(csv, crlf_cr_and_a_byte_order_mark_are_understood) {
  for (const auto* text : {"a,b\r\n1,2\r\n3,4\r\n", "a,b\r1,2\r3,4", "\xEF\xBB\xBF" "a,b\n1,2\n3,4\n", "\xEF\xBB\xBF\"a\",b\n1,2\n3,4\n"}) {
    const auto t = read(text);
    EXPECT_EQ(t.columns, (strings{"a", "b"}));
    EXPECT_EQ(t.values, (std::vector<double>{1, 2, 3, 4}));
  }
}

TEST(csv, quotes_may_hold_delimiters_newlines_and_doubled_quotes) {
  data_config c;
  c.columns = {"a,\"1\"", "b"};
  const auto t = read("\"a,\"\"1\"\"\" , b,note\n\"1\",\"2\",\"two\nlines\"\n 3 ,\t4 ,\n", c);
  EXPECT_EQ(t.columns, c.columns);
  EXPECT_EQ(t.values, (std::vector<double>{1, 2, 3, 4}));
}

TEST(csv, a_file_without_a_header_has_columns_by_number) {
  data_config c;
  c.header = false;
  c.delimiter = ";";
  const auto t = read("1;2\n3;4\n", c);
  EXPECT_EQ(t.columns, (strings{"c0", "c1"}));
  EXPECT_EQ(t.lines, 2);
}

TEST(csv, a_column_without_a_name_is_named_by_its_place) {
  EXPECT_EQ(read(",b\n0,1\n").columns, (strings{"c0", "b"}));
}

TEST(csv, a_tab_may_be_written_as_a_shell_passes_it) {
  data_config c;
  c.delimiter = "\\t";
  EXPECT_EQ(read("a\tb\n1\t2\n", c).values, (std::vector<double>{1, 2}));
}

TEST(csv, missing_markers_become_nan) {
  const auto t = read("a,b\n,1\nNA,2\n\"\",?\n");
  EXPECT_TRUE(std::isnan(t.values[0]) && std::isnan(t.values[2]) && std::isnan(t.values[4]) && std::isnan(t.values[5]));
  EXPECT_EQ(t.values[3], 2);
}

TEST(csv, columns_are_selected_in_the_order_of_the_configuration_and_others_may_hold_text) {
  data_config c;
  c.columns = {"z", "x"};
  const auto t = read("x,name,z\n1,Ann,2\n3,Bob,4\n", c);
  EXPECT_EQ(t.columns, (strings{"z", "x"}));
  EXPECT_EQ(t.values, (std::vector<double>{2, 1, 4, 3}));
}

TEST(csv, rows_have_features_and_then_targets) {
  data_config c;
  c.kind = "row";
  c.targets = {"y"};
  EXPECT_EQ(read("y,x1,x2\n1,2,3\n", c).columns, (strings{"x1", "x2", "y"}));
}

TEST(csv, targets_may_be_absent_where_the_caller_says_so) {
  data_config c;
  c.kind = "row";
  c.targets = {"y"};
  const temporary_file file{"x1,x2\n2,3\n"};
  const auto t = read_csv(file.path, c, target_columns::optional);
  ASSERT_TRUE(t);
  EXPECT_EQ(t->columns, (strings{"x1", "x2"}));
  EXPECT_FALSE(read_csv(file.path, c));
}

TEST(csv, times_are_read_in_all_forms) {
  data_config c;
  c.time_column = "when";
  const auto t = read("when,a\n1970-01-02,1\n1970-01-02 00:05,1\n1970-01-02T00:05:07,1\n2012-03-01T00:00:00Z,1\n1969-12-31 23:59:59,1\n", c);
  EXPECT_EQ(t.columns, (strings{"a"}));
  EXPECT_EQ(t.times, (std::vector<std::int64_t>{86400, 86700, 86707, 1330560000, -1}));
}

TEST(csv, times_follow_from_start_and_interval) {
  data_config c;
  c.start = "2012-03-01";
  c.interval_seconds = 300;
  EXPECT_EQ(read("a\n1\n2\n3\n", c).times, (std::vector<std::int64_t>{1330560000, 1330560300, 1330560600}));
}

TEST(csv, gzip_is_known_by_its_bytes_and_members_are_joined) {
  std::string text = "a,b\n";
  for (int i = 0; i < 200000; ++i) // more than a piece of the reader, before and after inflating
    text += std::to_string(i) + "," + std::to_string(i * 7919 % 10007) + "\n";
  const auto plain = read(text), packed = read(gzip(text.substr(0, 1000)) + gzip(text.substr(1000)));
  EXPECT_EQ(plain.lines, 200000);
  EXPECT_EQ(plain.values, packed.values);
  EXPECT_NE(plain.fingerprint, packed.fingerprint);
}

TEST(csv, the_fingerprint_is_xxh3_128_of_the_bytes_on_disk) {
  const std::string bytes = "a,b\n1,2\n";
  const auto hash = XXH3_128bits(bytes.data(), bytes.size());
  char expected[33];
  std::snprintf(expected, sizeof expected, "%016llx%016llx", static_cast<unsigned long long>(hash.high64), static_cast<unsigned long long>(hash.low64));
  EXPECT_EQ(read(bytes).fingerprint, expected);
}

TEST(csv, damaged_gzip_is_an_error) {
  const auto packed = gzip("a,b\n1,2\n3,4\n");
  EXPECT_EQ(error_of(packed.substr(0, packed.size() - 6)), "x.csv: the gzip stream is cut off; is the file complete?");
  auto flipped = packed;
  flipped[flipped.size() - 6] = static_cast<char>(flipped[flipped.size() - 6] ^ 1);
  EXPECT_EQ(error_of(flipped), "x.csv: the gzip stream is damaged: incorrect data check");
}

TEST(csv, text_in_a_number_is_an_error_with_its_place) {
  EXPECT_EQ(error_of("x,y\n1,2\n3,abc\n"),
            "x.csv:3: column 'y': found \"abc\", expected a number (add it to data.missing if it means missing)");
  EXPECT_EQ(error_of("x\n1.5mph\n"), "x.csv:2: column 'x': found \"1.5mph\", expected a number (add it to data.missing if it means missing)");
  EXPECT_EQ(error_of("x\n\"1,5\"\n"), "x.csv:2: column 'x': found \"1,5\", expected a number (add it to data.missing if it means missing)");
  EXPECT_EQ(error_of("x\n+-1\n"), "x.csv:2: column 'x': found \"+-1\", expected a number (add it to data.missing if it means missing)");
}

TEST(csv, the_line_of_an_error_counts_newlines_in_quotes) {
  data_config c;
  c.columns = {"x"};
  EXPECT_EQ(error_of("x,note\n1,\"two\nlines\"\nabc,\n", c),
            "x.csv:4: column 'x': found \"abc\", expected a number (add it to data.missing if it means missing)");
}

TEST(csv, every_line_knows_its_place_in_the_file) {
  data_config c;
  c.columns = {"x"};
  const auto t = read("x,note\n1,\"two\nlines\"\n2,\n", c);
  EXPECT_EQ(t.places, (std::vector<std::int64_t>{2, 4}));
  EXPECT_TRUE(t.place(1).ends_with(".csv:4")) << t.place(1);
}

TEST(csv, nonfinite_and_unrepresentable_numbers_are_errors) {
  for (const std::string text : {"inf", "-Infinity", "NAN"})
    EXPECT_EQ(error_of("x\n" + text + "\n"),
              "x.csv:2: column 'x': found \"" + text + "\", expected a finite number (add it to data.missing if it means missing)");
  EXPECT_EQ(error_of("x\n1e999\n"), "x.csv:2: column 'x': found \"1e999\", expected a number that double precision can hold");
}

TEST(csv, ragged_rows_are_errors) {
  EXPECT_EQ(error_of("a,b\n1,2\n3\n"), "x.csv:3: found 1 field, expected 2 as in the first line");
  EXPECT_EQ(error_of("a,b\n1,2,3\n"), "x.csv:2: found 3 fields, expected 2 as in the first line");
}

TEST(csv, an_empty_line_inside_is_an_error) {
  EXPECT_EQ(error_of("a\n1\n\n2\n"),
            "x.csv:4: the line before this one is empty, which is allowed at the end only (write \"\" if the only value of a line is missing)");
  EXPECT_TRUE(std::isnan(read("a\n1\n\"\"\n2\n").values[1]));
}

TEST(csv, duplicate_names_are_errors) {
  EXPECT_EQ(error_of("a,b,a\n1,2,3\n"), "x.csv:1: column 'a' is there twice (fields 1 and 3); names must differ");
}

TEST(csv, an_unknown_column_is_an_error_with_the_nearest_name) {
  data_config c;
  c.columns = {"spede"};
  EXPECT_EQ(error_of("time,speed\n1,2\n", c), "x.csv:1: there is no column 'spede' (data.columns); did you mean 'speed'?");
  c.columns = {};
  c.time_column = "tine";
  EXPECT_EQ(error_of("time,speed\n1,2\n", c), "x.csv:1: there is no column 'tine' (data.time-column); did you mean 'time'?");
}

TEST(csv, a_column_cannot_have_two_roles) {
  data_config c;
  c.kind = "row";
  c.columns = {"a", "b"};
  c.targets = {"b"};
  EXPECT_EQ(error_of("a,b\n1,2\n", c), "x.csv:1: column 'b' (data.targets) is listed twice in data.columns and data.targets");
}

TEST(csv, files_without_data_are_errors) {
  EXPECT_EQ(error_of(""), "x.csv: the file is empty");
  EXPECT_EQ(error_of("\n\n"), "x.csv: the file is empty");
  EXPECT_EQ(error_of("a,b\n"), "x.csv: there are no lines after the header");
}

TEST(csv, broken_quotes_are_errors) {
  EXPECT_EQ(error_of("a\n1\n\"2\n3\n"), "x.csv:3: a quote is opened here and never closed");
  EXPECT_EQ(error_of("a\n\"1\"2\n"), "x.csv:2: found \"2\" after a closing quote, expected the delimiter or the end of the line");
}

TEST(csv, a_file_in_another_encoding_is_an_error) {
  EXPECT_EQ(error_of(std::string{"a\0,\0", 4}), "x.csv:1: found a zero byte; the file must be text in UTF-8");
}

TEST(csv, names_of_columns_are_readable_utf_8) {
  EXPECT_EQ(read("Stra\xC3\x9F" "e,\xE2\x82\xAC,\xF0\x9F\x9A\x97\n1,2,3\n").columns[0], "Stra\xC3\x9F" "e");
  for (const char* bytes : {"\xDF", "\xC3", "\xC0\x80", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xEF\xBF\xBF", "\xC2\x85"}) {
    const auto error = error_of(std::string{"a,Stra"} + bytes + "e\n1,2\n");
    EXPECT_TRUE(error.starts_with("x.csv:1: the name of column 2, \"Stra?")) << error;
    EXPECT_NE(error.find("is not UTF-8; convert the file to UTF-8"), std::string::npos) << error;
  }
  for (const char* byte : {"\x01", "\x1B", "\x7F"})
    EXPECT_EQ(error_of(std::string{"a"} + byte + "b\n1\n"),
              "x.csv:1: the name of column 1, \"a?b\", holds a control character, shown as ?; remove it from the header");
}

TEST(csv, a_wrong_time_is_an_error) {
  data_config c;
  c.time_column = "t";
  for (const std::string text : {"2012-02-30", "01.03.2012", "2012-03-01 24:00", "2012-03-01 00:05:00.5", "", "2012-03-01_00:05"})
    EXPECT_EQ(error_of("t,a\n\"" + text + "\",1\n", c),
              "x.csv:2: column 't': found \"" + text + "\", expected a date and time such as 2012-03-01 00:05:00");
}

TEST(csv, contradicting_settings_are_errors) {
  data_config c;
  c.start = "2012-03-01";
  EXPECT_EQ(error_of("a\n1\n", c, ec::bad_config), "data.start is set, but data.interval-seconds is not: the times of the lines need both");
  c.time_column = "a";
  EXPECT_EQ(error_of("a\n1\n", c, ec::bad_config),
            "data.time-column and data.start are both set; the times of the lines can come from one of them only");
  c = {};
  c.start = "yesterday";
  EXPECT_EQ(error_of("a\n1\n", c, ec::bad_config),
            "data.start: found \"yesterday\", expected a date and time such as 2012-03-01T00:00:00");
  c = {};
  c.delimiter = "::";
  EXPECT_EQ(error_of("a\n1\n", c, ec::bad_config), "data.delimiter: found \"::\", expected one character, not a quote");
}

TEST(csv, a_file_that_cannot_be_read_is_bad_data) {
  const auto result = read_csv("/nowhere/x.csv", {});
  ASSERT_FALSE(result);
  EXPECT_EQ(code_of(result.error()), ec::bad_data);
  EXPECT_EQ(text_of(result.error()), "/nowhere/x.csv: cannot open: No such file or directory");
  EXPECT_EQ(code_of(read_csv(::testing::TempDir(), {}).error()), ec::bad_data);
}

} // namespace
