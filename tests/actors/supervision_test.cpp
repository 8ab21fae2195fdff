// Who is stopped and started again, in which order, and when a parent gives up: the rule, its execution, and whole runs.
#include "fixture.hpp"

#include <enn/actors/children.hpp>
#include <enn/actors/spawn.hpp>

#include <set>

namespace enn::actors::test {
namespace {

using std::chrono::milliseconds;
using indices = std::vector<std::size_t>;

const caf::error crash = caf::make_error(caf::sec::runtime_error, std::string{"crash"});
const caf::error lost = caf::make_error(caf::exit_reason::remote_link_unreachable);
const caf::error in_order = caf::make_error(caf::exit_reason::normal);

supervision four(strategy how, child_spec common = {.name = "child", .intensity = 2}) {
  return {how, std::vector<child_spec>(4, std::move(common)), policy{}};
}

TEST(supervision, stops_in_reverse_and_starts_in_order_what_the_strategy_says) {
  auto one = four(strategy::one_for_one).went_down(1, crash);
  EXPECT_EQ(one.stop, indices{});
  EXPECT_EQ(one.start, indices{1});
  auto all = four(strategy::one_for_all).went_down(1, crash);
  EXPECT_EQ(all.stop, (indices{3, 2, 0}));
  EXPECT_EQ(all.start, (indices{0, 1, 2, 3}));
  auto rest = four(strategy::rest_for_one).went_down(1, crash);
  EXPECT_EQ(rest.stop, (indices{3, 2}));
  EXPECT_EQ(rest.start, (indices{1, 2, 3}));
}

TEST(supervision, starts_again_what_its_lifetime_says) {
  auto restarts = [](lifetime kind, const caf::error& reason) {
    return !four(strategy::one_for_one, {.name = "child", .intensity = 2, .kind = kind}).went_down(0, reason).start.empty();
  };
  EXPECT_TRUE(restarts(lifetime::permanent, in_order));
  EXPECT_TRUE(restarts(lifetime::permanent, crash));
  EXPECT_FALSE(restarts(lifetime::transient, in_order));
  EXPECT_FALSE(restarts(lifetime::transient, caf::make_error(caf::exit_reason::user_shutdown)));
  EXPECT_TRUE(restarts(lifetime::transient, crash));
  EXPECT_FALSE(restarts(lifetime::temporary, crash));
}

TEST(supervision, never_starts_a_temporary_child_that_another_one_took_along) {
  supervision rules{
    strategy::rest_for_one, {{.name = "a", .intensity = 2}, {.name = "b", .kind = lifetime::temporary}, {.name = "c"}}, {}};
  auto next = rules.went_down(0, crash);
  EXPECT_EQ(next.stop, (indices{2, 1}));
  EXPECT_EQ(next.start, (indices{0, 2}));
}

TEST(supervision, gives_up_at_one_fault_more_than_the_intensity_and_names_child_and_cause) {
  auto rules = four(strategy::one_for_one);
  for (int i = 0; i < 2; ++i)
    EXPECT_FALSE(rules.went_down(1, crash).give_up);
  EXPECT_FALSE(rules.went_down(0, crash).give_up) << "each child has its own count";
  auto last = rules.went_down(1, crash);
  EXPECT_EQ(code_of(last.give_up), ec::gave_up);
  EXPECT_EQ(text_of(last.give_up), "child failed 3 times without progress: crash");
  EXPECT_EQ(last.start, indices{});
}

TEST(supervision, forgets_faults_when_the_child_did_its_duty) {
  auto rules = four(strategy::one_for_one);
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(rules.went_down(1, crash).give_up) << i;
    if (i % 2 == 1)
      rules.did_duty(1);
    rules.did_duty(0);
  }
}

TEST(supervision, does_not_count_a_lost_connection_but_waits_longer_each_time) {
  auto rules = four(strategy::one_for_one);
  milliseconds before{0};
  for (int i = 0; i < 8; ++i) {
    auto next = rules.went_down(1, lost);
    EXPECT_FALSE(next.give_up) << i;
    EXPECT_GT(next.pause, before);
    before = next.pause;
  }
  EXPECT_FALSE(rules.went_down(1, crash).give_up) << "the first fault";
}

TEST(supervision, doubles_pauses_up_to_a_bound_with_up_to_half_of_each_as_jitter) {
  std::set<milliseconds> of_children;
  for (std::uint32_t faults = 1; faults <= 40; ++faults) {
    auto base = milliseconds{20} * (1 << std::min(faults - 1, 10u));
    for (std::uint64_t child = 0; child < 10; ++child) {
      auto pause = backoff(milliseconds{20}, child, faults);
      EXPECT_GE(pause, base);
      EXPECT_LE(pause, base * 3 / 2);
      if (faults == 10)
        of_children.insert(pause);
    }
  }
  EXPECT_GT(of_children.size(), 5u) << "they do not all come back at once";
}

TEST(supervision, believes_an_error_of_ours_unless_a_restart_may_mend_it) {
  auto broken = fail(ec::io_failed, "disk full");
  EXPECT_EQ(four(strategy::one_for_all).went_down(0, broken).give_up, broken);
  auto mended = four(strategy::one_for_one, {.name = "child", .intensity = 2, .mendable = {ec::io_failed}}).went_down(0, broken);
  EXPECT_FALSE(mended.give_up);
  EXPECT_EQ(mended.start, indices{0});
}

// -- children ---------------------------------------------------------------------------------------------------------------

/// A parent that keeps a diary, with children that do nothing, on virtual time.
struct actors_children : ::testing::Test {
  testing_config config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& sched = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  std::vector<std::string> diary;
  std::vector<caf::actor> latest{3}; // by child
  caf::error gave_up;
  caf::actor parent;
  children* supervised = nullptr;

  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::off); }

  ~actors_children() override {
    for (const auto& a : latest)
      caf::anon_send_exit(a, caf::exit_reason::kill);
    caf::anon_send_exit(parent, caf::exit_reason::kill);
    latest.clear();
    sched.run();
  }

  struct parent_state {
    std::optional<children> all;
  };

  /// Says when it ends; `deaf`: not when it is asked to.
  caf::actor spawn_child(const std::string& name, bool deaf) {
    diary.push_back("start " + name);
    return system.spawn([=, this](caf::event_based_actor* self) -> caf::behavior {
      use_log(self);
      if (deaf)
        self->set_exit_handler([](caf::exit_msg&) {});
      self->attach_functor([=, this](const caf::error& why) {
        diary.push_back("end " + name + (why == caf::exit_reason::kill ? ", killed" : ""));
      });
      return {[](int) { throw std::runtime_error("crash"); }};
    });
  }

  void supervise(strategy how, std::function<caf::strong_actor_ptr(std::size_t)> make, std::uint32_t intensity = 2) {
    parent = system.spawn([=, this](caf::stateful_actor<parent_state>* self) -> caf::behavior {
      std::vector<children::recipe> table;
      for (std::size_t i = 0; i < 3; ++i)
        table.push_back({{.name = std::string(1, static_cast<char>('a' + i)), .intensity = intensity, .shutdown = milliseconds{100}},
                         [=] { return make(i); }});
      children::events on{.down = [this](std::size_t, const caf::error&, const decision& next) { gave_up = next.give_up; },
                          .started = [](std::size_t) {},
                          .ready = [this] { diary.push_back("ready"); },
                          .ended = [this] { diary.push_back("ended"); }};
      self->state.all.emplace(self, how, std::move(table), policy{}, std::move(on));
      supervised = &*self->state.all;
      self->set_down_handler([=](caf::down_msg& down) { self->state.all->on_down(down); });
      self->state.all->start();
      return {[=](restart_atom, std::uint64_t timer) { self->state.all->on_timer(timer); },
              [=](stop_atom) { self->state.all->stop(); }};
    });
    sched.run();
  }

  void supervise(strategy how, const std::string& deaf = "") {
    supervise(how, [=, this](std::size_t i) {
      auto name = std::string(1, static_cast<char>('a' + i));
      latest[i] = spawn_child(name, name == deaf);
      return caf::actor_cast<caf::strong_actor_ptr>(latest[i]);
    });
  }

  void crash(std::size_t child) {
    caf::anon_send(latest[child], 1);
    sched.run();
  }

  void stop() {
    caf::anon_send(parent, stop_atom_v);
    sched.run();
  }

  void pass(milliseconds time) {
    sched.advance_time(time);
    sched.run();
  }

  void expect(const std::vector<std::string>& entries) {
    EXPECT_EQ(diary, entries);
    diary.clear();
  }
};

