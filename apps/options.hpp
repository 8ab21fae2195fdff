/// The configuration on the command line: an option --section.key for every field, and their documentation.
#pragma once
#include <enn/model/config/text.hpp>

#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace enn::apps {

/// Adds an option for every field, in a group a section; some have a short name too (--workers for --run.workers).
/// Parsing appends keys and texts to `given`, which must live as long as the app. Of an option given twice the last counts.
void add_config_options(CLI::App& app, model::name_values& given);

/// Sets the given values over those of the file, with origin "--section.key". A relative data.path is made absolute,
/// from the current folder.
caf::expected<void> apply_options(const model::name_values& given, model::config& c);

/// For an argument that the app does not know (CLI::App::remaining): names the nearest option.
caf::error unknown_option(std::string_view argument);
/// The same for an app that has options of its own too, or none for the configuration.
caf::error unknown_option(const CLI::App& app, std::string_view argument);

// What commands on a recorded run have in common; the values are filled in when the command line is read.
void add_workers_option(CLI::App& app, std::int64_t& workers);
void add_checkpoint_option(CLI::App& app, std::string& which);
void add_data_option(CLI::App& app, std::string& path);

/// docs/configuration.md.
std::string configuration_markdown();

} // namespace enn::apps
