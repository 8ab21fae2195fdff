// The agent against diallers and gates that the test plays.
#include "fixture.hpp"

#include <enn/actors/agent.hpp>
#include <enn/actors/spawn.hpp>
#include <enn/serialization/graph_wire.hpp>

#include <deque>

namespace enn::actors::test {
namespace {

using std::chrono::milliseconds;
using welcome = caf::result<msg<wire::RunDefinition>, broker_actor, sampler_actor>;

struct actors_agent : one_thread {
  tiny t = make_tiny();
  policy rules = rules_of_one();
  caf::actor broker = spawn_broker(), gate = spawn_gate();
  std::deque<caf::error> refusals; // of the gate, before it lets the agent in
  int joins = 0, diallers = 0, dialler_faults = 0;
  caf::actor dialler; // the latest one
  bool mute_dialler = false; // the next one
  std::string told;
  agent_actor agent;

  ~actors_agent() override {
    caf::anon_send_exit(agent, caf::exit_reason::user_shutdown);
    for (const auto& a : {gate, broker})
      caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
    sched.run();
    EXPECT_EQ(system.registry().running(), 1u) << "actors are left"; // the scoped one
  }

  /// And sampler: nothing is computed.
  caf::actor spawn_broker() {
    return system.spawn([](caf::event_based_actor*) -> caf::behavior {
      return {[](enlist_atom, const msg<wire::Enlistment>&, const node_actor&) -> std::uint64_t { return 1; },
              [](credit_atom, std::uint64_t, std::uint32_t) {}, [](beat_atom, std::uint64_t) {}};
    });
  }

  caf::actor spawn_gate() {
    return system.spawn([this](caf::event_based_actor*) -> caf::behavior {
      return {[this](join_atom, const msg<wire::Enlistment>&, const agent_actor&) -> welcome {
        ++joins;
        if (refusals.empty())
          return {serialization::write(*t.run), caf::actor_cast<broker_actor>(broker), caf::actor_cast<sampler_actor>(broker)};
        auto why = std::move(refusals.front());
        refusals.pop_front();
        return why;
      }};
    });
  }

  dialler_actor spawn_dialler(const caf::actor_addr& parent) {
    ++diallers;
    auto fresh = system.spawn([=, this](caf::event_based_actor* me) -> caf::behavior {
      use_log(me);
      follow(me, parent);
      return {[=, this](caf::connect_atom) -> caf::result<gate_actor> {
        if (mute_dialler)
          return me->make_response_promise<gate_actor>(); // which it never keeps
        if (dialler_faults-- > 0)
          throw std::runtime_error("crash");
        return caf::actor_cast<gate_actor>(gate);
      }};
    });
    dialler = fresh;
    return caf::actor_cast<dialler_actor>(fresh);
  }

  void start() {
    agent_setup setup{.cluster = "local", .name = "a", .spawn_dialler = [this](const caf::actor_addr& a) { return spawn_dialler(a); },
                      .tell = [this](const std::string& text) { told = text; }};
    agent = spawn_agent(system, std::move(setup), rules);
    self->monitor(agent);
    sched.run();
  }

  void pass_a_minute() {
    for (int i = 0; i < 600; ++i) {
      sched.advance_time(milliseconds{100});
      sched.run();
    }
  }

  std::optional<caf::error> end_of_agent() {
    std::optional<caf::error> end;
    if (self->has_next_message())
      self->receive([&](caf::down_msg& down) { end = std::move(down.reason); });
    return end;
  }

  void expect_joined(const std::string& which) {
    EXPECT_FALSE(end_of_agent()) << which;
    EXPECT_EQ(told.substr(0, 14), "joined the run") << which;
  }

  void expect_joined_soon_without(const caf::actor& killed, const std::string& which) {
    caf::anon_send_exit(killed, caf::exit_reason::kill);
    sched.run();
    sched.advance_time(rules.longest_pause); // less than a request may take
    sched.run();
    expect_joined(which);
  }
};

TEST_F(actors_agent, tries_again_whatever_it_is_told_that_is_no_difference) {
  const std::vector<caf::error> mendable{
    caf::make_error(caf::sec::request_receiver_down), caf::make_error(caf::sec::request_timeout),
    caf::make_error(caf::sec::unexpected_message),    caf::make_error(caf::sec::runtime_error, std::string{"crash"}),
    caf::make_error(caf::exit_reason::unknown),       caf::make_error(caf::exit_reason::remote_link_unreachable),
    fail(ec::unavailable, "the run is being started")};
  refusals = {mendable.begin(), mendable.end()};
  start();
  pass_a_minute();
  EXPECT_TRUE(refusals.empty());
  EXPECT_EQ(joins, static_cast<int>(mendable.size()) + 1);
  expect_joined("after all of them");
}

TEST_F(actors_agent, ends_with_the_difference_that_a_gate_names) {
  refusals = {fail(ec::protocol, "cluster is elsewhere")};
  start();
  pass_a_minute();
  EXPECT_EQ(joins, 1);
  auto end = end_of_agent();
  ASSERT_TRUE(end);
  EXPECT_EQ(code_of(*end), ec::protocol);
  EXPECT_EQ(text_of(*end), "cluster is elsewhere");
}

TEST_F(actors_agent, dials_again_when_it_was_given_a_gate_that_is_dead) {
  caf::anon_send_exit(gate, caf::exit_reason::kill);
  start();
  gate = spawn_gate();
  pass_a_minute();
  expect_joined("by the second gate");
}

TEST_F(actors_agent, does_not_wait_for_the_answer_of_a_gate_that_died) {
  auto silent = system.spawn([](caf::event_based_actor* me) -> caf::behavior {
    return {[=](join_atom, const msg<wire::Enlistment>&, const agent_actor&) -> welcome {
      return me->make_response_promise<msg<wire::RunDefinition>, broker_actor, sampler_actor>(); // which it never keeps
    }};
  });
  auto second = std::exchange(gate, silent);
  start();
  EXPECT_EQ(joins, 0);
  gate = second;
  expect_joined_soon_without(silent, "by the second gate");
}

TEST_F(actors_agent, does_not_wait_for_the_answer_of_a_dialler_that_died) {
  mute_dialler = true;
  start();
  EXPECT_EQ(joins, 0);
  mute_dialler = false;
  expect_joined_soon_without(dialler, "by the second dialler");
  EXPECT_EQ(diallers, 2);
}

TEST_F(actors_agent, spawns_its_dialler_again) {
  dialler_faults = 3;
  start();
  pass_a_minute();
  EXPECT_EQ(diallers, 4);
  expect_joined("by the fourth dialler");
}

TEST_F(actors_agent, that_throws_takes_along_all_that_it_spawned) {
  rules.throwing = [](std::string_view actor, const caf::mailbox_element& m) {
    return actor == "agent" && m.content().match_elements<stop_atom>() ? throws::at_once : throws::not_at_all;
  };
  start();
  expect_joined("before");
  EXPECT_GT(system.registry().running(), 5u); // node, supervisor, worker
  caf::anon_send(agent, stop_atom_v);
  sched.run();
  auto end = end_of_agent();
  ASSERT_TRUE(end);
  EXPECT_EQ(*end, caf::sec::runtime_error);
  EXPECT_NE(text_of(*end).find("injected fault"), std::string::npos) << text_of(*end);
  EXPECT_EQ(system.registry().running(), 3u) << "broker and gate";
}

} // namespace
} // namespace enn::actors::test
