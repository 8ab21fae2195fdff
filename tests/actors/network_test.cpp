/// Real actor systems on loopback: who connects, who is refused, and that a stranger cannot make a node pay.
#include <enn/actors/network.hpp>

#include <caf/all.hpp>
#include <gtest/gtest.h>

#include <filesystem>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using namespace enn;
using namespace enn::actors;
using namespace std::chrono_literals;

using echo_actor = caf::typed_actor<caf::replies_to<std::string>::with<std::string>>;
using other_actor = caf::typed_actor<caf::replies_to<int>::with<int>>;

echo_actor::behavior_type echo() {
  return {[](const std::string& text) { return text; }};
}

/// A process, as far as CAF knows.
struct node {
  struct settings : caf::actor_system_config {
    settings() { use_network(*this); }
  };
  settings config;
  caf::actor_system system{config};
};

class NetworkTest : public testing::Test {
protected:
  NetworkTest() { fs::create_directories(folder); }
  ~NetworkTest() override {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }
  serialization::credentials made(const std::string& name, serialization::validity when = {}) {
    auto c = serialization::make_credentials(folder / name, when);
    EXPECT_TRUE(c) << text_of(c.error());
    return *c;
  }
  fs::path folder = fs::temp_directory_path() / ("enn_network_test_" + std::to_string(getpid()));
};

TEST_F(NetworkTest, connects_and_talks) {
  auto guard = tls::make(made("run"));
  ASSERT_TRUE(guard);
  node here, there;
  auto published = here.system.spawn(echo);
  auto port = publish(here.system, *guard, published, address{});
  ASSERT_TRUE(port) << text_of(port.error());
  auto remote = connect<echo_actor>(there.system, *guard, {"127.0.0.1", port->port()});
  ASSERT_TRUE(remote) << text_of(remote.error());
  caf::scoped_actor self{there.system};
  std::string big(5 << 20, 'x'), answer;
  self->request(*remote, 10s, big).receive([&](std::string& text) { answer = std::move(text); }, [&](caf::error& e) { ADD_FAILURE() << there.system.render(e); });
  EXPECT_EQ(answer, big);
  self->monitor(*remote);
  caf::anon_send_exit(published, caf::exit_reason::user_shutdown);
  bool down = false;
  self->receive([&](caf::down_msg&) { down = true; }, caf::after(10s) >> [] {});
  EXPECT_TRUE(down);
}

} // namespace
