/// Which leases of a task are waiting, out, or done: the broker's ledger, without actors.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace enn::actors {

class lease_book {
public:
  using node_epoch = std::uint64_t;
  using time = std::chrono::steady_clock::time_point;
  struct ticket {
    std::uint32_t index = 0, attempt = 0;
  };

  lease_book() = default;
  explicit lease_book(std::uint32_t leases) : entries_(leases), waiting_(leases) {}

  /// The lowest waiting lease that this node may have, now out there.
  std::optional<ticket> issue(node_epoch to, time now = {}) {
    while (first_waiting_ < entries_.size() && entries_[first_waiting_].where != waiting)
      ++first_waiting_;
    for (auto i = first_waiting_; i < entries_.size(); ++i) {
      auto& e = entries_[i];
      if (e.where != waiting || e.late_at == to)
        continue;
      e.where = to;
      e.since = now;
      --waiting_;
      return ticket{static_cast<std::uint32_t>(i), e.attempt};
    }
    return std::nullopt;
  }

  bool is_done(std::uint32_t index) const { return entries_[index].where == finished; }

  /// Counts each lease once, however often it is reported.
  void done(std::uint32_t first, std::uint32_t count) {
    for (auto i = first; i < first + count; ++i) {
      waiting_ -= entries_[i].where == waiting;
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
  void wait_again(std::uint32_t index) { put_back(index, nobody); }

  /// A lease that takes too long where it is: it waits for any other node. An answer from there still counts.
  void wait_elsewhere(std::uint32_t index) { put_back(index, entries_[index].where); }

  bool is_out(std::uint32_t index) const { return entries_[index].where != waiting && entries_[index].where != finished; }
  bool is_out_at(std::uint32_t index, node_epoch where) const { return entries_[index].where == where; }
  std::uint32_t out_at(node_epoch where) const {
    return static_cast<std::uint32_t>(std::count_if(entries_.begin(), entries_.end(), [&](const entry& e) { return e.where == where; }));
  }
  /// It took too long there, and nobody else has it yet.
  bool is_late_at(std::uint32_t index, node_epoch where) const {
    return entries_[index].where == waiting && entries_[index].late_at == where;
  }
  /// When and where it went out. Pre: is_out().
  time since(std::uint32_t index) const { return entries_[index].since; }
  node_epoch holder(std::uint32_t index) const { return entries_[index].where; }

  /// How often the lease failed, this time included; an attempt that a lost or a late node cost is no failure.
  std::uint32_t count_failure(std::uint32_t index) { return ++entries_[index].failures; }

  /// Whether nobody else will answer for the lease if this attempt, there, does not.
  bool is_awaited(std::uint32_t index, std::uint32_t attempt, node_epoch where) const {
    auto newest = entries_[index].attempt;
    return attempt == newest || (attempt + 1 == newest && is_late_at(index, where));
  }

  std::uint32_t attempt(std::uint32_t index) const { return entries_[index].attempt; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(entries_.size()); }
  std::uint32_t count_waiting() const { return static_cast<std::uint32_t>(waiting_); }
  std::uint32_t count_out() const { return static_cast<std::uint32_t>(entries_.size() - waiting_ - done_); }
  bool complete() const { return done_ == entries_.size(); }

private:
  static constexpr node_epoch waiting = 0, nobody = 0, finished = ~node_epoch{0}; // epochs count from 1
  struct entry {
    node_epoch where = waiting;
    node_epoch late_at = nobody; // not there again
    std::uint32_t attempt = 0, failures = 0;
    time since;
  };

  void put_back(std::uint32_t index, node_epoch late_at) {
    auto& e = entries_[index];
    done_ -= e.where == finished;
    waiting_ += e.where != waiting;
    e.where = waiting;
    e.late_at = late_at;
    ++e.attempt;
    first_waiting_ = std::min<std::size_t>(first_waiting_, index);
  }

  std::vector<entry> entries_;
  std::size_t first_waiting_ = 0, waiting_ = 0, done_ = 0;
};

} // namespace enn::actors
