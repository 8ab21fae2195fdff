#include <enn/serialization/credentials.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using namespace enn;
using namespace enn::serialization;
using namespace std::chrono_literals;

class CredentialsTest : public testing::Test {
protected:
  CredentialsTest() { fs::create_directories(folder); }
  ~CredentialsTest() override {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }

  /// Refused with one of these files named.
  void expect_refused(const fs::path& machine, const std::string& file, const std::string& words) {
    auto c = load_credentials(machine);
    ASSERT_FALSE(c) << machine;
    EXPECT_EQ(code_of(c.error()), ec::bad_usage);
    EXPECT_NE(text_of(c.error()).find((machine / file).string()), std::string::npos) << text_of(c.error());
    EXPECT_NE(text_of(c.error()).find(words), std::string::npos) << text_of(c.error());
  }

  /// A copy of a good machine's folder.
  fs::path copied(const std::string& name) {
    EXPECT_TRUE(init_cluster(cluster, {"a", "b"}));
    fs::copy(cluster / "a", folder / name);
    EXPECT_TRUE(load_credentials(folder / name));
    return folder / name;
  }

  fs::path folder = fs::temp_directory_path() / ("enn_credentials_test_" + std::to_string(getpid()));
  fs::path cluster = folder / "cluster";
};

mode_t mode_of(const fs::path& file) {
  struct stat facts {};
  EXPECT_EQ(::stat(file.c_str(), &facts), 0) << file;
  return facts.st_mode & 0777;
}

std::string read(const fs::path& file) {
  std::ifstream in{file};
  return {std::istreambuf_iterator<char>{in}, {}};
}

TEST_F(CredentialsTest, machines_of_a_cluster_have_one_identity) {
  auto made = init_cluster(cluster, {"a", "b"});
  ASSERT_TRUE(made) << text_of(made.error());
  EXPECT_TRUE(made->new_authority);
  auto a = load_credentials(cluster / "a"), b = load_credentials(cluster / "b");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->cluster, b->cluster);
  EXPECT_EQ(a->cluster, made->cluster);
  EXPECT_EQ(a->days_left, 824);
  auto other = init_cluster(folder / "other", {"a"});
  ASSERT_TRUE(other);
  EXPECT_NE(other->cluster, made->cluster);
}

TEST_F(CredentialsTest, keys_are_for_their_owner_alone) {
  auto before = ::umask(0);
  ASSERT_TRUE(init_cluster(cluster, {"a"}));
  ASSERT_TRUE(make_credentials(folder / "control"));
  ::umask(before);
  for (const auto& key : {cluster / "ca.key", cluster / "a" / "node.key", folder / "control" / "node.key"})
    EXPECT_EQ(mode_of(key), 0600u) << key;
  for (const auto& place : {cluster, cluster / "a", folder / "control"})
    EXPECT_EQ(mode_of(place), 0700u) << place;
}

TEST_F(CredentialsTest, a_second_init_adds_what_is_missing_and_keeps_the_rest) {
  ASSERT_TRUE(init_cluster(cluster, {"a"}));
  auto key = read(cluster / "a" / "node.key"), ca = read(cluster / "ca.key");
  fs::create_directory(cluster / "b.new"); // of an init that was killed
  auto again = init_cluster(cluster, {"a", "b"});
  ASSERT_TRUE(again) << text_of(again.error());
  EXPECT_FALSE(again->new_authority);
  EXPECT_EQ(again->made, std::vector<std::string>{"b"});
  EXPECT_EQ(again->kept, std::vector<std::string>{"a"});
  EXPECT_EQ(read(cluster / "a" / "node.key"), key);
  EXPECT_EQ(read(cluster / "ca.key"), ca);
  EXPECT_FALSE(fs::exists(cluster / "b.new"));
  EXPECT_EQ(load_credentials(cluster / "b")->cluster, load_credentials(cluster / "a")->cluster);
}

TEST_F(CredentialsTest, half_a_cluster_is_refused_rather_than_replaced) {
  ASSERT_TRUE(init_cluster(cluster, {"a"}));
  fs::rename(cluster / "ca.key", folder / "elsewhere");
  auto without_key = init_cluster(cluster, {"b"});
  ASSERT_FALSE(without_key);
  EXPECT_NE(text_of(without_key.error()).find("ca.key"), std::string::npos) << text_of(without_key.error());
  fs::rename(folder / "elsewhere", cluster / "ca.key");
  fs::remove(cluster / "ca.pem");
  EXPECT_FALSE(init_cluster(cluster, {"b"}));
  EXPECT_FALSE(fs::exists(cluster / "b"));
}

