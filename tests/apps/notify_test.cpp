/// What a service manager hears from the real program; this test is the manager.
#include "program.hpp"

#include <cstddef>

#include <sys/socket.h>
#include <sys/un.h>

namespace enn::apps {
namespace {

/// A socket under a path, or with @ an abstract one, which NOTIFY_SOCKET names while this lives.
class manager {
public:
  explicit manager(const std::string& name) : name_{name} {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof address.sun_path - 1);
    if (name.front() == '@')
      address.sun_path[0] = '\0';
    socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    timeval patience{60, 0}; // longer than anything that works
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(bind(socket_, reinterpret_cast<const sockaddr*>(&address),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())), 0) << name;
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  ~manager() {
    unsetenv("NOTIFY_SOCKET");
    close(socket_);
    unlink(name_.c_str());
  }
  manager(const manager&) = delete;
  manager& operator=(const manager&) = delete;

  /// The next message; "" if none comes.
  std::string next(int flags = 0) {
    char text[4096];
    auto size = recv(socket_, text, sizeof text, flags);
    return {text, static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
  }
  /// Up to the first that has these words, or to the end.
  std::string until(const std::string& words) {
    std::string all;
    for (std::string message = next(); !message.empty(); message = next()) {
      all += message + "\n--\n";
      if (message.find(words) != std::string::npos)
        return all;
    }
    ADD_FAILURE() << "not told: " << words << "\ntold:\n" << all;
    return all;
  }
  /// What has come so far.
  std::string rest() {
    std::string all;
    for (std::string message = next(MSG_DONTWAIT); !message.empty(); message = next(MSG_DONTWAIT))
      all += message + "\n--\n";
    return all;
  }

private:
  std::string name_;
  int socket_ = -1;
};

std::size_t times(const std::string& word, const std::string& text) {
  std::size_t n = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    ++n;
  return n;
}

std::string socket_path() {
  return (scratch() / "notify").string();
}

TEST(notify, a_run_tells_when_it_is_at_work_how_far_it_is_and_that_it_ends) {
  for (const auto& name : {socket_path(), "@enn_notify_test_" + std::to_string(getpid())}) {
    manager m{name};
    auto run = scratch() / ("told" + std::to_string(name.size()));
    EXPECT_EQ(enn(train_into(run)).status, 0);
    auto told = m.rest();
    EXPECT_TRUE(told.starts_with("READY=1\nSTATUS=step 1 of 30, loss 0.")) << told;
    EXPECT_EQ(times("READY=1", told), 1u) << told;
    EXPECT_EQ(times("WATCHDOG=1", told), times("STATUS=", told)) << told;
    EXPECT_NE(told.find("STATUS=trained, writing"), std::string::npos) << told;
    EXPECT_TRUE(told.ends_with("STOPPING=1\n--\n")) << told;

    EXPECT_EQ(enn({"train", "--resume", run.string()}).status, 0);
    told = m.rest();
    EXPECT_TRUE(told.starts_with("READY=1\n")) << "a run that was done is no failure to start: " << told;
    EXPECT_TRUE(told.ends_with("STOPPING=1\n--\n")) << told;
  }
}

TEST(notify, a_run_that_waits_for_nodes_is_ready_and_alive) {
  manager m{socket_path()};
  auto words = train_into(scratch() / "waiting");
  words.insert(words.end(), {"--nodes", "127.0.0.1:0", "--coordinator-only"});
  process p{words};
  EXPECT_EQ(m.next(), "READY=1\nSTATUS=waiting for nodes\nWATCHDOG=1");
  for (int more = 0; more < 2; ++more)
    EXPECT_EQ(m.next(), "STATUS=waiting for nodes\nWATCHDOG=1");
  process node{{"node", "start", "--join", (scratch() / "waiting").string(), "--once"}};
  EXPECT_EQ(p.wait().status, 0) << p.err();
  m.until("STOPPING=1");
}

TEST(notify, what_fails_is_neither_ready_nor_stopping) {
  manager m{socket_path()};
  EXPECT_EQ(enn(train_into(scratch() / "data.csv" / "run")).status, 4);
  EXPECT_EQ(m.rest(), "");
}

TEST(notify, a_run_that_is_started_again_says_so_and_is_ready_again) {
  manager m{socket_path()};
  auto run = scratch() / "again";
  auto words = train_into(run, "1000000");
  words.emplace_back("--restart");
  process p{words};
  m.until("READY=1");
  auto id = std::to_string(p.id());
  kill(std::stoi(read("/proc/" + id + "/task/" + id + "/children")), SIGKILL);
  m.until("STATUS=the training process was killed by signal 9");
  m.until("READY=1");
  m.until("WATCHDOG=1"); // a later one
  p.signal(SIGTERM);
  m.until("STOPPING=1");
  EXPECT_EQ(p.wait().status, 143);
}

TEST(notify, a_manager_that_does_not_listen_changes_nothing) {
  for (const auto& name : {std::string{"/nowhere/socket"}, std::string{"nonsense"}, "/" + std::string(200, 'x')}) {
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
    EXPECT_EQ(enn(train_into(scratch() / ("deaf" + std::to_string(name.size())))).status, 0) << name;
  }
  unsetenv("NOTIFY_SOCKET");
  manager full{socket_path()};
  int socket_ = socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  socket_path().copy(to.sun_path, sizeof to.sun_path - 1);
  while (sendto(socket_, "x", 1, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 1) {
  }
  close(socket_);
  EXPECT_EQ(enn(train_into(scratch() / "full")).status, 0);
}

} // namespace
} // namespace enn::apps
