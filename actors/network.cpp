#include <enn/actors/network.hpp>

#include <enn/actors/spawn.hpp>

#include <caf/io/basp_broker.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/stream_impl.hpp>
#include <caf/io/scribe.hpp>

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <span>
#include <thread>
#include <vector>

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
    return fail(ec::unavailable, "cannot find " + a.host + ": " + ::gai_strerror(code));
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
  return fail(ec::io_failed, "cannot listen at " + to_string(a) + ": " + system_text(code) + "; --nodes 0 takes any free port");
}

/// False: the time is up.
bool wait_for(std::span<pollfd> sockets, clock::time_point until) {
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()).count();
    if (left <= 0)
      return false;
    if (::poll(sockets.data(), sockets.size(), static_cast<int>(left)) > 0)
      return true;
  }
}

bool wait_for(int socket, short events, clock::time_point until) {
  pollfd one{socket, events, 0};
  return wait_for({&one, 1}, until);
}

/// 0, or the errno of an attempt to connect that has come to its end.
int outcome_of(int socket) {
  int code = 0;
  socklen_t size = sizeof code;
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno;
}

/// All addresses of a host at once, as one that does not answer would take the time of the others; the first that does.
caf::expected<descriptor> connect_to(const address& a, clock::time_point until) {
  auto found = resolve(a, 0);
  if (!found)
    return found.error();
  std::vector<descriptor> sockets;
  int code = ETIMEDOUT;
  for (const auto* one = found->get(); one != nullptr; one = one->ai_next) {
    auto socket = open_socket(*one);
    if (socket && ::connect(socket.get(), one->ai_addr, one->ai_addrlen) == 0)
      return socket;
    if (socket && errno == EINPROGRESS)
      sockets.push_back(std::move(socket));
    else
      code = errno;
  }
  while (!sockets.empty()) {
    std::vector<pollfd> waiting;
    for (const auto& socket : sockets)
      waiting.push_back({socket.get(), POLLOUT, 0});
    if (!wait_for(waiting, until))
      break;
    for (auto i = sockets.size(); i-- > 0;)
      if (waiting[i].revents != 0) {
        code = outcome_of(sockets[i].get());
        if (code == 0)
          return std::move(sockets[i]);
        sockets.erase(sockets.begin() + static_cast<std::ptrdiff_t>(i));
      }
  }
  return fail(ec::unavailable, "cannot reach " + to_string(a) + ": " + system_text(sockets.empty() ? code : ETIMEDOUT));
}

/// Neither done nor failed: the time was up.
tls_step shake_hands(int socket, tls_session& session, clock::time_point until) {
  for (;;) {
    auto step = session.handshake();
    if (step == tls_step::done || step == tls_step::failed || !wait_for(socket, step == tls_step::wants_read ? POLLIN : POLLOUT, until))
      return step;
  }
}

/// Then the next attempt asks anew where the host is: it may have moved.
constexpr std::chrono::milliseconds connecting{2000};

/// A connection on which both sides have shown their certificates.
struct line {
  io::scribe_ptr scribe;
  descriptor watched; // the same socket
};

/// ec::protocol: another attempt will not do better.
caf::expected<line> dial(caf::actor_system& system, const tls& guard, const address& to, clock::time_point until) {
  for (std::chrono::milliseconds pause{10};; pause *= 2) {
    auto socket = connect_to(to, std::min(until, clock::now() + connecting));
    if (!socket)
      return socket.error();
    auto session = guard.client(socket->get());
    if (!session)
      return session.error();
    auto step = shake_hands(socket->get(), *session, until);
    if (step == tls_step::done) {
      descriptor watched{::fcntl(socket->get(), F_DUPFD_CLOEXEC, 0)};
      return line{make_scribe(system, std::move(*socket), std::move(*session)), std::move(watched)};
    }
    if (step != tls_step::failed)
      return fail(ec::unavailable, "cannot reach " + to_string(to) + ": no answer in time");
    if (session->refused() || clock::now() + pause > until)
      return fail(session->refused() ? ec::protocol : ec::unavailable, "no connection to " + to_string(to) + ": " + session->problem());
    std::this_thread::sleep_for(pause); // a doorkeeper beset by strangers may have taken us for one
  }
}

// -- dialler ----------------------------------------------------------------------------------------------------------------------

std::set<std::string> interface_of_gates(caf::actor_system& system) {
  return system.message_types(caf::detail::type_list<gate_actor>{});
}

struct dialler_state;
using dialler_ptr = dialler_actor::stateful_pointer<dialler_state>;

struct dialler_state {
  static inline const char* name = "dialler";
  dialler_ptr self = nullptr;
  tls_thread_end thread_end; // of a detached actor, which CAF does not join; declared before what uses TLS, so destroyed after it
  tls guard;
  address at;
  descriptor watched; // the latest connection, unless it is over

  using answer = caf::typed_response_promise<gate_actor>;
  void connect(answer promise, clock::time_point until);
  void introduced(answer promise, const caf::strong_actor_ptr& gate, const std::set<std::string>& offered);
  void watch();
};

