// The node against a broker that the test plays: kernel sets, fences, leases that fail, blocks that are offered.
#include "fixture.hpp"

#include <enn/actors/node.hpp>

#include <set>

namespace enn::actors::test {
namespace {

struct actors_node : one_thread {
  tiny t = make_tiny();
  policy rules = rules_of_one();

  node_actor spawn(run_ptr run) { return spawn(std::move(run), t.data); }
  node_actor spawn(run_ptr run, data_ptr data, bool remote = false) {
    auto helpers = std::make_shared<crew>(rules.shared_chunks);
    node_setup setup{"local", "a", std::move(run), std::move(data), std::move(helpers), 2, remote};
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
TEST_F(actors_node, asks_for_rows_only_where_it_has_no_data_and_enlists_anew_when_it_gets_none) {
  auto first = first_version(*t.run);
  for (bool has_data : {true, false}) {
    auto node = spawn(t.run, has_data ? t.data : nullptr);
    std::size_t enlisted = 0, asked = 0, done = 0;
    auto settle = [&] {
      for (sched.run(); self->has_next_message(); sched.run())
        self->receive(
          [&](enlist_atom, const msg<wire::Enlistment>&, const node_actor&) -> std::uint64_t { return ++enlisted; },
          [&](credit_atom, std::uint64_t, std::uint32_t) {}, [&](beat_atom, std::uint64_t) {},
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
    sched.advance_time(rules.beat);
    settle();
    EXPECT_EQ(enlisted, has_data ? 1u : 2u) << "so that others get the lease";
    asked = 0;
    self->send(node, lease_atom_v, std::uint64_t{enlisted}, serialization::write(l));
    settle();
    EXPECT_EQ(asked > 0, !has_data) << "it does not wait for those that it was not given";
    self->send_exit(node, caf::exit_reason::user_shutdown);
    settle();
  }
}

/// A node of another process whose blocks are all too large for a message.
struct actors_remote_node : actors_node {
  std::uint64_t epoch = 0;             // that it was told last
  std::vector<std::uint64_t> offered;  // numbers
  std::uint32_t room = 0;              // that it gave last
  std::set<std::uint32_t> cursed;      // leases that every worker dies of
  int failures = 0;
  node_actor node;

  actors_remote_node() {
    rules.bulk_bytes = 1;
    rules.faults = [this](std::uint64_t, const serialization::lease& l) { return cursed.contains(l.index); };
    node = spawn(t.run, t.data, true);
    settle();
  }
  ~actors_remote_node() override {
    self->send_exit(node, caf::exit_reason::user_shutdown);
    sched.run();
  }

  void settle() {
    for (sched.run(); self->has_next_message(); sched.run())
      self->receive([&](enlist_atom, const msg<wire::Enlistment>&, const node_actor&) { return ++epoch; },
                    [&](credit_atom, std::uint64_t, std::uint32_t leases) { room = leases; }, [&](beat_atom, std::uint64_t) {},
                    [&](failed_atom, std::uint64_t, const msg<wire::Failure>&) { ++failures; },
                    [&](pull_atom, std::int64_t step, bool averaged, std::uint32_t chunk,
                        std::uint32_t chunks) -> caf::result<msg<wire::Weights>> {
                      if (step > 0)
                        return fail(ec::protocol, "they are gone");
                      return serialization::write_weights({step, averaged}, first_version(*t.run)->tensors.weights, chunk, chunks);
                    },
                    [&](offer_atom, std::uint64_t, std::uint64_t number, const msg<wire::Block>&) { offered.push_back(number); });
  }
  void send_lease(std::uint64_t task, std::uint64_t under, std::int64_t step = 0, std::uint32_t index = 0) {
    serialization::lease l{.task = task, .kind = model::lease_kind::train, .step = step, .index = index, .attempt = 0,
                           .weights = {step, false}, .start = model::rung::fast,
                           .rows = {t.data->row(model::part::train, 0)}, .denominator = 1};
    self->send(node, lease_atom_v, under, serialization::write(l));
  }
  void compute(std::uint64_t task) {
    send_lease(task, epoch);
    settle();
  }
  bool has(std::uint64_t number) {
    bool found = false;
    auto handle = self->request(node, caf::infinite, fetch_atom_v, number, std::uint32_t{0});
    sched.run();
    handle.receive([&](const msg<wire::Piece>&) { found = true; }, [](const caf::error& e) { EXPECT_EQ(code_of(e), ec::protocol); });
    return found;
  }
};

TEST_F(actors_remote_node, keeps_a_block_until_a_newer_task_begins) {
  compute(1);
  ASSERT_EQ(offered.size(), 1u);
  EXPECT_TRUE(has(offered[0]));
  EXPECT_TRUE(has(offered[0])) << "a piece may be asked for again";
  compute(2);
  ASSERT_EQ(offered.size(), 2u);
  EXPECT_FALSE(has(offered[0]));
  EXPECT_TRUE(has(offered[1]));
}

TEST_F(actors_remote_node, enlists_anew_when_its_own_epoch_is_fenced_and_forgets_what_it_offered) {
  compute(1);
  ASSERT_EQ(offered.size(), 1u);
  self->send(node, fence_atom_v, epoch + 1); // not its own
  settle();
  EXPECT_EQ(epoch, 1u);
  EXPECT_TRUE(has(offered[0]));
  self->send(node, fence_atom_v, epoch);
  settle();
  EXPECT_EQ(epoch, 2u);
  EXPECT_FALSE(has(offered[0]));
}

TEST_F(actors_remote_node, computes_no_lease_of_another_epoch) {
  send_lease(1, epoch + 1);
  settle();
  EXPECT_TRUE(offered.empty());
}

TEST_F(actors_remote_node, gives_a_lease_back_whose_weights_are_gone) {
  for (int time = 1; time <= 2; ++time) {
    room = 0;
    send_lease(1, epoch, 7);
    settle();
    EXPECT_EQ(failures, time);
    EXPECT_EQ(room, 1u);
  }
}

TEST_F(actors_remote_node, forgets_a_lease_that_waits_for_weights_when_it_enlists_anew) {
  send_lease(1, epoch);
  self->send(node, fence_atom_v, epoch); // it takes both before it is sent any weights
  settle();
  EXPECT_EQ(epoch, 2u);
  EXPECT_TRUE(offered.empty()) << "another node has it, and this one promised its room";
}

TEST_F(actors_remote_node, keeps_no_block_for_a_sibling_that_failed) {
  cursed = {1};
  send_lease(1, epoch, 0, 0);
  send_lease(1, epoch, 0, 1);
  settle();
  EXPECT_EQ(failures, 1);
  EXPECT_EQ(offered.size(), 1u);
}

TEST_F(actors_remote_node, gives_the_room_of_leases_that_waited_for_a_worker_when_a_newer_task_begins) {
  cursed = {0};
  compute(1);
  ASSERT_EQ(failures, 1) << "no worker is left until time passes";
  send_lease(1, epoch, 0, 1);
  settle();
  room = 0;
  send_lease(2, epoch, 0, 1);
  settle();
  EXPECT_EQ(room, 1u);
}

TEST_F(actors_remote_node, gives_only_the_room_that_is_left_when_it_enlists_anew) {
  EXPECT_EQ(room, 4u);
  compute(1); // and has the weights
  send_lease(2, epoch);
  self->send(node, fence_atom_v, epoch);
  while (!self->has_next_message()) // the node takes both; nothing is computed yet
    sched.run_once();
  self->receive([&](enlist_atom, const msg<wire::Enlistment>&, const node_actor&) { return ++epoch; },
                [&](credit_atom, std::uint64_t, std::uint32_t) { ADD_FAILURE() << "it was computed"; });
  while (!self->has_next_message())
    sched.run_once();
  self->receive([&](credit_atom, std::uint64_t, std::uint32_t leases) { room = leases; });
  EXPECT_EQ(room, 3u);
}

} // namespace
} // namespace enn::actors::test
