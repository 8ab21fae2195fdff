#include <enn/serialization/readers/date_time.hpp>

#include <enn/model/data/date_time.hpp>

namespace enn::serialization {

std::optional<std::int64_t> parse_date_time(std::string_view text) { return model::parse_date_time(text); }

} // namespace enn::serialization
