/// The actor system of one command, under signals that stop it in good order.
#pragma once
#include "process.hpp"

#include <enn/actors/network.hpp>
#include <enn/actors/run.hpp>

#include <caf/actor_system.hpp>

#include <memory>

namespace enn::apps {

class session {
public:
  /// `connected`: it can reach other processes, and be reached.
  explicit session(bool connected = false) : config_{connected}, system_{config_} {}
  caf::actor_system& system() { return system_; }
  const std::atomic<bool>* stop() const { return signals_.asked(); }
  stop_signals& signals() { return signals_; }

private:
  struct system_config : caf::actor_system_config {
    explicit system_config(bool connected) {
      actors::configure(*this);
      actors::set_defaults(*this);
      if (connected)
        actors::use_network(*this);
    }
  };
  stop_signals signals_; // before any thread of the system
  system_config config_;
  caf::actor_system system_;
};

} // namespace enn::apps
