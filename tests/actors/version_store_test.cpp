// Whose memory the next version takes, and which weights are given out.
#include <enn/actors/version_store.hpp>

#include <gtest/gtest.h>

namespace enn::actors {
namespace {

using serialization::all_chunks, serialization::flat_vector, serialization::msg;

constexpr std::size_t many = 100'000; // floats, of an even number: messages refer to them

std::shared_ptr<training_version> version_of(std::int64_t step) {
  auto v = std::make_shared<training_version>();
  v->state.step = step;
  v->tensors.weights.assign(many, static_cast<float>(step));
  return v;
}

/// As an optimizer step does.
const float* advance(version_store& versions) {
  auto next = versions.successor();
  ++next->state.step;
  next->tensors.weights.assign(many, static_cast<float>(next->state.step));
  auto* place = next->tensors.weights.data();
  versions.advance(std::move(next));
  return place;
}

flat_vector weights_in(const msg<wire::Weights>& m, std::int64_t step) {
  flat_vector found;
  EXPECT_TRUE(serialization::read_weights(m, {step, false}, many, found));
  return found;
}

TEST(version_store, takes_the_memory_of_a_version_that_nobody_holds) {
  version_store versions{version_of(0)};
  auto* first = versions.current().tensors.weights.data();
  advance(versions);
  EXPECT_EQ(advance(versions), first);
}

TEST(version_store, leaves_a_version_alone_that_somebody_holds) {
  version_store versions{version_of(0)};
  auto held = versions.share();
  for (int i = 0; i < 5; ++i)
    EXPECT_NE(advance(versions), held->tensors.weights.data());
  EXPECT_EQ(held->tensors.weights, std::vector<float>(many, 0));
}

TEST(version_store, leaves_weights_alone_that_a_reader_of_their_message_looks_at) {
  version_store versions{version_of(0)};
  for (int round = 0; round < 10; ++round) { // as the nodes of this process: they hold the weights of two versions
    std::vector<flat_vector> seen;
    auto first = versions.current().state.step;
    for (std::int64_t step = first; step < first + 2; ++step) {
      auto m = versions.weights({step, false}, 0, all_chunks);
      ASSERT_TRUE(m);
      seen.push_back(weights_in(*m, step));
      EXPECT_EQ(seen.back().view().data(), versions.current().tensors.weights.data()); // nothing was copied
      advance(versions);
    }
    advance(versions);
    EXPECT_EQ(seen[0], std::vector<float>(many, static_cast<float>(first)));
    EXPECT_EQ(seen[1], std::vector<float>(many, static_cast<float>(first + 1)));
  }
}

TEST(version_store, gives_out_the_version_before_only_to_who_may_have_one_message_for_all) {
  version_store versions{version_of(4)};
  auto m = versions.weights({4, false}, 0, all_chunks);
  advance(versions);
  auto again = versions.weights({4, false}, 0, all_chunks);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->data().segments().begin(), m->data().segments().begin());
  auto piece = versions.weights({4, false}, 0, 1);
  ASSERT_FALSE(piece);
  EXPECT_EQ(text_of(piece.error()), "weights of step 4 are gone; this is step 5");
  EXPECT_TRUE(versions.weights({5, false}, 0, 1));
  EXPECT_EQ(text_of(versions.weights({5, false}, 9, 1).error()), "weights have no chunk 9");
}

TEST(version_store, keeps_the_tensors_when_the_state_changes) {
  version_store versions{version_of(3)};
  auto before = versions.share();
  auto state = before->state;
  state.best_step = 3;
  versions.set_state(state);
  EXPECT_EQ(versions.current().state.best_step, 3);
  EXPECT_EQ(versions.current().tensors.weights, before->tensors.weights);
  EXPECT_NE(before->state.best_step, 3);
}

} // namespace
} // namespace enn::actors
