/// Processes that reach each other, always by mutual TLS: the one place that knows CAF's network modules. Whoever holds a
/// certificate of the cluster's CA is fully trusted (docs/cluster.md says why).
#pragma once
#include <enn/actors/interfaces.hpp>
#include <enn/serialization/credentials.hpp>

#include <caf/fwd.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace enn::actors {

struct address {
  std::string host;
  std::uint16_t port = 0;
};
inline constexpr std::uint16_t default_port = 7411;

/// "HOST:PORT", "[::1]:7411", "HOST", ":PORT", "PORT"; what is missing is 127.0.0.1 and the default port. ec::bad_usage otherwise.
caf::expected<address> parse_address(const std::string& text);
std::string to_string(const address& a);
bool is_loopback(const address& a);

/// Call in the constructor of the configuration, before the actor system exists: a file that cannot be read would end the process
/// at the first connection.
void use_credentials(caf::actor_system_config& config, const serialization::credentials& own);

/// A port of this process, and the gate behind it.
class listener {
public:
  /// Port 0: any free one, chosen when the first gate is published.
  explicit listener(address at) : at_(std::move(at)) {}
  /// Makes this gate reachable, instead of an earlier one. Answers where. ec::io_failed.
  caf::expected<address> publish(const gate_actor& gate);

private:
  address at_;
  gate_actor published_;
};

/// Finds the gate at this address; every attempt takes at most `limit`.
dialler_actor spawn_dialler(caf::actor_system& system, address at, std::chrono::milliseconds limit);

} // namespace enn::actors
