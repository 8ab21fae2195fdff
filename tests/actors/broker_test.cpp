// The broker against a node that the test plays: credit, epochs, attempts, duplicates, nonfinite sums.
#include "fixture.hpp"

#include <enn/actors/broker.hpp>
#include <enn/actors/sampler.hpp>

#include <deque>
#include <map>

namespace enn::actors::test {
namespace {

using namespace std::chrono_literals;
using serialization::block;
using serialization::lease;

/// A driver, too: the broker tells it what came out.
struct actors_broker : one_thread {
  tiny t = make_tiny([] { auto c = tiny_config(); c.train.validate_every = 1000; return c; }());
  serialization::bounds limits = serialization::bounds_of(*t.run);
  policy rules = [] { auto p = rules_of_one(); p.skipped_steps = 2; return p; }();
  sampler_actor sampler = spawn_sampler(system, self.address(), t.run, t.data, rules);
  crew_ptr helpers = std::make_shared<crew>(rules.shared_chunks);
  broker_actor broker = spawn_broker(system, caf::actor_cast<driver_actor>(self), "local", t.run, t.data, sampler,
                                     first_version(*t.run), helpers, rules);
  std::vector<std::pair<std::uint64_t, lease>> leases; // with epochs
  std::vector<version_ptr> versions;
  std::vector<std::uint64_t> fences;               // epochs
  std::map<std::string, int> notes;                // how often each event was noted
  std::map<std::uint64_t, msg<wire::Block>> kept;  // what the broker may fetch, by number
  int farewells = 0, evaluations = 0, predictions = 0, fetches = 0;
  std::size_t waits = 0; // beats without a node for the work
  caf::error reason;
  bool ended = false;

  actors_broker() { self->monitor(broker); }

  ~actors_broker() override {
    self->send_exit(broker, caf::exit_reason::user_shutdown);
    self->send_exit(sampler, caf::exit_reason::user_shutdown);
    sched.run();
  }

  void start_again(tiny other, sampler_actor played = {}) {
    self->demonitor(broker.address());
    for (const auto& old : {caf::actor_cast<caf::actor>(broker), caf::actor_cast<caf::actor>(sampler)})
      self->send_exit(old, caf::exit_reason::user_shutdown);
    t = std::move(other);
    limits = serialization::bounds_of(*t.run);
    sampler = played ? played : spawn_sampler(system, self.address(), t.run, t.data, rules);
    broker = spawn_broker(system, caf::actor_cast<driver_actor>(self), "local", t.run, t.data, sampler, first_version(*t.run), helpers,
                          rules);
    self->monitor(broker);
  }

  void settle() {
    for (sched.run(); self->has_next_message(); sched.run())
      self->receive(
        [&](lease_atom, std::uint64_t epoch, const msg<wire::Lease>& m) {
          auto l = serialization::read(m, limits);
          ASSERT_TRUE(l);
          leases.emplace_back(epoch, *l);
        },
        [&](fence_atom, std::uint64_t epoch) { fences.push_back(epoch); }, [&](leave_atom) { ++farewells; },
        [&](note_atom, const std::string& event, const std::string&) { ++notes[event]; },
        [&](fetch_atom, std::uint64_t number, std::uint32_t chunk) -> caf::result<msg<wire::Piece>> {
          ++fetches;
          if (!kept.contains(number))
            return fail(ec::protocol, "it is gone");
          return *serialization::piece_of(kept.at(number), chunk);
        },
        [&](evaluate_atom, double) { ++evaluations; },
        [&](predict_atom, const msg<wire::Block>&) { ++predictions; },
        [&](beat_atom) { ++waits; }, [](const caf::exit_msg&) {},
        [&](advance_atom, const version_ptr& v, const msg<wire::Progress>&) { versions.push_back(v); },
        [&](caf::down_msg& down) {
          ended = true;
          reason = std::move(down.reason);
        });
  }

  caf::expected<std::uint64_t> enlist(serialization::enlistment hello) {
    auto handle =
      self->request(broker, caf::infinite, enlist_atom_v, serialization::write(hello), caf::actor_cast<node_actor>(self));
    sched.run();
    caf::expected<std::uint64_t> result{ec_error()};
    handle.receive([&](std::uint64_t epoch) { result = epoch; }, [&](caf::error& e) { result = std::move(e); });
    return result;
  }
  static caf::error ec_error() { return fail(ec::protocol, "no answer"); }
  void pass_beats(std::uint32_t count) {
    for (; count > 0; --count) {
      sched.advance_time(rules.beat);
      settle();
    }
  }

