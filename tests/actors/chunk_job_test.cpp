#include <enn/actors/chunk_job.hpp>

#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <vector>

namespace enn::actors {
namespace {

/// Helpers as threads, that are invited as workers are.
struct crew {
  explicit crew(std::size_t helpers) : helpers_(helpers) {}
  ~crew() {
    for (auto& one : threads_)
      one.join();
  }
  void invite(const std::shared_ptr<chunk_job>& job) {
    ++invitations;
    for (std::size_t i = 0; i < helpers_; ++i)
      threads_.emplace_back([job] { job->help(); });
  }
  int invitations = 0;

private:
  std::size_t helpers_;
  std::vector<std::thread> threads_;
};

TEST(chunk_job, does_every_chunk_of_every_loop_once) {
  crew c{3};
  shared_loops shared{4, [&](const auto& job) { c.invite(job); }};
  auto each = shared.each();
  for (int round = 0; round < 20; ++round) {
    for (std::int64_t count = 4; count < 200; ++count) {
      std::vector<std::atomic<int>> times(static_cast<std::size_t>(count));
      each(count, [&](std::int64_t i) { ++times[static_cast<std::size_t>(i)]; });
      for (const auto& t : times)
        ASSERT_EQ(t, 1) << "in a loop of " << count;
    }
    shared.close();
  }
  EXPECT_EQ(c.invitations, 20) << "once a job, however many loops it has";
}

TEST(chunk_job, invites_nobody_to_few_chunks) {
  crew c{1};
  shared_loops shared{4, [&](const auto& job) { c.invite(job); }};
  int done = 0;
  shared.each()(3, [&](std::int64_t) { ++done; });
  EXPECT_EQ(done, 3);
  EXPECT_EQ(c.invitations, 0);
}

TEST(chunk_job, is_done_by_its_owner_if_nobody_comes) {
  std::shared_ptr<chunk_job> invited;
  std::optional<shared_loops> shared;
  shared.emplace(1, [&](const auto& job) { invited = job; });
  int done = 0;
  for (int loop = 0; loop < 3; ++loop)
    shared->each()(5, [&](std::int64_t) { ++done; });
  EXPECT_EQ(done, 15);
  shared.reset(); // its owner is gone
  invited->help();
  EXPECT_EQ(done, 15) << "who comes too late has nothing to do";
}

} // namespace
} // namespace enn::actors
