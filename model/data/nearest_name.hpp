/// The name that somebody probably meant, for error messages.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace enn::model {

/// The name with the least edit distance (insert, delete, replace) to `wanted`; the first of equals. Empty if names are.
std::string nearest_name(std::string_view wanted, std::span<const std::string> names);

/// Whether somebody who wrote `wanted` may have meant `name`: at most half of the characters differ, or both begin with the same
/// four. Not if they are the same.
bool is_near(std::string_view wanted, std::string_view name);

/// before + the nearest name + after if that is near, else nothing.
std::string nearest_hint(std::string_view wanted, std::span<const std::string> names, std::string_view before,
                         std::string_view after = {});

} // namespace enn::model
