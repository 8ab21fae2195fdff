/// Where a process listens, or finds others.
#pragma once
#include <enn/model/error.hpp>

#include <cstdint>
#include <string>

namespace enn::actors {

inline constexpr std::uint16_t default_port = 7411;

/// A TCP port on a host, by name or number. Port 0: any free one, to listen at.
struct address {
  std::string host = "127.0.0.1";
  std::uint16_t port = default_port;
  friend bool operator==(const address&, const address&) = default;
};

/// "HOST:PORT", "[::1]:7411", "HOST", ":PORT", "PORT"; what is missing is 127.0.0.1 and the default port. ec::bad_usage otherwise.
caf::expected<address> parse_address(const std::string& text);
/// As parse_address reads it.
std::string to_string(const address& a);
/// Only this machine can reach it, whatever names mean elsewhere: "localhost", ::1, 127.0.0.0/8.
bool is_loopback(const address& a);

} // namespace enn::actors
