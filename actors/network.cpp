#include <enn/actors/network.hpp>

#include <enn/actors/spawn.hpp>

#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>

#include <charconv>
#include <set>

namespace enn::actors {
namespace {

bool parse_port(std::string_view text, std::uint16_t& port) {
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  return problem == std::errc{} && end == text.data() + text.size() && !text.empty();
}

std::string reason_of(const caf::error& e) {
  if (e == caf::sec::cannot_connect_to_node)
    return "nobody listens there, or it refuses this certificate";
  if (e == caf::sec::request_timeout || e == caf::sec::connection_timeout)
    return "no answer in time";
  return caf::to_string(e);
}

dialler_actor::behavior_type dialler(dialler_actor::pointer self, address at, std::chrono::milliseconds limit) {
  use_log(self);
  return {[=](caf::connect_atom) -> caf::result<gate_actor> {
    auto promise = self->make_response_promise<gate_actor>();
    auto refused = [=](const std::string& why) mutable {
      promise.deliver(fail(ec::unavailable, "cannot reach " + to_string(at) + ": " + why));
    };
    self->request(self->system().openssl_manager().actor_handle(), limit, caf::connect_atom_v, at.host, at.port)
      .then(
        [=](const caf::node_id&, const caf::strong_actor_ptr& gate, const std::set<std::string>&) mutable {
          if (gate)
            promise.deliver(caf::actor_cast<gate_actor>(gate));
          else
            refused("no run there");
        },
        [=](caf::error& e) mutable { refused(reason_of(e)); });
    return promise;
  }};
}

} // namespace

caf::expected<address> parse_address(const std::string& text) {
  address result{"127.0.0.1", default_port};
  if (parse_port(text, result.port))
    return result;
  bool bracketed = text.starts_with('[');
  auto end = bracketed ? text.find(']') : std::min(text.find(':'), text.size());
  bool good = !text.empty() && end != std::string::npos && text.find_first_of(" /\t\n") == std::string::npos;
  if (good) {
    auto host = bracketed ? text.substr(1, end - 1) : text.substr(0, end);
    auto rest = std::string_view{text}.substr(bracketed ? end + 1 : end);
    if (!host.empty())
      result.host = host;
    good = rest.empty() || (rest.starts_with(':') && parse_port(rest.substr(1), result.port));
  }
  if (!good)
    return fail(ec::bad_usage, "'" + text + "' is no address: expected HOST:PORT, HOST or PORT, such as 10.0.0.1:7411 or [::1]:7411");
  return result;
}

std::string to_string(const address& a) {
  bool six = a.host.find(':') != std::string::npos;
  return (six ? "[" + a.host + "]" : a.host) + ":" + std::to_string(a.port);
}

bool is_loopback(const address& a) {
  return a.host == "localhost" || a.host == "::1" || a.host.starts_with("127.");
}

void use_credentials(caf::actor_system_config& config, const serialization::credentials& own) {
  config.load<caf::io::middleman>();
  config.load<caf::openssl::manager>();
  config.openssl_certificate = own.certificate;
  config.openssl_key = own.key;
  config.openssl_cafile = own.authority;
  config.set("middleman.workers", std::size_t{1});
  config.set("middleman.heartbeat-interval", caf::timespan{std::chrono::seconds{1}});
  config.set("middleman.connection-timeout", caf::timespan{std::chrono::seconds{10}});
  config.set("middleman.app-identifiers", std::vector<std::string>{"enn"});
  config.set("middleman.enable-automatic-connections", false);
}

caf::expected<address> listener::publish(const gate_actor& gate) {
  auto fresh = caf::actor_cast<caf::actor>(gate);
  if (published_) {
    caf::scoped_actor self{fresh.home_system()};
    self->request(self->system().openssl_manager().actor_handle(), std::chrono::seconds{5}, caf::unpublish_atom_v, published_.address(),
                  at_.port)
      .receive([] {}, [](caf::error&) {}); // then the port is not free, which is said below
  }
  auto port = caf::openssl::publish(fresh, at_.port, at_.host.c_str(), true);
  if (!port)
    return fail(ec::io_failed, "cannot listen at " + to_string(at_) + ": " + caf::to_string(port.error())
                                 + "; is the port taken, or the address not of this machine? --nodes 0 takes any free port");
  at_.port = *port;
  published_ = gate;
  return at_;
}

dialler_actor spawn_dialler(caf::actor_system& system, address at, std::chrono::milliseconds limit) {
  return system.spawn(dialler, std::move(at), limit);
}

} // namespace enn::actors
