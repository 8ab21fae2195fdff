// Every handler of every actor but the driver throws, and the run does not notice: same weights, run state and losses.
#include "cluster.hpp"

#include <enn/actors/sampler.hpp>

namespace enn::actors::test {
namespace {

using caf::type_erased_tuple;

/// One signature of an actor's interface.
struct handler {
  std::string actor, name; // the name: actor, first atom, how many of both there are before
  bool (*takes)(const type_erased_tuple&);
};

template <class T>
bool holds(const type_erased_tuple& m, std::size_t i) {
  if constexpr (caf::is_atom_constant<T>::value)
    return m.match_element<caf::atom_value>(i) && m.get_as<caf::atom_value>(i) == T::value;
  else
    return m.match_element<T>(i);
}

template <class... Ts>
bool takes(const type_erased_tuple& m) {
  std::size_t i = 0;
  return m.size() == sizeof...(Ts) && (holds<Ts>(m, i++) && ...);
}

template <class Atom, class... Ts, class Result>
void add_handler(std::vector<handler>& all, const std::string& actor, caf::typed_mpi<caf::detail::type_list<Atom, Ts...>, Result>*) {
  auto name = actor + ' ' + caf::to_string(Atom::value) + ' ';
  auto before = std::count_if(all.begin(), all.end(), [&](const handler& h) { return h.name.starts_with(name); });
  all.push_back({actor, name + std::to_string(before), &takes<Atom, Ts...>});
}

template <class... Signatures>
void add_handlers(std::vector<handler>& all, const std::string& actor, caf::typed_actor<Signatures...>*) {
  (add_handler(all, actor, static_cast<Signatures*>(nullptr)), ...);
}

/// Straight from interfaces.hpp: a handler that is added there is in this list.
std::vector<handler> all_handlers() {
  std::vector<handler> all;
  add_handlers(all, "gate", static_cast<gate_actor*>(nullptr));
  add_handlers(all, "agent", static_cast<agent_actor*>(nullptr));
  add_handlers(all, "dialler", static_cast<dialler_actor*>(nullptr));
  add_handlers(all, "recorder", static_cast<recorder_actor*>(nullptr));
  add_handlers(all, "checkpointer", static_cast<checkpointer_actor*>(nullptr));
  add_handlers(all, "sampler", static_cast<sampler_actor*>(nullptr));
  add_handlers(all, "broker", static_cast<broker_actor*>(nullptr));
  add_handlers(all, "node", static_cast<node_actor*>(nullptr));
  add_handlers(all, "supervisor", static_cast<supervisor_actor*>(nullptr));
  add_handlers(all, "worker", static_cast<worker_actor*>(nullptr));
  return all;
}

/// Those that a run of one process has no use for.
const std::set<std::string> of_clusters{
  "gate join 0", "gate status 0", "gate drain 0", "gate serve 0", "agent restart 0", "agent leave 0", "agent stop 0", "dialler connect 0",
  "dialler tick 0", "sampler rows 2", "node leave 0", "node fetch 0", "broker offer 0", "broker status 0", "broker drain 0"};

/// Those of actors that wait on a thread of their own.
const std::set<std::string> of_threads{"worker help 0"};

bool reaches(const handler& h, std::string_view actor, const caf::mailbox_element& m) {
  return actor == h.actor && !m.mid.is_response() && h.takes(m.content());
}

/// What came out, in a form that can be compared.
struct result {
  run_outcome outcome;
  std::string losses;
  std::map<std::uint64_t, std::vector<float>> predictions;
};

struct actors_throw : ::testing::Test {
  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::off); }

  tiny t = make_tiny(short_config());
  result reference = run(duty::train, 0, {});