void dialler_state::connect(answer promise, clock::time_point until) {
  watched = descriptor{};
  auto found = dial(self->system(), guard, at, until);
  if (!found) {
    promise.deliver(found.error());
    return;
  }
  watched = std::move(found->watched);
  auto left = std::max(std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()), std::chrono::milliseconds{1});
  self->request(protocol_actor(self->system()), left, caf::connect_atom_v, std::move(found->scribe), at.port)
    .then(
      [=, this](const caf::node_id&, const caf::strong_actor_ptr& gate, const std::set<std::string>& offered) {
        introduced(promise, gate, offered);
      },
      [=, this](caf::error& e) mutable {
        // CAF looks for silent peers once a second, and takes one for silent that has not been introduced yet.
        if (e == caf::sec::connection_timeout && clock::now() < until)
          connect(promise, until);
        else
          promise.deliver(fail(ec::unavailable, "the connection to " + to_string(at) + " broke at once: " + caf::to_string(e)));
      });
}

void dialler_state::introduced(answer promise, const caf::strong_actor_ptr& gate, const std::set<std::string>& offered) {
  if (!gate)
    promise.deliver(fail(ec::unavailable, "no run at " + to_string(at)));
  else if (!self->system().assignable(offered, interface_of_gates(self->system())))
    promise.deliver(fail(ec::protocol, "at " + to_string(at) + " is a run of another version of this program"));
  else
    promise.deliver(caf::actor_cast<gate_actor>(gate));
}

/// A machine that acknowledges nothing for this long is given up; heartbeats of CAF, one a second, see to it that there is something.
/// CAF alone would wait for 10 s, in which time a frozen process may come back, but a machine that moved will not. TCP_USER_TIMEOUT
/// is no help: it counts from the first loss that it remembers, which may have been made good long ago.
constexpr std::chrono::milliseconds unacknowledged{4000}, look_every{500};

void dialler_state::watch() {
  tcp_info facts{};
  socklen_t size = sizeof facts;
  if (::getsockopt(watched.get(), IPPROTO_TCP, TCP_INFO, &facts, &size) == 0) {
    auto silent = facts.tcpi_last_ack_recv > unacknowledged.count();
    if (silent)
      ::shutdown(watched.get(), SHUT_RDWR); // CAF sees its end
    if (silent || facts.tcpi_state != TCP_ESTABLISHED)
      watched = descriptor{};
  }
  self->delayed_send(self, look_every, caf::tick_atom_v);
}

dialler_actor::behavior_type dialler(dialler_ptr self, const caf::actor_addr& parent, const caf::expected<tls>& guard, address at,
                                     std::chrono::milliseconds limit) {
  use_log(self);
  follow(self, parent);
  auto& st = self->state;
  st.self = self;
  st.at = std::move(at);
  if (guard)
    st.guard = *guard;
  st.watch();
  return {
    [=, problem = guard ? caf::error{} : guard.error()](caf::connect_atom) -> caf::result<gate_actor> {
      if (problem)
        return problem;
      auto promise = self->make_response_promise<gate_actor>();
      self->state.connect(promise, clock::now() + limit);
      return promise;
    },
    [=](caf::tick_atom) { self->state.watch(); }};
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

listener::listener(address at, serialization::credentials own, stranger_limits limits)
  : at_(std::move(at)), own_(std::move(own)), limits_(limits) {}

listener::~listener() {
  if (keeper_)
    keeper_->close();
}

caf::expected<address> listener::publish(const gate_actor& gate) {
  if (auto earlier = std::exchange(keeper_, nullptr))
    earlier->close();
  auto guard = tls::make(own_);
  if (!guard)
    return guard.error();
  auto socket = listen_at(at_);
  if (!socket)
    return socket.error();
  at_.port = or_nothing(io::network::local_port_of_fd(socket->get()));
  auto& system = gate.home_system();
  // CAF takes single connections as well as whole ports. It tells those who come what is behind this one.
  auto admit = [&system, port = at_.port, whom = caf::actor_cast<caf::strong_actor_ptr>(gate)](descriptor s, tls_session session) {
    caf::anon_send(protocol_actor(system), caf::publish_atom_v, make_scribe(system, std::move(s), std::move(session)), port, whom,
                   interface_of_gates(system));
  };
  auto opened = doorkeeper::open(std::move(*socket), std::move(*guard), std::move(admit), limits_);
  if (!opened)
    return opened.error();
  keeper_ = *opened;
  // The system outlives its actors, and so the thread that uses it.
  caf::actor_cast<caf::strong_actor_ptr>(gate)->get()->attach_functor([keeper = keeper_] { keeper->close(); });
  return at_;
}

dialler_actor spawn_dialler(caf::actor_system& system, const caf::actor_addr& parent, const serialization::credentials& own, address at,
                            std::chrono::milliseconds limit) {
  return system.spawn<caf::detached>(dialler, parent, tls::make(own), std::move(at), limit);
}

} // namespace enn::actors
