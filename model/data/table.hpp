/// A table of numbers as read from a file: columns with names, missing values marked, times if known.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace enn::model {

struct table {
  std::vector<std::string> columns;   // names, all different, in the order of use: features, then targets (kind row)
  std::int64_t lines = 0;             // of data; the header does not count
  std::vector<double> values;         // (lines, columns), row-major; NaN where missing
  std::vector<std::int64_t> times;    // seconds since 1970-01-01 UTC a line; empty if unknown
  std::vector<std::int64_t> places;   // the line of the file where each line starts, from 1, for messages; empty if there is no file
  std::string source;                 // the file's name, for messages
  std::string fingerprint;            // XXH3-128 of the file's bytes, 32 hex digits

  /// "file:line" of a line, for messages.
  std::string place(std::int64_t line) const {
    return source + ":" + std::to_string(places.empty() ? line + 1 : places[static_cast<std::size_t>(line)]);
  }
};

/// What was found while reading, for the report before training.
struct missing_count {
  std::string column;
  std::int64_t values = 0;
};

} // namespace enn::model
