/// Cuts a stream of characters into the records and fields of a CSV file (RFC 4180).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace enn::serialization {

/// Fed with pieces of any size. Quotes may hold delimiters, newlines and doubled quotes; a record ends with LF, CRLF or CR; a
/// UTF-8 byte order mark is skipped. Stops at the first error, its own or the receiver's.
class record_parser {
public:
  /// Called once a record: its fields, valid during the call, and the line of the file where it starts (from 1). An empty line
  /// is a record without fields. Returns what is wrong with it, or nothing.
  using receiver = std::function<std::string(const std::vector<std::string_view>& fields, std::int64_t line)>;

  record_parser(char delimiter, receiver receive) : delimiter_(delimiter), receive_(std::move(receive)) {}

  /// False after an error.
  bool feed(std::string_view piece);
  /// The file has ended: hands over a last record without a newline.
  bool finish();

  const std::string& error() const { return error_; }
  /// Where the erroneous record starts.
  std::int64_t error_line() const { return record_line_; }

private:
  enum class state : std::uint8_t { field_start, plain, quoted, quote_seen };

  bool step(char c);
  void end_field();
  bool end_record();
  bool stop(std::string error);

  char delimiter_;
  receiver receive_;
  state state_ = state::field_start;
  bool after_carriage_return_ = false;
  bool quotes_seen_ = false;         // a record that is only "" is one empty field, not an empty line
  std::size_t mark_matched_ = 0;     // bytes of the byte order mark so far; 3: no longer expected
  std::string text_;                 // characters of the record's fields
  std::vector<std::size_t> ends_;    // of each field in text_
  std::vector<std::string_view> fields_;
  std::int64_t line_ = 1, record_line_ = 1;
  std::string error_;
};

} // namespace enn::serialization
