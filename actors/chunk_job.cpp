#include <enn/actors/chunk_job.hpp>

#include <thread>

namespace enn::actors {

struct chunk_job::loop {
  std::int64_t count;
  work what;
  std::atomic<std::int64_t> begun = 0, done = 0;

  /// Does chunks until none is left to begin. Who comes too late finds nothing to do.
  void help() {
    for (auto i = begun++; i < count; i = begun++) {
      what(i);
      if (++done == count)
        done.notify_all();
    }
  }
};

void chunk_job::run(std::int64_t count, const work& w) {
  auto now = std::make_shared<loop>(count, w);
  {
    std::lock_guard guard{changing_};
    current_ = now;
    ++changes_;
  }
  changed_.notify_all();
  now->help();
  for (auto done = now->done.load(); done < count; done = now->done.load())
    now->done.wait(done);
}

void chunk_job::close() {
  {
    std::lock_guard guard{changing_};
    current_ = nullptr;
    ++changes_;
  }
  changed_.notify_all();
}

std::shared_ptr<chunk_job::loop> chunk_job::next(std::uint64_t& seen) {
  constexpr int looks = 100; // some ten microseconds: the owner's next loop is not far, and to be woken takes longer
  for (int i = 0; i < looks && changes_ == seen; ++i)
    std::this_thread::yield();
  std::unique_lock lock{changing_};
  changed_.wait(lock, [&] { return changes_ != seen; });
  seen = changes_;
  return current_;
}

void chunk_job::help() {
  std::uint64_t seen = 0; // a job that nobody was invited to has no changes
  while (auto one = next(seen))
    one->help();
}

void shared_loops::run(std::int64_t count, const chunk_job::work& w) {
  if (!job_ && count < least_)
    return model::one_by_one(count, w);
  if (!job_) {
    job_ = std::make_shared<chunk_job>();
    invite_(job_);
  }
  job_->run(count, w);
}

void shared_loops::close() {
  if (job_)
    job_->close();
  job_ = nullptr;
}

} // namespace enn::actors
