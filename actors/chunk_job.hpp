/// Work cut into chunks, for whoever has time: its owner, and the workers that hear of it. It must not matter who does which.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace enn::actors {

class chunk_job {
public:
  using work = std::function<void(std::int64_t chunk)>; // does not throw; any thread, several at once

  chunk_job(std::int64_t count, work w) : count_(count), work_(std::move(w)) {}

  /// Does chunks until none is left to begin. Who comes too late finds nothing to do.
  void help() {
    for (auto i = begun_++; i < count_; i = begun_++) {
      work_(i);
      if (++done_ == count_)
        done_.notify_all();
    }
  }

  /// The owner's: helps, and waits for the chunks that others are at. Nobody does any work after it.
  void finish() {
    help();
    for (auto done = done_.load(); done < count_; done = done_.load())
      done_.wait(done);
  }

private:
  std::int64_t count_;
  work work_;
  std::atomic<std::int64_t> begun_ = 0, done_ = 0;
};

/// A model::chunk_loop whose caller does the chunks with those whom `invite` tells of the job. Less than `least` are not worth it.
template <class Invite>
auto shared_loop(std::int64_t least, Invite invite) {
  return [=](std::int64_t count, const chunk_job::work& f) {
    auto job = std::make_shared<chunk_job>(count, f);
    if (count >= least)
      invite(job);
    job->finish();
  };
}

} // namespace enn::actors
