/// The connection of two processes in a simulation. It does what our protocol may rely on from TCP and from CAF's proxies, and
/// what it may not: it simulates our protocol, not CAF's.
///
/// An actor of the other process is known by its proxy, which the link makes when a handle crosses: as the sender of a message,
/// or inside (enlist), (join) and its answer. Messages of one direction arrive in the order in which they were sent, each after a
/// delay. A message is lost only together with the connection: of a link that is cut, and of one that was silent and had to
/// forget something. The proxies of a lost link die, on each side when that side notices: whoever monitors one gets
/// exit_reason::remote_link_unreachable, and no request is answered any more.
///
/// Twice comes only what a node or a broker may say again on a new connection while the old one still delivers: results, offers,
/// failures, beats, fences. Never a request, a lease or credit.
#pragma once
#include "ledger.hpp"

#include <enn/actors/interfaces.hpp>

#include <caf/all.hpp>

#include <array>
#include <deque>
#include <memory>

namespace enn::actors::test {

enum side : std::size_t { at_coordinator, at_node };

inline side other(side s) {
  return s == at_node ? at_coordinator : at_node;
}

class link : public std::enable_shared_from_this<link> {
public:
  struct habits {
    milliseconds least{1}, most{20}; // delay of a message
    double duplicates = 0;           // of what may come twice
  };

  link(caf::actor_system& system, timeline& times, ledger& book, habits how, dice chance)
      : system_{system}, times_{times}, book_{book}, how_{how}, chance_{chance} {}
  ~link() { close(); }

  /// The proxy of `real`, which lives on the other side.
  caf::strong_actor_ptr known_at(side where, const caf::strong_actor_ptr& real) {
    auto& known = proxies_[where][real->id()];
    if (!known) {
      caf::actor_config config;
      known = caf::make_actor<proxy, caf::strong_actor_ptr>(system_.next_actor_id(), system_.node(), &system_, config, *this,
                                                            other(where), real);
      real->get()->attach_functor([self = weak_from_this(), where, id = real->id()](const caf::error& why) {
        if (auto l = self.lock())
          l->carry(other(where), {.kind = parcel::death, .who = id, .why = why});
      });
    }
    return known;
  }

  /// Messages wait, then all arrive.
  void stall(side towards, milliseconds how_long) {
    ways_[towards].stalled_until = std::max(ways_[towards].stalled_until, times_.now() + how_long);
    wake(towards, ways_[towards].stalled_until);
  }

  /// Messages vanish. TCP goes on only without a gap: if any vanished, the link is cut in the end.
  void silence(side towards, milliseconds how_long) {
    ways_[towards].silent_until = std::max(ways_[towards].silent_until, times_.now() + how_long);
    times_.at(ways_[towards].silent_until, [self = shared_from_this(), towards] {
      if (self->ways_[towards].gap)
        self->cut(milliseconds{0}, milliseconds{0});
    });
  }

  /// Nothing more is sent. What is under way still arrives, unless the side has noticed before.
  void cut(milliseconds node_notices, milliseconds coordinator_notices) {
    if (std::exchange(cut_, true))
      return;
    times_.after(node_notices, [self = shared_from_this()] { self->notice(at_node); });
    times_.after(coordinator_notices, [self = shared_from_this()] { self->notice(at_coordinator); });
  }

  /// The process at this side is no more: what it had sent still arrives, and nobody there notices anything.
  void lose_side(side gone, milliseconds other_notices) {
    cut_ = true;
    ways_[gone].closed = true;
    times_.after(other_notices, [self = shared_from_this(), gone] { self->notice(other(gone)); });
  }

  bool is_cut() const { return cut_; }

  void close() {
    cut_ = true;
    for (auto where : {at_coordinator, at_node})
      notice(where);
  }

private:
  struct parcel {
    enum { message, death } kind = message;
    caf::strong_actor_ptr sender = {}, receiver = {};
    caf::message_id id = caf::make_message_id();
    caf::message content = {};
    caf::actor_id who = 0; // of the actor that died
    caf::error why = {};
    timeline::time due = {};
  };

  class proxy : public caf::actor_proxy {
  public:
    proxy(caf::actor_config& config, link& over, side lives, caf::strong_actor_ptr real)
        : caf::actor_proxy{config}, over_{&over}, times_{over.times_}, book_{over.book_}, lives_{lives}, real_{std::move(real)} {}

    void enqueue(caf::mailbox_element_ptr m, caf::execution_unit*) override {
      if (lives_ == at_node && m->sender)
        book_.said(m->sender->id(), m->content(), times_.now(), true);
      if (over_)
        over_->carry(other(lives_), {.sender = m->sender, .receiver = real_, .id = m->mid, .content = m->move_content_to_message()});
    }
    void kill_proxy(caf::execution_unit* where, caf::error why) override {
      over_ = nullptr;
      cleanup(std::move(why), where);
    }
    const caf::strong_actor_ptr& real() const { return real_; }

