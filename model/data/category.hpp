/// A column that holds categories, as data.categorical writes it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace enn::model {

/// name:count:width[:first], taken apart.
struct category_text {
  std::string name;
  std::int64_t count = 0, width = 0, first = 0;
};

/// With `numbers` = 3 that with first, with 2 that without. The name may itself hold colons, so numbers are cut off from the end, and
/// a text may be of both forms. Nothing: not of this form, or count or width are not above 0.
std::optional<category_text> parse_category(std::string_view text, std::size_t numbers);

/// The form, for messages.
constexpr std::string_view category_form = "name:count:width or name:count:width:first with the name of a feature column and "
                                           "numbers above 0";

} // namespace enn::model
