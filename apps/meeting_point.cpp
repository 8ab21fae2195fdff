#include "meeting_point.hpp"
#include "command.hpp"

#include <enn/serialization/file.hpp>

#include <spdlog/spdlog.h>

namespace enn::apps {
namespace {

namespace fs = std::filesystem;

fs::path control_of(const fs::path& run) {
  return run / "control";
}

caf::expected<meeting_point> with_credentials(actors::address at, const fs::path& folder) {
  auto own = serialization::load_credentials(folder);
  if (!own)
    return own.error();
  if (auto warning = serialization::expiry_warning(*own); !warning.empty())
    spdlog::warn("{}", warning);
  auto guard = actors::tls::make(*own);
  if (!guard)
    return guard.error();
  return meeting_point{std::move(at), std::move(*guard), folder};
}

/// Those of an earlier start still serve, so that nodes which wait for the run find it again.
caf::expected<void> make_credentials_of_run(const fs::path& folder) {
  if (serialization::load_credentials(folder))
    return {};
  auto made = serialization::make_credentials(folder);
  return made ? caf::expected<void>{caf::unit} : made.error();
}

} // namespace

caf::expected<meeting_point> open_meeting_point(const std::string& where, const std::string& cluster, const fs::path& run) {
  auto at = actors::parse_address(where, true);
  if (!at)
    return at.error();
  if (auto allowed = actors::check_listening(*at, !cluster.empty()); !allowed)
    return allowed.error();
  if (!cluster.empty())
    return with_credentials(std::move(*at), cluster);
  if (auto made = make_credentials_of_run(control_of(run)); !made)
    return made.error();
  return with_credentials(std::move(*at), control_of(run));
}

caf::expected<void> announce(const fs::path& run, const actors::address& at) {
  std::error_code problem;
  fs::create_directories(control_of(run), problem);
  return serialization::write_file(control_of(run) / "address", to_string(at) + "\n");
}

caf::expected<meeting_point> find_meeting_point(const std::string& where, const std::string& cluster) {
  std::error_code ignored;
  auto text = where;
  bool folder = fs::is_directory(where, ignored);
  if (folder) {
    auto file = control_of(where) / "address";
    if (!fs::exists(file, ignored))
      return fail(ec::bad_usage, where + " is no run with a port: " + file.string() + " is missing; enn train --nodes opens one");
    auto content = serialization::read_file(file);
    if (!content)
      return content.error();
    text = content->substr(0, content->find('\n'));
  }
  auto at = actors::parse_address(text, false);
  if (!at)
    return at.error();
  if (cluster.empty() && !folder)
    return fail(ec::bad_usage, "to reach " + text + " certificates are needed: add --cluster and this machine's folder of "
                                 "enn cluster init, or give the folder of a run on this machine instead of an address");
  return with_credentials(std::move(*at), cluster.empty() ? control_of(where) : fs::path{cluster});
}

} // namespace enn::apps
