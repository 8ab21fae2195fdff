#include <enn/actors/address.hpp>

#include <gtest/gtest.h>

namespace {

using namespace enn;
using namespace enn::actors;

TEST(AddressTest, hosts_and_ports_are_read) {
  for (auto [text, expected] : {std::pair{"10.0.0.1:80", address{"10.0.0.1", 80}}, {"big-machine", address{"big-machine", 7411}},
                                {"[::1]:80", address{"::1", 80}}, {"[::1]", address{"::1", 7411}}, {":80", address{"127.0.0.1", 80}},
                                {"65535", address{"127.0.0.1", 65535}}}) {
    auto found = parse_address(text, false);
    ASSERT_TRUE(found) << text << text_of(found.error());
    EXPECT_EQ(*found, expected) << text;
    EXPECT_EQ(*parse_address(to_string(*found), false), expected) << to_string(*found);
  }
}

TEST(AddressTest, what_is_no_address_is_refused) {
  for (const auto* text : {"", "host:", "host:x", "host:65536", "host:-1", "host: 1", "::1:7411", "::1", "[::1]7411", "[]:1", "a/b:1",
                           "user@host:1", "[::1:7411", "two words"}) {
    auto found = parse_address(text, true);
    ASSERT_FALSE(found) << text;
    EXPECT_EQ(code_of(found.error()), ec::bad_usage);
    EXPECT_NE(text_of(found.error()).find("HOST:PORT"), std::string::npos) << text_of(found.error());
  }
}

TEST(AddressTest, any_free_port_is_for_listening) {
  EXPECT_TRUE(parse_address("0", true));
  EXPECT_FALSE(parse_address("0", false));
}

TEST(AddressTest, only_a_cluster_listens_beyond_this_machine) {
  for (const auto* host : {"127.0.0.1", "127.1.2.3", "::1", "localhost"})
    EXPECT_TRUE(check_listening({host, 7411}, false)) << host;
  for (const auto* host : {"0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "localhost.example.org", "127.0.0.1.example.org", "127.example.org"}) {
    auto refused = check_listening({host, 7411}, false);
    ASSERT_FALSE(refused) << host;
    EXPECT_EQ(code_of(refused.error()), ec::bad_usage);
    EXPECT_NE(text_of(refused.error()).find("enn cluster init"), std::string::npos);
    EXPECT_TRUE(check_listening({host, 7411}, true)) << host;
  }
}

} // namespace
