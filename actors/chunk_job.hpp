/// Work cut into chunks, for whoever has time: its owner, and the workers that hear of it. It must not matter who does which.
#pragma once
#include <enn/model/training/trainer.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

namespace enn::actors {

/// Loops over chunks, one after the other. Who helps stays until the owner closes the job: told of each loop, helpers would come when
/// it is over, as a message to a worker takes about as long as a loop.
class chunk_job {
public:
  using work = std::function<void(std::int64_t chunk)>; // does not throw; any thread, several at once

  /// The owner's: does `count` chunks with those who help. Nobody does any work of this loop after it.
  void run(std::int64_t count, const work& w);
  /// The owner's: no loop comes any more.
  void close();
  /// Takes part in every loop until the job is closed; at once if it is.
  void help();

private:
  struct loop;
  std::shared_ptr<loop> next(std::uint64_t& seen);

  std::mutex changing_;
  std::condition_variable changed_;
  std::atomic<std::uint64_t> changes_ = 0;
  std::shared_ptr<loop> current_; // null before the first, and once closed
};

/// A model::chunk_loop whose caller does the chunks with those whom it invites to a job, at the first loop that has `least` chunks. The
/// job lasts until it is closed, which its owner does before it waits for anything.
class shared_loops {
public:
  using invitation = std::function<void(const std::shared_ptr<chunk_job>&)>;

  shared_loops(std::int64_t least, invitation invite) : least_(least), invite_(std::move(invite)) {}
  shared_loops(const shared_loops&) = delete;
  shared_loops& operator=(const shared_loops&) = delete;
  ~shared_loops() { close(); }

  model::chunk_loop each() {
    return [this](std::int64_t count, const chunk_job::work& w) { run(count, w); };
  }
  void close();

private:
  void run(std::int64_t count, const chunk_job::work& w);

  std::int64_t least_;
  invitation invite_;
  std::shared_ptr<chunk_job> job_; // null: nobody is invited
};

} // namespace enn::actors
