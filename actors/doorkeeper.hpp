/// Lets strangers in, or not. What a connection can cost before it has shown a certificate of the cluster is bounded here: so
/// many at once, each for so long, nothing but a socket until it says something, and never a byte beyond the handshake.
#pragma once
#include <enn/actors/tls.hpp>
#include <enn/serialization/posix.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace enn::actors {

struct stranger_limits {
  /// Handshakes at once. One more takes the place of the oldest that is silent, or of the oldest: whoever answers promptly gets
  /// in, at the next attempt if need be, however many there are who do not.
  std::size_t handshakes = 64;
  /// For a whole handshake, however slowly it trickles.
  std::chrono::milliseconds patience{5000};
};

/// Accepts connections on a listening socket and makes their handshakes, on a thread of its own.
class doorkeeper {
public:
  /// Takes a connection that passed; called by the doorkeeper's thread.
  using admission = std::function<void(serialization::descriptor socket, tls_session session)>;
  static caf::expected<std::shared_ptr<doorkeeper>> open(serialization::descriptor listening, tls guard, admission admit,
                                                       stranger_limits limits);
  doorkeeper(const doorkeeper&) = delete;
  doorkeeper& operator=(const doorkeeper&) = delete;
  ~doorkeeper();
  /// Closes the port and ends the thread. Twice is harmless; from any thread but its own.
  void close();

private:
  using clock = std::chrono::steady_clock;
  struct stranger {
    serialization::descriptor socket;
    clock::time_point until;
    std::optional<tls_session> session; // once it has said something
    short awaits;                       // events of poll
  };

  doorkeeper(serialization::descriptor listening, serialization::descriptor wake, tls guard, admission admit, stranger_limits limits);
  void run();
  void accept_all();
  void make_room();
  /// False: it is gone, as a friend or for good.
  bool greet(stranger& s);

  serialization::descriptor listening_, wake_;
  tls guard_;
  admission admit_;
  stranger_limits limits_;
  std::vector<stranger> strangers_; // the oldest first
  clock::time_point rests_until_{}; // accepts nobody before; there was no descriptor left
  clock::time_point quiet_until_{}; // that there is none left is not said again before
  std::mutex closing_;
  std::thread thread_;
};

} // namespace enn::actors