TEST_F(actors_children, start_in_order_and_end_in_reverse) {
  supervise(strategy::rest_for_one);
  expect({"start a", "start b", "start c", "ready"});
  stop();
  expect({"end c", "end b", "end a", "ended"});
}

TEST_F(actors_children, that_use_a_dead_one_end_before_it_comes_back_after_the_pause) {
  supervise(strategy::rest_for_one);
  diary.clear();
  crash(1);
  expect({"end b", "end c"});
  pass(milliseconds{19});
  expect({});
  pass(milliseconds{11});
  expect({"start b", "start c", "ready"});
  crash(0);
  pass(milliseconds{30});
  expect({"end a", "end c", "end b", "start a", "start b", "start c", "ready"});
}

TEST_F(actors_children, all_come_back_if_one_for_all) {
  supervise(strategy::one_for_all);
  diary.clear();
  crash(1);
  pass(milliseconds{30});
  expect({"end b", "end c", "end a", "start a", "start b", "start c", "ready"});
}

TEST_F(actors_children, do_not_notice_the_end_of_another_if_one_for_one) {
  supervise(strategy::one_for_one);
  diary.clear();
  crash(1);
  pass(milliseconds{30});
  expect({"end b", "start b", "ready"});
}

TEST_F(actors_children, that_die_in_the_pause_of_another_are_taken_along_once) {
  supervise(strategy::rest_for_one);
  diary.clear();
  crash(2);
  crash(0);
  expect({"end c", "end a", "end b"});
  pass(milliseconds{100});
  expect({"start a", "start b", "start c", "ready"});
}

