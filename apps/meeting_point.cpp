#include "meeting_point.hpp"
#include "command.hpp"

#include <enn/serialization/file.hpp>

#include <spdlog/spdlog.h>

#include <fstream>

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

fs::path folder_of(const serialization::credentials& own) {
  return fs::path{own.key}.parent_path();
}

caf::expected<actors::address> announced(const fs::path& run) {
  auto text = serialization::read_file(control_of(run) / "address");
  return text ? actors::parse_address(text->substr(0, text->find('\n'))) : text.error();
}

/// For a node or a command on the run's machine: its own, or those of the cluster that it is of.
caf::expected<serialization::credentials> credentials_for(const fs::path& run, const std::string& cluster) {
  std::string theirs, place;
  std::ifstream file{control_of(run) / "cluster"}; // not there: nothing can be said before the connection is tried
  std::getline(std::getline(file, theirs), place);
  auto is_theirs = run.string() + " is a run of cluster " + theirs;
  auto advice = place.empty() ? "; leave out --cluster" : "; give --cluster and this machine's folder of that one, such as " + place;
  if (cluster.empty() && !place.empty())
    return fail(ec::bad_usage, is_theirs + advice);
  auto own = load(cluster.empty() ? control_of(run) : fs::path{cluster});
  if (own && !theirs.empty() && own->cluster != theirs)
    return fail(ec::bad_usage, is_theirs + ", but " + folder_of(*own).string() + " is of " + own->cluster + advice);
  return own;
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

std::string cluster_option(const fs::path& run, const serialization::credentials& own) {
  return folder_of(own) == control_of(run) ? "" : " --cluster " + shell_word(folder_of(own).string());
}

caf::expected<void> announce(const fs::path& run, const actors::address& at, const serialization::credentials& own) {
  std::error_code problem;
  fs::create_directories(control_of(run), problem);
  auto place = folder_of(own) == control_of(run) ? "" : fs::absolute(folder_of(own), problem).string();
  if (auto done = serialization::write_file(control_of(run) / "cluster", own.cluster + "\n" + place + "\n"); !done)
    return done;
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
  auto own = folder ? credentials_for(where, cluster) : load(cluster);
  if (!own)
    return own.error();
  return meeting_point{std::move(*at), std::move(*own)};
}

} // namespace enn::apps
