#include <enn/actors/supervision.hpp>

#include <enn/actors/spawn.hpp>

#include <algorithm>

namespace enn::actors {
namespace {

bool ended_in_order(const caf::error& reason) {
  return !reason || reason == caf::exit_reason::normal || reason == caf::exit_reason::user_shutdown;
}

/// A child that says why it cannot go on is believed.
bool is_mendable(const child_spec& spec, const caf::error& reason) {
  auto code = code_of(reason);
  return code == ec::none || std::find(spec.mendable.begin(), spec.mendable.end(), code) != spec.mendable.end();
}

} // namespace

supervision::supervision(strategy how, std::vector<child_spec> specs, const policy& rules) : how_(how), backoff_(rules.backoff) {
  for (auto& spec : specs)
    children_.push_back({std::move(spec)});
}

decision supervision::went_down(std::size_t child, const caf::error& reason) {
  auto& down = children_[child];
  decision d;
  if (down.spec.kind == lifetime::temporary || (down.spec.kind == lifetime::transient && ended_in_order(reason)))
    return d;
  if (!is_mendable(down.spec, reason)) {
    d.give_up = reason;
    return d;
  }
  if (is_loss(reason))
    ++down.losses;
  else if (++down.faults > down.spec.intensity) {
    d.give_up = fail(ec::gave_up, down.spec.name + " failed " + std::to_string(down.faults) + " times without progress: "
                                    + reason_text(reason));
    return d;
  }
  d.pause = backoff(backoff_, child, down.faults + down.losses);
  auto first = how_ == strategy::one_for_all ? 0 : child;
  auto last = how_ == strategy::one_for_one ? child + 1 : children_.size();
  for (auto i = last; i-- > first;)
    if (i != child)
      d.stop.push_back(i);
  for (auto i = first; i < last; ++i)
    if (children_[i].spec.kind != lifetime::temporary)
      d.start.push_back(i);
  return d;
}

void supervision::did_duty(std::size_t child) {
  children_[child].faults = children_[child].losses = 0;
}

bool is_loss(const caf::error& reason) {
  return reason == caf::exit_reason::remote_link_unreachable || reason == caf::exit_reason::unreachable;
}

} // namespace enn::actors
