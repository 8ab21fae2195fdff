#include <enn/model/data/nearest_name.hpp>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace enn::model {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1); // row[j]: distance of a's first i characters to b's first j
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

} // namespace

std::string nearest_name(std::string_view wanted, std::span<const std::string> names) {
  const std::string* best = nullptr;
  std::size_t least = 0;
  for (const auto& name : names) {
    const auto distance = edit_distance(wanted, name);
    if (best == nullptr || distance < least) {
      best = &name;
      least = distance;
    }
  }
  return best == nullptr ? std::string{} : *best;
}

bool is_near(std::string_view wanted, std::string_view name) {
  const auto distance = edit_distance(wanted, name);
  constexpr std::size_t telling = 4; // characters that both begin with, as in head-count and heads
  const bool alike = wanted.size() >= telling && wanted.substr(0, telling) == name.substr(0, telling);
  return distance > 0 && (alike || 2 * distance <= wanted.size());
}

std::string nearest_hint(std::string_view wanted, std::span<const std::string> names, std::string_view before,
                         std::string_view after) {
  const auto name = nearest_name(wanted, names);
  return is_near(wanted, name) ? std::string{before}.append(name).append(after) : std::string{};
}

} // namespace enn::model
