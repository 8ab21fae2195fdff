#include <enn/actors/network.hpp>

#include <enn/actors/spawn.hpp>

#include <caf/io/basp_broker.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/stream_impl.hpp>
#include <caf/io/scribe.hpp>

#include <netdb.h>
#include <sys/poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace enn::actors {
namespace {

using serialization::descriptor;
using clock = std::chrono::steady_clock;
namespace io = caf::io;

std::string system_text(int code) {
  return std::generic_category().message(code);
}

// -- a connection that passed, as CAF wants it ------------------------------------------------------------------------------------

/// How CAF's streams read and write.
class tls_policy {
public:
  explicit tls_policy(tls_session session) : session_(std::move(session)) {}

  io::network::rw_state read_some(std::size_t& count, io::network::native_socket, void* into, std::size_t size) {
    count = 0;
    return state_of(session_.read({static_cast<char*>(into), size}, count));
  }

  io::network::rw_state write_some(std::size_t& count, io::network::native_socket, const void* from, std::size_t size) {
    count = 0;
    return size == 0 ? io::network::rw_state::indeterminate : state_of(session_.write({static_cast<const char*>(from), size}, count));
  }

  bool must_read_more(io::network::native_socket, std::size_t threshold) { return session_.pending() >= threshold; }

private:
  static io::network::rw_state state_of(tls_step step) {
    return step == tls_step::failed ? io::network::rw_state::failure : io::network::rw_state::success;
  }

  tls_session session_;
};

template <class T>
T or_nothing(caf::expected<T> value) {
  return value ? std::move(*value) : T{};
}

/// As CAF's own scribes, but for the policy.
class tls_scribe : public io::scribe {
public:
  tls_scribe(io::network::default_multiplexer& loop, descriptor socket, tls_session session)
    : scribe(io::network::conn_hdl_from_socket(socket.get())), stream_(loop, socket.release(), std::move(session)) {}

  void configure_read(io::receive_policy::config config) override {
    stream_.configure_read(config);
    if (!std::exchange(launched_, true))
      stream_.start(this);
  }
  void ack_writes(bool enable) override { stream_.ack_writes(enable); }
  std::vector<char>& wr_buf() override { return stream_.wr_buf(); }
  std::vector<char>& rd_buf() override { return stream_.rd_buf(); }
  void flush() override { stream_.flush(this); }
  std::string addr() const override { return or_nothing(io::network::remote_addr_of_fd(stream_.fd())); }
  std::uint16_t port() const override { return or_nothing(io::network::remote_port_of_fd(stream_.fd())); }
  void graceful_shutdown() override {
    stream_.graceful_shutdown();
    detach(&stream_.backend(), false);
  }
  void add_to_loop() override { stream_.activate(this); }
  void remove_from_loop() override { stream_.passivate(); }

private:
  bool launched_ = false;
  io::network::stream_impl<tls_policy> stream_;
};

io::scribe_ptr make_scribe(caf::actor_system& system, descriptor socket, tls_session session) {
  auto& loop = dynamic_cast<io::network::default_multiplexer&>(system.middleman().backend());
  return caf::make_counted<tls_scribe>(loop, std::move(socket), std::move(session));
}

/// The actor of CAF that speaks its protocol on all connections.
caf::actor protocol_actor(caf::actor_system& system) {
  return system.middleman().named_broker<io::basp_broker>(caf::atom("BASP"));
}

// -- sockets ----------------------------------------------------------------------------------------------------------------------

using addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

caf::expected<addresses> resolve(const address& a, int flags) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = flags | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  if (auto code = ::getaddrinfo(a.host.c_str(), std::to_string(a.port).c_str(), &hints, &found); code != 0)
    return fail(ec::unavailable, to_string(a) + ": cannot find the host: " + ::gai_strerror(code));
  return addresses{found, ::freeaddrinfo};
}

descriptor open_socket(const addrinfo& a) {
  return descriptor{::socket(a.ai_family, a.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a.ai_protocol)};
}

caf::expected<descriptor> listen_at(const address& a) {
  auto found = resolve(a, AI_PASSIVE);
  if (!found)
    return fail(ec::io_failed, text_of(found.error()));
  auto code = 0;
  for (const auto* one = found->get(); one != nullptr; one = one->ai_next) {
    auto socket = open_socket(*one);
    int yes = 1;
    if (socket && ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0
        && ::bind(socket.get(), one->ai_addr, one->ai_addrlen) == 0 && ::listen(socket.get(), SOMAXCONN) == 0)
      return socket;
    code = errno;
  }
  return fail(ec::io_failed, to_string(a) + ": cannot listen there: " + system_text(code) + "; --nodes 0 takes any free port");
}

/// False: the time is up.
bool wait_for(int socket, short events, clock::time_point until) {
  for (;;) {
    pollfd one{socket, events, 0};
    auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()).count();
    if (left <= 0)
      return false;
    if (::poll(&one, 1, static_cast<int>(left)) > 0)
      return true;
  }
}

/// 0 or errno.
int connect_to(int socket, const addrinfo& a, clock::time_point until) {
  if (::connect(socket, a.ai_addr, a.ai_addrlen) == 0)
    return 0;
  if (errno != EINPROGRESS)
    return errno;
  if (!wait_for(socket, POLLOUT, until))
    return ETIMEDOUT;
  int code = 0;
  socklen_t size = sizeof code;
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno;
}

