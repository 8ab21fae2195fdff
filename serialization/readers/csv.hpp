/// Reads a table of numbers from a CSV file (RFC 4180), plain or gzip. Called once, before training, by whoever owns the run.
#pragma once
#include <enn/model/config/data_config.hpp>
#include <enn/model/data/table.hpp>
#include <enn/model/error.hpp>

#include <filesystem>

namespace enn::serialization {

/// Whether a file must hold the columns of data.targets. To predict, it need not.
enum class target_columns : std::uint8_t { required, optional };

/// Streams the file once; memory is that of the selected numbers. gzip is known by its first bytes, whatever the name.
///
/// Columns of the result: data.columns in their order, or else all but data.time-column and data.targets; then, for kind row,
/// data.targets. Columns that are not selected may hold any text. Columns without a name, and all of a file without a header,
/// are called c0, c1, ... by their place; names are UTF-8 without control characters. Spaces around a field do not count.
/// Empty lines may stand at the end only.
///
/// Times come from data.time-column, or from data.start and data.interval-seconds: 2012-03-01, 2012-03-01 00:05,
/// 2012-03-01T00:05:00, each with or without a final Z; no time zones are applied.
///
/// Errors name the file and the line where a record starts: bad_data, also for a file that cannot be read, and bad_config for
/// contradicting settings.
caf::expected<model::table> read_csv(const std::filesystem::path& path, const model::data_config& config,
                                     target_columns targets = target_columns::required);

} // namespace enn::serialization