  private:
    link* over_; // null: it is lost
    timeline& times_;
    ledger& book_;
    side lives_;
    caf::strong_actor_ptr real_;
  };

  struct way { // to one side
    std::deque<parcel> parcels;
    timeline::time last_due, stalled_until, silent_until;
    bool gap = false, closed = false;
  };

  void carry(side from, parcel p) {
    auto& w = ways_[other(from)];
    if (cut_ || w.closed)
      return;
    if (times_.now() < w.silent_until) {
      w.gap = true;
      return;
    }
    auto times = p.kind == parcel::message && may_come_twice(p.content) && chance_.chance(how_.duplicates) ? 2 : 1;
    for (; times > 0; --times) {
      p.due = w.last_due = std::max(w.last_due, times_.now() + chance_.between(how_.least.count(), how_.most.count()));
      w.parcels.push_back(p);
      wake(other(from), p.due);
    }
  }

  void wake(side to, timeline::time when) {
    times_.at(when, [self = shared_from_this(), to] { self->deliver(to); });
  }

  void deliver(side to) {
    auto& w = ways_[to];
    while (!w.closed && !w.parcels.empty() && w.parcels.front().due <= times_.now() && times_.now() >= w.stalled_until) {
      auto p = std::move(w.parcels.front());
      w.parcels.pop_front();
      if (p.kind == parcel::death) {
        if (auto known = proxies_[to].find(p.who); known != proxies_[to].end())
          kill(known->second, p.why);
      } else {
        auto sender = p.sender ? across(to, p.sender) : nullptr;
        p.receiver->enqueue(std::move(sender), p.id, translate(to, p.content), nullptr);
      }
    }
  }

  void notice(side where) {
    ways_[where].closed = true;
    ways_[where].parcels.clear();
    for (auto& [id, known] : proxies_[where])
      kill(known, caf::exit_reason::remote_link_unreachable);
  }

  static void kill(const caf::strong_actor_ptr& known, caf::error why) {
    static_cast<proxy*>(known->get())->kill_proxy(nullptr, std::move(why));
  }

  /// A handle that was sent to this side: of a proxy there, the actor itself.
  caf::strong_actor_ptr across(side to, const caf::strong_actor_ptr& handle) {
    for (const auto& [id, known] : proxies_[other(to)])
      if (known == handle)
        return static_cast<const proxy*>(known->get())->real();
    return known_at(to, handle);
  }
  template <class Handle>
  Handle across(side to, const Handle& handle) {
    return caf::actor_cast<Handle>(across(to, caf::actor_cast<caf::strong_actor_ptr>(handle)));
  }

  caf::message translate(side to, const caf::message& m) {
    if (m.match_elements<enlist_atom, msg<wire::Enlistment>, node_actor>())
      return caf::make_message(enlist_atom_v, m.get_as<msg<wire::Enlistment>>(1), across(to, m.get_as<node_actor>(2)));
    if (m.match_elements<join_atom, msg<wire::Enlistment>, agent_actor>())
      return caf::make_message(join_atom_v, m.get_as<msg<wire::Enlistment>>(1), across(to, m.get_as<agent_actor>(2)));
    if (m.match_elements<msg<wire::RunDefinition>, broker_actor, sampler_actor>())
      return caf::make_message(m.get_as<msg<wire::RunDefinition>>(0), across(to, m.get_as<broker_actor>(1)),
                               across(to, m.get_as<sampler_actor>(2)));
    if (m.match_elements<caf::exit_msg>())
      return caf::make_message(caf::exit_msg{{}, m.get_as<caf::exit_msg>(0).reason});
    return m;
  }

  static bool may_come_twice(const caf::message& m) {
    return m.match_elements<done_atom, std::uint64_t, msg<wire::Block>>()
           || m.match_elements<offer_atom, std::uint64_t, std::uint64_t, msg<wire::Block>>()
           || m.match_elements<failed_atom, std::uint64_t, msg<wire::Failure>>() || m.match_elements<beat_atom, std::uint64_t>()
           || m.match_elements<fence_atom, std::uint64_t>();
  }

  caf::actor_system& system_;
  timeline& times_;
  ledger& book_;
  habits how_;
  dice chance_;
  bool cut_ = false;
  std::array<way, 2> ways_;
  std::array<std::map<caf::actor_id, caf::strong_actor_ptr>, 2> proxies_; // by side, then by the actor that each stands for
};

} // namespace enn::actors::test
