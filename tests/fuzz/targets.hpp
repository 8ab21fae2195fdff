/// What arrives from other processes and from files, as functions of bytes: a target a message type. The fuzzer invents bytes for
/// them, the replay test gives them the bytes that it kept.
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace enn::fuzz {

using bytes = std::vector<std::byte>;

struct target {
  std::string_view name;          // of the schema where there is one
  bool in_words;                  // bytes are a message in stream framing: segment table, then words
  /// Reads the bytes as they would be on arrival. What was accepted, written again; nothing if it was refused. What is accepted
  /// must come through another writing and reading unchanged. std::logic_error: a promise is broken.
  std::optional<bytes> (*arrive)(std::span<const std::byte>);
  std::vector<bytes> (*seeds)();  // by the functions that write; accepted, and written again the same
};
std::span<const target> targets();

/// The same, and memory stays within a constant times the bytes.
std::optional<bytes> arrive(const target& t, std::span<const std::byte> arrived);

} // namespace enn::fuzz
