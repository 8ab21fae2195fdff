/// enn cluster as people run it; the openssl command judges what it makes.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;

struct result {
  int status = -1;
  std::string text; // standard output and error
};

class ClusterTest : public testing::Test {
protected:
  ClusterTest() { fs::create_directories(folder); }
  ~ClusterTest() override {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }

  /// By the shell, in the test's folder.
  result run(const std::string& command) {
    result r;
    auto* pipe = ::popen(("cd " + folder.string() + " && { " + command + "; } 2>&1 </dev/null").c_str(), "r");
    for (char text[512]; std::fgets(text, sizeof text, pipe) != nullptr;)
      r.text += text;
    auto status = ::pclose(pipe);
    r.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return r;
  }
  result enn(const std::string& words) { return run(ENN_PROGRAM " " + words); }

  fs::path folder = fs::temp_directory_path() / ("enn_cluster_test_" + std::to_string(getpid()));
};

void expect(const result& r, int status, const std::vector<std::string>& words) {
  EXPECT_EQ(r.status, status) << r.text;
  for (const auto& word : words)
    EXPECT_NE(r.text.find(word), std::string::npos) << "expected: " << word << "\nfound: " << r.text;
}

TEST_F(ClusterTest, init_makes_what_openssl_calls_a_ca_and_certificates_of_it) {
  expect(enn("cluster init"), 0, {"cluster/coordinator", "cluster/node", "enn train", "enn node start"});
  expect(run("openssl verify -x509_strict -purpose sslserver -CAfile cluster/ca.pem cluster/coordinator/node.pem cluster/node/node.pem"), 0, {});
  expect(run("openssl verify -x509_strict -purpose sslclient -CAfile cluster/ca.pem cluster/coordinator/node.pem cluster/node/node.pem"), 0, {});
  expect(run("openssl x509 -noout -text -in cluster/ca.pem"), 0, {"CA:TRUE, pathlen:0", "Certificate Sign", "prime256v1", "Version: 3"});
  expect(run("openssl x509 -noout -text -in cluster/node/node.pem"), 0,
         {"CA:FALSE", "Digital Signature", "TLS Web Server Authentication", "TLS Web Client Authentication", "CN = node", "ecdsa-with-SHA256"});
  expect(run("openssl pkey -noout -check -in cluster/node/node.key"), 0, {"Key is valid"});
  expect(run("[ \"$(openssl pkey -pubout -in cluster/node/node.key)\" = \"$(openssl x509 -pubkey -noout -in cluster/node/node.pem)\" ]"), 0, {});
  expect(run("cmp cluster/ca.pem cluster/node/ca.pem && ! ls cluster/node/ca.key"), 0, {});
}

TEST_F(ClusterTest, the_identity_is_the_fingerprint_that_openssl_shows) {
  auto made = enn("cluster init c --node a");
  auto shown = run("openssl x509 -noout -fingerprint -sha256 -in c/ca.pem | sed 's/.*=//; s/://g' | tr A-F a-f").text;
  ASSERT_EQ(shown.size(), 65u);
  shown.pop_back();
  expect(made, 0, {shown});
  expect(enn("cluster show c"), 0, {shown, "a ", "good for 824 days"});
  expect(enn("cluster show c/a"), 0, {shown, "good for 824 days"});
}

TEST_F(ClusterTest, init_again_adds_machines_and_keeps_the_others) {
  expect(enn("cluster init --node a"), 0, {"a new CA"});
  auto before = run("sha256sum cluster/ca.* cluster/a/*").text;
  expect(enn("cluster init --node a --node b"), 0, {"the CA that was there", "kept        cluster/a", "made        cluster/b"});
  EXPECT_EQ(run("sha256sum cluster/ca.* cluster/a/*").text, before);
}

TEST_F(ClusterTest, what_is_wrong_is_said) {
  expect(enn("cluster"), 2, {"enn: "});
  expect(enn("cluster init --node a/b"), 2, {"a/b"});
  expect(enn("cluster show nothing"), 2, {"nothing/ca.pem"});
  ASSERT_EQ(enn("cluster init").status, 0);
  run("chmod 644 cluster/node/node.key");
  expect(enn("cluster show"), 2, {"coordinator", "good for", "chmod 600", "1 machine of 2"});
  expect(enn("node start --join 127.0.0.1:1 --cluster cluster/node"), 2, {"cluster/node/node.key", "chmod 600"});
}

TEST_F(ClusterTest, a_port_for_other_machines_needs_a_cluster) {
  std::ofstream data{folder / "data.csv"};
  data << "a,b\n";
  for (int line = 0; line < 200; ++line)
    data << line % 7 << ',' << line % 5 << '\n';
  data.close();
  std::ofstream{folder / "run.toml"} << "[data]\npath = \"data.csv\"\nkind = \"window\"\nhistory = 4\nhorizon = 2\n";
  expect(enn("train run.toml --nodes 0.0.0.0:0"), 2, {"0.0.0.0:0", "enn cluster init", "--cluster"});
  expect(enn("train run.toml --overwrite --nodes 0.0.0.0:0 --cluster nowhere"), 2, {"nowhere/ca.pem", "no such file"});
}

} // namespace
