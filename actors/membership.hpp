/// The nodes that a broker knows, by the epoch of their enlistment: who has room, who is silent, who is to leave. A value that
/// sends nothing.
#pragma once
#include <enn/actors/interfaces.hpp>
#include <enn/serialization/wire.hpp>

#include <caf/actor_addr.hpp>

#include <algorithm>
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
};

class membership {
public:
  using epoch = std::uint64_t;

  epoch add(node_actor node, serialization::enlistment hello) {
    bool leaving = leaving_.contains(node.address());
    members_.emplace(++last_, member{std::move(node), std::move(hello), 0, 0, leaving, 0, {}});
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