  void drain() {
    auto handle = self->request(broker, caf::infinite, drain_atom_v, std::string{"a"}, false);
    sched.run();
    handle.receive([](std::uint32_t nodes) { EXPECT_EQ(nodes, 1u); }, [](const caf::error& e) { ADD_FAILURE() << text_of(e); });
    settle();
    EXPECT_EQ(farewells, 0) << "it still has leases";
  }

  std::uint64_t enlist() { return *enlist(serialization::enlist("local", "a", 1, t.run->kernels)); }

  void advance(std::uint64_t epoch, std::uint32_t credit) {
    self->send(broker, advance_atom_v);
    self->send(broker, credit_atom_v, epoch, credit);
    settle();
  }

  block answer(const lease& l, float value = 0.5f) const {
    block b{.task = l.task, .kind = l.kind, .step = l.step, .first = l.index, .count = 1, .rungs = {l.start},
            .losses = std::vector<double>(limits.losses, 0.25), .health = {},
            .numbers = serialization::flat_vector::owned(l.kind == model::lease_kind::train ? limits.parameters : 0, value), .rows = {}};
    return b;
  }

  void reply(std::uint64_t epoch, const block& b) {
    self->send(broker, done_atom_v, epoch, serialization::write(b));
    settle();
  }
};

TEST_F(actors_broker, never_gives_more_leases_than_there_is_credit) {
  auto epoch = enlist();
  advance(epoch, 1);
  EXPECT_EQ(leases.size(), 1u);
  self->send(broker, credit_atom_v, epoch, std::uint32_t{2});
  settle();
  EXPECT_EQ(leases.size(), 3u);
  self->send(broker, credit_atom_v, epoch, std::uint32_t{100});
  settle();
  EXPECT_EQ(leases.size(), 4u); // all there are
}

TEST_F(actors_broker, says_at_every_beat_that_its_work_waits_for_a_node) {
  auto beat = [&] {
    sched.advance_time(rules.beat);
    settle();
  };
  beat();
  EXPECT_EQ(waits, 0u) << "there is no work";
  self->send(broker, advance_atom_v);
  settle();
  for (std::size_t beats = 1; beats <= 3; ++beats) {
    beat();
    EXPECT_EQ(waits, beats);
  }
  enlist();
  beat();
  EXPECT_EQ(waits, 3u) << "there is one, so a step that does not come is no waiting";
}

TEST_F(actors_broker, makes_a_version_of_all_leases_in_any_order) {
  auto epoch = enlist();
  advance(epoch, 4);
  ASSERT_EQ(leases.size(), 4u);
  for (auto i : {2, 0, 3, 1}) {
    EXPECT_TRUE(versions.empty());
    reply(epoch, answer(leases[static_cast<std::size_t>(i)].second));
  }
  ASSERT_EQ(versions.size(), 1u);
  EXPECT_EQ(versions[0]->state.step, 1);
}

TEST_F(actors_broker, ignores_stale_epochs_and_stale_tasks) {
  auto epoch = enlist();
  advance(epoch, 4);
  auto first = leases;
  auto newer = enlist(); // the same node anew: what it had goes out again
  EXPECT_GT(newer, epoch);
  leases.clear();
  self->send(broker, credit_atom_v, newer, std::uint32_t{4});
  self->send(broker, credit_atom_v, epoch, std::uint32_t{4});
  settle();
  ASSERT_EQ(leases.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(leases[i].first, newer);
    EXPECT_EQ(leases[i].second.attempt, 1u);
    EXPECT_EQ(leases[i].second.rows, first[i].second.rows);
    EXPECT_EQ(leases[i].second.step, first[i].second.step);
    EXPECT_EQ(leases[i].second.denominator, first[i].second.denominator);
    reply(epoch, answer(first[i].second)); // under the old epoch
  }
  EXPECT_TRUE(versions.empty());
  for (const auto& [e, l] : leases)
    reply(newer, answer(l));
  EXPECT_EQ(versions.size(), 1u);
  reply(newer, answer(leases[0].second)); // of a task that is over
  EXPECT_EQ(versions.size(), 1u);
  EXPECT_FALSE(ended);
}

TEST_F(actors_broker, tells_a_silent_node_at_once_that_others_get_its_leases) {
  auto epoch = enlist();
  advance(epoch, 4);
  pass_beats(rules.silent_beats);
  EXPECT_TRUE(fences.empty());
  pass_beats(1);
  EXPECT_EQ(fences, std::vector{epoch});
  leases.clear();
  self->send(broker, credit_atom_v, enlist(), std::uint32_t{4});
  settle();
  EXPECT_EQ(leases.size(), 4u);
}

TEST_F(actors_broker, fences_no_node_that_beats_and_answers_stale_beats_with_their_fence) {
  auto stale = enlist(), epoch = enlist();
  for (std::uint32_t i = 0; i < 3 * rules.silent_beats; ++i) {
    self->send(broker, beat_atom_v, epoch);
    pass_beats(1);
  }
  EXPECT_TRUE(fences.empty());
  self->send(broker, beat_atom_v, stale);
  settle();
  EXPECT_EQ(fences, std::vector{stale});
}

TEST_F(actors_broker, fetches_what_is_offered_and_issues_again_what_it_cannot_fetch) {
  auto epoch = enlist();
  advance(epoch, 5);
  ASSERT_EQ(leases.size(), 4u);
  for (std::uint64_t i = 0; i < 3; ++i) {
    auto whole = serialization::write(answer(leases[i].second));
    if (i != 1)
      kept.emplace(i, whole);
    self->send(broker, offer_atom_v, epoch, i, serialization::head_of(whole));
  }
  settle();
  ASSERT_EQ(leases.size(), 5u);
  EXPECT_EQ(leases[4].second.index, leases[1].second.index);
  EXPECT_EQ(leases[4].second.attempt, 1u);
  EXPECT_TRUE(versions.empty());
  reply(epoch, answer(leases[3].second));
  reply(epoch, answer(leases[4].second));
  EXPECT_EQ(versions.size(), 1u);
  leases.clear();
  fetches = 0;
  advance(epoch, 4);
  self->send(broker, offer_atom_v, epoch, std::uint64_t{0}, serialization::head_of(kept.at(0)));
  settle();
  EXPECT_EQ(fetches, 0) << "it is of an earlier task";
}

TEST_F(actors_broker, expels_a_node_that_has_another_block_than_it_offered) {
  auto epoch = enlist();
  advance(epoch, 4);
  kept.emplace(0, serialization::write(answer(leases[0].second, 1)));
  self->send(broker, offer_atom_v, epoch, std::uint64_t{0}, serialization::head_of(serialization::write(answer(leases[0].second, 2))));
  settle();
  EXPECT_EQ(fetches, 1);
  EXPECT_EQ(notes["expelled"], 1);
}

/// Though they came when the step before was not over yet, and the sampler was asked for them once more.
TEST_F(actors_broker, trains_no_step_on_rows_of_the_step_before) {
  std::deque<std::pair<std::int64_t, caf::typed_response_promise<msg<wire::Rows>>>> asked;
  auto slow = system.spawn([&](caf::event_based_actor* it) -> caf::behavior {
    return {[&, it](rows_atom, std::int64_t step) -> caf::result<msg<wire::Rows>> {
              asked.emplace_back(step, it->make_response_promise<msg<wire::Rows>>());
              return asked.back().second;
            },
            [&](caf::tick_atom) {
              auto [step, promise] = asked.front();
              asked.pop_front();
              promise.deliver(serialization::write(serialization::row_list{step, model::rows_of_step(*t.run, *t.data, step), 1}));
            }};
  });
  start_again(t, caf::actor_cast<sampler_actor>(slow));
  auto epoch = enlist();
  auto give_rows = [&] {
    caf::anon_send(slow, caf::tick_atom_v);
    settle();
  };
  auto finish = [&] {
    for (const auto& [e, l] : std::exchange(leases, {}))
      reply(e, answer(l));
  };
  advance(epoch, 4);
  give_rows();
  finish();
  advance(epoch, 4); // before the rows that were asked for ahead
  give_rows();
  give_rows();
  finish();
  ASSERT_EQ(versions.size(), 2u);
  advance(epoch, 4);
  EXPECT_TRUE(leases.empty());
}

/// Ten leases of predictions, and a node with room for all of them.
struct actors_predicting_broker : actors_broker {
  std::uint64_t epoch = 0;

