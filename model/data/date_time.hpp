/// Dates and times as people write them in tables.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace enn::model {

/// Seconds since 1970-01-01 of 2012-03-01, 2012-03-01 00:05, 2012-03-01T00:05:00 or the same with a final Z; nothing for
/// anything else, impossible dates included.
std::optional<std::int64_t> parse_date_time(std::string_view text);

/// 2012-03-01 00:05:00.
std::string date_time_text(std::int64_t seconds);

} // namespace enn::model