caf::expected<descriptor> connect_to(const address& a, clock::time_point until) {
  auto found = resolve(a, 0);
  if (!found)
    return found.error();
  auto code = 0;
  for (const auto* one = found->get(); one != nullptr; one = one->ai_next) {
    auto socket = open_socket(*one);
    code = socket ? connect_to(socket.get(), *one, until) : errno;
    if (code == 0)
      return socket;
  }
  return fail(ec::unavailable, to_string(a) + ": cannot connect: " + system_text(code));
}

/// A connection on which both sides have shown their certificates. ec::protocol: another attempt will not do better.
caf::expected<io::scribe_ptr> dial(caf::actor_system& system, const tls& guard, const address& to, clock::time_point until) {
  auto socket = connect_to(to, until);
  if (!socket)
    return socket.error();
  auto session = guard.client(socket->get());
  if (!session)
    return session.error();
  for (;;) {
    auto step = session->handshake();
    if (step == tls_step::done)
      return make_scribe(system, std::move(*socket), std::move(*session));
    if (step == tls_step::failed)
      return fail(session->refused() ? ec::protocol : ec::unavailable, to_string(to) + ": no connection: " + session->problem());
    if (!wait_for(socket->get(), step == tls_step::wants_read ? POLLIN : POLLOUT, until))
      return fail(ec::unavailable, to_string(to) + ": does not answer");
  }
}

// -- dialer -----------------------------------------------------------------------------------------------------------------------

struct dialer_state {
  static inline const char* name = "enn.dialer";
};

dialer_actor::behavior_type dialer(dialer_actor::stateful_pointer<dialer_state> self, const tls& guard,
                                   const std::set<std::string>& interface, std::chrono::milliseconds limit) {
  use_log(self);
  return {
    [=](caf::connect_atom, const std::string& host, std::uint16_t port) -> caf::result<caf::strong_actor_ptr> {
      address to{host, port};
      auto until = clock::now() + limit;
      auto line = dial(self->system(), guard, to, until);
      if (!line)
        return line.error();
      auto promise = self->make_response_promise<caf::strong_actor_ptr>();
      auto left = std::max(std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()), std::chrono::milliseconds{1});
      self->request(protocol_actor(self->system()), left, caf::connect_atom_v, std::move(*line), port)
        .then(
          [=](const caf::node_id&, const caf::strong_actor_ptr& whom, const std::set<std::string>& offered) mutable {
            if (!whom)
              promise.deliver(fail(ec::unavailable, to_string(to) + ": no actor answers there"));
            else if (!self->system().assignable(offered, interface))
              promise.deliver(fail(ec::protocol, to_string(to) + ": a program of another version answers there"));
            else
              promise.deliver(whom);
          },
          [=](caf::error& e) mutable {
            promise.deliver(fail(ec::unavailable, to_string(to) + ": the connection broke at once: " + caf::to_string(e)));
          });
      return promise;
    },
  };
}

} // namespace

void use_network(caf::actor_system_config& config) {
  config.load<io::middleman>();
  config.set("middleman.workers", std::size_t{1});
  config.set("middleman.heartbeat-interval", caf::timespan{std::chrono::seconds{1}});
  config.set("middleman.connection-timeout", caf::timespan{std::chrono::seconds{10}});
  config.set("middleman.app-identifiers", std::vector<std::string>{"enn"});
  config.set("middleman.enable-automatic-connections", false);
}

caf::expected<listener> publish(caf::actor_system& system, const tls& guard, caf::strong_actor_ptr whom,
                                std::set<std::string> interface, const address& at, porter_limits limits) {
  auto socket = listen_at(at);
  if (!socket)
    return socket.error();
  auto port = io::network::local_port_of_fd(socket->get());
  if (!port)
    return fail(ec::io_failed, to_string(at) + ": has no port");
  // CAF takes single connections as well as whole ports; of those that come it makes the greetings of the actor.
  auto admit = [&system, port = *port, whom = std::move(whom), interface = std::move(interface)](descriptor s, tls_session session) {
    caf::anon_send(protocol_actor(system), caf::publish_atom_v, make_scribe(system, std::move(s), std::move(session)), port, whom,
                   interface);
  };
  auto opened = porter::open(std::move(*socket), guard, std::move(admit), limits);
  if (!opened)
    return opened.error();
  return listener{std::move(*opened), *port};
}

dialer_actor spawn_dialer(caf::actor_system& system, tls guard, std::set<std::string> interface, std::chrono::milliseconds limit) {
  return system.spawn<caf::detached>(dialer, std::move(guard), std::move(interface), limit);
}

caf::expected<caf::strong_actor_ptr> connect(caf::actor_system& system, const tls& guard, std::set<std::string> interface,
                                             const address& to, std::chrono::milliseconds limit) {
  auto dialer = spawn_dialer(system, guard, std::move(interface), limit);
  caf::scoped_actor self{system};
  caf::expected<caf::strong_actor_ptr> result{caf::sec::cannot_connect_to_node};
  self->request(dialer, caf::infinite, caf::connect_atom_v, to.host, to.port)
    .receive([&](const caf::strong_actor_ptr& whom) { result = whom; }, [&](caf::error& e) { result = std::move(e); });
  self->send_exit(dialer, caf::exit_reason::user_shutdown);
  return result;
}

} // namespace enn::actors