  actors_predicting_broker() {
    serialization::row_list rows;
    rows.rows.assign(40, t.data->row(model::part::train, 0));
    self->send(broker, predict_atom_v, serialization::write(rows));
    enlist_with_room();
  }
  void enlist_with_room() {
    epoch = enlist();
    self->send(broker, credit_atom_v, epoch, std::uint32_t{100});
    settle();
  }
  void predict(const lease& l) {
    auto b = answer(l);
    b.losses.clear();
    b.rows = l.rows;
    b.numbers = serialization::flat_vector::owned(l.rows.size() * limits.target_size, 0.0f);
    reply(epoch, b);
    self->send(broker, credit_atom_v, epoch, std::uint32_t{1});
    settle();
  }
};

TEST_F(actors_predicting_broker, tells_of_each_prediction_once_and_waits_for_the_driver_to_take_it) {
  ASSERT_EQ(leases.size(), 8u);
  predict(leases[0].second);
  predict(leases[0].second); // of another node, to which the lease went when it was late
  EXPECT_EQ(predictions, 1);
  EXPECT_EQ(leases.size(), 8u);
  self->send(broker, predict_atom_v);
  settle();
  EXPECT_EQ(leases.size(), 9u);
}

TEST_F(actors_predicting_broker, issues_leases_again_that_were_lost_though_the_driver_has_nothing_to_take) {
  leases.clear();
  enlist_with_room();
  EXPECT_EQ(leases.size(), 8u);
}

TEST_F(actors_broker, dismisses_a_drained_node_when_it_has_answered_for_its_leases) {
  auto answer_all = [&](std::uint64_t epoch) {
    for (const auto& [e, l] : std::exchange(leases, {}))
      reply(epoch, answer(l));
    EXPECT_GT(std::exchange(farewells, 0), 0);
  };
  auto epoch = enlist();
  advance(epoch, 2);
  drain();
  self->send(broker, credit_atom_v, epoch, std::uint32_t{2});
  settle();
  EXPECT_EQ(leases.size(), 2u) << "it gets no more";
  answer_all(epoch);
  start_again(make_tiny());
  epoch = enlist();
  self->send(broker, credit_atom_v, epoch, std::uint32_t{100});
  self->send(broker, evaluate_atom_v, static_cast<std::uint8_t>(model::part::validation));
  settle();
  ASSERT_FALSE(leases.empty());
  drain();
  answer_all(epoch);
  EXPECT_EQ(evaluations, 1);
}

TEST_F(actors_broker, issues_a_lease_again_that_failed_in_its_newest_attempt) {
  auto stale = enlist(), epoch = enlist();
  advance(epoch, 10);
  ASSERT_EQ(leases.size(), 4u);
  auto l = leases[0].second;
  auto say = [&](std::uint64_t under, std::uint64_t task, std::uint32_t attempt) {
    leases.clear();
    self->send(broker, failed_atom_v, under, serialization::write(serialization::failure{task, l.index, attempt, "a test"}));
    settle();
    return leases.size();
  };
  EXPECT_EQ(say(stale, l.task, 0), 0u);
  EXPECT_EQ(say(epoch, l.task + 1, 0), 0u);
  EXPECT_EQ(say(epoch, l.task, 0), 1u);
  EXPECT_EQ(say(epoch, l.task, 0), 0u) << "that it failed so is known";
  EXPECT_EQ(say(epoch, l.task, 1), 1u);
  EXPECT_FALSE(ended);
  say(epoch, l.task, 2);
  EXPECT_TRUE(ended);
  EXPECT_EQ(code_of(reason), ec::gave_up);
}

TEST_F(actors_broker, ignores_what_it_hears_of_leases_that_are_done_or_that_there_are_not) {
  auto epoch = enlist();
  advance(epoch, 10);
  auto given = std::exchange(leases, {});
  ASSERT_EQ(given.size(), 4u);
  auto stray = given[3].second;
  stray.index = 4;
  reply(epoch, answer(stray));
  reply(epoch, answer(given[1].second));
  self->send(broker, failed_atom_v, epoch, serialization::write(serialization::failure{stray.task, 1, 0, "a test"}));
  settle();
  EXPECT_TRUE(leases.empty());
  for (auto i : {0, 2, 3})
    reply(epoch, answer(given[static_cast<std::size_t>(i)].second));
  EXPECT_EQ(versions.size(), 1u);
}

TEST_F(actors_broker, stops_when_two_results_differ_and_nobody_else_can_decide) {
  auto epoch = enlist();
  advance(epoch, 4);
  auto l = leases[2].second;
  reply(epoch, answer(l, 1));
  reply(epoch, answer(l, 1));
  EXPECT_FALSE(ended) << "the same twice is no conflict";
  reply(epoch, answer(l, 2));
  EXPECT_TRUE(ended);
  EXPECT_EQ(code_of(reason), ec::not_reproducible);
}

/// Another node than the test itself.
struct other_node {
  caf::scoped_actor self;
  std::uint64_t epoch = 0;
  bool expelled = false, dismissed = false;
  std::vector<lease> leases;
  explicit other_node(caf::actor_system& system) : self{system, true} {}

