#include <enn/actors/address.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>

namespace enn::actors {
namespace {

bool parse_port(std::string_view text, std::uint16_t& port) {
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  return problem == std::errc{} && end == text.data() + text.size();
}

/// What is wrong with it, or nothing.
std::string read_address(const std::string& text, address& into) {
  if (parse_port(text, into.port))
    return {};
  bool brackets = text.starts_with('[');
  auto end = brackets ? text.find(']') : std::min(text.find(':'), text.size());
  if (text.empty() || end == std::string::npos)
    return "it has no end";
  auto host = brackets ? text.substr(1, end - 1) : text.substr(0, end);
  auto rest = text.substr(brackets ? end + 1 : end);
  if (host.find_first_of(" \t\n/@") != std::string::npos || host.size() > 255 || (brackets && host.empty()))
    return "\"" + host + "\" is no host";
  if (!brackets && rest.find(':', 1) != std::string::npos)
    return "an IPv6 address stands in brackets";
  if (!rest.empty() && (!rest.starts_with(':') || !parse_port(std::string_view{rest}.substr(1), into.port)))
    return "\"" + rest + "\" is no port from 0 to 65535";
  if (!host.empty())
    into.host = host;
  return {};
}

} // namespace

caf::expected<address> parse_address(const std::string& text) {
  address result;
  if (auto problem = read_address(text, result); !problem.empty())
    return fail(ec::bad_usage, "'" + text + "' is no address: " + problem
                                 + "; expected HOST:PORT, HOST or PORT, such as 10.0.0.1:7411 or [::1]:7411");
  return result;
}

std::string to_string(const address& a) {
  bool six = a.host.find(':') != std::string::npos;
  return (six ? "[" + a.host + "]" : a.host) + ":" + std::to_string(a.port);
}

bool is_loopback(const address& a) {
  if (a.host == "localhost")
    return true;
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_NUMERICHOST; // a name that looks like one of these numbers may lead anywhere
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(a.host.c_str(), nullptr, &hints, &found) != 0)
    return false;
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner{found, ::freeaddrinfo};
  if (found->ai_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, found->ai_addr, sizeof four);
    return ntohl(four.sin_addr.s_addr) >> 24 == 127;
  }
  sockaddr_in6 six{};
  std::memcpy(&six, found->ai_addr, sizeof six);
  return found->ai_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&six.sin6_addr);
}

} // namespace enn::actors
