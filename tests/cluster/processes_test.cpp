/// Coordinator and nodes as real processes, over mutual TLS on loopback, while some are killed, frozen, dismissed or turned away.
#include "../apps/program.hpp"

#include <chrono>
#include <random>
#include <set>
#include <thread>

namespace enn::apps {
namespace {

using namespace std::chrono_literals;

constexpr int steps = 400;

arguments train(const fs::path& folder, const arguments& more, const std::string& seed = "1", int count = steps) {
  arguments all{"train", config_file().string(), "--run.folder", folder.string(), "--steps", std::to_string(count), "--train.leases", "4",
                "--run.workers", "1", "--train.validate-every", "100", "--run.checkpoint-every", "100", "--seed", seed};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

arguments node(const fs::path& run, const std::string& name, const arguments& more = {}) {
  arguments all{"node", "start", "--join", run.string(), "--name", name, "--workers", "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

const arguments for_nodes{"--nodes", "127.0.0.1:0", "--coordinator-only"};

std::string losses(const fs::path& run) {
  return read(run / "losses.jsonl");
}

std::string undisturbed(const std::string& seed = "1", int count = steps) {
  auto folder = scratch() / ("undisturbed" + seed + "-" + std::to_string(count));
  if (!fs::exists(folder)) {
    EXPECT_EQ(enn(train(folder, {}, seed, count)).status, 0);
  }
  EXPECT_EQ(lines_in(folder / "losses.jsonl"), count);
  return losses(folder);
}

bool open(const fs::path& run) {
  return eventually([&] { return fs::exists(run / "control" / "address"); });
}

bool reaches(const fs::path& run, std::ptrdiff_t lines) {
  return eventually([&] { return lines_in(run / "losses.jsonl") >= lines; });
}

/// How often the journal says that this happened to this node; to any, without a name.
std::size_t times(const fs::path& run, const std::string& event, const std::string& name = "") {
  std::ifstream journal{run / "journal.jsonl"};
  std::size_t count = 0;
  for (std::string line; std::getline(journal, line);)
    count += line.find("\"event\":\"" + event + "\"") != std::string::npos
             && (name.empty() || line.find("\"node\":\"" + name + "\"") != std::string::npos);
  return count;
}

void expect_done(process& coordinator, const fs::path& run, const std::string& expected) {
  auto r = coordinator.wait();
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_TRUE(losses(run) == expected) << "other losses than the undisturbed run";
}

TEST(processes, ten_kills_over_two_seeds_change_no_bit) {
  for (unsigned seed : {1u, 2u}) {
    std::mt19937 draw{seed};
    auto run = scratch() / ("killed" + std::to_string(seed));
    auto expected = undisturbed(std::to_string(seed));
    process coordinator{train(run, {"--processes", "3"}, std::to_string(seed))};
    for (int kill_number = 1; kill_number <= 5; ++kill_number) {
      ASSERT_TRUE(reaches(run, kill_number * 60)) << coordinator.err();
      auto nodes = children_of(coordinator.id());
      ASSERT_FALSE(nodes.empty());
      kill(nodes[draw() % nodes.size()], SIGKILL);
    }
    expect_done(coordinator, run, expected);
    EXPECT_GT(times(run, "lost"), 0u);
  }
}

TEST(processes, a_frozen_node_is_fenced_and_comes_back) {
  auto run = scratch() / "frozen";
  auto expected = undisturbed();
  process coordinator{train(run, for_nodes)};
  ASSERT_TRUE(open(run)) << coordinator.err();
  process cold{node(run, "cold")};
  ASSERT_TRUE(reaches(run, 20)) << coordinator.err();
  cold.signal(SIGSTOP); // alone: nothing goes on until another one comes
  EXPECT_TRUE(eventually([&] { return times(run, "fenced", "cold") == 1; })) << coordinator.err();
  cold.signal(SIGCONT);
  EXPECT_TRUE(eventually([&] { return times(run, "enlisted", "cold") == 2; })) << coordinator.err();
  process warm{node(run, "warm")};
  EXPECT_TRUE(eventually([&] { return times(run, "enlisted", "warm") == 1; })) << coordinator.err();
  cold.signal(SIGSTOP); // not alone: the other one does it all
  expect_done(coordinator, run, expected);
}

/// A wall clock that can be moved while programs run; the monotonic one, which jumps nowhere, is left alone.
class false_clock {
public:
  false_clock() { move(0); }
  void move(int seconds) const {
    write(file_.string() + ".new", (seconds < 0 ? "" : "+") + std::to_string(seconds) + '\n');
    fs::rename(file_.string() + ".new", file_); // it is read at any moment
  }
  std::vector<std::pair<std::string, std::string>> environment() const {
    return {{"LD_PRELOAD", ENN_FAKETIME}, {"FAKETIME_TIMESTAMP_FILE", file_}, {"FAKETIME_NO_CACHE", "1"},
            {"FAKETIME_DONT_FAKE_MONOTONIC", "1"}};
  }

private:
  fs::path file_ = scratch() / "clock";
};

TEST(processes, nobody_is_suspected_when_the_wall_clock_jumps) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer must be the first library";
#endif
  if (!fs::exists(ENN_FAKETIME))
    GTEST_SKIP() << "needs Debian's package faketime";
  auto run = scratch() / "clocks";
  auto expected = undisturbed();
  false_clock clock;
  process coordinator{train(run, {"--processes", "2"}), clock.environment()};
  int lines = 0;
  for (int seconds : {3600, 0, -3600, -3601, -3602, -3603, 0}) {
    ASSERT_TRUE(reaches(run, lines += 50)) << coordinator.err();
    clock.move(seconds);
  }
  expect_done(coordinator, run, expected);
  EXPECT_EQ(times(run, "enlisted"), 2u);
  EXPECT_EQ(times(run, "fenced") + times(run, "lost"), 0u);
  std::set<std::string> hours;
  std::ifstream journal{run / "journal.jsonl"};
  for (std::string line; std::getline(journal, line);)
    hours.insert(line.substr(0, line.find(':', line.find('T'))));
  EXPECT_GT(hours.size(), 1u) << "the clock did not jump";
}

TEST(processes, a_killed_coordinator_comes_back_and_its_nodes_find_it) {
  auto run = scratch() / "restarted";
  auto expected = undisturbed();
  process coordinator{train(run, {"--nodes", "127.0.0.1:0", "--coordinator-only", "--restart"})};
  ASSERT_TRUE(open(run)) << coordinator.err();
  auto address = read(run / "control" / "address");
  process one{node(run, "one")}, two{node(run, "two", {"--data", data_file("data.csv").string()})};
  ASSERT_TRUE(reaches(run, 150)) << coordinator.err();
  auto trainer = children_of(coordinator.id());
  ASSERT_EQ(trainer.size(), 1u);
  kill(trainer[0], SIGKILL);
  expect_done(coordinator, run, expected);
  EXPECT_GT(times(run, "enlisted", "one") + times(run, "enlisted", "two"), 2u);
  EXPECT_EQ(read(run / "control" / "address"), address);
}

TEST(processes, a_port_of_last_time_that_is_taken_is_not_insisted_on) {
  process first{train(scratch() / "first", for_nodes)};
  ASSERT_TRUE(open(scratch() / "first")) << first.err();
  auto taken = read(scratch() / "first" / "control" / "address");
  auto run = scratch() / "second";
  write(run / "control" / "address", taken);
  process second{train(run, for_nodes)};
  EXPECT_TRUE(eventually([&] { return read(run / "control" / "address") != taken; })) << second.err();
  process helper{node(run, "helper")};
  EXPECT_TRUE(reaches(run, 20)) << second.err();
}

TEST(processes, nodes_fetch_rows_or_read_the_run_s_own_data) {
  auto run = scratch() / "rows";
  auto expected = undisturbed();
  auto other = data_file("other.csv", [](int, const std::string& line) { return line + "1"; });
  process coordinator{train(run, for_nodes)};
  ASSERT_TRUE(open(run)) << coordinator.err();
  auto refused = enn(node(run, "mistaken", {"--data", other.string()}));
  expect_refused(refused, 3, {"other.csv is not what the run was made with: XXH3-128 ", "; give an exact copy of that file"});
  expect_refused(enn(node(run, "poor", {"--data", "none.csv"})), 3, {"none.csv: cannot open"});
  process reader{node(run, "reader", {"--once", "--data", data_file("data.csv").string()})}, fetcher{node(run, "fetcher", {"--once"})};
  expect_done(coordinator, run, expected);
  EXPECT_EQ(reader.wait().status, 0);
  EXPECT_NE(reader.wait().out.find("rows are read here"), std::string::npos) << reader.wait().out;
  EXPECT_EQ(fetcher.wait().status, 0);
  EXPECT_NE(fetcher.wait().out.find("rows are fetched from the coordinator"), std::string::npos) << fetcher.wait().out;
  EXPECT_EQ(times(run, "enlisted", "mistaken"), 0u);
}

TEST(processes, nodes_are_seen_and_dismissed) {
  auto run = scratch() / "dismissed";
  constexpr int enough = 4 * steps; // for the commands to come while it is at work
  auto expected = undisturbed("1", enough);
  process coordinator{train(run, for_nodes, "1", enough)};
  ASSERT_TRUE(open(run)) << coordinator.err();
  process first{node(run, "first")};
  ASSERT_TRUE(reaches(run, 20)) << coordinator.err();
  auto seen = enn({"node", "status", "--join", run.string()});
  EXPECT_EQ(seen.status, 0) << seen.err;
  EXPECT_NE(seen.out.find("first "), std::string::npos) << seen.out;
  auto dismiss = [&](const char* how, const char* name) { return enn({"node", how, name, "--join", run.string()}).status; };
  ASSERT_EQ(dismiss("drain", "first"), 0); // else it is waited for in vain
  EXPECT_EQ(first.wait().status, 0) << first.err();
  process second{node(run, "second")}; // the run waits for it
  ASSERT_TRUE(eventually([&] { return times(run, "enlisted", "second") == 1; })) << coordinator.err();
  ASSERT_EQ(dismiss("stop", "second"), 0);
  EXPECT_EQ(second.wait().status, 0) << second.err();
  EXPECT_NE(dismiss("drain", "nobody"), 0);
  process third{node(run, "third")};
  expect_done(coordinator, run, expected);
}

TEST(processes, a_certificate_of_another_cluster_gets_nowhere) {
  auto run = scratch() / "guarded";
  auto expected = undisturbed();
  for (const char* name : {"ours", "theirs"})
    ASSERT_EQ(enn({"cluster", "init", (scratch() / name).string(), "--node", "a"}).status, 0);
  auto options = for_nodes;
  options.insert(options.end(), {"--cluster", (scratch() / "ours" / "a").string()});
  process coordinator{train(run, options)};
  ASSERT_TRUE(open(run)) << coordinator.err();
  auto address = read(run / "control" / "address");
  address.pop_back();
  auto stranger = enn(node(address, "stranger", {"--cluster", (scratch() / "theirs" / "a").string()}));
  EXPECT_NE(stranger.status, 0);
  EXPECT_NE(stranger.err.find("certificate is not a good one of this cluster"), std::string::npos) << stranger.err;
  auto cluster = [](const char* name) { return enn({"cluster", "show", (scratch() / name).string()}).out.substr(12, 64); };
  expect_refused(enn(node(run, "lazy")), 2, {"guarded is a run of cluster " + cluster("ours"), "--cluster", (scratch() / "ours" / "a").string()});
  expect_refused(enn(node(run, "lost", {"--cluster", (scratch() / "theirs" / "a").string()})), 2,
                 {"guarded is a run of cluster " + cluster("ours"), "theirs/a is of " + cluster("theirs")});
  process member{node(address, "member", {"--cluster", (scratch() / "ours" / "a").string()})};
  expect_done(coordinator, run, expected);
  EXPECT_EQ(times(run, "enlisted", "stranger"), 0u);
  EXPECT_EQ(times(run, "enlisted", "member"), 1u);
  EXPECT_NE(coordinator.wait().out.find("--join " + run.string() + " --cluster " + (scratch() / "ours" / "a").string() + "\n"),
            std::string::npos) << coordinator.wait().out;
}

TEST(processes, a_port_for_others_needs_certificates) {
  for (const char* address : {"0.0.0.0:0", "[::]:0"})
    expect_refused(enn(train(scratch() / "exposed", {"--nodes", address})), 2, {"certificates of one cluster"});
}

} // namespace
} // namespace enn::apps
