// The node against a broker that the test plays.
#include "fixture.hpp"

#include <enn/actors/node.hpp>

namespace enn::actors::test {
namespace {

struct actors_node : ::testing::Test {
  testing_config config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& sched = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  caf::scoped_actor self{system, true};
  tiny t = make_tiny();
  policy rules = [] { auto p = quick(); p.threads = false; return p; }();

  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::off); }

  node_actor spawn(run_ptr run) { return spawn(std::move(run), t.data); }
  node_actor spawn(run_ptr run, data_ptr data) {
    node_setup setup{"local", "a", std::move(run), std::move(data), 2};
    auto node = spawn_node(system, self.address(), caf::actor_cast<broker_actor>(self), caf::actor_cast<sampler_actor>(self),
                           std::move(setup), rules);
    self->monitor(node);
    sched.run();
    return node;
  }
};

TEST_F(actors_node, enlists_with_the_kernel_set_of_its_run) {
  auto node = spawn(t.run);
  std::string kernels;
  ASSERT_TRUE(self->has_next_message());
  self->receive([&](enlist_atom, const msg<wire::Enlistment>& m, const node_actor&) -> std::uint64_t {
    kernels = serialization::read(m)->kernels;
    return 1;
  });
  EXPECT_EQ(kernels, t.run->kernels);
  self->send_exit(node, caf::exit_reason::user_shutdown);
  sched.run();
}

TEST_F(actors_node, does_not_enlist_where_the_kernel_set_of_its_run_cannot_run) {
  auto node = spawn(with_kernels(*t.run, "abacus"));
  ASSERT_TRUE(self->has_next_message());
  self->receive([&](caf::down_msg& down) {
    EXPECT_EQ(code_of(down.reason), ec::kernel_unavailable);
    EXPECT_NE(text_of(down.reason).find("abacus"), std::string::npos) << text_of(down.reason);
  });
  EXPECT_FALSE(self->has_next_message()) << "it enlisted";
}

/// Of a lease whose rows nobody gives it, unless it has the data.
TEST_F(actors_node, asks_for_rows_only_where_it_has_no_data) {
  auto first = first_version(*t.run);
  for (bool has_data : {true, false}) {
    auto node = spawn(t.run, has_data ? t.data : nullptr);
    std::size_t asked = 0, done = 0;
    auto settle = [&] {
      for (sched.run(); self->has_next_message(); sched.run())
        self->receive(
          [&](enlist_atom, const msg<wire::Enlistment>&, const node_actor&) -> std::uint64_t { return 1; },
          [&](credit_atom, std::uint64_t, std::uint32_t) {},
          [&](pull_atom, std::int64_t step, bool averaged, std::uint32_t chunk, std::uint32_t chunks) {
            return serialization::write_weights({step, averaged}, first->tensors.weights, chunk, chunks);
          },
          [&](rows_atom, const msg<wire::Rows>&) -> caf::result<msg<wire::RawRows>> {
            ++asked;
            return fail(ec::protocol, "none");
          },
          [&](done_atom, std::uint64_t, const msg<wire::Block>&) { ++done; }, [&](caf::down_msg&) {});
    };
    settle();
    serialization::lease l{.task = 1, .kind = model::lease_kind::train, .step = 0, .index = 0, .attempt = 0, .weights = {0, false},
                           .start = model::rung::fast, .rows = {0, 1}, .denominator = 2};
    self->send(node, lease_atom_v, std::uint64_t{1}, serialization::write(l));
    settle();
    EXPECT_EQ(asked > 0, !has_data);
    EXPECT_EQ(done, has_data ? 1u : 0u);
    self->send_exit(node, caf::exit_reason::user_shutdown);
    settle();
  }
}

} // namespace
} // namespace enn::actors::test
