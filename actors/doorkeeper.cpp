#include <enn/actors/doorkeeper.hpp>

#include <spdlog/spdlog.h>

#include <sys/eventfd.h>
#include <sys/poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>

namespace enn::actors {

using serialization::descriptor;

caf::expected<std::shared_ptr<doorkeeper>> doorkeeper::open(descriptor listening, tls guard, admission admit, stranger_limits limits) {
  descriptor wake{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!wake)
    return fail(ec::io_failed, "cannot open a port: " + std::generic_category().message(errno));
  return std::shared_ptr<doorkeeper>{new doorkeeper(std::move(listening), std::move(wake), std::move(guard), std::move(admit), limits)};
}

doorkeeper::doorkeeper(descriptor listening, descriptor wake, tls guard, admission admit, stranger_limits limits)
  : listening_(std::move(listening)), wake_(std::move(wake)), guard_(std::move(guard)), admit_(std::move(admit)), limits_(limits) {
  strangers_.reserve(limits_.handshakes);
  sigset_t all, before; // signals are for the program's own threads
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread{[this] { run(); }};
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

doorkeeper::~doorkeeper() {
  close();
}

void doorkeeper::close() {
  std::lock_guard guard{closing_};
  if (!thread_.joinable())
    return;
  ::eventfd_write(wake_.get(), 1);
  thread_.join();
  listening_ = descriptor{};
  strangers_.clear();
  admit_ = nullptr;
}

void doorkeeper::run() {
  std::vector<pollfd> polled;
  for (;;) {
    auto now = clock::now();
    bool rests = now < rests_until_;
    // In order of age, so the first is the first to go.
    auto next = rests ? rests_until_ : clock::time_point::max();
    if (!strangers_.empty())
      next = std::min(next, strangers_.front().until);
    auto pause = next == clock::time_point::max() ? -1 : static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(next - now).count());
    polled.clear();
    polled.push_back({wake_.get(), POLLIN, 0});
    polled.push_back({listening_.get(), static_cast<short>(rests ? 0 : POLLIN), 0});
    for (const auto& s : strangers_)
      polled.push_back({s.socket.get(), s.awaits, 0});
    if (::poll(polled.data(), polled.size(), pause == -1 ? -1 : std::max(pause, 0)) < 0)
      continue; // a signal, or no memory: try again
    if (polled[0].revents != 0)
      return;
    now = clock::now();
    std::size_t place = 2;
    std::erase_if(strangers_, [&](stranger& s) {
      bool stirs = polled[place++].revents != 0;
      return s.until <= now || (stirs && !greet(s));
    });
    if (polled[1].revents != 0)
      accept_all();
  }
}

void doorkeeper::accept_all() {
  // Some at a time: those who wait for an answer get one in between.
  for (std::size_t i = 0; i < limits_.handshakes / 2 + 1; ++i) {
    descriptor socket{::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (!socket) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        if (auto now = clock::now(); now >= quiet_until_) {
          spdlog::warn("no connection can be taken: {}; see ulimit -n", std::generic_category().message(errno));
          quiet_until_ = now + std::chrono::minutes{1};
        }
        if (!strangers_.empty())
          make_room();
        else
          rests_until_ = clock::now() + std::chrono::milliseconds{100};
      }
      return;
    }
    if (strangers_.size() >= limits_.handshakes)
      make_room();
    strangers_.push_back({std::move(socket), clock::now() + limits_.patience, std::nullopt, POLLIN});
  }
}

void doorkeeper::make_room() {
  auto silent = std::find_if(strangers_.begin(), strangers_.end(), [](const stranger& s) { return !s.session; });
  strangers_.erase(silent != strangers_.end() ? silent : strangers_.begin());
}

bool doorkeeper::greet(stranger& s) {
  if (!s.session) {
    auto session = guard_.server(s.socket.get());
    if (!session)
      return false;
    s.session = std::move(*session);
  }
  switch (s.session->handshake()) {
    case tls_step::wants_read: s.awaits = POLLIN; return true;
    case tls_step::wants_write: s.awaits = POLLOUT; return true;
    case tls_step::failed: return false;
    case tls_step::done: break;
  }
  admit_(std::move(s.socket), std::move(*s.session));
  return false;
}

} // namespace enn::actors
