/// Real processes on loopback: who connects, who is refused, and that a stranger cannot make a node pay.
#include <enn/actors/network.hpp>

#include <caf/all.hpp>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <csignal>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace {

namespace fs = std::filesystem;
using namespace enn;
using namespace enn::actors;
using namespace std::chrono_literals;
using serialization::credentials;
using serialization::descriptor;
const address any_port{"127.0.0.1", 0};
using clock_type = std::chrono::steady_clock;

using echo_actor = caf::typed_actor<caf::replies_to<std::string>::with<std::string>>;
using other_actor = caf::typed_actor<caf::replies_to<int>::with<int>>;

echo_actor::behavior_type echo() {
  return {[](const std::string& text) { return text; }};
}

struct node {
  struct settings : caf::actor_system_config {
    settings() { use_network(*this); }
  };
  settings config;
  caf::actor_system system{config};
};

tls guard_of(const credentials& c) {
  auto guard = tls::make(c);
  EXPECT_TRUE(guard) << text_of(guard.error());
  return *guard;
}

bool eventually(const std::function<bool()>& holds) {
  for (auto until = clock_type::now() + 60s; clock_type::now() < until; ::poll(nullptr, 0, 5))
    if (holds())
      return true;
  return holds();
}

// -- a node in a process of its own -----------------------------------------------------------------------------------------------

/// The child's side: an echo behind a port, until it is killed.
int listen_with(const fs::path& folder, int patience_ms, rlim_t descriptors) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  rlimit limit{descriptors, descriptors};
  ::setrlimit(RLIMIT_NOFILE, &limit);
  auto own = serialization::load_credentials(folder);
  node here;
  auto port = publish(here.system, *tls::make(*own), here.system.spawn(echo), any_port,
                      {.patience = std::chrono::milliseconds{patience_ms}});
  std::cout << port->port() << std::endl;
  for (;;)
    ::pause();
}

class child {
public:
  explicit child(const credentials& c, std::chrono::milliseconds patience = 60s, int descriptors = 256) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
    std::vector<std::string> words{"network_test", "--listen", c.key.parent_path(), std::to_string(patience.count()),
                                   std::to_string(descriptors)};
    std::vector<char*> pointers;
    for (auto& word : words)
      pointers.push_back(word.data());
    pointers.push_back(nullptr);
    EXPECT_EQ(::posix_spawn(&pid_, "/proc/self/exe", &files, nullptr, pointers.data(), environ), 0);
    posix_spawn_file_actions_destroy(&files);
    ::close(ends[1]);
    std::array<char, 16> line{};
    if (::read(ends[0], line.data(), line.size() - 1) > 0)
      port_ = static_cast<std::uint16_t>(std::atoi(line.data()));
    ::close(ends[0]);
    EXPECT_NE(port_, 0);
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() {
    EXPECT_TRUE(alive());
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  std::uint16_t port() const { return port_; }
  address at() const { return {"127.0.0.1", port_}; }
  void signal(int number) const { ::kill(pid_, number); }
  bool alive() const { return ::waitpid(pid_, nullptr, WNOHANG) == 0; }
  std::int64_t resident_bytes() const {
    std::int64_t size = 0, resident = 0;
    std::ifstream{proc("statm")} >> size >> resident;
    return resident * ::sysconf(_SC_PAGESIZE);
  }
  /// The most that was resident since the last call of forget_peak().
  std::int64_t peak_bytes() const {
    std::ifstream status{proc("status")};
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("VmHWM:"))
        return std::stoll(line.substr(6)) * 1024;
    return -1;
  }
  void forget_peak() const { std::ofstream{proc("clear_refs")} << 5; }
  std::ptrdiff_t descriptors() const {
    fs::directory_iterator open{proc("fd")};
    return std::distance(begin(open), end(open));
  }

private:
  std::string proc(const std::string& name) const { return "/proc/" + std::to_string(pid_) + "/" + name; }
  pid_t pid_ = -1;
  std::uint16_t port_ = 0;
};

// -- strangers --------------------------------------------------------------------------------------------------------------------

descriptor connected(std::uint16_t port) {
  descriptor socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  return socket;
}

void say(const descriptor& socket, std::string_view bytes) {
  [[maybe_unused]] auto sent = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); // it may be closed already
}

/// The other side closes; what it says before is thrown away.
bool closes(const descriptor& socket, std::chrono::milliseconds within = 60s) {
  for (auto until = clock_type::now() + within;;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - clock_type::now()).count();
    pollfd one{socket.get(), POLLIN, 0};
    std::array<char, 4096> heard;
    if (left <= 0 || ::poll(&one, 1, static_cast<int>(left)) == 0)
      return false;
    if (::recv(socket.get(), heard.data(), heard.size(), 0) <= 0)
      return true;
  }
}

