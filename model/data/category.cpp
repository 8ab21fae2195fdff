#include <enn/model/data/category.hpp>

#include <charconv>

namespace enn::model {

std::optional<category_text> parse_category(std::string_view text, std::size_t numbers) {
  std::int64_t values[3] = {0, 0, 0};
  for (auto i = numbers; i-- > 0;) {
    const auto colon = text.rfind(':');
    if (colon == text.npos)
      return {};
    const auto digits = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), values[i]);
    if (error != std::errc{} || end != digits.data() + digits.size())
      return {};
    text = text.substr(0, colon);
  }
  if (text.empty() || values[0] <= 0 || values[1] <= 0)
    return {};
  return category_text{std::string{text}, values[0], values[1], values[2]};
}

} // namespace enn::model
