/// The name that somebody probably meant, for error messages.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace enn::model {

/// The name with the least edit distance (insert, delete, replace) to `wanted`; the first of equals. Empty if names are.
std::string nearest_name(std::string_view wanted, std::span<const std::string> names);

} // namespace enn::model
