#include "command.hpp"

#include <cstdio>

namespace enn::apps {

void say(const std::string& label, const std::string& text) {
  constexpr std::size_t width = 12;
  auto line = label + std::string(label.size() < width ? width - label.size() : 1, ' ');
  for (char c : text) {
    line += c;
    if (c == '\n')
      line += std::string(width, ' ');
  }
  std::printf("%s\n", line.c_str());
}

std::string counted(std::uint64_t number) {
  auto text = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), 1, ',');
  return text;
}

} // namespace enn::apps