TEST_F(CredentialsTest, a_folder_of_another_cluster_is_not_kept) {
  ASSERT_TRUE(init_cluster(cluster, {"a"}));
  ASSERT_TRUE(init_cluster(folder / "other", {"b"}));
  fs::copy(folder / "other" / "b", cluster / "b");
  auto mixed = init_cluster(cluster, {"b"});
  ASSERT_FALSE(mixed);
  EXPECT_NE(text_of(mixed.error()).find("another cluster"), std::string::npos) << text_of(mixed.error());
}

TEST_F(CredentialsTest, names_that_could_leave_the_folder_are_refused) {
  for (const auto* name : {"", ".", "..", "a/b", "/a", "-a", ".a", "a b", "ca.pem", "ca.key", "a.new", "a\n"})
    EXPECT_EQ(code_of(init_cluster(cluster, {name}).error()), ec::bad_usage) << name;
  EXPECT_FALSE(fs::exists(cluster)); // found before anything was made
}

TEST_F(CredentialsTest, credentials_of_a_run_replace_the_earlier_ones) {
  auto first = make_credentials(folder / "control");
  std::ofstream{folder / "control" / "address"} << "127.0.0.1:1\n";
  auto second = make_credentials(folder / "control");
  ASSERT_TRUE(first && second) << text_of(second.error());
  EXPECT_NE(first->cluster, second->cluster);
  EXPECT_FALSE(fs::exists(folder / "control" / "ca.key"));
  EXPECT_TRUE(fs::exists(folder / "control" / "address"));
}

TEST_F(CredentialsTest, what_cannot_be_used_is_named) {
  for (const auto* file : {"ca.pem", "node.pem", "node.key"}) {
    auto lacks = copied(std::string{"lacks_"} + file), junk = copied(std::string{"junk_"} + file), bent = copied(std::string{"bent_"} + file);
    fs::remove(lacks / file);
    expect_refused(lacks, file, "there is no such file");
    std::ofstream{junk / file} << "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    expect_refused(junk, file, "holds no");
    fs::remove(bent / file);
    fs::create_directory(bent / file);
    expect_refused(bent, file, "cannot");
  }
  auto open = copied("open");
  fs::permissions(open / "node.key", fs::perms::group_read, fs::perm_options::add);
  expect_refused(open, "node.key", "chmod 600");
  auto swapped = copied("swapped");
  fs::copy(cluster / "b" / "node.key", swapped / "node.key", fs::copy_options::overwrite_existing);
  expect_refused(swapped, "node.key", "is not the key of");
  auto foreign = copied("foreign");
  ASSERT_TRUE(init_cluster(folder / "other", {"a"}));
  fs::copy(folder / "other" / "ca.pem", foreign / "ca.pem", fs::copy_options::overwrite_existing);
  expect_refused(foreign, "node.pem", "was not signed by");
  auto no_authority = copied("no_authority");
  fs::copy(cluster / "a" / "node.pem", no_authority / "ca.pem", fs::copy_options::overwrite_existing);
  expect_refused(no_authority, "ca.pem", "is not the certificate of an authority");
}

TEST_F(CredentialsTest, a_cluster_is_no_machine) {
  ASSERT_TRUE(init_cluster(cluster, {"a"}));
  auto c = load_credentials(cluster);
  ASSERT_FALSE(c);
  EXPECT_NE(text_of(c.error()).find("not of a machine"), std::string::npos) << text_of(c.error());
}

TEST_F(CredentialsTest, dates_are_checked) {
  ASSERT_TRUE(init_cluster(cluster, {"old"}, {-48h, -1h}));
  expect_refused(cluster / "old", "node.pem", "expired on");
  ASSERT_TRUE(init_cluster(cluster, {"early"}, {1h, 48h}));
  expect_refused(cluster / "early", "node.pem", "not yet");
  ASSERT_TRUE(init_cluster(cluster, {"short"}, {-1h, 49h}));
  EXPECT_EQ(load_credentials(cluster / "short")->days_left, 2);
}

} // namespace
