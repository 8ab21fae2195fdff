#include <enn/serialization/readers/record_parser.hpp>

namespace enn::serialization {
namespace {
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
}

bool record_parser::feed(std::string_view piece) {
  for (const char c : piece) {
    if (mark_matched_ < byte_order_mark.size()) {
      if (c == byte_order_mark[mark_matched_]) {
        ++mark_matched_;
        continue;
      }
      const auto matched = byte_order_mark.substr(0, mark_matched_);
      mark_matched_ = byte_order_mark.size();
      for (const char m : matched) // not a mark after all
        if (!step(m))
          return false;
    }
    if (!step(c))
      return false;
  }
  return error_.empty();
}

bool record_parser::finish() {
  if (!error_.empty())
    return false;
  if (state_ == state::quoted)
    return stop("a quote is opened here and never closed");
  const bool pending = !text_.empty() || !ends_.empty() || quotes_seen_;
  return !pending || end_record();
}

bool record_parser::step(char c) {
  if (after_carriage_return_) {
    after_carriage_return_ = false;
    if (c == '\n')
      return true; // the record ended at the CR
  }
  if (c == '\0')
    return stop("found a zero byte; the file must be text in UTF-8");
  switch (state_) {
    case state::quoted:
      if (c == '"') {
        state_ = state::quote_seen;
      } else {
        line_ += c == '\n';
        text_ += c;
      }
      return true;
    case state::quote_seen:
      if (c == '"') { // doubled: a quote in the text
        text_ += c;
        state_ = state::quoted;
        return true;
      }
      break;
    case state::field_start:
      if (c == '"') {
        quotes_seen_ = true;
        state_ = state::quoted;
        return true;
      }
      if (c == ' ' && c != delimiter_)
        return true; // before a field, where it could hide a quote
      break;
    case state::plain: break;
  }
  if (c == delimiter_) {
    end_field();
    return true;
  }
  if (c == '\n' || c == '\r') {
    after_carriage_return_ = c == '\r';
    return end_record();
  }
  if (state_ == state::quote_seen) {
    if (c == ' ' || c == '\t')
      return true;
    return stop(std::string{"found \""} + c + "\" after a closing quote, expected the delimiter or the end of the line");
  }
  state_ = state::plain;
  text_ += c;
  return true;
}

void record_parser::end_field() {
  ends_.push_back(text_.size());
  state_ = state::field_start;
}

bool record_parser::end_record() {
  const bool empty = text_.empty() && ends_.empty() && !quotes_seen_;
  fields_.clear();
  if (!empty) {
    end_field();
    std::size_t begin = 0;
    for (const auto end : ends_) {
      fields_.push_back(std::string_view{text_}.substr(begin, end - begin));
      begin = end;
    }
  }
  if (auto error = receive_(fields_, record_line_); !error.empty())
    return stop(std::move(error));
  text_.clear();
  ends_.clear();
  quotes_seen_ = false;
  state_ = state::field_start;
  record_line_ = ++line_;
  return true;
}

bool record_parser::stop(std::string error) {
  error_ = std::move(error);
  return false;
}

} // namespace enn::serialization
