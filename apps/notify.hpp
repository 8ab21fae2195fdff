/// What a service manager is told that asked for it, as systemd does with Type=notify: when a run is at work, how far it is,
/// that it is alive. Without one nothing happens.
#pragma once
#include <chrono>
#include <string>

namespace enn::apps {

/// Sends these lines to the socket that NOTIFY_SOCKET names; sd_notify(3) documents them, and that programs may send them
/// without libsystemd: a datagram is not worth a library that brings three of compression into every process.
/// False: the manager does not keep up and was not told; training does not wait for it.
bool notify(const std::string& lines);

/// Of a run. The watchdog is fed by what its actors say, a step or that they wait for nodes, and not by a clock: a run that hangs
/// is started again.
class service_status {
public:
  /// READY=1 the first time, STATUS= and WATCHDOG=1.
  void at_work(const std::string& how_far);
  /// The same, but at most once a second.
  void advanced(const std::string& how_far);

private:
  bool ready_ = false;
  std::chrono::steady_clock::time_point told_{};
};

} // namespace enn::apps
