// Sibling sums and the lease ledger, without actors.
#include <enn/actors/block_tree.hpp>
#include <enn/actors/lease_book.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace enn::actors {
namespace {

block leaf(std::uint32_t index) {
  block b;
  b.first = index;
  b.rungs = {model::rung::fast};
  b.losses = {0.1 * (index + 1)};
  b.numbers.edit() = {1.0f / static_cast<float>(index + 3), 1e8f * (index % 2 ? -1.0f : 1.0f)}; // the order of additions shows
  return b;
}

TEST(block_tree, sums_to_the_same_bits_in_any_order_of_arrival) {
  std::vector<std::uint32_t> order(8);
  for (std::uint32_t i = 0; i < 8; ++i)
    order[i] = i;
  block_tree reference{8};
  for (auto i : order)
    reference.put(leaf(i));
  ASSERT_TRUE(reference.complete());
  std::mt19937 random{1};
  for (int round = 0; round < 200; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    block_tree tree{8};
    for (auto i : order) {
      EXPECT_FALSE(tree.complete());
      EXPECT_EQ(tree.put(leaf(i)), block_tree::verdict::taken);
    }
    ASSERT_TRUE(tree.complete());
    EXPECT_EQ(serialization::hash_of(tree.blocks().at(0)), serialization::hash_of(reference.blocks().at(0)));
  }
}

TEST(block_tree, never_adds_across_a_hole) {
  block_tree tree{8};
  for (auto i : {1u, 2u, 5u, 6u}) // neighbours, but no siblings
    tree.put(leaf(i));
  EXPECT_EQ(tree.blocks().size(), 4u);
  tree.put(leaf(0));
  tree.put(leaf(3));
  EXPECT_EQ(tree.blocks().size(), 3u); // 0-3, 5, 6
  EXPECT_EQ(tree.blocks().at(0).count, 4u);
}

TEST(block_tree, a_containing_block_replaces_what_it_contains_and_ignores_it_later) {
  block_tree pair{8}, tree{8};
  pair.put(leaf(2));
  pair.put(leaf(3));
  tree.put(leaf(2));
  EXPECT_EQ(tree.put(pair.blocks().at(2)), block_tree::verdict::taken);
  EXPECT_EQ(tree.blocks().size(), 1u);
  EXPECT_EQ(tree.put(leaf(3)), block_tree::verdict::contained);
  EXPECT_EQ(tree.put(leaf(2)), block_tree::verdict::contained);
  EXPECT_EQ(tree.put(pair.blocks().at(2)), block_tree::verdict::contained);
  EXPECT_EQ(tree.blocks().size(), 1u);
}

TEST(block_tree, the_same_range_with_other_bits_is_a_conflict_and_both_are_dropped) {
  block_tree tree{4};
  tree.put(leaf(2));
  auto other = leaf(2);
  other.numbers.edit()[0] += 1;
  EXPECT_EQ(tree.put(other), block_tree::verdict::conflict);
  EXPECT_FALSE(tree.covers(2));
}

TEST(block_tree, another_rung_is_no_conflict) {
  block_tree tree{4};
  tree.put(leaf(2));
  auto other = leaf(2);
  other.rungs = {model::rung::master};
  other.numbers.edit()[0] += 1;
  EXPECT_EQ(tree.put(other), block_tree::verdict::contained);
}

TEST(block_tree, sends_on_only_what_will_not_find_its_sibling_here) {
  block_tree tree{8};
  for (auto i : {0u, 1u, 2u, 4u})
    tree.put(leaf(i));
  auto three_is_coming = [](std::uint32_t i) { return i == 3; };
  auto sent = tree.take_alone(three_is_coming);
  ASSERT_EQ(sent.size(), 1u); // 4: nobody here computes 5
  EXPECT_EQ(sent[0].first, 4u);
  tree.put(leaf(3));
  sent = tree.take_alone([](std::uint32_t) { return false; });
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].count, 4u);
  EXPECT_TRUE(tree.blocks().empty());
}

TEST(block_tree, health_and_rungs_stay_in_the_order_of_leases) {
  block_tree tree{2};
  auto late = leaf(1), early = leaf(0);
  late.health = {2, "late", true, false, 7};
  early.health = {1, "early", true, true, 9};
  late.rungs = {model::rung::master};
  tree.put(late);
  tree.put(early);
  const auto& sum = tree.blocks().at(0);
  EXPECT_EQ(sum.health.nonfinite, 3);
  EXPECT_EQ(sum.health.first_node, "early");
  EXPECT_FALSE(sum.health.parameters_finite);
  EXPECT_EQ(sum.health.largest, 9);
  EXPECT_EQ(sum.rungs, (std::vector{model::rung::fast, model::rung::master}));
}

TEST(lease_book, gives_each_lease_once_until_it_is_released) {
  lease_book book{3};
  EXPECT_EQ(book.issue(1)->index, 0u);
  EXPECT_EQ(book.issue(2)->index, 1u);
  EXPECT_EQ(book.issue(1)->index, 2u);
  EXPECT_FALSE(book.issue(1));
  book.done(2, 1);
  EXPECT_EQ(book.release(1), 1u); // lease 0; lease 2 is done
  auto again = book.issue(2);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->index, 0u);
  EXPECT_EQ(again->attempt, 1u);
  book.done(0, 2);
  book.done(0, 2); // a duplicate
  EXPECT_TRUE(book.complete());
}

} // namespace
} // namespace enn::actors
