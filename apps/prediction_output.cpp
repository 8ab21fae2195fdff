#include "prediction_output.hpp"

#include <enn/serialization/file.hpp>
#include <enn/serialization/hdf5_file.hpp>

namespace enn::apps {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view format = "enn.predictions";

bool holds_predictions(const fs::path& file) {
  auto in = serialization::hdf5_file::open(file, ec::bad_data);
  return in && in->text("", "format") == format && !in->error();
}

bool holds_manifest(const fs::path& file) {
  auto text = serialization::read_file(file);
  return text && text->find("\"format\": \"" + std::string{format} + "\"") != text->npos;
}

caf::expected<void> check_target(const fs::path& file, const std::vector<fs::path>& sources, bool overwrite,
                                 bool (*is_ours)(const fs::path&)) {
  std::error_code ignored;
  auto found = fs::status(file, ignored); // of what a link leads to
  if (!fs::exists(found))
    return {};
  auto refuse = [&](const std::string& why) { return fail(ec::bad_usage, "--output: " + file.string() + " " + why); };
  if (fs::is_directory(found))
    return refuse("is a folder; name a file in it");
  if (!fs::is_regular_file(found))
    return refuse("is no regular file; choose another name");
  for (const auto& source : sources)
    if (fs::equivalent(file, source, ignored))
      return refuse("is what is read, " + source.string() + "; choose another name");
  if (!overwrite && !is_ours(file))
    return refuse("is there and holds no predictions; choose another name, or replace it with --overwrite");
  return {};
}

} // namespace

fs::path manifest_of(const fs::path& file) {
  auto result = file;
  return result += ".manifest.json";
}

caf::expected<void> check_output(const fs::path& file, const std::vector<fs::path>& sources, bool overwrite) {
  if (!file.has_filename())
    return fail(ec::bad_usage, "--output: " + file.string() + " is a folder; name a file in it");
  if (file.filename() == "manifest.json")
    return fail(ec::bad_usage, "--output: manifest.json is what the description of predictions is called; name the file NAME.h5");
  if (auto good = check_target(file, sources, overwrite, holds_predictions); !good)
    return good;
  return check_target(manifest_of(file), sources, overwrite, holds_manifest);
}

} // namespace enn::apps