/// The first message of a client of CAF's protocol, announcing so many bytes.
std::string announcement(std::uint32_t bytes) {
  std::string header(32, '\0');
  header[0] = 1; // client handshake
  for (int i = 0; i < 4; ++i)
    header[static_cast<std::size_t>(4 + i)] = static_cast<char>(bytes >> (24 - 8 * i));
  return header;
}

/// A client of TLS that is not this library's.
class tls_stranger {
public:
  explicit tls_stranger(std::uint16_t port, const credentials* shown, int version = TLS1_3_VERSION) : socket_(connected(port)) {
    SSL_CTX_set_max_proto_version(context_.get(), version);
    if (shown != nullptr) {
      EXPECT_EQ(SSL_CTX_use_certificate_file(context_.get(), shown->certificate.c_str(), SSL_FILETYPE_PEM), 1);
      EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_.get(), shown->key.c_str(), SSL_FILETYPE_PEM), 1);
    }
    session_.reset(SSL_new(context_.get()));
    SSL_set_fd(session_.get(), socket_.get());
    shaken_ = SSL_connect(session_.get()) == 1;
  }
  bool shaken() const { return shaken_; }
  void say(const std::string& bytes) { SSL_write(session_.get(), bytes.data(), static_cast<int>(bytes.size())); }
  /// The greeting of a porter that lets it in.
  bool greeted() {
    std::array<char, 6> heard{};
    return SSL_read(session_.get(), heard.data(), static_cast<int>(heard.size())) == 6;
  }
  bool closed() { return closes(socket_); }

private:
  descriptor socket_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_{SSL_CTX_new(TLS_client_method()), SSL_CTX_free};
  std::unique_ptr<SSL, decltype(&SSL_free)> session_{nullptr, SSL_free};
  bool shaken_ = false;
};

// -- tests ------------------------------------------------------------------------------------------------------------------------

class NetworkTest : public testing::Test {
protected:
  NetworkTest() {
    std::signal(SIGPIPE, SIG_IGN); // of the strangers' OpenSSL
    fs::create_directories(folder);
  }
  ~NetworkTest() override {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }

  credentials made(const std::string& name) {
    auto c = serialization::make_credentials(folder / name);
    EXPECT_TRUE(c) << text_of(c.error());
    return *c;
  }

  /// Of one cluster, as a program would have them had it not looked whether they are expired.
  std::pair<credentials, credentials> good_and_expired() {
    auto cluster = folder / "cluster";
    EXPECT_TRUE(serialization::make_cluster(cluster, {"good"}));
    EXPECT_TRUE(serialization::make_cluster(cluster, {"expired"}, {-48h, -24h}));
    auto good = serialization::load_credentials(cluster / "good");
    EXPECT_TRUE(good) << text_of(good.error());
    auto expired = *good;
    expired.certificate = cluster / "expired" / "node.pem";
    expired.key = cluster / "expired" / "node.key";
    return {*good, expired};
  }

  caf::expected<echo_actor> dial(const credentials& own, const address& at, std::chrono::milliseconds limit = 60s) {
    return connect<echo_actor>(here.system, guard_of(own), at, limit);
  }

  void expect_answers(const echo_actor& remote, const std::string& text) {
    caf::scoped_actor self{here.system};
    self->request(remote, 60s, text)
      .receive([&](const std::string& heard) { EXPECT_TRUE(heard == text); },
               [&](caf::error& e) { ADD_FAILURE() << here.system.render(e); });
  }

  echo_actor expect_connects(const credentials& own, const child& to) {
    auto remote = dial(own, to.at());
    EXPECT_TRUE(remote) << text_of(remote.error());
    if (!remote)
      return {};
    expect_answers(*remote, "hello");
    return *remote;
  }

  void expect_refused(const credentials& own, const address& at, ec code, const std::string& words) {
    auto remote = dial(own, at);
    ASSERT_FALSE(remote);
    EXPECT_EQ(code_of(remote.error()), code) << text_of(remote.error());
    EXPECT_NE(text_of(remote.error()).find(words), std::string::npos) << text_of(remote.error());
  }

  fs::path folder = fs::temp_directory_path() / ("enn_network_test_" + std::to_string(getpid()));
  node here;
};

TEST_F(NetworkTest, processes_of_one_cluster_talk) {
  auto own = made("run");
  child there{own};
  auto remote = expect_connects(own, there);
  expect_answers(remote, std::string(8 << 20, 'x')); // more than sockets hold
}