  void join(const broker_actor& broker, caf::scheduler::test_coordinator& sched, const serialization::enlistment& hello) {
    auto handle =
      self->request(broker, caf::infinite, enlist_atom_v, serialization::write(hello), caf::actor_cast<node_actor>(self));
    sched.run();
    handle.receive([&](std::uint64_t e) { epoch = e; }, [](caf::error&) {});
  }

  void settle(const serialization::bounds& limits) {
    while (self->has_next_message())
      self->receive(
        [&](lease_atom, std::uint64_t, const msg<wire::Lease>& m) { leases.push_back(*serialization::read(m, limits)); },
        [&](fence_atom, std::uint64_t) { epoch = 0; }, [&](leave_atom) { dismissed = true; },
        [](fetch_atom, std::uint64_t, std::uint32_t) -> caf::result<msg<wire::Piece>> { return fail(ec::protocol, "it is gone"); },
        [&](caf::exit_msg& m) { expelled = code_of(m.reason) == ec::not_reproducible; });
  }
};

/// Two nodes, of which the first is slow: 100 ms for a lease instead of 1 ms, until `slow` is changed.
struct actors_slow_node : actors_broker {
  std::chrono::milliseconds slow{100};
  std::uint64_t first = 0;
  std::unique_ptr<other_node> quick = std::make_unique<other_node>(system);

