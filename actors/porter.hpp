/// Lets strangers in, or not. What a connection can cost before it has shown a certificate of the cluster is bounded here: so
/// many at once, each for so long, nothing but a socket until it says something, and never a byte beyond the handshake.
#pragma once
#include <enn/actors/tls.hpp>
#include <enn/serialization/posix.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace enn::actors {

struct porter_limits {
  /// Handshakes at once. One more takes the place of the oldest that is silent, or of the oldest: whoever answers promptly gets
  /// in, however many there are who do not.
  std::size_t handshakes = 64;
  /// For a whole handshake, however slowly it trickles.
  std::chrono::milliseconds patience{5000};
};

/// Accepts connections on a listening socket and makes their handshakes, on a thread of its own. Ends with the object.
class porter {
public:
  /// Takes a connection that passed; called by the porter's thread.
  using admission = std::function<void(serialization::descriptor socket, tls_session session)>;
  static caf::expected<std::unique_ptr<porter>> open(serialization::descriptor listening, tls guard, admission admit, porter_limits limits);
  porter(const porter&) = delete;
  porter& operator=(const porter&) = delete;
  ~porter();

private:
  using clock = std::chrono::steady_clock;
  struct stranger {
    serialization::descriptor socket;
    clock::time_point until;
    std::optional<tls_session> session; // once it has said something
    short awaits;                       // events of poll
  };

  porter(serialization::descriptor listening, serialization::descriptor wake, tls guard, admission admit, porter_limits limits);
  void run();
  void accept_all();
  void make_room();
  /// False: it is gone, as a friend or for good.
  bool greet(stranger& s);

  serialization::descriptor listening_, wake_;
  tls guard_;
  admission admit_;
  porter_limits limits_;
  std::vector<stranger> strangers_; // the oldest first
  clock::time_point rests_until_{}; // accepts nobody before; there was no descriptor left
  std::thread thread_;
};

} // namespace enn::actors
