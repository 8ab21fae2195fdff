#include <enn/actors/address.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <charconv>
#include <cstring>
#include <memory>

namespace enn::actors {
namespace {

/// What getaddrinfo makes of a host that is written as numbers; nothing for a name.
std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> numeric(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0)
    found = nullptr;
  return {found, ::freeaddrinfo};
}

} // namespace

caf::expected<address> parse_address(const std::string& text, bool listening) {
  auto wrong = [&](const std::string& why) {
    return fail(ec::bad_usage, "\"" + text + "\" is no address: " + why + "; expected HOST:PORT, such as "
                                 + (listening ? "0.0.0.0:7411" : "10.0.0.1:7411") + ", or only PORT for this machine");
  };
  address result;
  auto colon = text.rfind(':');
  auto port = colon == std::string::npos ? text : text.substr(colon + 1);
  auto host = colon == std::string::npos ? "" : text.substr(0, colon);
  if (text.starts_with('[') && (!host.ends_with(']') || host.size() < 3))
    return wrong("the brackets of an IPv6 address are followed by :PORT");
  if (host.starts_with('['))
    host = host.substr(1, host.size() - 2);
  else if (host.find(':') != std::string::npos)
    return wrong("an IPv6 address stands in brackets");
  auto end = port.data() + port.size();
  auto number = std::from_chars(port.data(), end, result.port);
  if (number.ec != std::errc{} || number.ptr != end)
    return wrong(port.empty() ? "the port is missing" : "\"" + port + "\" is not a port from 0 to 65535");
  if (result.port == 0 && !listening)
    return wrong("nobody listens on port 0");
  if (host.find_first_of(" \t/@") != std::string::npos || host.size() > 255)
    return wrong("\"" + host + "\" is no host");
  if (!host.empty())
    result.host = host;
  return result;
}

std::string to_string(const address& a) {
  bool brackets = a.host.find(':') != std::string::npos;
  return (brackets ? "[" + a.host + "]" : a.host) + ":" + std::to_string(a.port);
}

bool is_loopback(const std::string& host) {
  if (host == "localhost")
    return true;
  auto found = numeric(host);
  if (!found)
    return false;
  if (found->ai_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, found->ai_addr, sizeof v4);
    return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
  }
  sockaddr_in6 v6{};
  std::memcpy(&v6, found->ai_addr, sizeof v6);
  return found->ai_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

caf::expected<void> check_listening(const address& a, bool of_cluster) {
  if (of_cluster || is_loopback(a.host))
    return {};
  return fail(ec::bad_usage, to_string(a) + " can be reached from other machines, which needs the credentials of a cluster: make them "
                                            "with enn cluster init, then give --credentials cluster/coordinator here");
}

} // namespace enn::actors
