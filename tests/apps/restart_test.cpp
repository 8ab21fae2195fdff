/// --restart: when a training process is started again and when not, with processes that die as they are told; then the real
/// program, killed.
#include "program.hpp"

#include "../../apps/restarter.hpp"

#include <chrono>
#include <iterator>
#include <set>
#include <thread>

#include <sys/prctl.h>

namespace enn::apps {
namespace {

using namespace std::chrono_literals;

bool exists(pid_t process) {
  return kill(process, 0) == 0;
}

// -- the rules ----------------------------------------------------------------------------------------------------------------

constexpr restart_rules quick{.in_vain = 5, .pause = 1ms, .longest_pause = 4ms};

/// What the n-th life does, from 0 on; it never returns.
using life = std::function<void(std::size_t number)>;

/// A watching process of its own, with a file that has a byte for each life.
class watched {
public:
  explicit watched(const life& live, const std::function<bool()>& progressed = [] { return false; }, restart_rules rules = quick) {
    static int number = 0;
    base_ = scratch() / ("watched" + std::to_string(++number));
    write(lives_file(), "");
    pid_ = fork();
    if (pid_ != 0)
      return;
    if (std::freopen((base_.string() + ".err").c_str(), "w", stderr) == nullptr)
      _exit(99);
    prctl(PR_SET_CHILD_SUBREAPER, 1); // as the first process of a container is
    restart_on_failure(progressed, "THE WAY ON", rules);
    auto now = lives();
    std::ofstream{lives_file(), std::ios::app} << '.';
    live(now);
    _exit(98);
  }
  ~watched() {
    if (!ended_)
      kill(pid_, SIGKILL);
    status();
  }
  watched(const watched&) = delete;
  watched& operator=(const watched&) = delete;