  result run(duty what, std::uint64_t seed, throw_plan plan, std::uint32_t intensity = 10) {
    auto request = request_for(t, fresh_folder("run"), 1 + static_cast<std::uint32_t>(seed % 3), what);
    if (!what_trains(what)) {
      request.version = reference.outcome.version;
      request.rows = rows_of_part(*t.data, model::part::train);
    }
    auto& rules = request.rules;
    rules.worker_faults = rules.supervisor_faults = rules.child_faults = intensity;
    rules.lease_attempts = intensity;
    rules.throwing = std::move(plan);
    trouble(rules);
    auto folder = request.folder;
    simulation world{seed};
    result r;
    r.outcome = world.run(std::move(request));
    if (what_trains(what))
      r.losses = losses_of(folder);
    for (const auto& m : world.blocks)
      if (auto b = serialization::read(m, serialization::bounds_of(*t.run)))
        for (std::size_t i = 0, size = b->numbers.size() / b->rows.size(); i < b->rows.size(); ++i)
          std::ranges::copy(b->numbers.view().subspan(i * size, size), std::back_inserter(r.predictions[b->rows[i]]));
    return r;
  }

  /// A coordinator and three node processes: one is drained, one is stopped, one stays and has no data. Those that fail are started
  /// again, as by systemd.
  result run_cluster(std::uint64_t seed, throw_plan plan, std::uint32_t intensity = 10) {
    policy rules = quick();
    rules.worker_faults = rules.supervisor_faults = rules.child_faults = rules.lease_attempts = intensity;
    rules.bulk_bytes = 1000; // gradients are larger
    rules.faults = [](std::uint64_t, const serialization::lease& l) { return l.step == 2 && l.index == 1 && l.attempt == 0; };
    rules.throwing = std::move(plan);
    auto request = request_for(t, fresh_folder("cluster"), 1);
    auto folder = request.folder;
    cluster c{seed, {}, std::move(rules)};
    c.start_node({"drained", 1, true, true}, true);
    c.start_node({"stays", 1, false, true}, true);
    auto stopped = c.start_node({"stopped", 1, true, true}, true);
    c.times().after(milliseconds{500}, [&] { c.ask_for_status(); });
    c.times().after(milliseconds{800}, [&] { c.drain("drained"); });
    c.times().after(milliseconds{1100}, [&] {
      if (c.is_up(stopped))
        c.stop_node(stopped);
    });
    auto outcome = c.run(std::move(request), milliseconds{600000});
    EXPECT_TRUE(outcome) << "no outcome, seed " << seed;
    EXPECT_TRUE(c.everybody_ends(milliseconds{100000})) << "actors are left, seed " << seed;
    EXPECT_TRUE(c.complaints.empty()) << c.complaints.front();
    for (const auto& text : c.failures)
      EXPECT_NE(text.find("injected fault"), std::string::npos) << text;
    return {outcome.value_or(run_outcome{}), losses_of(folder), {}};
  }

  static bool what_trains(duty what) { return what == duty::train; }

  /// So that handlers for failures have something to do: a lease fails on two workers, deadlines are looked at in every pause.
  static void trouble(policy& rules) {
    rules.lease_deadline = std::chrono::milliseconds{4};
    rules.backoff = std::chrono::milliseconds{20};
    rules.beat = std::chrono::milliseconds{3};
    rules.faults = [](std::uint64_t, const serialization::lease& l) { return l.step == 2 && l.index == 1 && l.attempt == 0; };
  }

  void expect_same(const result& r, const result& undisturbed, const std::string& which) {
    ASSERT_FALSE(r.outcome.error) << which << ": " << text_of(r.outcome.error);
    EXPECT_TRUE(same_bits(r.outcome, undisturbed.outcome)) << which;
    EXPECT_EQ(r.losses, undisturbed.losses) << which;
    EXPECT_EQ(r.predictions, undisturbed.predictions) << which;
    EXPECT_EQ(r.outcome.loss, undisturbed.outcome.loss) << which;
    EXPECT_EQ(r.outcome.steps_run, undisturbed.outcome.steps_run) << which << ": no finished step is lost";
  }
};

