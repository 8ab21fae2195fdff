#include <enn/actors/children.hpp>

#include <enn/actors/interfaces.hpp>

#include <caf/all.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace enn::actors {
namespace {

std::vector<child_spec> specs_of(const std::vector<children::recipe>& table) {
  std::vector<child_spec> specs;
  for (const auto& c : table)
    specs.push_back(c.spec);
  return specs;
}

} // namespace

children::children(caf::scheduled_actor* parent, strategy how, std::vector<recipe> table, const policy& rules, events on)
    : parent_(parent), rules_(how, specs_of(table), rules), on_(std::move(on)) {
  for (auto& c : table)
    entries_.push_back({.spawn = std::move(c.spawn), .who = nullptr});
}

void children::start() {
  for (auto& e : entries_)
    e.wanted = true;
  proceed();
}

void children::stop() {
  if (std::exchange(stopping_, true))
    return;
  for (auto& e : entries_) {
    e.wanted = false;
    if (e.at == stage::up)
      e.at = stage::doomed;
  }
  proceed();
}

void children::fail(std::size_t child, const caf::error& reason) {
  auto& e = entries_[child];
  if (e.at != stage::up)
    return;
  parent_->send_exit(e.who, caf::exit_reason::kill);
  leave(e);
  decide(child, reason);
}

bool children::on_down(const caf::down_msg& down) {
  auto e = std::find_if(entries_.begin(), entries_.end(), [&](const entry& x) { return x.who && x.who->address() == down.source; });
  if (e == entries_.end())
    return false;
  auto at = e->at;
  leave(*e);
  if (at == stage::up)
    decide(static_cast<std::size_t>(e - entries_.begin()), down.reason);
  else
    proceed();
  return true;
}

void children::decide(std::size_t child, const caf::error& reason) {
  auto next = rules_.went_down(child, reason);
  on_.down(child, reason, next);
  if (stopping_)
    return;
  if (next.give_up)
    return stop();
  for (auto i : next.stop)
    if (entries_[i].at == stage::up)
      entries_[i].at = stage::doomed;
  for (auto i : next.start)
    entries_[i].wanted = true;
  if (!next.start.empty())
    entries_[next.start.front()].pause = set_timer(next.pause);
  proceed();
}

void children::proceed() {
  ask_to_end();
  if (!stopping_)
    start_wanted();
  else if (all_gone() && !std::exchange(ended_, true))
    on_.ended();
}

/// The last one first, and the one before it when that is gone; those that do not use each other all at once.
void children::ask_to_end() {
  for (auto i = entries_.size(); i-- > 0;) {
    auto& e = entries_[i];
    if (e.at == stage::doomed) {
      e.at = stage::asked;
      e.patience = set_timer(rules_.spec(i).shutdown);
      parent_->send_exit(e.who, caf::exit_reason::user_shutdown);
    }
    if (rules_.how() != strategy::one_for_one && (e.at == stage::asked || e.at == stage::killed))
      return;
  }
}

void children::start_wanted() {
  bool ordered = rules_.how() != strategy::one_for_one, started = false;
  auto is_leaving = [](const entry& e) { return e.at > stage::up; };
  if (ordered && std::any_of(entries_.begin(), entries_.end(), is_leaving))
    return;
  for (std::size_t i = 0; i < entries_.size() && !stopping_; ++i) {
    auto& e = entries_[i];
    if (!e.wanted)
      continue;
    if (e.pause == 0 && !e.who) {
      e.wanted = false;
      started = true;
      if ((e.who = e.spawn())) {
        e.at = stage::up;
        parent_->monitor(e.who);
        on_.started(i);
      }
    } else if (ordered) {
      return;
    }
  }
  if (started && !stopping_ && std::none_of(entries_.begin(), entries_.end(), [](const entry& e) { return e.wanted; }))
    on_.ready();
}

void children::on_timer(std::uint64_t timer) {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].patience == timer)
      return out_of_patience(i);
    if (entries_[i].pause == timer) {
      entries_[i].pause = 0;
      return proceed();
    }
  }
}

void children::out_of_patience(std::size_t child) {
  auto& e = entries_[child];
  const auto& spec = rules_.spec(child);
  if (e.at == stage::asked) {
    spdlog::warn("The {} does not end within {} ms and is killed", spec.name, spec.shutdown.count());
    e.at = stage::killed;
    e.patience = set_timer(spec.shutdown / 4);
    parent_->send_exit(e.who, caf::exit_reason::kill);
    return;
  }
  spdlog::warn("The {} cannot be ended and is left alone", spec.name);
  leave(e);
  proceed();
}

void children::leave(entry& e) {
  parent_->demonitor(e.who->address());
  e.who = nullptr;
  e.at = stage::absent;
  e.patience = 0;
}

bool children::all_gone() const {
  return std::none_of(entries_.begin(), entries_.end(), [](const entry& e) { return static_cast<bool>(e.who); });
}

std::uint64_t children::set_timer(std::chrono::milliseconds after) {
  caf::delayed_anon_send(caf::actor_cast<caf::actor>(parent_), after, restart_atom_v, ++last_timer_);
  return last_timer_;
}

} // namespace enn::actors
