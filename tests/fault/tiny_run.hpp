/// Files, and a run so small that it takes a tenth of a second.
#pragma once
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace enn::fault {

inline std::string text_in(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// In place, as a failing disk changes a file.
inline void overwrite(const std::filesystem::path& file, const std::string& text) {
  std::ofstream{file, std::ios::binary} << text;
}

/// Two nodes, 120 lines; six steps, with a checkpoint after every second and evaluations after every third.
inline std::filesystem::path tiny_config(const std::filesystem::path& scratch) {
  std::string data = "a,b\n";
  for (int line = 0; line < 120; ++line)
    data += std::to_string(std::sin(0.3 * line)) + ',' + std::to_string(std::cos(0.3 * line) + 0.1 * std::sin(1.7 * line)) + '\n';
  overwrite(scratch / "tiny.csv", data);
  overwrite(scratch / "tiny.toml",
            "[data]\npath = \"" + (scratch / "tiny.csv").string() + "\"\nstart = \"2020-01-01\"\ninterval-seconds = 3600\n"
            "history = 4\nhorizon = 2\n"
            "[model]\nd-model = 8\nheads = 2\nlatents = 2\nspatial-depth = 1\ncollector-depth = 1\ngate-hidden = 8\n"
            "[train]\nsteps = 6\nbatch-rows = 8\nleases = 2\nvalidate-every = 3\nwarmup-steps = 2\n"
            "[run]\nworkers = 1\ncheckpoint-every = 2\n");
  return scratch / "tiny.toml";
}

} // namespace enn::fault