/// Once for each handler, the first time that it is called, and later times.
TEST_F(actors_throw, in_any_handler_changes_no_bit) {
  std::map<duty, result> undisturbed;
  for (auto what : {duty::train, duty::predict, duty::evaluate})
    undisturbed[what] = run(what, 0, {});
  for (const auto& h : all_handlers()) {
    std::uint64_t thrown = 0;
    for (auto what : {duty::train, duty::predict, duty::evaluate})
      for (std::uint64_t seed : {0, 1, 2, 3}) {
        std::uint64_t calls = 0, leases = 0;
        auto r = run(what, seed, [&](std::string_view actor, const caf::mailbox_element& m) {
          if (actor == "supervisor" && takes<lease_atom, msg<wire::Lease>, weights_ptr, rows_ptr>(m.content()) && ++leases == 3)
            return throws::at_once; // so that a node starts one again
          bool now = reaches(h, actor, m) && calls++ == seed * seed;
          thrown += now;
          return !now ? throws::not_at_all : seed % 2 == 0 ? throws::at_once : throws::at_last;
        });
        ASSERT_NO_FATAL_FAILURE(expect_same(r, undisturbed[what], h.name + ", order " + std::to_string(seed)));
      }
    EXPECT_EQ(thrown > 0, !of_clusters.contains(h.name) && !of_threads.contains(h.name)) << h.name << " threw " << thrown << " times";
  }
}

/// Once for each handler, whenever it is called in the undisturbed run.
TEST_F(actors_throw, in_any_handler_of_a_cluster_changes_no_bit) {
  auto handlers = all_handlers();
  std::set<std::string> reached;
  for (std::uint64_t seed : {1, 2, 3}) {
    dice draw{seed, "throws"};
    std::vector<std::uint64_t> usual(handlers.size());
    auto undisturbed = run_cluster(seed, [&](std::string_view actor, const caf::mailbox_element& m) {
      for (std::size_t i = 0; i < handlers.size(); ++i)
        usual[i] += reaches(handlers[i], actor, m);
      return throws::not_at_all;
    });
    ASSERT_NO_FATAL_FAILURE(expect_same(undisturbed, reference, "undisturbed"));
    for (std::size_t i = 0; i < handlers.size(); ++i) {
      if (usual[i] == 0)
        continue;
      reached.insert(handlers[i].name);
      std::uint64_t calls = 0, thrown = 0, chosen = draw.below(usual[i]);
      auto how = draw.chance(0.5) ? throws::at_once : throws::at_last;
      auto r = run_cluster(seed, [&](std::string_view actor, const caf::mailbox_element& m) {
        bool now = reaches(handlers[i], actor, m) && calls++ == chosen;
        thrown += now;
        return now ? how : throws::not_at_all;
      });
      ASSERT_NO_FATAL_FAILURE(expect_same(r, reference, handlers[i].name + ", seed " + std::to_string(seed)));
      EXPECT_EQ(thrown, 1u) << handlers[i].name;
    }
  }
  for (const auto& name : of_clusters)
    EXPECT_TRUE(reached.contains(name)) << name;
}

/// Nobody asks for raw rows yet in a run of one process.
TEST_F(actors_throw, in_the_sampler_that_is_asked_for_raw_rows_answers_and_ends_it) {
  simulation world{1};
  auto rules = quick();
  rules.threads = false;
  rules.throwing = [](std::string_view, const caf::mailbox_element&) { return throws::at_once; };
  caf::scoped_actor self{world.system()};
  auto sampler = spawn_sampler(world.system(), self->address(), t.run, t.data, rules);
  self->monitor(sampler);
  auto asked = self->request(sampler, caf::infinite, rows_atom_v, serialization::write(serialization::row_list{0, {1, 2}, 2}));
  dynamic_cast<caf::scheduler::test_coordinator&>(world.system().scheduler()).run();
  asked.receive([](const msg<wire::RawRows>&) { ADD_FAILURE() << "it did not throw"; },
                [](const caf::error& e) { EXPECT_EQ(e, caf::sec::runtime_error); });
  self->receive([](const caf::down_msg& down) { EXPECT_EQ(down.reason, caf::sec::runtime_error); });
}

