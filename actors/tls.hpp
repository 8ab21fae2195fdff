/// TLS 1.3 with certificates on both sides, over sockets that do not block. Knows nothing of actors. Several threads may use
/// one `tls`; a session belongs to one thread at a time.
#pragma once
#include <enn/serialization/credentials.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>

struct ssl_st;
struct ssl_ctx_st;

namespace enn::actors {

/// How far a call came: it is to be made again with the same arguments once the socket can be read from or written to.
enum class tls_step : std::uint8_t { done, wants_read, wants_write, failed };

/// One side of a connection. Does not own the socket.
class tls_session {
public:
  /// The server's last word is a greeting, so that both know when they are through: without it a client of TLS 1.3 would learn
  /// only later that its certificate was refused.
  tls_step handshake();
  /// At least a byte if done. The end of the connection is a failure.
  tls_step read(std::span<char> into, std::size_t& count);
  tls_step write(std::span<const char> from, std::size_t& count);
  /// Bytes that can be read without the socket.
  std::size_t pending() const;
  /// Why it failed, for people; "it" is the other side.
  const std::string& problem() const { return problem_; }
  /// It failed because one side does not trust the other, or speaks another version: trying again will not help.
  bool refused() const { return refused_; }

private:
  friend class tls;
  struct release {
    void operator()(ssl_st* session) const;
  };
  tls_step step_of(int result);
  void explain();
  std::unique_ptr<ssl_st, release> session_;
  bool shaken_ = false, refused_ = false;
  std::size_t greeted_ = 0; // bytes
  std::string problem_;
};

/// What a process needs for its sessions: its credentials, read once.
class tls {
public:
  static caf::expected<tls> make(const serialization::credentials& c);
  caf::expected<tls_session> server(int socket) const;
  caf::expected<tls_session> client(int socket) const;

private:
  caf::expected<tls_session> session(int socket) const;
  std::shared_ptr<ssl_ctx_st> context_;
};

/// For users of the above whose thread nobody joins, destroyed there after all else: frees what OpenSSL keeps for the thread, which would
/// otherwise be freed while the process may already be at its end.
struct tls_thread_end {
  tls_thread_end() = default;
  tls_thread_end(const tls_thread_end&) = delete;
  tls_thread_end& operator=(const tls_thread_end&) = delete;
  ~tls_thread_end();
};

} // namespace enn::actors
