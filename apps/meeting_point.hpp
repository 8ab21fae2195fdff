/// Where the coordinator of a run and its nodes meet: the address, and the certificates that both hold. A run that opens a port
/// keeps both in RUN/control/, for nodes and commands on the same machine.
#pragma once
#include <enn/actors/network.hpp>

#include <filesystem>
#include <string>

namespace enn::apps {

struct meeting_point {
  actors::address at;
  serialization::credentials own;
  bool any_port = false; // if that one, of an earlier process of the run, is taken
};

/// What open_meeting_point() would refuse, before anything is written.
caf::expected<void> check_meeting_point(const std::string& where, const std::string& cluster);
/// For a coordinator. `where`: the address to listen at; `cluster`: a folder of enn cluster init, or empty: certificates of the
/// run's own, for loopback addresses only. ec::bad_usage for any other address without a cluster.
caf::expected<meeting_point> open_meeting_point(const std::string& where, const std::string& cluster, const std::filesystem::path& run);
/// Tells those who look into the run's folder: where, and of which cluster one must be.
caf::expected<void> announce(const std::filesystem::path& run, const actors::address& at, const serialization::credentials& own);
/// What a command on this machine needs besides the run's folder: " --cluster FOLDER", or nothing.
std::string cluster_option(const std::filesystem::path& run, const serialization::credentials& own);

/// For nodes and commands. `where`: an address, or the folder of a run on this machine. `cluster`: may be empty for a run's folder.
caf::expected<meeting_point> find_meeting_point(const std::string& where, const std::string& cluster);

} // namespace enn::apps
