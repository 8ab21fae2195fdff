#include "command.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

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

std::string shell_word(const std::string& text) {
  auto word = text.starts_with('-') ? "./" + text : text;
  auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::strchr("_./-+,:=@%", c) != nullptr;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), [&](char c) { return c != '\0' && plain(c); }))
    return word;
  std::string result = "'";
  for (char c : word)
    result += c == '\'' ? std::string{"'\\''"} : std::string{c};
  return result + "'";
}

std::string counted(std::uint64_t number) {
  auto text = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), 1, ',');
  return text;
}

std::string counted(std::uint64_t number, std::string noun) {
  if (number == 1 && noun.ends_with('s'))
    noun.pop_back();
  return counted(number) + " " + noun;
}

} // namespace enn::apps