/// Anywhere: messages, answers to requests, down messages; also several at once, also in the midst of a restart.
TEST_F(actors_throw, at_any_time_changes_no_bit) {
  std::map<std::string, int> thrown, answers;
  int all = 0;
  for (std::uint64_t seed = 1; seed <= 150 || (all < 1000 && seed <= 1000); ++seed) {
    std::uint64_t calls = 0;
    auto plan = [&](std::string_view actor, const caf::mailbox_element& m) {
      bool now = kernels::random_uniform({.seed = seed, .step = calls++}, 0) < 0.01f;
      thrown[std::string{actor}] += now;
      answers[std::string{actor}] += now && m.mid.is_response();
      all += now;
      return !now ? throws::not_at_all : calls % 2 == 0 ? throws::at_once : throws::at_last;
    };
    auto r = seed % 3 == 0 ? run_cluster(seed, plan, 1000) : run(duty::train, seed, plan, 1000);
    ASSERT_NO_FATAL_FAILURE(expect_same(r, reference, "seed " + std::to_string(seed)));
  }
  std::set<std::string> actors;
  for (const auto& h : all_handlers())
    actors.insert(h.actor);
  for (const auto& [actor, times] : thrown) {
    EXPECT_TRUE(actors.contains(actor)) << actor << " is not among the handlers";
    EXPECT_GT(times, 0) << actor;
  }
  EXPECT_EQ(thrown.size(), actors.size());
  EXPECT_GT(answers["node"], 0);
  EXPECT_GT(answers["broker"], 0);
  EXPECT_GE(all, 1000);
}

TEST_F(actors_throw, on_real_threads_changes_no_bit) {
  std::atomic<std::uint64_t> calls = 0, thrown = 0;
  for (std::uint32_t workers : {1, 3}) {
    auto request = request_for(t, fresh_folder("run"), workers);
    auto& rules = request.rules;
    rules.worker_faults = rules.supervisor_faults = rules.child_faults = rules.lease_attempts = 1000;
    rules.throwing = [&](std::string_view, const caf::mailbox_element&) {
      auto call = calls++;
      bool now = kernels::random_uniform({.seed = workers, .step = call}, 0) < 0.02f;
      thrown += now;
      return !now ? throws::not_at_all : call % 2 == 0 ? throws::at_once : throws::at_last;
    };
    auto folder = request.folder;
    auto outcome = run_threads(std::move(request));
    ASSERT_TRUE(outcome) << text_of(outcome.error());
    EXPECT_TRUE(same_bits(*outcome, reference.outcome)) << workers;
    EXPECT_EQ(losses_of(folder), reference.losses) << workers;
  }
  EXPECT_GT(thrown, 10u);
}

TEST_F(actors_throw, in_any_handler_of_threads_changes_no_bit) {
  for (const auto& h : all_handlers()) {
    if (!of_threads.contains(h.name))
      continue;
    for (auto how : {throws::at_once, throws::at_last}) {
      std::atomic<std::uint64_t> calls = 0, thrown = 0;
      auto request = request_for(t, fresh_folder("run"), 3);
      request.rules.worker_faults = 1000;
      request.rules.throwing = [&](std::string_view actor, const caf::mailbox_element& m) {
        bool now = reaches(h, actor, m) && calls++ % 3 == 0;
        thrown += now;
        return now ? how : throws::not_at_all;
      };
      auto folder = request.folder;
      auto outcome = run_threads(std::move(request));
      ASSERT_TRUE(outcome) << text_of(outcome.error());
      EXPECT_TRUE(same_bits(*outcome, reference.outcome)) << h.name;
      EXPECT_EQ(losses_of(folder), reference.losses) << h.name;
      EXPECT_GT(thrown, 0u) << h.name;
    }
  }
}

} // namespace
} // namespace enn::actors::test
