/// Which leases of a task are waiting, out, or done: the broker's ledger, without actors.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

namespace enn::actors {

class lease_book {
public:
  using node_epoch = std::uint64_t;
  struct ticket {
    std::uint32_t index = 0, attempt = 0;
  };

  lease_book() = default;
  explicit lease_book(std::uint32_t leases) : entries_(leases) {}

  /// The lowest waiting lease, now out at this node.
  std::optional<ticket> issue(node_epoch to) {
    for (; first_waiting_ < entries_.size(); ++first_waiting_) {
      auto& e = entries_[first_waiting_];
      if (e.where == waiting) {
        e.where = to;
        return ticket{static_cast<std::uint32_t>(first_waiting_), e.attempt};
      }
    }
    return std::nullopt;
  }

  bool is_done(std::uint32_t index) const { return entries_[index].where == finished; }

  /// Counts each lease once, however often it is reported.
  void done(std::uint32_t first, std::uint32_t count) {
    for (auto i = first; i < first + count; ++i) {
      done_ += entries_[i].where != finished;
      entries_[i].where = finished;
    }
  }

  /// All leases that are out at this node wait again, under the next attempt. Answers how many.
  std::uint32_t release(node_epoch from) {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < entries_.size(); ++i)
      if (entries_[i].where == from) {
        wait_again(i);
        ++count;
      }
    return count;
  }

  /// A lease whose results were refused, or that failed there.
  void wait_again(std::uint32_t index) {
    auto& e = entries_[index];
    done_ -= e.where == finished;
    e.where = waiting;
    ++e.attempt;
    if (index < first_waiting_)
      first_waiting_ = index;
  }

  std::uint32_t attempt(std::uint32_t index) const { return entries_[index].attempt; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(entries_.size()); }
  bool complete() const { return done_ == entries_.size(); }

private:
  static constexpr node_epoch waiting = 0, finished = ~node_epoch{0}; // epochs count from 1
  struct entry {
    node_epoch where = waiting;
    std::uint32_t attempt = 0;
  };
  std::vector<entry> entries_;
  std::size_t first_waiting_ = 0, done_ = 0;
};

} // namespace enn::actors
