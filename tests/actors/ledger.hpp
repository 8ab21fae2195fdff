/// What the brokers of a simulated cluster hear and say about leases, and what of it no broker may say. The ledger is told of a
/// message to a broker when the broker takes it; of one to a node when it is sent over a link, or when the coordinator's own node
/// takes it.
#pragma once
#include "timeline.hpp"

#include <enn/actors/interfaces.hpp>
#include <enn/actors/version.hpp>
#include <enn/serialization/wire.hpp>

#include <caf/all.hpp>

#include <algorithm>
#include <map>

namespace enn::actors::test {

class ledger {
public:
  explicit ledger(milliseconds late_lease) : late_lease_{late_lease} {}

  std::string problem; // the first; empty: none
  std::uint64_t given = 0, copies = 0, shared = 0; // leases; of them copies; those whose former holder was not forgotten

  void heard(caf::actor_id by, const caf::mailbox_element& message, timeline::time now) {
    auto& b = brokers_[by];
    const auto& m = message.content();
    if (m.match_elements<enlist_atom, msg<wire::Enlistment>, node_actor>()) {
      auto node = m.get_as<node_actor>(2).address();
      auto hello = serialization::read(m.get_as<msg<wire::Enlistment>>(1));
      b.forget(node);
      b.epochs.push_back({.node = node});
      if (hello && hello->name == local_name)
        b.own = node;
    } else if (m.match_elements<caf::down_msg>()) {
      auto node = m.get_as<caf::down_msg>(0).source;
      b.forget(node);
      if (node == b.own)
        b.own_lost_at = now;
    } else if (m.match_elements<credit_atom, std::uint64_t, std::uint32_t>()) {
      if (auto* e = b.find(m.get_as<std::uint64_t>(1))) {
        auto leases = m.get_as<std::uint32_t>(2);
        e->first_room = e->room > 0 ? e->first_room : leases;
        e->room += leases;
      }
    } else if (m.match_elements<failed_atom, std::uint64_t, msg<wire::Failure>>()) {
      if (auto f = serialization::read(m.get_as<msg<wire::Failure>>(2)))
        b.leases[{f->task, f->index}][f->attempt].failed = true;
    } else if (message.mid.is_response() && m.match_elements<caf::error>()) {
      b.refused_at = now; // perhaps a block that it was to fetch
    }
  }

  void said(caf::actor_id by, const caf::type_erased_tuple& m, timeline::time now, bool is_sent_now) {
    if (m.match_elements<fence_atom, std::uint64_t>()) {
      if (auto* e = brokers_[by].find(m.get_as<std::uint64_t>(1)))
        e->over = true;
    } else if (m.match_elements<lease_atom, std::uint64_t, msg<wire::Lease>>()) {
      if (auto l = serialization::read(m.get_as<msg<wire::Lease>>(2), serialization::bounds{}))
        give(brokers_[by], *l, {m.get_as<std::uint64_t>(1), now, is_sent_now});
    }
  }

  /// Does the newest broker know this epoch?
  bool is_open(std::uint64_t epoch) {
    auto* e = brokers_.empty() ? nullptr : brokers_.rbegin()->second.find(epoch);
    return e && !e->over;
  }

private:
  struct enlistment {
    caf::actor_addr node;
    std::uint64_t first_room = 0, room = 0, given = 0;
    bool over = false;

    /// At least; one that enlists while it holds leases of before names too little room at first.
    std::uint64_t held() const { return first_room + given - std::min(room, first_room + given); }
  };
  struct holder { // of an attempt
    std::uint64_t epoch = 0; // 0: nobody was seen to get it
    timeline::time since{};
    bool is_exact = false;   // `since` is when it was given
    bool failed = false;
  };
  struct broker {
    std::vector<enlistment> epochs; // counted from 1
    std::map<std::pair<std::uint64_t, std::uint32_t>, std::map<std::uint32_t, holder>> leases; // by task and index, then by attempt
    timeline::time refused_at{};
    caf::actor_addr own; // node of the coordinator
    timeline::time own_lost_at{};

    enlistment* find(std::uint64_t epoch) { return epoch > 0 && epoch <= epochs.size() ? &epochs[epoch - 1] : nullptr; }
    void forget(const caf::actor_addr& node) {
      for (auto& e : epochs)
        e.over = e.over || e.node == node;
    }
  };

  void give(broker& b, const serialization::lease& l, holder to) {
    ++given;
    auto& attempts = b.leases[{l.task, l.index}];
    auto& h = attempts[l.attempt];
    auto* e = b.find(to.epoch);
    bool is_copy = h.epoch > 0; // only an idle node may have one; of the coordinator's own it is not known who was first
    if (is_copy && to.is_exact && (h.epoch == to.epoch || (e && e->held() > 0)))
      complain(l, "was given to two nodes");
    if (e && e->over && to.is_exact)
      complain(l, "was given under an epoch that is over");
    if (!e || ++e->given > e->room)
      complain(l, "was given to a node that has no room");
    copies += is_copy;
    if (is_copy && to.is_exact)
      return;
    if (auto before = attempts.find(l.attempt - 1); l.attempt > 0 && before != attempts.end() && before->second.epoch > 0) {
      const auto& was = before->second;
      // Not if it was a copy, of what the coordinator's own node was given, but died before it took it.
      bool may_answer = !b.find(was.epoch)->over && !was.failed && was.is_exact && b.refused_at < was.since && b.own_lost_at < was.since;
      shared += may_answer;
      if (may_answer && to.since - was.since < late_lease_)
        complain(l, "was given again, though it was not late, had not failed and its node was not forgotten");
    }
    h = to;
  }

  void complain(const serialization::lease& l, const std::string& what) {
    if (problem.empty())
      problem = "lease " + std::to_string(l.index) + " of step " + std::to_string(l.step) + ", attempt " + std::to_string(l.attempt)
                + ", " + what;
  }

  milliseconds late_lease_;
  std::map<caf::actor_id, broker> brokers_;
};

} // namespace enn::actors::test
