#include "notify.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace enn::apps {

bool notify(const std::string& lines) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un to{};
  auto length = path != nullptr ? std::strlen(path) : 0;
  if (length < 2 || length >= sizeof to.sun_path || (path[0] != '/' && path[0] != '@'))
    return true;
  to.sun_family = AF_UNIX;
  std::copy_n(path, length, to.sun_path);
  if (path[0] == '@')
    to.sun_path[0] = '\0'; // Linux's abstract names
  int descriptor = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  auto sent = ::sendto(descriptor, lines.data(), lines.size(), MSG_NOSIGNAL | MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&to),
                       static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
  ::close(descriptor);
  return sent >= 0;
}

void service_status::at_work(const std::string& how_far) {
  ready_ = notify((ready_ ? "" : "READY=1\n") + ("STATUS=" + how_far) + "\nWATCHDOG=1") || ready_;
  told_ = std::chrono::steady_clock::now();
}

void service_status::advanced(const std::string& how_far) {
  if (!ready_ || std::chrono::steady_clock::now() - told_ >= std::chrono::seconds{1})
    at_work(how_far);
}

} // namespace enn::apps
