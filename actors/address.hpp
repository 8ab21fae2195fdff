/// Where a process listens or connects to.
#pragma once
#include <enn/model/error.hpp>

#include <cstdint>
#include <string>

namespace enn::actors {

inline constexpr std::uint16_t default_port = 7411;

/// A TCP port on a host, by name or number.
struct address {
  std::string host = "127.0.0.1";
  std::uint16_t port = default_port;
  friend bool operator==(const address&, const address&) = default;
};

/// "HOST:PORT", "[::1]:7411", "HOST", ":PORT", "PORT"; what is missing is this machine's loopback and the default port. Port 0, "any
/// free one", is only for `listening`. Fails with ec::bad_usage.
caf::expected<address> parse_address(const std::string& text, bool listening);
/// As parse_address reads it.
std::string to_string(const address& a);

/// Whether only this machine can reach it: "localhost", ::1, 127.0.0.0/8.
bool is_loopback(const std::string& host);
/// Loopback is fine; elsewhere the credentials have to be of a cluster, which somebody made and trusts. Fails with ec::bad_usage.
caf::expected<void> check_listening(const address& a, bool of_cluster);

} // namespace enn::actors