  actors_slow_node() {
    auto c = tiny_config();
    c.train.steps = c.train.validate_every = 1000;
    start_again(make_tiny(c));
    first = enlist();
    quick->join(broker, sched, serialization::enlist("local", "b", 1, t.run->kernels));
    self->send(broker, credit_atom_v, first, std::uint32_t{2});
    self->send(broker, credit_atom_v, quick->epoch, std::uint32_t{2});
    settle();
  }

  void answer_as(std::uint64_t epoch, const lease& l) {
    self->send(broker, credit_atom_v, epoch, std::uint32_t{1});
    reply(epoch, answer(l));
  }

  /// Whoever is asked answers in its time. How many leases of its own, and copies, the slow one had.
  std::pair<std::size_t, std::size_t> step() {
    auto goal = versions.size() + 1;
    std::set<std::uint32_t> of_quick, of_slow;
    self->send(broker, advance_atom_v);
    settle();
    for (std::chrono::milliseconds now{0}; versions.size() < goal && now < 1000ms; now += 1ms) {
      for (auto epoch : {first, quick->epoch})
        self->send(broker, beat_atom_v, epoch);
      sched.advance_time(1ms);
      settle();
      quick->settle(limits);
      for (const auto& l : std::exchange(quick->leases, {})) {
        of_quick.insert(l.index);
        answer_as(quick->epoch, l);
      }
      for (const auto& [e, l] : leases)
        of_slow.insert(l.index);
      if (now >= slow)
        for (const auto& [e, l] : std::exchange(leases, {}))
          answer_as(e, l);
    }
    EXPECT_EQ(versions.size(), goal);
    std::size_t own = 0;
    for (auto i : of_slow)
      own += !of_quick.contains(i);
    return {own, of_slow.size() - own};
  }
};

TEST_F(actors_slow_node, gets_leases_that_nobody_waits_for_until_it_is_quick_again) {
  EXPECT_EQ(step().first, 2u) << "nothing is known of it yet";
  std::size_t copies = 0;
  for (int more = 0; more < 20; ++more) {
    auto [own, copied] = step();
    EXPECT_EQ(own, 0u);
    copies += copied;
  }
  EXPECT_GT(copies, 0u);
  slow = 1ms;
  std::size_t steps = 0;
  while (step().first == 0 && steps < 200)
    ++steps;
  EXPECT_LT(steps, 200u);
}

TEST_F(actors_slow_node, gets_all_of_them_when_it_is_alone) {
  step();
  step();
  quick = nullptr;
  settle();
  leases.clear();
  self->send(broker, credit_atom_v, first, std::uint32_t{8}); // whatever it has room for
  advance(first, 0);
  EXPECT_EQ(leases.size(), 4u);
}

TEST_F(actors_slow_node, gets_leases_when_the_quick_one_has_no_room) {
  step();
  step();
  advance(first, 0);
  quick->settle(limits);
  ASSERT_EQ(quick->leases.size(), 2u) << "all that it has room for";
  auto l = quick->leases[0];
  for (l.index = 0; l.index < 4; ++l.index) // the step is over, but the quick one does not make room
    reply(first, answer(l));
  ASSERT_EQ(versions.size(), 3u);
  leases.clear();
  advance(first, 0);
  EXPECT_FALSE(leases.empty());
}

struct actors_dispute : actors_broker {
  other_node nodes[4]{other_node{system}, other_node{system}, other_node{system}, other_node{system}};

