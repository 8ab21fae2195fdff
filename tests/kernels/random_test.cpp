#include "arrays.hpp"

#include <set>

namespace enn::kernels::test {
namespace {

TEST(philox, matches_the_published_vectors) { // Random123, kat_vectors, "philox4x32 10"
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (philox_counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (philox_counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (philox_counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(random_draws, follow_from_their_place_and_differ_between_places) {
  std::set<std::uint32_t> seen;
  for (const std::uint64_t high : {std::uint64_t(0), std::uint64_t(1) << 40})
    for (std::uint64_t i = 0; i < 4; ++i)
      for (const random_place& place : {random_place{.seed = i + 1 + high},
                                        {.step = i + 10 + high},
                                        {.row = i + 20 + high},
                                        {.purpose = std::uint32_t(i + 30 + (high >> 32))}})
        for (const std::uint64_t element : {i + 4, i + 400, i + high + 8}) {
          EXPECT_TRUE(seen.insert(random_bits(place, element)).second);
          EXPECT_EQ(random_bits(place, element), random_bits(place, element));
        }
}

TEST(random_draws, stay_what_they_are) { // a changed value here would change every stored run
  const random_place place{.seed = 1, .step = 2, .row = 3, .purpose = 4};
  EXPECT_EQ(random_bits(place, 5), philox4x32({1, 3, 2, 4}, {1, 0})[1]);
  EXPECT_EQ(purpose_hash(""), 0x811c9dc5u);
  EXPECT_EQ(purpose_hash("a"), 0xe40c292cu);
  EXPECT_EQ(purpose_hash("foobar"), 0xbf9cf968u);
}

TEST(random_draws, are_uniform) {
  double sum = 0, squares = 0;
  constexpr int n = 100000;
  for (std::uint64_t i = 0; i < n; ++i) {
    const double u = random_uniform({.seed = 7}, i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / n, 0.5, 0.004);
  EXPECT_NEAR(squares / n, 1.0 / 3, 0.004);
}

TEST(random_draws, are_normal_by_the_inverse_of_the_distribution) {
  double sum = 0, squares = 0;
  constexpr int n = 100000;
  for (std::uint64_t i = 0; i < n; ++i) {
    const random_place place{.seed = 8};
    const double z = random_normal(place, i);
    const double p = (random_bits(place, i) + 0.5) * 0x1p-32;
    const double tail = z < 0 ? p : 1 - p; // compared in the tail, where digits are not lost
    ASSERT_NEAR(0.5 * std::erfc(std::fabs(z) / std::sqrt(2.0)) / tail, 1, 1e-9);
    sum += z;
    squares += z * z;
  }
  EXPECT_NEAR(sum / n, 0, 0.01);
  EXPECT_NEAR(squares / n, 1, 0.02);
}

TEST(dropout, keeps_what_single_draws_would_keep) {
  const random_place place{.seed = 9, .step = 1, .row = 2, .purpose = 3};
  for (const kernel_set& set : kernel_sets()) {
    if (!set.refusal.empty())
      continue;
    for (const double probability : {0.0, 0.1, 0.5, 1.0})
      for (const std::int64_t n : sizes) {
        guarded keep(numbers(n, 1));
        set.table->dropout_scales(place, n, probability, keep.data());
        EXPECT_TRUE(keep.intact());
        for (std::size_t i = 0; i < keep.size(); ++i)
          ASSERT_EQ(keep.data()[i], random_uniform(place, i) < probability ? 0.0f : float(1 / (1 - probability)))
            << set.name << " " << probability << " " << i;
      }
  }
}

TEST(dropout, drops_at_the_asked_rate) {
  std::vector<double> keep(100000);
  reference_kernels<double>().dropout_scales({.seed = 10}, std::int64_t(keep.size()), 0.2, keep.data());
  EXPECT_NEAR(double(std::count(keep.begin(), keep.end(), 0.0)) / double(keep.size()), 0.2, 0.005);
  EXPECT_EQ(*std::max_element(keep.begin(), keep.end()), 1.25);
}

TEST(permutation, hits_every_element_once) {
  for (const std::uint64_t size : {1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4097}) {
    std::vector<bool> hit(size, false);
    for (std::uint64_t i = 0; i < size; ++i) {
      const std::uint64_t to = permute(i, size, 11, 3);
      ASSERT_LT(to, size);
      ASSERT_FALSE(hit[to]) << size;
      hit[to] = true;
    }
  }
}

TEST(permutation, differs_between_seeds_and_epochs_and_from_order) {
  const auto fixed_points = [](auto f, auto g) {
    int same = 0;
    for (std::uint64_t i = 0; i < 1000; ++i)
      same += f(i) == g(i);
    return same;
  };
  const auto by = [](std::uint64_t seed, std::uint64_t epoch) { return [=](std::uint64_t i) { return permute(i, 1000, seed, epoch); }; };
  const auto order = [](std::uint64_t i) { return i; };
  EXPECT_LT(fixed_points(by(1, 0), order), 10); // one expected
  EXPECT_LT(fixed_points(by(1, 0), by(1, 1)), 10);
  EXPECT_LT(fixed_points(by(1, 0), by(2, 0)), 10);
  EXPECT_LT(fixed_points(by(0, 0), order), 10);
}

TEST(permutation, spreads_neighbours_evenly) {
  constexpr std::uint64_t size = 100000;
  double sum = 0;
  for (std::uint64_t i = 0; i < 1000; ++i)
    sum += double(permute(i, size, 5, 0));
  EXPECT_NEAR(sum / 1000 / size, 0.5, 0.04);
}

} // namespace
} // namespace enn::kernels::test
