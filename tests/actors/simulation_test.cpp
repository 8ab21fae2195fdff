// The whole actor system on one thread and on virtual time, with message orders drawn from seeds.
#include "fixture.hpp"

namespace enn::actors::test {
namespace {

struct actors_simulation : ::testing::Test {
  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::err); }

  tiny t = make_tiny(short_config());
  run_outcome reference = simulation{0}.run(request_for(t, fresh_folder("reference"), 1));
};

TEST_F(actors_simulation, gives_the_same_bits_for_a_hundred_message_orders) {
  ASSERT_FALSE(reference.error) << text_of(reference.error);
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    auto folder = fresh_folder("run");
    auto outcome = simulation{seed}.run(request_for(t, folder, 1 + static_cast<std::uint32_t>(seed % 4)));
    ASSERT_FALSE(outcome.error) << seed << ": " << text_of(outcome.error);
    ASSERT_TRUE(same_bits(outcome, reference)) << seed;
  }
}

TEST_F(actors_simulation, gives_the_same_bits_while_workers_throw_in_any_order) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    auto request = request_for(t, fresh_folder("run"), 3);
    std::uint64_t calls = 0;
    request.rules.lease_attempts = 20;
    request.rules.faults = [&](std::uint64_t, const serialization::lease&) {
      return kernels::random_uniform({.seed = seed, .step = calls++}, 0) < 0.25f;
    };
    auto outcome = simulation{seed}.run(std::move(request));
    ASSERT_FALSE(outcome.error) << seed << ": " << text_of(outcome.error);
    ASSERT_TRUE(same_bits(outcome, reference)) << seed;
  }
}

TEST_F(actors_simulation, stops_at_any_moment_and_resumes_to_the_same_bits) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    auto folder = fresh_folder("run");
    auto stop_at = 5 + seed * 7;
    auto first = simulation{seed}.run(request_for(t, folder, 2), [&](std::uint64_t turn, const driver_actor& driver) {
      if (turn == stop_at)
        caf::anon_send(driver, stop_atom_v);
    });
    ASSERT_FALSE(first.error) << seed << ": " << text_of(first.error);
    auto second = simulation{seed + 1000}.run(request_for(t, folder, 3, duty::resume));
    ASSERT_FALSE(second.error) << seed << ": " << text_of(second.error);
    ASSERT_TRUE(same_bits(second, reference)) << seed;
  }
}

TEST_F(actors_simulation, survives_the_death_of_any_actor_at_any_moment) {
  std::uint64_t deaths = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    simulation world{seed};
    auto request = request_for(t, fresh_folder("run"), 2);
    auto kill_at = 20 + (seed * 37) % 300;
    auto outcome = world.run(std::move(request), [&](std::uint64_t turn, const driver_actor& driver) {
      auto& sched = dynamic_cast<caf::scheduler::test_coordinator&>(world.system().scheduler());
      if ((turn != kill_at && turn != kill_at + 1 + seed % 50) || sched.jobs.empty())
        return;
      auto victim = dynamic_cast<caf::scheduled_actor*>(sched.jobs[(seed + turn) % sched.jobs.size()]);
      if (victim && victim->id() != driver.id()) {
        ++deaths;
        caf::anon_send_exit(victim->address(), caf::exit_reason::kill);
      }
    });
    ASSERT_FALSE(outcome.error) << seed << ": " << text_of(outcome.error);
    ASSERT_TRUE(same_bits(outcome, reference)) << seed;
  }
  EXPECT_GT(deaths, 60u);
}

TEST_F(actors_simulation, loses_no_line_when_the_recorder_dies_and_no_checkpoint_is_ahead_of_them) {
  auto lines_in = [](const fs::path& folder) {
    auto lines = serialization::line_log::lines(folder / "losses.jsonl");
    return lines ? static_cast<std::int64_t>(lines->size()) : 0;
  };
  std::uint64_t deaths = 0;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    simulation world{seed};
    auto folder = fresh_folder("run");
    std::uint64_t chances = 0;
    auto outcome = world.run(request_for(t, folder, 2), [&](std::uint64_t, const driver_actor&) {
      if (auto last = serialization::read_file(folder / "checkpoints" / "last")) {
        ASSERT_LE(std::stoll(last->substr(5)), lines_in(folder)) << seed;
      }
      auto& sched = dynamic_cast<caf::scheduler::test_coordinator&>(world.system().scheduler());
      for (auto* job : sched.jobs)
        if (auto* victim = dynamic_cast<caf::scheduled_actor*>(job); victim && std::string_view{victim->name()} == "recorder")
          if (++chances == seed) {
            ++deaths; // urgent, so that what waits for it is lost, as by an exception
            auto who = caf::actor_cast<caf::strong_actor_ptr>(victim->address());
            who->enqueue(nullptr, caf::make_message_id(caf::message_priority::high),
                         caf::make_message(caf::exit_msg{who->address(), caf::exit_reason::kill}), nullptr);
          }
    });
    ASSERT_FALSE(outcome.error) << seed << ": " << text_of(outcome.error);
    ASSERT_TRUE(same_bits(outcome, reference)) << seed;
    ASSERT_EQ(lines_in(folder), 6) << seed;
  }
  EXPECT_GT(deaths, 20u);
}

TEST_F(actors_simulation, gives_up_naming_the_cause_when_every_worker_always_fails) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    auto request = request_for(t, fresh_folder("run"), 1 + static_cast<std::uint32_t>(seed % 3));
    request.rules.faults = [](std::uint64_t, const serialization::lease&) { return true; };
    if (seed % 2 == 0)
      request.rules.lease_attempts = 1000; // then the workers' own intensity decides
    auto outcome = simulation{seed}.run(std::move(request));
    ASSERT_EQ(code_of(outcome.error), ec::gave_up) << seed;
    ASSERT_NE(text_of(outcome.error).find("injected fault"), std::string::npos) << text_of(outcome.error);
  }
}

TEST_F(actors_simulation, predictions_come_once_each_in_any_order) {
  auto rows = rows_of_part(*t.data, model::part::train);
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    simulation world{seed};
    run_request request{duty::predict, t.run, t.data, {}, 2, reference.version, rows, {}, quick()};
    auto outcome = world.run(std::move(request));
    ASSERT_FALSE(outcome.error) << text_of(outcome.error);
    std::vector<std::uint64_t> found;
    for (const auto& m : world.blocks) {
      auto b = serialization::read(m, serialization::bounds_of(*t.run));
      ASSERT_TRUE(b);
      found.insert(found.end(), b->rows.begin(), b->rows.end());
    }
    std::sort(found.begin(), found.end());
    ASSERT_EQ(found, rows);
  }
}

} // namespace
} // namespace enn::actors::test
