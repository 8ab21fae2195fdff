/// Workers without a lease, and the loops over chunks that they help with. It must not matter who does which chunk.
#pragma once
#include <enn/model/operators/helpers.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

namespace enn::actors {

/// One a process, shared by the supervisor, who says which workers help, and by all that have loops. Any thread.
///
/// Helpers wait here, not in their mailboxes: a loop takes about as long as a message to a worker that sleeps.
class crew final : public model::helpers {
public:
  using work = std::function<void(std::int64_t chunk)>; // does not throw; any thread, several at once

  /// A loop of fewer than `least` chunks is not worth sharing.
  explicit crew(std::int64_t least) : least_(least) {}

  /// Does `count` chunks with those who are here. Nobody does any work of this loop after it. Of two loops at once, helpers take the
  /// one that began last.
  void run(std::int64_t count, const work& w) override;
  bool are_there() const override { return here_ > 0; }

  /// From one dismiss() to the next.
  using watch = std::uint64_t;
  watch now() const { return watch_; }
  /// A worker's: helps until this watch ends; not at all if it is over.
  void help(watch w);
  /// Ends the watch. Its helpers return from help() as soon as they have done the chunks they are at.
  void dismiss();

private:
  struct loop;
  std::shared_ptr<loop> next(watch w, std::uint64_t& seen);
  void set(std::shared_ptr<loop> current);

  const std::int64_t least_;
  std::mutex changing_;
  std::condition_variable changed_;
  std::atomic<std::uint64_t> changes_ = 1; // of what follows
  std::atomic<watch> watch_ = 0;
  std::atomic<int> here_ = 0;              // helpers, busy ones too
  std::shared_ptr<loop> current_;          // null: none
};
using crew_ptr = std::shared_ptr<crew>;

} // namespace enn::actors
