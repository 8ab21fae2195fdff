/// Of this program and the libraries that decide what it does, by name.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace enn::apps {

std::vector<std::pair<std::string, std::string>> versions();

} // namespace enn::apps
