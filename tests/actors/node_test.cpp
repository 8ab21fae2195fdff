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

  node_actor spawn(run_ptr run) {
    node_setup setup{"local", "a", std::move(run), t.data, 2};
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

} // namespace
} // namespace enn::actors::test