  pid_t id() const { return pid_; }
  std::size_t lives() const { return read(lives_file()).size(); }
  std::string err() const { return read(base_.string() + ".err"); }
  int status() {
    if (!ended_)
      waitpid(pid_, &state_, 0);
    ended_ = true;
    return WIFEXITED(state_) ? WEXITSTATUS(state_) : 128 + WTERMSIG(state_);
  }

private:
  fs::path lives_file() const { return base_.string() + ".lives"; }
  fs::path base_;
  pid_t pid_ = -1;
  int state_ = 0;
  bool ended_ = false;
};

void die_by(int signal) {
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

TEST(restart, what_would_come_out_again_is_final) {
  for (int status : {0, 2, 3, 5, 128 + SIGHUP, 128 + SIGINT, 128 + SIGTERM}) {
    watched w{[=](std::size_t) { _exit(status); }};
    EXPECT_EQ(w.status(), status);
    EXPECT_EQ(w.lives(), 1u) << status;
    EXPECT_EQ(w.err(), "");
  }
  for (int signal : {SIGHUP, SIGINT, SIGTERM}) {
    watched w{[=](std::size_t) { die_by(signal); }};
    EXPECT_EQ(w.status(), 128 + signal);
    EXPECT_EQ(w.lives(), 1u) << signal;
  }
}

TEST(restart, what_a_new_process_may_mend_is_tried_again) {
  watched w{[](std::size_t number) {
    if (number == 0)
      die_by(SIGKILL);
    if (number == 1)
      die_by(SIGPIPE);
    _exit(number == 2 ? 4 : number == 3 ? 1 : 0);
  }};
  EXPECT_EQ(w.status(), 0);
  EXPECT_EQ(w.lives(), 5u);
  for (const char* words : {"killed by signal 9 (Killed); starting it again", "restart 1 of 5", "signal 13", "ended with status 4",
                            "ended with status 1", "restart 4 of 5 without a new step"})
    EXPECT_NE(w.err().find(words), std::string::npos) << words << "\n" << w.err();
}

TEST(restart, without_progress_it_ends_with_the_last_status_and_says_why) {
  watched failing{[](std::size_t) { _exit(4); }};
  EXPECT_EQ(failing.status(), 4);
  EXPECT_EQ(failing.lives(), 6u);
  EXPECT_NE(failing.err().find("ended with status 4 and is not started again, after 5 restarts without a new step; go on with: THE WAY ON"),
            std::string::npos) << failing.err();
  watched killed{[](std::size_t) { die_by(SIGKILL); }};
  EXPECT_EQ(killed.status(), 128 + SIGKILL);
  EXPECT_EQ(killed.lives(), 6u);
}

TEST(restart, progress_begins_the_count_anew) {
  int asked = 0;
  watched always{[](std::size_t number) { _exit(number < 20 ? 4 : 0); }, [] { return true; }};
  EXPECT_EQ(always.status(), 0);
  EXPECT_EQ(always.lives(), 21u);
  watched once{[](std::size_t) { _exit(4); }, [&] { return ++asked == 4; }};
  EXPECT_EQ(once.status(), 4);
  EXPECT_EQ(once.lives(), 9u) << "3 in vain, then one that got further, then 5 in vain";
}

TEST(restart, a_stop_signal_is_passed_on_and_what_follows_is_the_end) {
  auto wait_for_term = [](int status) {
    return [=](std::size_t) {
      sigset_t term;
      sigemptyset(&term);
      sigaddset(&term, SIGTERM);
      sigprocmask(SIG_BLOCK, &term, nullptr);
      write(scratch() / ("ready" + std::to_string(status)), "");
      siginfo_t info{};
      sigwaitinfo(&term, &info);
      _exit(info.si_code == SI_QUEUE && info.si_pid == getppid() ? status : 97);
    };
  };
  for (int status : {143, 4}) {
    watched w{wait_for_term(status)};
    ASSERT_TRUE(eventually([=] { return fs::exists(scratch() / ("ready" + std::to_string(status))); }));
    kill(w.id(), SIGTERM);
    EXPECT_EQ(w.status(), status);
    EXPECT_EQ(w.lives(), 1u);
    EXPECT_EQ(w.err().find("while it was stopping; go on with: THE WAY ON") != std::string::npos, status == 4) << w.err();
  }
}

TEST(restart, a_stop_signal_ends_the_pause) {
  watched w{[](std::size_t) { _exit(4); }, [] { return false; }, {.in_vain = 5, .pause = 24h, .longest_pause = 24h}};
  ASSERT_TRUE(eventually([&] { return w.err().find("starting it again") != std::string::npos; })) << w.err();
  kill(w.id(), SIGINT);
  EXPECT_EQ(w.status(), 130);
  EXPECT_EQ(w.lives(), 1u);
  EXPECT_NE(w.err().find("go on with: THE WAY ON"), std::string::npos) << w.err();
}

TEST(restart, orphans_that_it_inherits_leave_no_zombie) {
  auto file = scratch() / "orphan";
  watched w{[=](std::size_t number) {
    if (number == 0) { // leaves a child to the watcher and dies
      auto watcher = getppid();
      if (auto orphan = fork(); orphan != 0) {
        write(file, std::to_string(orphan));
        die_by(SIGKILL);
      }
      _exit(eventually([=] { return getppid() == watcher; }) ? 0 : 96);
    }
    auto orphan = static_cast<pid_t>(std::stoi(read(file)));
    _exit(eventually([=] { return !exists(orphan); }) ? 0 : 2);
  }};
  EXPECT_EQ(w.status(), 0);
}

TEST(restart, only_what_was_never_there_is_progress) {
  auto run = scratch() / "progress";
  recorded_progress progress{run};
  EXPECT_FALSE(progress.advanced());
  write(run / "losses.jsonl", "one\n");
  EXPECT_TRUE(progress.advanced());
  EXPECT_FALSE(progress.advanced());
  write(run / "losses.jsonl", "one\ntwo\nth");
  EXPECT_TRUE(progress.advanced());
  write(run / "losses.jsonl", "one\ntwo\n");
  EXPECT_FALSE(progress.advanced()) << "a torn line was cut off";
  write(run / "losses.jsonl", "one\ntwo\nth");
  EXPECT_FALSE(progress.advanced()) << "and torn again";
  write(run / "checkpoints" / "last", "step-00000002.h5\n");
  write(run / "checkpoints" / "step-00000002.h5", "");
  EXPECT_TRUE(progress.advanced());
  EXPECT_FALSE(recorded_progress{run}.advanced()) << "what was there at first";
}

// -- the program --------------------------------------------------------------------------------------------------------------

/// A line of /proc/PROCESS/status.
std::string status_of(pid_t process, const std::string& label) {
  auto text = read("/proc/" + std::to_string(process) + "/status");
  auto at = text.find(label + ":\t");
  return at == std::string::npos ? "" : text.substr(at + label.size() + 2, text.find('\n', at) - at - label.size() - 2);
}

bool is_gone(pid_t process) {
  auto state = status_of(process, "State");
  return state.empty() || state.starts_with('Z'); // whose new parent may take its time
}

constexpr auto steps = "300", endless = "1000000";

/// What a run leaves that nothing disturbs.
const fs::path& undisturbed() {
  static const fs::path folder = [] {
    auto path = scratch() / "undisturbed";
    auto r = enn(train_into(path, steps));
    EXPECT_EQ(r.status, 0) << r.err;
    return path;
  }();
  return folder;
}

arguments keep_training_into(const fs::path& folder, const std::string& how_many = steps) {
  auto result = train_into(folder, how_many);
  result.emplace_back("--restart");
  return result;
}

void expect_undisturbed(const fs::path& run) {
  for (const char* name : {"losses.jsonl", "table.md"})
    EXPECT_TRUE(read(run / name) == read(undisturbed() / name)) << name;
  auto r = enn({"verify-run", run.string()}); // its checkpoints, too
  EXPECT_EQ(r.status, 0) << r.err;
}

/// The training process under `watcher`, once so many steps are recorded.
pid_t training_process(const process& watcher, const fs::path& run, std::ptrdiff_t recorded) {
  EXPECT_TRUE(eventually([&] { return lines_in(run / "losses.jsonl") >= recorded && children_of(watcher.id()).size() == 1; }))
    << watcher.err();
  auto found = children_of(watcher.id());
  return found.empty() ? -1 : found.front();
}

TEST(restart, training_that_is_killed_goes_on_by_itself_to_the_same_bits) {
  auto run = scratch() / "killed";
  process p{keep_training_into(run)};
  for (std::ptrdiff_t recorded : {1, 45, 130, 200})
    kill(training_process(p, run, recorded), SIGKILL);
  auto r = p.wait();
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_NE(r.err.find("killed by signal 9"), std::string::npos) << r.err;
  EXPECT_NE(r.out.find("resume      from step "), std::string::npos) << r.out;
  expect_undisturbed(run);
}

TEST(restart, when_all_processes_are_killed_the_same_command_goes_on) {
  auto run = scratch() / "power_cut";
  for (std::ptrdiff_t recorded : {1, 45, 130}) {
    process p{keep_training_into(run)};
    auto child = training_process(p, run, recorded);
    p.signal(SIGKILL); // and nobody else: the training process follows by itself
    EXPECT_EQ(p.wait().status, 128 + SIGKILL);
    EXPECT_TRUE(eventually([=] { return is_gone(child); }));
  }
  auto r = enn(keep_training_into(run));
  EXPECT_EQ(r.status, 0) << r.err;
  expect_undisturbed(run);
}

TEST(restart, the_training_process_follows_a_watcher_that_is_killed) {
  auto run = scratch() / "followed";
  process p{keep_training_into(run, endless)};
  auto child = training_process(p, run, 3);
  p.signal(SIGKILL);
  EXPECT_EQ(p.wait().status, 128 + SIGKILL);
  EXPECT_TRUE(eventually([=] { return is_gone(child); }));
}

/// No node ever joins it, so there is no step, and no progress.
arguments keep_waiting_in(const fs::path& run, const std::string& port) {
  auto result = keep_training_into(run);
  result.insert(result.end(), {"--nodes", "127.0.0.1:" + port, "--coordinator-only"});
  return result;
}

void expect_given_up(const result& r, int status, const std::string& how, const fs::path& run) {
  EXPECT_EQ(r.status, status) << r.err;
  EXPECT_TRUE(r.err.ends_with("enn: the training process " + how + " and is not started again, after 5 restarts without a new step; go on with: "
                              "enn train --resume " + run.string() + "\n")) << r.err;
}

TEST(restart, killed_as_often_in_vain_as_is_borne_it_ends_as_the_last_process_did) {
  auto run = scratch() / "doomed";
  process p{keep_waiting_in(run, "0")};
  std::set<pid_t> killed;
  for (; p.alive() && killed.size() < 6; std::this_thread::sleep_for(1ms))
    for (auto child : children_of(p.id())) {
      kill(child, SIGKILL);
      killed.insert(child);
    }
  EXPECT_EQ(killed.size(), 6u);
  expect_given_up(p.wait(), 128 + SIGKILL, "was killed by signal 9 (Killed)", run);
}

TEST(restart, failing_as_often_in_vain_as_is_borne_it_ends_with_status_4_and_has_said_the_cause_each_time) {
  process other{keep_waiting_in(scratch() / "other", "0")};
  auto address = scratch() / "other" / "control" / "address";
  ASSERT_TRUE(eventually([&] { return fs::exists(address); })) << other.err();
  auto text = read(address), port = text.substr(10, text.size() - 11);
  auto run = scratch() / "failing";
  auto r = enn(keep_waiting_in(run, port));
  expect_given_up(r, 4, "ended with status 4", run);
  std::size_t said = 0;
  for (auto at = r.err.find("cannot listen at 127.0.0.1:" + port); at != std::string::npos; at = r.err.find("cannot listen at", at + 1))
    ++said;
  EXPECT_EQ(said, 6u) << r.err;
}

TEST(restart, a_run_that_is_done_stays_as_it_is) {
  auto run = scratch() / "done";
  fs::copy(undisturbed(), run, fs::copy_options::recursive);
  for (const auto& command : {keep_training_into(run), arguments{"train", "--resume", run.string(), "--restart"}}) {
    auto r = enn(command);
    EXPECT_EQ(r.status, 0) << r.err;
    EXPECT_NE(r.out.find("from step 300"), std::string::npos) << r.out;
    expect_undisturbed(run);
  }
}

TEST(restart, says_which_damaged_checkpoint_was_skipped) {
  auto run = scratch() / "skipping";
  fs::copy(undisturbed(), run, fs::copy_options::recursive);
  flip_bit(run / "checkpoints" / "step-00000300.h5");
  auto r = enn(keep_training_into(run));
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_NE(r.err.find("skips a checkpoint: "), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("step-00000300.h5"), std::string::npos) << r.err;
  EXPECT_NE(r.out.find("from step 290, checkpoints/step-00000290.h5"), std::string::npos) << r.out;
  expect_undisturbed(run);
}

TEST(restart, a_run_of_another_configuration_is_refused_once) {
  auto other = keep_training_into(undisturbed());
  other.insert(other.end(), {"--seed", "2"});
  expect_refused(enn(other), 2, {"undisturbed", "another configuration", "train.seed"});
  auto overwriting = keep_training_into(undisturbed());
  overwriting.emplace_back("--overwrite");
  expect_refused(enn(overwriting), 2, {"--restart", "--overwrite"});
}

/// SIGTERM to the watcher alone, or to both as service managers do, is one signal.
TEST(restart, a_stop_signal_saves_the_step_however_many_processes_get_it) {
  for (bool both : {false, true}) {
    auto run = scratch() / (both ? "stopped_both" : "stopped");
    auto slow = keep_training_into(run, endless);
    slow.insert(slow.end(), {"--model.d-model", "128", "--train.batch-rows", "100"}); // the step still takes when the other one comes
    process p{slow};
    auto child = training_process(p, run, 3);
    p.signal(SIGTERM);
    if (both) {
      ASSERT_TRUE(eventually([&] { return !p.err().empty(); }));
      kill(child, SIGTERM);
    }
    auto r = p.wait();
    EXPECT_EQ(r.status, 143) << r.err;
    EXPECT_TRUE(r.err.starts_with("enn: stopping after the current step")) << r.err;
    EXPECT_NE(r.err.find("enn: stopped after step "), std::string::npos) << r.err;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 2) << r.err;
    EXPECT_TRUE(is_gone(child));
  }
}

TEST(restart, a_second_signal_ends_both_at_once) {
  auto run = scratch() / "at_once";
  process p{keep_training_into(run, endless)};
  auto child = training_process(p, run, 20);
  kill(child, SIGSTOP); // so that it cannot be over before the second comes
  ASSERT_TRUE(eventually([=] { return status_of(child, "State").starts_with('T'); }));
  p.signal(SIGINT);
  p.signal(SIGTERM);
  constexpr auto wanted = 1ull << (SIGINT - 1) | 1ull << (SIGTERM - 1);
  ASSERT_TRUE(eventually([=] { return (std::stoull(status_of(child, "ShdPnd"), nullptr, 16) & wanted) == wanted; }));
  kill(child, SIGCONT);
  auto r = p.wait();
  EXPECT_TRUE(r.status == 130 || r.status == 143) << r.status << r.err;
  EXPECT_NE(r.err.find("ended at once"), std::string::npos) << r.err;
  EXPECT_TRUE(is_gone(child));
}

} // namespace
} // namespace enn::apps
