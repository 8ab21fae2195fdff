/// The nodes that a broker knows, by the epoch of their enlistment: who has room, who is silent, who is to leave. A value that
/// sends nothing.
#pragma once
#include <enn/actors/interfaces.hpp>
#include <enn/serialization/wire.hpp>

#include <caf/actor_addr.hpp>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <set>

namespace enn::actors {

/// A block that was offered and is being fetched, or waits for that.
struct incoming_block {
  std::uint64_t number = 0;
  serialization::block block;
};

struct member {
  node_actor node;
  serialization::enlistment hello;
  std::uint32_t credit = 0;      // leases that it has room for
  std::uint32_t silent = 0;      // beats missed in a row
  bool draining = false;         // gets no more leases; set by membership::drain()
  std::uint64_t leases_done = 0;
  std::deque<incoming_block> incoming; // the first is being fetched

  // How long it takes for a lease.
  using clock = std::chrono::steady_clock;
  std::deque<clock::time_point> asked; // when it got those that it has not made room for
  clock::duration pace{};              // lately; 0: unknown

  void give(clock::time_point now) {
    --credit;
    asked.push_back(now);
  }
  void make_room(std::uint32_t room, clock::time_point now) {
    credit += room;
    for (; room > 0 && !asked.empty(); --room, asked.pop_front()) {
      auto more = now - asked.front() - pace;
      pace += pace == clock::duration{} ? more : more / (more > clock::duration{} ? 2 : 16); // some quick ones prove little
    }
  }
  /// What it holds may take longer than what it did.
  clock::duration pace_at(clock::time_point now) const {
    return asked.empty() || pace == clock::duration{} ? pace : std::max(pace, now - asked.front());
  }
};

class membership {
public:
  using epoch = std::uint64_t;

  epoch add(node_actor node, serialization::enlistment hello) {
    bool leaving = leaving_.contains(node.address());
    members_.emplace(++last_, member{std::move(node), std::move(hello), 0, 0, leaving, 0, {}, {}, {}});
    return last_;
  }
  /// It is to leave, also when it enlists anew.
  void drain(epoch e) {
    auto& m = members_.at(e);
    m.draining = true;
    leaving_.insert(m.node.address());
  }
  void remove(epoch e) { members_.erase(e); }

  member* find(epoch e) {
    auto it = members_.find(e);
    return it == members_.end() ? nullptr : &it->second;
  }
  std::optional<epoch> epoch_of(const caf::actor_addr& node) const {
    auto it = std::find_if(members_.begin(), members_.end(), [&](const auto& m) { return m.second.node.address() == node; });
    return it == members_.end() ? std::nullopt : std::optional{it->first};
  }
  std::vector<epoch> named(const std::string& name) const {
    std::vector<epoch> result;
    for (const auto& [e, m] : members_)
      if (m.hello.name == name)
        result.push_back(e);
    return result;
  }
  /// Whether it will have computed one more lease before the others have computed all that wait, as far as is known.
  bool is_in_time(const member& m, std::uint32_t waiting, member::clock::time_point now) const {
    double others = 0; // leases in a tick of the clock
    auto quickest = member::clock::duration::max();
    for (const auto& [e, other] : members_)
      if (auto pace = other.pace_at(now); &other != &m && !other.draining && pace.count() > 0) {
        others += other.hello.workers / static_cast<double>(pace.count());
        quickest = std::min(quickest, pace);
      }
    return others == 0 || static_cast<double>((m.pace_at(now) - quickest).count()) <= waiting / others;
  }
  /// Counts a beat of everybody; answers who has now been silent for so many.
  std::vector<epoch> count_beat(std::uint32_t most) {
    std::vector<epoch> silent;
    for (auto& [e, m] : members_)
      if (++m.silent > most)
        silent.push_back(e);
    return silent;
  }
  bool empty() const { return members_.empty(); }
  auto begin() { return members_.begin(); }
  auto end() { return members_.end(); }

private:
  std::map<epoch, member> members_;
  std::set<caf::actor_addr> leaving_; // nodes
  epoch last_ = 0;
};

} // namespace enn::actors
