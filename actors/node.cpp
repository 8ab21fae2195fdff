#include <enn/actors/node.hpp>

#include <enn/actors/spawn.hpp>
#include <enn/actors/supervisor.hpp>

#include <algorithm>
#include <deque>

namespace enn::actors {
namespace {

using serialization::weights_id;

struct waiting_lease {
  serialization::lease what;
  msg<wire::Lease> message;
};

struct node_state;
using self_ptr = node_actor::stateful_pointer<node_state>;

struct node_state {
  static inline const char* name = "node";
  self_ptr self = nullptr;
  broker_actor broker;
  std::string cluster;
  run_ptr run;
  data_ptr data;
  std::uint32_t workers = 1;
  policy rules;
  supervisor_actor supervisor;
  std::uint64_t epoch = 0;                    // 0: not enlisted
  std::uint32_t faults = 0;                   // of the supervisor since its last block
  std::deque<weights_ptr> weights;            // the two newest
  std::vector<waiting_lease> waiting;         // for weights
  bool ending = false;
  caf::error reason;

  void start();
  void enlist();
  void take(std::uint64_t under, const msg<wire::Lease>& m);
  weights_ptr find_weights(weights_id id) const;
  void pull(weights_id id, std::shared_ptr<flat_weights> into, std::uint32_t chunk);
  void keep(weights_ptr w);
  void give_back(weights_id id, const std::string& cause);
  template <class Atom, class Value>
  void pass_on(Atom atom, const Value& value) {
    if (supervisor && self->current_sender() == supervisor) // not of an earlier one, whose leases were given back
      self->send(broker, atom, epoch, value);
  }
  void on_down(const caf::down_msg& down);
  void end(caf::error why);
};

/// Two leases a worker: one at work, one waiting, so that no worker waits for the broker.
constexpr std::uint32_t leases_per_worker = 2;

void node_state::start() {
  if (ending)
    return;
  if (auto able = check_kernels(*run); !able) // enlisting would promise that it can
    return end(able.error());
  supervisor = spawn_supervisor(self->system(), self, run, data, workers, rules);
  self->monitor(supervisor);
  enlist();
}

void node_state::enlist() {
  epoch = 0;
  waiting.clear();
  auto hello = serialization::enlist(cluster, workers, run->kernels);
  self->request(broker, rules.request_timeout, enlist_atom_v, serialization::write(hello), node_actor{self})
    .then(
      [=, this](std::uint64_t e) {
        epoch = e;
        self->send(broker, credit_atom_v, epoch, workers * leases_per_worker);
      },
      [=, this](caf::error& e) { end(std::move(e)); });
}

// -- leases and their weights -----------------------------------------------------------------------------------------------

void node_state::take(std::uint64_t under, const msg<wire::Lease>& m) {
  if (under != epoch || ending)
    return;
  auto l = serialization::read(m, serialization::bounds_of(*run, *data));
  if (!l) {
    end(l.error());
    return;
  }
  if (auto w = find_weights(l->weights)) {
    self->send(supervisor, lease_atom_v, m, std::move(w));
    return;
  }
  auto asked = std::any_of(waiting.begin(), waiting.end(), [&](const waiting_lease& x) { return x.what.weights == l->weights; });
  auto id = l->weights;
  waiting.push_back({std::move(*l), m});
  if (!asked) {
    auto fresh = std::make_shared<flat_weights>();
    fresh->id = id;
    fresh->values.resize(static_cast<std::size_t>(run->layout.size));
    pull(id, std::move(fresh), 0);
  }
}

weights_ptr node_state::find_weights(weights_id id) const {
  auto it = std::find_if(weights.begin(), weights.end(), [&](const weights_ptr& w) { return w->id == id; });
  return it == weights.end() ? nullptr : *it;
}

void node_state::pull(weights_id id, std::shared_ptr<flat_weights> into, std::uint32_t chunk) {
  self->request(broker, rules.request_timeout, pull_atom_v, id.step, id.averaged, chunk)
    .then(
      [=, this](const msg<wire::Weights>& m) {
        auto next = serialization::read_weights(m, id, into->values);
        if (!next)
          return end(next.error());
        if (*next > 0)
          return pull(id, into, *next);
        keep(into);
      },
      [=, this](caf::error& e) { give_back(id, reason_text(e)); });
}

void node_state::keep(weights_ptr w) {
  weights.push_back(w);
  if (weights.size() > 2)
    weights.pop_front();
  auto others = std::stable_partition(waiting.begin(), waiting.end(), [&](const waiting_lease& x) { return x.what.weights == w->id; });
  for (auto it = waiting.begin(); it != others; ++it)
    self->send(supervisor, lease_atom_v, it->message, w);
  waiting.erase(waiting.begin(), others);
}

/// Their weights are gone, usually because the broker's task is over; it knows which of these leases still matter.
void node_state::give_back(weights_id id, const std::string& cause) {
  for (const auto& w : waiting)
    if (w.what.weights == id) {
      serialization::failure f{w.what.task, w.what.index, w.what.attempt, "no weights of step " + std::to_string(id.step) + ": " + cause};
      self->send(broker, failed_atom_v, epoch, serialization::write(f));
      self->send(broker, credit_atom_v, epoch, std::uint32_t{1});
    }
  std::erase_if(waiting, [&](const waiting_lease& w) { return w.what.weights == id; });
}

// -- failures and the end ---------------------------------------------------------------------------------------------------

void node_state::on_down(const caf::down_msg& down) {
  if (down.source == broker.address())
    return end(caf::exit_reason::user_shutdown);
  if (!supervisor || down.source != supervisor.address())
    return;
  supervisor = nullptr;
  if (ending) {
    self->quit(reason);
    return;
  }
  epoch = 0; // what it still sends is of no epoch
  auto code = code_of(down.reason);
  if (++faults > rules.supervisor_faults || code == ec::not_reproducible || code == ec::nonfinite) // again would be the same
    return end(down.reason);
  spdlog::warn("The node starts its supervisor again: {}", reason_text(down.reason));
  self->delayed_send(self, backoff(rules, 1000, faults), restart_atom_v);
}

void node_state::end(caf::error why) {
  if (ending)
    return;
  ending = true;
  reason = std::move(why);
  if (supervisor)
    self->send_exit(supervisor, caf::exit_reason::user_shutdown);
  else
    self->quit(reason);
}

node_actor::behavior_type node(self_ptr self, broker_actor broker, std::string cluster, run_ptr run, data_ptr data,
                               std::uint32_t workers, policy rules) {
  use_log(self);
  auto& st = self->state;
  st.self = self;
  st.broker = std::move(broker);
  st.cluster = std::move(cluster);
  st.run = std::move(run);
  st.data = std::move(data);
  st.workers = workers;
  st.rules = std::move(rules);
  self->monitor(st.broker);
  self->set_down_handler([=](caf::down_msg& down) { self->state.on_down(down); });
  self->set_exit_handler([=](caf::exit_msg& m) { self->state.end(m.reason); });
  st.start();
  return {
    [=](lease_atom, std::uint64_t epoch, const msg<wire::Lease>& m) { self->state.take(epoch, m); },
    [=](done_atom, const msg<wire::Block>& m) {
      self->state.faults = 0;
      self->state.pass_on(done_atom_v, m);
    },
    [=](credit_atom, std::uint32_t room) { self->state.pass_on(credit_atom_v, room); },
    [=](failed_atom, const msg<wire::Failure>& m) { self->state.pass_on(failed_atom_v, m); },
    [=](restart_atom) { self->state.start(); }};
}

} // namespace

node_actor spawn_node(caf::actor_system& system, broker_actor broker, std::string cluster, run_ptr run, data_ptr data,
                      std::uint32_t workers, const policy& rules) {
  return system.spawn(node, std::move(broker), std::move(cluster), std::move(run), std::move(data), workers, rules);
}

} // namespace enn::actors
