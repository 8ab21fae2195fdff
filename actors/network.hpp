/// Actors in other processes and on other machines: the one place that knows CAF's io module.
///
/// Whoever gets to speak CAF's protocol owns the process. So nobody does, on loopback neither, before both sides have shown a
/// certificate of the cluster: a porter makes the handshake on a thread of its own, and only connections that passed are handed
/// to CAF, whose own sockets are not used.
#pragma once
#include <enn/actors/address.hpp>
#include <enn/actors/interfaces.hpp>
#include <enn/actors/porter.hpp>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/atom.hpp>
#include <caf/replies_to.hpp>
#include <caf/typed_actor.hpp>

#include <set>

namespace enn::actors {

/// Loads CAF's middleman: a beat every second, a peer is lost after ten without, no connections that nobody asked for. Opens no
/// port. Call in the constructor of the program's configuration.
void use_network(caf::actor_system_config& config);

/// An open port with an actor behind it. Closed with the object, which must go before the actor system; connections stay.
class listener {
public:
  std::uint16_t port() const { return port_; }

private:
  friend caf::expected<listener> publish(caf::actor_system& system, const tls& guard, caf::strong_actor_ptr whom,
                                         std::set<std::string> interface, const address& at, porter_limits limits);
  listener(std::unique_ptr<porter> g, std::uint16_t port) : porter_(std::move(g)), port_(port) {}
  std::unique_ptr<porter> porter_;
  std::uint16_t port_;
};

/// Fails with ec::io_failed: the port is taken, the host is not this machine. Does not ask check_listening.
caf::expected<listener> publish(caf::actor_system& system, const tls& guard, caf::strong_actor_ptr whom,
                                std::set<std::string> interface, const address& at, porter_limits limits);

template <class Handle>
caf::expected<listener> publish(caf::actor_system& system, const tls& guard, const Handle& whom, const address& at,
                                porter_limits limits = {}) {
  return publish(system, guard, caf::actor_cast<caf::strong_actor_ptr>(whom), system.message_types(whom), at, limits);
}

dialer_actor spawn_dialer(caf::actor_system& system, tls guard, std::set<std::string> interface, std::chrono::milliseconds limit);

/// It has a thread of its own and ends by an exit message.
template <class Handle>
dialer_actor spawn_dialer(caf::actor_system& system, tls guard, std::chrono::milliseconds limit = std::chrono::seconds{10}) {
  return spawn_dialer(system, std::move(guard), system.message_types(caf::detail::type_list<Handle>{}), limit);
}

/// The same as a call that blocks, for programs.
caf::expected<caf::strong_actor_ptr> connect(caf::actor_system& system, const tls& guard, std::set<std::string> interface,
                                             const address& to, std::chrono::milliseconds limit);

template <class Handle>
caf::expected<Handle> connect(caf::actor_system& system, const tls& guard, const address& to,
                              std::chrono::milliseconds limit = std::chrono::seconds{10}) {
  auto found = connect(system, guard, system.message_types(caf::detail::type_list<Handle>{}), to, limit);
  if (!found)
    return found.error();
  return caf::actor_cast<Handle>(*found);
}

} // namespace enn::actors
