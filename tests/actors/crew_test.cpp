#include <enn/actors/crew.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

namespace enn::actors {
namespace {

/// Threads that help, as workers do, until they are dismissed at its end.
struct helping {
  helping(crew& c, std::size_t count) : with(c) {
    for (std::size_t i = 0; i < count; ++i)
      threads.emplace_back([&c, watch = c.now()] { c.help(watch); });
  }
  ~helping() { with.dismiss(); }
  crew& with;
  std::vector<std::jthread> threads;
};

void expect_every_chunk_once(crew& c, std::int64_t count) {
  std::vector<std::atomic<int>> times(static_cast<std::size_t>(count));
  c.run(count, [&](std::int64_t i) { ++times[static_cast<std::size_t>(i)]; });
  for (const auto& t : times)
    ASSERT_EQ(t, 1) << "in a loop of " << count;
}

TEST(crew, does_every_chunk_of_every_loop_once) {
  crew c{4};
  for (int watch = 0; watch < 20; ++watch) {
    helping three{c, 3};
    for (std::int64_t count = 0; count < 200; ++count)
      expect_every_chunk_once(c, count);
  }
}

TEST(crew, does_the_loops_of_two_at_once) {
  crew c{1};
  helping two{c, 2};
  std::jthread other{[&] {
    for (std::int64_t count = 1; count < 300; ++count)
      expect_every_chunk_once(c, count);
  }};
  for (std::int64_t count = 300; count > 0; --count)
    expect_every_chunk_once(c, count);
  other.join();
}

TEST(crew, helps_with_a_loop_that_comes_while_it_sleeps) {
  crew c{1};
  helping one{c, 1};
  for (int loop = 0; loop < 3; ++loop) {
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
    std::atomic<int> met = 0;
    c.run(2, [&](std::int64_t) { // each chunk waits for the other, so that two must do them
      for (++met; met < 2;)
        std::this_thread::yield();
    });
    EXPECT_EQ(met, 2);
  }
}

TEST(crew, does_without_those_who_do_not_come) {
  crew c{1};
  expect_every_chunk_once(c, 5);
  auto over = c.now();
  c.dismiss();
  c.help(over); // returns: its watch is over
  expect_every_chunk_once(c, 5);
}

TEST(crew, shares_no_loop_of_few_chunks) {
  crew c{3};
  helping one{c, 1};
  auto owner = std::this_thread::get_id();
  for (int loop = 0; loop < 100; ++loop)
    c.run(2, [&](std::int64_t) { EXPECT_EQ(std::this_thread::get_id(), owner); });
}

} // namespace
} // namespace enn::actors