TEST_F(actors_children, that_are_deaf_are_killed_after_their_shutdown_time) {
  supervise(strategy::rest_for_one, "b");
  diary.clear();
  stop();
  expect({"end c"});
  pass(milliseconds{99});
  expect({});
  pass(milliseconds{1});
  expect({"end b, killed", "end a", "ended"});
}

/// As a worker whose deadline passes while its supervisor ends.
TEST_F(actors_children, that_fail_while_they_are_waited_for_are_waited_for_all_the_same) {
  supervise(strategy::one_for_one, "b");
  diary.clear();
  stop();
  supervised->fail(1, caf::make_error(caf::sec::runtime_error, std::string{"no answer before the deadline"}));
  expect({"end c", "end a"});
  pass(milliseconds{100});
  expect({"end b, killed", "ended"});
  EXPECT_FALSE(gave_up);
}

TEST_F(actors_children, that_cannot_even_be_killed_are_left_alone) {
  caf::scoped_actor stuck{system}; // takes no message
  supervise(strategy::rest_for_one, [&](std::size_t i) {
    if (i == 1)
      return caf::actor_cast<caf::strong_actor_ptr>(caf::actor_cast<caf::actor>(stuck));
    latest[i] = spawn_child(i == 0 ? "a" : "c", false);
    return caf::actor_cast<caf::strong_actor_ptr>(latest[i]);
  });
  diary.clear();
  crash(0); // a restart waits no longer than that, too
  expect({"end a", "end c"});
  pass(milliseconds{100});
  pass(milliseconds{24});
  expect({});
  pass(milliseconds{1});
  expect({"start a", "start c", "ready"});
  stop();
  pass(milliseconds{100});
  expect({"end c"});
  pass(milliseconds{25});
  expect({"end a", "ended"});
}

TEST_F(actors_children, that_fail_too_often_end_all_in_reverse) {
  supervise(strategy::one_for_one);
  diary.clear();
  for (int i = 0; i < 2; ++i) {
    crash(1);
    pass(milliseconds{1000});
  }
  expect({"end b", "start b", "ready", "end b", "start b", "ready"});
  crash(1);
  pass(milliseconds{100000});
  expect({"end b", "end c", "end a", "ended"});
  EXPECT_EQ(text_of(gave_up), "b failed 3 times without progress: crash");
}

// -- escalation -------------------------------------------------------------------------------------------------------------

