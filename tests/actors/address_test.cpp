#include <enn/actors/address.hpp>

#include <gtest/gtest.h>

namespace {

using namespace enn;
using namespace enn::actors;

TEST(AddressTest, hosts_and_ports_are_read) {
  for (auto [text, expected] : {std::pair{"10.0.0.1:80", address{"10.0.0.1", 80}}, {"big-machine", address{"big-machine", 7411}},
                                {"[::1]:80", address{"::1", 80}}, {"[::1]", address{"::1", 7411}}, {":80", address{"127.0.0.1", 80}},
                                {"65535", address{"127.0.0.1", 65535}}, {"0", address{"127.0.0.1", 0}}}) {
    auto found = parse_address(text);
    ASSERT_TRUE(found) << text << text_of(found.error());
    EXPECT_EQ(*found, expected) << text;
    EXPECT_EQ(*parse_address(to_string(*found)), expected) << to_string(*found);
  }
}

TEST(AddressTest, what_is_no_address_is_refused) {
  for (const auto* text : {"", "host:", "host:x", "host:65536", "host:-1", "host: 1", "::1:7411", "::1", "[::1]7411", "[]:1", "a/b:1",
                           "user@host:1", "[::1:7411", "two words"}) {
    auto found = parse_address(text);
    ASSERT_FALSE(found) << text;
    EXPECT_EQ(code_of(found.error()), ec::bad_usage);
    EXPECT_NE(text_of(found.error()).find("HOST:PORT"), std::string::npos) << text_of(found.error());
  }
}

TEST(AddressTest, loopback_is_what_only_this_machine_can_reach) {
  for (const auto* host : {"127.0.0.1", "127.1.2.3", "::1", "localhost"})
    EXPECT_TRUE(is_loopback({host, 7411})) << host;
  for (const auto* host : {"0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "localhost.example.org", "127.0.0.1.example.org", "127.example.org"})
    EXPECT_FALSE(is_loopback({host, 7411})) << host;
}

} // namespace
