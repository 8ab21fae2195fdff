/// Processes that reach each other, always by mutual TLS: the one place that knows CAF's io module. Whoever gets to speak CAF's
/// protocol owns the process, so nobody does, on loopback neither, before both sides have shown a certificate of the cluster: a
/// doorkeeper makes the handshakes, and hands only connections that passed to CAF, whose own sockets are not used.
#pragma once
#include <enn/actors/address.hpp>
#include <enn/actors/doorkeeper.hpp>
#include <enn/actors/interfaces.hpp>

#include <caf/fwd.hpp>

namespace enn::actors {

/// Loads CAF's middleman: a beat every second, a peer is lost after ten without, no connections that nobody asked for. Opens no
/// port. Call in the constructor of the configuration.
void use_network(caf::actor_system_config& config);

/// A port of this process, and the gate behind it.
class listener {
public:
  /// Port 0: any free one, chosen when the first gate is published.
  listener(address at, serialization::credentials own, stranger_limits limits = {});
  listener(const listener&) = delete;
  listener& operator=(const listener&) = delete;
  ~listener();
  /// Makes this gate reachable, instead of an earlier one, for as long as it lives. Answers where. ec::io_failed: the port is
  /// taken, the address is not this machine's. Connections that are there stay.
  caf::expected<address> publish(const gate_actor& gate);

private:
  address at_;
  serialization::credentials own_;
  stranger_limits limits_;
  std::shared_ptr<doorkeeper> keeper_; // shared with the gate, which may end first or last
};

/// Finds the gate at this address; every attempt takes at most about `limit`, one at a time. It has a thread of its own, and ends
/// when its parent ends.
dialler_actor spawn_dialler(caf::actor_system& system, const caf::actor_addr& parent, const serialization::credentials& own, address at,
                            std::chrono::milliseconds limit);

} // namespace enn::actors
