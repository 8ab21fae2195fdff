/// Which program this is: the one place that hands on the version that CMakeLists.txt declares.
#pragma once
#include <string_view>

namespace enn::serialization {

/// As "1.2.3".
std::string_view program_version();

} // namespace enn::serialization
