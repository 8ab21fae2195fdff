/// Real processes on loopback: who connects, who is refused, and that a stranger cannot make a node pay.
#include <enn/actors/network.hpp>
#include <enn/actors/run.hpp>

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
using clock_type = std::chrono::steady_clock;

/// A gate that only counts letters.
gate_actor::behavior_type stub() {
  using welcome = caf::result<msg<wire::RunDefinition>, broker_actor, sampler_actor>;
  return {[](join_atom, const msg<wire::Enlistment>&, const agent_actor&) -> welcome { return caf::sec::runtime_error; },
          [](status_atom) -> caf::result<msg<wire::Members>> { return caf::sec::runtime_error; },
          [](drain_atom, const std::string& text, bool) { return static_cast<std::uint32_t>(text.size()); },
          [](serve_atom, const broker_actor&, const sampler_actor&) {}};
}

struct node {
  struct settings : caf::actor_system_config {
    settings() {
      configure(*this);
      use_network(*this);
    }
  };
  settings config;
  caf::actor_system system{config};
};

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
  listener port{{"127.0.0.1", 0}, *own, {.patience = std::chrono::milliseconds{patience_ms}}};
  std::cout << port.publish(here.system.spawn(stub))->port << std::endl;
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
    std::vector<std::string> words{"network_test", "--listen", fs::path{c.key}.parent_path(), std::to_string(patience.count()),
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

/// A port that does not listen yet.
std::pair<descriptor, address> bound() {
  descriptor socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
  return {std::move(socket), address{"127.0.0.1", ntohs(at.sin_port)}};
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
  /// The greeting of a gate that lets it in.
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
    EXPECT_TRUE(serialization::init_cluster(cluster, {"good"}));
    EXPECT_TRUE(serialization::init_cluster(cluster, {"expired"}, {-48h, -24h}));
    auto good = serialization::load_credentials(cluster / "good");
    EXPECT_TRUE(good) << text_of(good.error());
    auto expired = *good;
    expired.certificate = cluster / "expired" / "node.pem";
    expired.key = cluster / "expired" / "node.key";
    return {*good, expired};
  }

  caf::expected<gate_actor> dial(const credentials& own, const address& at, std::chrono::milliseconds limit = 60s) {
    caf::scoped_actor self{here.system};
    caf::expected<gate_actor> found{caf::sec::runtime_error};
    auto dialler = spawn_dialler(here.system, self->address(), own, at, limit);
    self->request(dialler, caf::infinite, caf::connect_atom_v)
      .receive([&](const gate_actor& gate) { found = gate; }, [&](caf::error& e) { found = std::move(e); });
    return found;
  }

  void expect_answers(const gate_actor& gate, const std::string& text) {
    caf::scoped_actor self{here.system};
    self->request(gate, 60s, drain_atom_v, text, false)
      .receive([&](std::uint32_t count) { EXPECT_EQ(count, text.size()); }, [&](caf::error& e) { ADD_FAILURE() << here.system.render(e); });
  }

  gate_actor expect_connects(const credentials& own, const child& to) {
    auto gate = dial(own, to.at());
    EXPECT_TRUE(gate) << text_of(gate.error());
    if (!gate)
      return {};
    expect_answers(*gate, "hello");
    return *gate;
  }

  void expect_refused(const credentials& own, const address& at, ec code, const std::string& words) {
    auto gate = dial(own, at);
    ASSERT_FALSE(gate);
    EXPECT_EQ(code_of(gate.error()), code) << text_of(gate.error());
    EXPECT_NE(text_of(gate.error()).find(words), std::string::npos) << text_of(gate.error());
  }

  fs::path folder = fs::temp_directory_path() / ("enn_network_test_" + std::to_string(getpid()));
  node here;
};