struct actors_escalation : ::testing::Test {
  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::off); }

  tiny t = make_tiny(short_config(8));
  run_outcome reference = simulation{0}.run(request_for(t, fresh_folder("reference"), 1));

  /// From the fourth line on this handler always throws. The run has to end after so many throws, blaming all that gave up on
  /// the way to the top, and to go on to the same bits when the cause is gone.
  template <class... Ts>
  void expect_escalation(const char* who, std::uint64_t throws_most, const std::vector<std::string>& blamed) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      auto folder = fresh_folder(who);
      auto request = request_for(t, folder, 1);
      request.rules.lease_attempts = 1000;
      std::uint64_t lines = 0, thrown = 0;
      request.rules.throwing = [&](std::string_view actor, const caf::mailbox_element& m) {
        lines += actor == "recorder" && m.content().match_elements<caf::atom_value, msg<wire::Progress>>();
        auto now = lines > 3 && actor == who && !m.mid.is_response() && m.content().match_elements<caf::atom_value, Ts...>();
        thrown += now;
        return now ? throws::at_once : throws::not_at_all;
      };
      auto outcome = simulation{seed}.run(std::move(request));
      ASSERT_EQ(code_of(outcome.error), ec::gave_up) << who << ": " << text_of(outcome.error);
      std::size_t at = 0;
      for (const auto& part : blamed) {
        at = text_of(outcome.error).find(part, at);
        ASSERT_NE(at, std::string::npos) << part << " is not in: " << text_of(outcome.error);
      }
      EXPECT_GE(thrown, throws_most - 1) << who << ", seed " << seed;
      EXPECT_LE(thrown, throws_most) << who << ", seed " << seed;
      expect_journal(folder, outcome);
      auto again = simulation{seed}.run(request_for(t, folder, 2, duty::resume));
      ASSERT_FALSE(again.error) << who << ": " << text_of(again.error);
      ASSERT_TRUE(same_bits(again, reference)) << who;
      ASSERT_LT(again.steps_run, reference.steps_run) << who << ": from a checkpoint";
    }
  }

  /// It tells every restart, and the end with its cause.
  static void expect_journal(const fs::path& folder, const run_outcome& outcome) {
    auto journal = *serialization::read_file(folder / "journal.jsonl");
    std::uint64_t restarts = 0;
    for (std::size_t at = 0; (at = journal.find("\"restart\"", at)) != std::string::npos; ++at)
      ++restarts;
    EXPECT_EQ(restarts, outcome.restarts) << journal;
    EXPECT_NE(journal.find("without progress"), std::string::npos) << journal;
  }
};

TEST_F(actors_escalation, of_a_worker_goes_through_supervisor_and_node_to_a_clean_end) {
  expect_escalation<std::uint64_t, msg<wire::Lease>, weights_ptr, rows_ptr>(
    "worker", 6 * 4 * 4,
    {"node failed 4 times", "supervisor failed 4 times", "worker 0 failed 6 times", "injected fault at"});
}

TEST_F(actors_escalation, of_a_supervisor_goes_through_the_node_to_a_clean_end) {
  expect_escalation<msg<wire::Lease>, weights_ptr, rows_ptr>("supervisor", 4 * 4,
                                                   {"node failed 4 times", "supervisor failed 4 times", "injected fault at"});
}

TEST_F(actors_escalation, of_each_child_of_the_driver_comes_to_a_clean_end) {
  expect_escalation<std::uint64_t, msg<wire::Lease>>("node", 4, {"node failed 4 times", "injected fault at"});
  expect_escalation<>("broker", 4, {"broker failed 4 times", "injected fault at"});
  expect_escalation<std::int64_t>("sampler", 4, {"sampler failed 4 times", "injected fault at"});
  expect_escalation<version_ptr, bool>("checkpointer", 4, {"checkpointer failed 4 times", "injected fault at"});
  expect_escalation<msg<wire::Progress>>("recorder", 4, {"recorder failed 4 times", "injected fault at"});
}

/// More often than it may without a step.
TEST_F(actors_escalation, forgets_the_faults_of_a_gate_with_every_step) {
  auto request = request_for(t, fresh_folder("run"), 1);
  gate_actor gate;
  request.publish = [&](const gate_actor& g) {
    gate = g;
    return caf::expected<void>{caf::unit};
  };
  std::uint64_t kills = 0;
  simulation world{1};
  auto outcome = world.run(std::move(request), [&](std::uint64_t, const driver_actor&) {
    if (world.steps > kills) {
      ++kills;
      caf::anon_send_exit(gate, caf::exit_reason::kill);
    }
  });
  EXPECT_GT(kills, policy{}.child_faults + 1);
  ASSERT_FALSE(outcome.error) << text_of(outcome.error);
  EXPECT_TRUE(same_bits(outcome, reference));
}

} // namespace
} // namespace enn::actors::test
