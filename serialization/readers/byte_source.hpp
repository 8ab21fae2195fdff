/// The bytes of a file in pieces, with gzip undone on the way, and the fingerprint of the bytes as they are on disk.
#pragma once
#include <enn/model/error.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace enn::serialization {

/// Calls take(piece) until the file ends or take returns false. gzip is known by its first two bytes; several members in a row
/// are one stream. Returns the XXH3-128 of the file's bytes, 32 hex digits (incomplete if take stopped).
caf::expected<std::string> read_bytes(const std::filesystem::path& path, const std::function<bool(std::string_view)>& take);

} // namespace enn::serialization