  void settle_all() {
    settle();
    for (auto& n : nodes)
      n.settle(limits);
  }
  void join(other_node& n) { n.join(broker, sched, serialization::enlist("local", "b", 1, t.run->kernels)); }
  void give_room(other_node& n) {
    self->send(broker, credit_atom_v, n.epoch, std::uint32_t{4});
    settle_all();
  }
  void say(other_node& n, const block& b) {
    self->send(broker, done_atom_v, n.epoch, serialization::write(b));
    settle_all();
  }
};

TEST_F(actors_dispute, gives_a_late_lease_to_a_node_that_is_not_in_it) {
  auto& [liar, other, slow, fresh] = nodes;
  for (auto* n : {&liar, &other, &slow})
    join(*n);
  self->send(broker, advance_atom_v);
  give_room(liar);
  ASSERT_EQ(liar.leases.size(), 4u);
  say(liar, answer(liar.leases[3])); // so that it is known how long they take
  say(liar, answer(liar.leases[1], 1));
  say(other, answer(liar.leases[1], 2));
  for (auto* n : {&liar, &other, &slow}) {
    if (n != &slow)
      join(*n);
    give_room(*n);
  }
  auto wait = [&](int beats) {
    for (int i = 0; i < beats; ++i) {
      for (const auto& n : nodes)
        self->send(broker, beat_atom_v, n.epoch);
      pass_beats(1);
    }
    settle_all();
  };
  ASSERT_EQ(slow.leases.size(), 3u);
  wait(4);
  EXPECT_EQ(notes["late"], 0) << "nobody could have them";
  join(fresh);
  give_room(fresh);
  wait(1);
  EXPECT_EQ(notes["late"], 3);
  EXPECT_EQ(fresh.leases.size(), 3u);
  EXPECT_EQ(liar.leases.size(), 4u);
  EXPECT_TRUE(other.leases.empty());
}

TEST_F(actors_dispute, gives_late_leases_to_their_node_again_when_it_loses_them_and_nobody_took_them) {
  auto& [slow, quick, unused, unused_too] = nodes;
  auto wait = [&](std::chrono::milliseconds time) {
    for (auto* n : {&slow, &quick})
      self->send(broker, beat_atom_v, n->epoch);
    sched.advance_time(time);
    settle_all();
  };
  auto give = [&](other_node& n, std::uint32_t room) {
    self->send(broker, credit_atom_v, n.epoch, room);
    settle_all();
  };
  self->send(broker, advance_atom_v);
  join(slow);
  give(slow, 1);
  for (int beats = 0; beats < 20; ++beats)
    wait(rules.beat);
  join(quick);
  give(quick, 3);
  wait(1ms);
  give(quick, 4);
  for (auto* n : {&quick, &slow})
    for (const auto& l : std::exchange(n->leases, {}))
      say(*n, answer(l));
  ASSERT_EQ(versions.size(), 1u);
  give(slow, 2);
  self->send(broker, advance_atom_v);
  settle_all();
  ASSERT_EQ(quick.leases.size(), 4u);
  auto given = std::exchange(quick.leases, {});
  for (int beats = 0; beats < 3; ++beats)
    wait(rules.beat);
  EXPECT_EQ(notes["late"], 4);
  EXPECT_EQ(slow.leases.size(), 2u) << "a copy, and one of those that are late";
  for (const auto& l : given) {
    if (l.index == 2)
      self->send(broker, offer_atom_v, quick.epoch, std::uint64_t{0}, serialization::head_of(serialization::write(answer(l))));
    else
      self->send(broker, failed_atom_v, quick.epoch, serialization::write(serialization::failure{l.task, l.index, l.attempt, "a test"}));
    give(quick, 1);
  }
  settle_all();
  EXPECT_EQ(quick.leases.size(), 3u);
}

TEST_F(actors_dispute, expels_the_node_whose_bits_a_third_one_does_not_confirm) {
  for (auto i : {0, 1, 2})
    join(nodes[i]);
  advance(nodes[0].epoch, 4);
  nodes[0].settle(limits);
  ASSERT_EQ(nodes[0].leases.size(), 4u);
  auto l = nodes[0].leases[1];
  say(nodes[0], answer(l, 1));
  say(nodes[1], answer(l, 2)); // wrong, or the other is
  EXPECT_EQ(nodes[0].epoch, 0u) << "both are fenced";
  EXPECT_EQ(nodes[1].epoch, 0u);
  join(nodes[0]);
  join(nodes[1]);
  for (auto i : {0, 1, 2})
    give_room(nodes[i]);
  EXPECT_EQ(nodes[0].leases.size(), 4u) << "nothing more in this step";
  EXPECT_TRUE(nodes[1].leases.empty());
  ASSERT_EQ(nodes[2].leases.size(), 4u);
  say(nodes[2], answer(l, 1));
  EXPECT_TRUE(nodes[1].expelled);
  EXPECT_FALSE(nodes[0].expelled);
  for (auto index : {0u, 2u, 3u})
    say(nodes[2], answer(nodes[2].leases[index], 1));
  EXPECT_EQ(versions.size(), 1u);
  EXPECT_FALSE(ended);
}

TEST_F(actors_broker, dismisses_a_drained_node_again_when_it_enlists_again_but_not_its_namesake) {
  enlist();
  caf::anon_send(broker, drain_atom_v, std::string{"a"}, false);
  settle();
  EXPECT_EQ(farewells, 1);
  auto newer = enlist(); // it was taken for dead before it heard
  advance(newer, 4);
  EXPECT_EQ(farewells, 2);
  EXPECT_TRUE(leases.empty());
  other_node namesake{system};
  namesake.join(broker, sched, serialization::enlist("local", "a", 1, t.run->kernels));
  self->send(broker, credit_atom_v, namesake.epoch, std::uint32_t{4});
  settle();
  namesake.settle(limits);
  EXPECT_EQ(namesake.leases.size(), 4u);
  EXPECT_FALSE(namesake.dismissed);
}

/// A step that makes nonfinite weights makes no version: whoever has one has finite weights.
TEST_F(actors_broker, stops_before_a_step_that_is_too_long_for_the_weights) {
  auto c = tiny_config();
  c.train.validate_every = 1000;
  c.train.optimizer = "sgd";
  c.train.warmup_steps = 0;
  c.train.learning_rate = c.train.weight_decay = 1000; // a million times a step
  start_again(make_tiny(c));
  auto epoch = enlist();
  for (int step = 0; step < 10 && !ended; ++step) {
    leases.clear();
    advance(epoch, 4);
    for (const auto& [e, l] : leases)
      reply(epoch, answer(l));
  }
  ASSERT_TRUE(ended);
  EXPECT_EQ(code_of(reason), ec::nonfinite);
  for (auto word : {"nonfinite weights", "train.learning-rate", "train.weight-decay"})
    EXPECT_NE(text_of(reason).find(word), std::string::npos) << text_of(reason);
  ASSERT_FALSE(versions.empty());
  for (const auto& v : versions)
    EXPECT_TRUE(std::all_of(v->tensors.weights.begin(), v->tensors.weights.end(), [](float w) { return std::isfinite(w); }));
}

/// Though the gradient is finite: a nonfinite number may have been swallowed on its way.
TEST_F(actors_broker, skips_a_step_with_a_lease_that_no_rung_computed_well) {
  auto epoch = enlist();
  advance(epoch, 4);
  for (const auto& [e, l] : leases) {
    auto b = answer(l);
    b.health.nonfinite = l.index == 2;
    b.health.first_node = l.index == 2 ? "fuser.norm" : "";
    reply(epoch, b);
  }
  ASSERT_EQ(versions.size(), 1u);
  EXPECT_EQ(versions[0]->state.skipped_steps, 1);
  EXPECT_EQ(hash_of_weights(*versions[0]), hash_of_weights(*first_version(*t.run)));
}

TEST_F(actors_broker, skips_steps_with_nonfinite_sums_and_stops_when_there_are_too_many) {
  auto epoch = enlist();
  auto weights = hash_of_weights(*first_version(*t.run));
  for (std::size_t step = 1; step <= 3; ++step) {
    leases.clear();
    advance(epoch, 4);
    ASSERT_EQ(leases.size(), 4u);
    for (const auto& [e, l] : leases)
      reply(epoch, answer(l, l.index == 1 ? std::numeric_limits<float>::infinity() : 1));
    if (step < 3) {
      ASSERT_EQ(versions.size(), step);
      EXPECT_EQ(hash_of_weights(*versions.back()), weights);
      EXPECT_EQ(versions.back()->state.skipped_steps, static_cast<std::int64_t>(step));
    }
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(code_of(reason), ec::nonfinite);
  for (auto word : {"every lease was finite", "norm overflowed", "train.learning-rate", "train.clip-norm"})
    EXPECT_NE(text_of(reason).find(word), std::string::npos) << text_of(reason);
  EXPECT_EQ(text_of(reason).find("first at"), std::string::npos) << "no node has a name to give";
}

TEST_F(actors_broker, refuses_another_cluster_and_other_kernels_by_name) {
  auto other = enlist(serialization::enlist("elsewhere", "a", 1, t.run->kernels));
  ASSERT_FALSE(other);
  EXPECT_NE(text_of(other.error()).find("cluster is elsewhere"), std::string::npos) << text_of(other.error());
  auto kernels = enlist(serialization::enlist("local", "a", 1, "abacus"));
  ASSERT_FALSE(kernels);
  EXPECT_NE(text_of(kernels.error()).find("kernel set is abacus"), std::string::npos);
}

TEST_F(actors_broker, serves_weights_of_this_version_and_refuses_those_that_are_gone) {
  auto ask = [&](std::int64_t step) {
    auto handle = self->request(broker, std::chrono::seconds{1}, pull_atom_v, step, false, std::uint32_t{0}, serialization::all_chunks);
    sched.run();
    caf::expected<msg<wire::Weights>> result{ec_error()};
    handle.receive([&](const msg<wire::Weights>& m) { result = m; }, [&](caf::error& e) { result = std::move(e); });
    return result;
  };
  auto m = ask(0);
  ASSERT_TRUE(m);
  serialization::flat_vector values;
  ASSERT_TRUE(serialization::read_weights(*m, {0, false}, limits.parameters, values));
  EXPECT_EQ(values, first_version(*t.run)->tensors.weights);
  EXPECT_FALSE(ask(7));
  auto epoch = enlist();
  for (int step = 0; step < 2; ++step) {
    leases.clear();
    advance(epoch, 4);
    for (const auto& [e, l] : leases)
      reply(epoch, answer(l));
  }
  ASSERT_EQ(versions.size(), 2u);
  EXPECT_FALSE(ask(1));
  EXPECT_TRUE(ask(2));
}

TEST_F(actors_broker, raw_rows_are_what_the_data_set_holds) {
  serialization::row_list list{-1, {t.data->row(model::part::train, 3), t.data->row(model::part::test, 0)}, 1};
  auto handle = self->request(sampler, std::chrono::seconds{1}, rows_atom_v, serialization::write(list));
  sched.run();
  handle.receive(
    [&](const msg<wire::RawRows>& m) {
      auto raw = serialization::read(m, limits);
      ASSERT_TRUE(raw) << text_of(raw.error());
      ASSERT_EQ(raw->rows, list.rows);
      std::vector<float> x(raw->values[1].features.size()), calendar;
      t.data->copy_features(list.rows[1], x, calendar);
      EXPECT_EQ(x, raw->values[1].features);
    },
    [&](caf::error& e) { ADD_FAILURE() << text_of(e); });
}

} // namespace
} // namespace enn::actors::test