TEST_F(NetworkTest, processes_of_one_cluster_talk) {
  auto own = made("run");
  child there{own};
  auto gate = expect_connects(own, there);
  expect_answers(gate, std::string(8 << 20, 'x')); // more than sockets hold
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
  auto [silent, to] = bound();
  expect_refused(own, to, ec::unavailable, "refused");
  expect_refused(own, {"no-such-host.invalid", 7411}, ec::unavailable, "no-such-host.invalid");
  ASSERT_EQ(::listen(silent.get(), 8), 0);
  auto frozen = dial(own, to, 100ms);
  ASSERT_FALSE(frozen);
  EXPECT_EQ(code_of(frozen.error()), ec::unavailable);
  EXPECT_NE(text_of(frozen.error()).find("no answer in time"), std::string::npos) << text_of(frozen.error());
}

TEST_F(NetworkTest, a_connection_that_CAF_gives_up_before_the_introduction_is_made_again) {
  auto own = made("run");
  auto guard = tls::make(own);
  auto [listening, to] = bound();
  ASSERT_EQ(::listen(listening.get(), 8), 0);
  caf::scoped_actor self{here.system};
  auto dialler = spawn_dialler(here.system, self->address(), own, to, 60s);
  self->send(dialler, caf::connect_atom_v);
  std::vector<descriptor> silent;
  for (int i = 0; i < 2; ++i) { // both are trusted, and then hear nothing
    pollfd one{listening.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&one, 1, 60'000), 1);
    descriptor socket{::accept(listening.get(), nullptr, nullptr)};
    auto session = guard->server(socket.get());
    ASSERT_TRUE(session);
    EXPECT_EQ(session->handshake(), tls_step::done) << session->problem();
    silent.push_back(std::move(socket));
  }
  listening = descriptor{};
}

TEST_F(NetworkTest, a_port_lives_as_long_as_its_gate_and_can_get_another) {
  auto own = made("run");
  node there;
  listener port{{"127.0.0.1", 0}, own};
  auto first = there.system.spawn(stub), second = there.system.spawn(stub);
  auto at = port.publish(first);
  ASSERT_TRUE(at) << text_of(at.error());
  listener late{*at, own};
  auto taken = late.publish(second);
  ASSERT_FALSE(taken);
  EXPECT_EQ(code_of(taken.error()), ec::io_failed);
  EXPECT_TRUE(dial(own, *at));
  caf::anon_send_exit(first, caf::exit_reason::user_shutdown);
  EXPECT_TRUE(eventually([&] { return code_of(dial(own, *at).error()) == ec::unavailable; }));
  auto again = port.publish(second);
  ASSERT_TRUE(again) << text_of(again.error());
  EXPECT_EQ(*again, *at);
  auto gate = dial(own, *at);
  ASSERT_TRUE(gate) << text_of(gate.error());
  expect_answers(*gate, "the second");
  caf::anon_send_exit(second, caf::exit_reason::user_shutdown);
}

TEST_F(NetworkTest, strangers_are_refused_and_told_why) {
  auto [good, expired] = good_and_expired();
  child there{good};
  // Refuses the server before it is refused.
  expect_refused(made("another"), there.at(), ec::protocol, "is not a good one of this cluster");
  expect_refused(expired, there.at(), ec::protocol, "refuses this process's certificate: sslv3 alert certificate expired");
  auto mixed = made("mixed"); // trusts the cluster, but was signed by another
  mixed.authority = good.authority;
  expect_refused(mixed, there.at(), ec::protocol, "refuses this process's certificate: tlsv1 alert unknown ca");
  expect_connects(good, there);
}

TEST_F(NetworkTest, a_coordinator_with_an_expired_certificate_is_refused) {
  auto [good, expired] = good_and_expired();
  node there;
  listener port{{"127.0.0.1", 0}, expired};
  auto gate = there.system.spawn(stub);
  auto at = port.publish(gate);
  ASSERT_TRUE(at);
  expect_refused(good, *at, ec::protocol, "certificate has expired");
  caf::anon_send_exit(gate, caf::exit_reason::user_shutdown);
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
  EXPECT_NE(text_of(guard.error()).find(own.key), std::string::npos) << text_of(guard.error());
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
    auto gate = dial(own, there.at());
    EXPECT_TRUE(gate) << text_of(gate.error());
  }
  over = true;
  flood.join();
}

TEST_F(NetworkTest, with_no_descriptor_left_members_still_get_in) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizers need descriptors themselves, and call an object broken where there is none";
#endif
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
