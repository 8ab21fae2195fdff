/// Which lines of a table are training, validation and test, and which rows (samples) each part has.
#pragma once
#include <enn/model/config/data_config.hpp>
#include <enn/model/error.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace enn::model {

enum class part : std::uint8_t { train, validation, test };
std::string_view name(part p);

/// Windows. The lines are cut in time order, T = train-rows or train-fraction of them:
///
///     | fitted          | validation   | test              |     validation = the last validation-fraction of T, or,
///     0                 F              S           E    lines     if set, validation-rows lines after T (then F = T)
///
/// Training windows lie wholly in [0, F). Targets of validation windows lie in [F, S), their history may reach back. Targets of
/// test windows lie in [S, E); their history may reach back, or with test-inputs-in-test lies in [S, E) too.
///
/// Tables. The same cuts, of the lines in a random order keyed by the seed (shuffle-rows) or of the file's order.
struct split {
  /// Row numbers a part, ascending: those whose whole horizon lies in the part, then those of which only a first piece does.
  std::array<std::vector<std::uint64_t>, 3> rows;
  std::array<std::uint64_t, 3> whole{};    // how many of them have their whole horizon in the part
  std::array<std::int64_t, 3> end{};       // windows: the line where a part ends
  std::vector<std::uint64_t> fitted_lines; // ascending: the lines that statistics are taken over
  /// Rows for a method that needs no validation: those of train, and what validation-fraction took away from them. For windows
  /// also the windows that straddle the two.
  std::vector<std::uint64_t> rows_before_test;

  /// Rows of which the first `steps` targets lie in the part.
  std::uint64_t count(part p, std::int64_t steps) const;
};

/// `source` is the file's name, for messages. Error (bad_data): a part is too short for one row, or reaches past the last line.
caf::expected<split> split_lines(std::int64_t lines, const data_config& config, std::uint64_t seed, const std::string& source);

/// For prediction: every window with a whole history and horizon, or every line, is test. `tail` adds the window that starts
/// after the last line.
caf::expected<split> all_as_test(std::int64_t lines, const data_config& config, bool tail, const std::string& source);

} // namespace enn::model
