/// Configuration files: strict TOML, one table a section. Both what people write and the run.toml of a run.
#pragma once
#include <enn/model/config/config.hpp>

#include <filesystem>
#include <string>

namespace enn::serialization {

/// Reads a file: defaults, then its values, each with origin "file:line". Unknown sections and keys, values of the
/// wrong type and values outside their limits are errors with file and line; values are not checked against each
/// other, as the command line may still change them (see model::check). A relative data.path is made absolute,
/// from the folder of the file.
caf::expected<model::config> load_config(const std::filesystem::path& path);
/// The same for text in memory; `name` stands for the file in messages, origins and the folder of data.path.
caf::expected<model::config> parse_config(const std::string& text, const std::filesystem::path& name);

/// Makes a relative data.path absolute, from this folder; an empty folder is the current one.
void resolve_data_path(model::config& c, const std::filesystem::path& folder);

/// All values as TOML; load_config() gives an equal configuration. With origins, a value other than the default is
/// followed by a comment that says where it came from.
std::string to_toml(const model::config& c, bool with_origins);

} // namespace enn::serialization
