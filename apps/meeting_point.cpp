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

caf::expected<serialization::credentials> load(const fs::path& folder) {
  auto own = serialization::load_credentials(folder);
  if (own && own->days_left < 30)
    spdlog::warn("the certificates in {} end in {}", folder.string(), counted(static_cast<std::uint64_t>(own->days_left), "days"));
  return own;
}

/// Those of an earlier start still serve, so that nodes which wait for the run find it again.
caf::expected<serialization::credentials> credentials_of_run(const fs::path& run) {
  std::error_code ignored;
  auto folder = control_of(run);
  if (fs::exists(folder / "node.pem", ignored))
    if (auto old = serialization::load_credentials(folder))
      return old;
  return serialization::make_credentials(folder);
}

caf::expected<actors::address> announced(const fs::path& run) {
  auto text = serialization::read_file(control_of(run) / "address");
  return text ? actors::parse_address(text->substr(0, text->find('\n'))) : text.error();
}

/// Where to listen, if these certificates allow it.
caf::expected<actors::address> allowed_address(const std::string& where, const std::string& cluster) {
  auto at = actors::parse_address(where);
  if (at && cluster.empty() && !actors::is_loopback(*at))
    return fail(ec::bad_usage, "other machines can reach " + to_string(*at) + ", so both sides need certificates of one cluster: run "
                                 "enn cluster init, then add --cluster cluster/coordinator");
  return at;
}

} // namespace

caf::expected<void> check_meeting_point(const std::string& where, const std::string& cluster) {
  if (auto at = allowed_address(where, cluster); !at)
    return at.error();
  if (cluster.empty())
    return {};
  auto own = serialization::load_credentials(cluster);
  return own ? caf::expected<void>{caf::unit} : own.error();
}

caf::expected<meeting_point> open_meeting_point(const std::string& where, const std::string& cluster, const fs::path& run) {
  auto at = allowed_address(where, cluster);
  if (!at)
    return at.error();
  auto own = cluster.empty() ? credentials_of_run(run) : load(cluster);
  if (!own)
    return own.error();
  meeting_point result{std::move(*at), std::move(*own)};
  result.any_port = result.at.port == 0;
  if (auto last = announced(run); result.any_port && last && last->host == result.at.host)
    result.at.port = last->port; // where nodes of an earlier process look for this one
  return result;
}

caf::expected<void> announce(const fs::path& run, const actors::address& at) {
  std::error_code problem;
  fs::create_directories(control_of(run), problem);
  return serialization::write_file(control_of(run) / "address", to_string(at) + "\n");
}

caf::expected<meeting_point> find_meeting_point(const std::string& where, const std::string& cluster) {
  std::error_code ignored;
  bool folder = fs::is_directory(where, ignored);
  if (auto file = control_of(where) / "address"; folder && !fs::exists(file, ignored))
    return fail(ec::bad_usage, where + " is no run with a port: " + file.string() + " is missing; enn train --nodes opens one");
  auto at = folder ? announced(where) : actors::parse_address(where);
  if (!at)
    return at.error();
  if (cluster.empty() && !folder)
    return fail(ec::bad_usage, "to reach " + where + " certificates are needed: add --cluster and this machine's folder of "
                                 "enn cluster init, or give the folder of a run on this machine instead of an address");
  auto own = load(cluster.empty() ? control_of(where) : fs::path{cluster});
  if (!own)
    return own.error();
  return meeting_point{std::move(*at), std::move(*own)};
}

} // namespace enn::apps
