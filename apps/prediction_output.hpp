/// Where `enn predict` writes: a file that the user named, and its manifest NAME.manifest.json. Nothing that others made is replaced
/// unknowingly.
#pragma once
#include <enn/model/error.hpp>

#include <filesystem>
#include <vector>

namespace enn::apps {

/// Error (bad_usage) if `file` must not be written: it is one of `sources`, by whatever name; a folder, a device or the like; or a
/// file that holds no predictions and may not be overwritten. Its manifest likewise.
caf::expected<void> check_output(const std::filesystem::path& file, const std::vector<std::filesystem::path>& sources,
                                 bool overwrite);

std::filesystem::path manifest_of(const std::filesystem::path& file);

} // namespace enn::apps