TEST_F(NetworkTest, the_death_of_the_other_process_is_noticed) {
  auto own = made("run");
  auto there = std::make_unique<child>(own);
  caf::scoped_actor self{here.system};
  self->monitor(expect_connects(own, *there));
  there.reset();
  bool down = false;
  self->receive([&](caf::down_msg&) { down = true; }, caf::after(60s) >> [] {});
  EXPECT_TRUE(down);
}

TEST_F(NetworkTest, a_frozen_process_is_lost) {
  auto own = made("run");
  child there{own};
  caf::scoped_actor self{here.system};
  self->monitor(expect_connects(own, there));
  there.signal(SIGSTOP); // its sockets stay open
  bool down = false;
  self->receive([&](caf::down_msg&) { down = true; }, caf::after(60s) >> [] {});
  EXPECT_TRUE(down);
}

TEST_F(NetworkTest, nobody_there_and_no_answer_are_worth_another_attempt) {
  auto own = made("run");
  descriptor silent{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  ASSERT_EQ(::bind(silent.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(::getsockname(silent.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
  address to{"127.0.0.1", ntohs(at.sin_port)};
  expect_refused(own, to, ec::unavailable, "refused");
  expect_refused(own, {"no-such-host.invalid", 7411}, ec::unavailable, "no-such-host.invalid");
  ASSERT_EQ(::listen(silent.get(), 8), 0);
  auto frozen = dial(own, to, 100ms);
  ASSERT_FALSE(frozen);
  EXPECT_EQ(code_of(frozen.error()), ec::unavailable);
  EXPECT_NE(text_of(frozen.error()).find("does not answer"), std::string::npos) << text_of(frozen.error());
}

TEST_F(NetworkTest, another_interface_is_refused) {
  auto own = made("run");
  child there{own};
  auto remote = connect<other_actor>(here.system, guard_of(own), there.at(), 60s);
  ASSERT_FALSE(remote);
  EXPECT_EQ(code_of(remote.error()), ec::protocol) << text_of(remote.error());
}

TEST_F(NetworkTest, a_port_is_for_one_and_closes_with_its_listener) {
  auto own = made("run");
  node there;
  auto first = there.system.spawn(echo), second = there.system.spawn(echo);
  auto port = publish(there.system, guard_of(own), first, any_port);
  ASSERT_TRUE(port) << text_of(port.error());
  address at{"127.0.0.1", port->port()};
  auto taken = publish(there.system, guard_of(own), second, at);
  ASSERT_FALSE(taken);
  EXPECT_EQ(code_of(taken.error()), ec::io_failed);
  auto before = dial(own, at);
  ASSERT_TRUE(before) << text_of(before.error());
  {
    auto closes = std::move(*port);
  }
  expect_refused(own, at, ec::unavailable, "refused");
  expect_answers(*before, "connections stay");
  auto again = publish(there.system, guard_of(own), second, at);
  ASSERT_TRUE(again) << text_of(again.error());
  auto after = dial(own, at);
  ASSERT_TRUE(after) << text_of(after.error());
  EXPECT_NE(*after, *before);
  for (const auto& actor : {first, second}) // CAF holds what was published
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
}

TEST_F(NetworkTest, strangers_are_refused_and_told_why) {
  auto [good, expired] = good_and_expired();
  child there{good};
  // Refuses the server before it is refused.
  expect_refused(made("another"), there.at(), ec::protocol, "is not a good one of this cluster");
  expect_refused(expired, there.at(), ec::protocol, "refuses this process's certificate: sslv3 alert certificate expired");
  auto mixed = made("mixed"); // trusts the cluster, but was signed by another
  mixed.ca = good.ca;
  expect_refused(mixed, there.at(), ec::protocol, "refuses this process's certificate: tlsv1 alert unknown ca");
  expect_connects(good, there);
}

TEST_F(NetworkTest, a_coordinator_with_an_expired_certificate_is_refused) {
  auto [good, expired] = good_and_expired();
  node there;
  auto port = publish(there.system, guard_of(expired), there.system.spawn(echo), any_port);
  ASSERT_TRUE(port);
  expect_refused(good, {"127.0.0.1", port->port()}, ec::protocol, "certificate has expired");
}

TEST_F(NetworkTest, no_certificate_no_tls_and_old_tls_are_refused) {
  auto own = made("run"), another = made("another");
  child there{own};
  EXPECT_TRUE((tls_stranger{there.port(), &own}.greeted())); // so the stranger is right in all but what it shows
  EXPECT_FALSE((tls_stranger{there.port(), nullptr}.greeted()));
  EXPECT_FALSE((tls_stranger{there.port(), &another}.greeted()));
  EXPECT_FALSE((tls_stranger{there.port(), &own, TLS1_2_VERSION}.shaken()));
  auto plain = connected(there.port());
  say(plain, announcement(0));
  EXPECT_TRUE(closes(plain));
  expect_connects(own, there);
}

TEST_F(NetworkTest, a_key_of_another_certificate_is_an_error_at_the_start) {
  auto own = made("run");
  own.key = made("another").key;
  auto guard = tls::make(own);
  ASSERT_FALSE(guard);
  EXPECT_NE(text_of(guard.error()).find(own.key.string()), std::string::npos) << text_of(guard.error());
}

// -- what a stranger costs --------------------------------------------------------------------------------------------------------

constexpr std::int64_t mebibyte = 1 << 20;

TEST_F(NetworkTest, an_announced_size_costs_nothing_before_the_certificate) {
  auto own = made("run");
  child there{own};
  expect_connects(own, there);
  tls_stranger{there.port(), nullptr}.closed(); // what is allocated once
  there.forget_peak();
  auto before = there.resident_bytes();
  auto plain = connected(there.port());
  say(plain, announcement(0xF0000000));
  EXPECT_TRUE(closes(plain));
  tls_stranger unknown{there.port(), nullptr};
  EXPECT_TRUE(unknown.shaken()); // in TLS 1.3 it may speak before it is judged
  unknown.say(announcement(0xF0000000));
  EXPECT_TRUE(unknown.closed());
  EXPECT_LT(there.peak_bytes() - before, mebibyte);
  // The same words of a member of the cluster do cost: the announcement is one, and the measure measures.
  tls_stranger member{there.port(), &own};
  EXPECT_TRUE(member.greeted());
  member.say(announcement(64 * mebibyte));
  EXPECT_TRUE(eventually([&] { return there.peak_bytes() - before > 32 * mebibyte; }));
}

TEST_F(NetworkTest, a_thousand_strangers_cost_little_and_keep_nobody_out) {
  auto own = made("run");
  child there{own}; // may open 256 descriptors
  auto before = expect_connects(own, there);
  auto descriptors = there.descriptors();
  there.forget_peak();
  auto memory = there.resident_bytes();
  std::vector<descriptor> strangers;
  for (int i = 0; i < 1000; ++i) {
    strangers.push_back(connected(there.port()));
    if (i % 4 == 1)
      say(strangers.back(), "GET / HTTP/1.1\r\n\r\n");
    if (i % 4 == 3)
      say(strangers.back(), std::string_view{"\x16\x03\x01\x02\x00\x01", 6}); // half of a ClientHello, then silence
  }
  expect_answers(before, "still there");
  expect_connects(own, there);
  EXPECT_LE(there.descriptors(), descriptors + 64 + 2);
  EXPECT_LT(there.peak_bytes() - memory, 16 * mebibyte);
  strangers.clear();
  EXPECT_TRUE(eventually([&] { return there.descriptors() <= descriptors + 1; })); // that of the second connection
}

TEST_F(NetworkTest, members_get_in_while_strangers_keep_coming) {
  auto own = made("run");
  child there{own};
  std::atomic<bool> over = false;
  std::thread flood{[&] {
    for (std::deque<descriptor> strangers; !over;) {
      strangers.push_back(connected(there.port()));
      if (strangers.size() > 300)
        strangers.pop_front();
    }
  }};
  for (int i = 0; i < 5; ++i) {
    auto remote = dial(own, there.at());
    EXPECT_TRUE(remote) << text_of(remote.error());
  }
  over = true;
  flood.join();
}

TEST_F(NetworkTest, with_no_descriptor_left_members_still_get_in) {
  auto own = made("run");
  child there{own, 60s, 32};
  std::vector<descriptor> strangers;
  for (int i = 0; i < 200; ++i)
    strangers.push_back(connected(there.port()));
  expect_connects(own, there);
}

TEST_F(NetworkTest, silence_and_trickling_end_by_themselves) {
  child there{made("run"), 300ms};
  auto silent = connected(there.port()), slow = connected(there.port());
  EXPECT_TRUE(closes(silent));
  say(slow, std::string_view{"\x16\x03\x01\x02\x00\x01", 6});
  bool closed = false;
  for (auto until = clock_type::now() + 60s; !closed && clock_type::now() < until; closed = closes(slow, 20ms))
    say(slow, "x");
  EXPECT_TRUE(closed);
}

} // namespace

int main(int argc, char** argv) {
  if (argc == 5 && std::string_view{argv[1]} == "--listen")
    return listen_with(argv[2], std::atoi(argv[3]), static_cast<rlim_t>(std::atoi(argv[4])));
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
