#include <enn/actors/crew.hpp>

#include <chrono>
#include <thread>

namespace enn::actors {
namespace {

/// So long a helper looks for the next loop before it sleeps: at the end of a step they follow each other closely, and to be woken takes
/// longer than many a loop.
constexpr std::chrono::microseconds patience{500};

} // namespace

struct crew::loop {
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

void crew::run(std::int64_t count, const work& w) {
  if (count < least_)
    return model::share(nullptr, count, w);
  auto mine = std::make_shared<loop>(count, w);
  set(mine);
  mine->help();
  for (auto done = mine->done.load(); done < count; done = mine->done.load())
    mine->done.wait(done);
}

void crew::set(std::shared_ptr<loop> current) {
  {
    std::lock_guard guard{changing_};
    current_ = std::move(current);
    ++changes_;
  }
  changed_.notify_all();
}

void crew::help(watch w) {
  std::uint64_t seen = 0;
  ++here_;
  while (auto one = next(w, seen))
    one->help();
  --here_;
}

std::shared_ptr<crew::loop> crew::next(watch w, std::uint64_t& seen) {
  for (;;) {
    for (auto until = std::chrono::steady_clock::now() + patience; changes_ == seen && std::chrono::steady_clock::now() < until;)
      std::this_thread::yield();
    std::unique_lock lock{changing_};
    changed_.wait(lock, [&] { return changes_ != seen; });
    seen = changes_;
    if (watch_ != w)
      return nullptr;
    if (current_)
      return current_;
  }
}

void crew::dismiss() {
  ++watch_;
  set(nullptr);
}

} // namespace enn::actors
