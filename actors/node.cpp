#include <enn/actors/node.hpp>

#include <enn/actors/children.hpp>
#include <enn/actors/row_cache.hpp>
#include <enn/actors/spawn.hpp>
#include <enn/actors/supervisor.hpp>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>

namespace enn::actors {
namespace {

using serialization::weights_id;

/// Goes to the supervisor when its weights and rows are there.
struct waiting_lease {
  serialization::lease what;
  msg<wire::Lease> message;
  weights_ptr weights;
  rows_ptr source;
};

struct node_state;
using self_ptr = node_actor::stateful_pointer<node_state>;

struct node_state {
  static inline const char* name = "node";
  self_ptr self = nullptr;
  caf::actor_addr parent;
  broker_actor broker;
  sampler_actor sampler;
  node_setup setup;
  policy rules;
  serialization::bounds limits;
  supervisor_actor supervisor;                // null: being restarted
  std::optional<children> supervised;         // it alone
  std::uint64_t epoch = 0;                    // 0: not enlisted
  std::uint32_t held = 0;                     // leases that the supervisor has not made room for
  std::deque<weights_ptr> weights;            // the two newest
  std::set<weights_id> pulled;                // on their way
  row_cache rows{0};                          // of nodes without data
  bool fetching = false;                      // rows are on their way
  std::deque<waiting_lease> waiting;
  std::uint64_t task = 0;                     // of the newest lease
  std::map<std::uint64_t, msg<wire::Block>> offers; // of that task, which the broker fetches piece by piece
  std::uint64_t last_offer = 0;
  bool ending = false;
  caf::error reason;

  void supervise();
  void enlist();
  void take(std::uint64_t under, const msg<wire::Lease>& m);
  void hand_on();
  weights_ptr find_weights(weights_id id) const;
  void pull(weights_id id, std::shared_ptr<flat_weights> into, std::uint32_t chunk);
  void keep(weights_ptr w);
  void give_back(weights_id id, const std::string& cause);
  void fetch_rows();
  void deliver(const msg<wire::Block>& m);
  caf::result<msg<wire::Piece>> piece(std::uint64_t number, std::uint32_t chunk);
  void make_room(std::uint32_t leases);
  void beat();
  void on_down(const caf::down_msg& down);
  void on_supervisor_down(const caf::error& why, const decision& next);
  void end(caf::error why);
};

/// Two leases a worker: one at work, one waiting, so that no worker waits for the broker.
constexpr std::uint32_t leases_per_worker = 2;

void node_state::supervise() {
  children::recipe only{{.name = "supervisor", .intensity = rules.supervisor_faults, .shutdown = shutdown_of(rules, 1),
                         .mendable = {ec::gave_up, ec::protocol}}, // of its workers, of what it was sent
                        [this] {
                          supervisor = spawn_supervisor(self->system(), self, setup.run, setup.workers, setup.helpers, rules);
                          held = 0;
                          return caf::actor_cast<caf::strong_actor_ptr>(supervisor);
                        }};
  children::events on{.down = [this](std::size_t, const caf::error& why, const decision& next) { on_supervisor_down(why, next); },
                      .started = [this](std::size_t) { enlist(); },
                      .ready = [] {},
                      .ended = [this] { self->quit(reason); }};
  supervised.emplace(self, strategy::one_for_one, std::vector{std::move(only)}, rules, std::move(on));
  if (auto able = check_kernels(*setup.run); !able) // enlisting would promise that it can
    end(able.error());
  else
    supervised->start();
}

void node_state::enlist() {
  epoch = 0;
  waiting.clear();
  offers.clear();
  auto hello = serialization::enlist(setup.cluster, setup.name, setup.workers, setup.run->kernels);
  self->request(broker, rules.request_timeout, enlist_atom_v, serialization::write(hello), node_actor{self})
    .then(
      [=, this](std::uint64_t e) {
        epoch = e;
        auto room = setup.workers * leases_per_worker;
        self->send(broker, credit_atom_v, epoch, room - std::min(room, held)); // what it still has counts for this epoch too
      },
      [=, this](caf::error& e) { end(std::move(e)); });
}

// -- leases, their weights and rows -----------------------------------------------------------------------------------------

void node_state::take(std::uint64_t under, const msg<wire::Lease>& m) {
  if (under != epoch || ending)
    return;
  auto l = serialization::read(m, limits);
  if (!l)
    return end(l.error());
  if (l->task > task) { // the older ones are over: nobody asks for their blocks any more
    task = l->task;
    offers.clear();
  }
  auto id = l->weights;
  waiting.push_back({std::move(*l), m, find_weights(id), setup.data});
  if (!waiting.back().weights && pulled.insert(id).second) {
    auto fresh = std::make_shared<flat_weights>();
    fresh->id = id;
    pull(id, std::move(fresh), 0);
  }
  if (!setup.data)
    fetch_rows();
  hand_on();
}

void node_state::hand_on() {
  if (!supervisor)
    return;
  std::erase_if(waiting, [this](const waiting_lease& w) {
    if (!w.weights || !w.source)
      return false;
    ++held;
    self->send(supervisor, lease_atom_v, w.message, w.weights, w.source);
    return true;
  });
}

weights_ptr node_state::find_weights(weights_id id) const {
  auto it = std::find_if(weights.begin(), weights.end(), [&](const weights_ptr& w) { return w->id == id; });
  return it == weights.end() ? nullptr : *it;
}

void node_state::pull(weights_id id, std::shared_ptr<flat_weights> into, std::uint32_t chunk) {
  auto chunks = setup.remote ? serialization::bulk_chunks : serialization::all_chunks;
  self->request(broker, rules.request_timeout, pull_atom_v, id.step, id.averaged, chunk, chunks)
    .then(
      [=, this](const msg<wire::Weights>& m) {
        auto next = serialization::read_weights(m, id, limits.parameters, into->values);
        if (!next)
          return end(next.error());
        if (*next > 0)
          return pull(id, into, *next);
        keep(into);
      },
      [=, this](caf::error& e) { give_back(id, reason_text(e)); });
}

void node_state::keep(weights_ptr w) {
  pulled.erase(w->id);
  weights.push_back(w);
  if (weights.size() > 2)
    weights.pop_front();
  for (auto& x : waiting)
    if (x.what.weights == w->id)
      x.weights = w;
  hand_on();
}

/// Their weights are gone, usually because the broker's task is over; it knows which of these leases still matter.
void node_state::give_back(weights_id id, const std::string& cause) {
  pulled.erase(id);
  std::erase_if(waiting, [&](const waiting_lease& w) {
    if (w.what.weights != id)
      return false;
    serialization::failure f{w.what.task, w.what.index, w.what.attempt, "no weights of step " + std::to_string(id.step) + ": " + cause};
    self->send(broker, failed_atom_v, epoch, serialization::write(f));
    self->send(broker, credit_atom_v, epoch, std::uint32_t{1});
    return true;
  });
}

/// One request at a time, for all rows that are missing; it answers with some of them.
void node_state::fetch_rows() {
  serialization::row_list missing;
  std::set<std::uint64_t> wanted;
  for (auto& w : waiting) {
    if (!w.source)
      w.source = rows.view(w.what.rows);
    if (w.source)
      continue;
    wanted.insert(w.what.rows.begin(), w.what.rows.end());
  }
  std::copy_if(wanted.begin(), wanted.end(), std::back_inserter(missing.rows), [this](std::uint64_t row) { return !rows.has(row); });
  if (missing.rows.empty() || std::exchange(fetching, true))
    return;
  self->request(sampler, rules.request_timeout, rows_atom_v, serialization::write(missing))
    .then(
      [=, this](const msg<wire::RawRows>& m) {
        fetching = false;
        auto fresh = serialization::read(m, limits);
        if (!fresh)
          return end(fresh.error());
        rows.put(std::move(*fresh), wanted);
        fetch_rows();
        hand_on();
      },
      [this](caf::error& e) { // enlisting anew gives the leases to others
        fetching = false;
        spdlog::warn("The node {} gets no rows: {}", setup.name, reason_text(e));
        self->delayed_send(self, rules.beat, fence_atom_v, epoch);
      });
}

// -- results ------------------------------------------------------------------------------------------------------------------

void node_state::deliver(const msg<wire::Block>& m) {
  supervised->did_duty(0);
  if (!setup.remote || !serialization::is_bulky(m, rules.bulk_bytes)) {
    self->send(broker, done_atom_v, epoch, m);
    return;
  }
  offers.emplace(++last_offer, m);
  self->send(broker, offer_atom_v, epoch, last_offer, serialization::head_of(m));
}

caf::result<msg<wire::Piece>> node_state::piece(std::uint64_t number, std::uint32_t chunk) {
  auto it = offers.find(number);
  if (it == offers.end())
    return fail(ec::protocol, "block " + std::to_string(number) + " is gone");
  auto p = serialization::piece_of(it->second, chunk);
  if (!p)
    return p.error();
  return *p;
}

void node_state::make_room(std::uint32_t leases) {
  held -= std::min(held, leases);
  self->send(broker, credit_atom_v, epoch, leases);
}

void node_state::beat() {
  if (epoch > 0)
    self->send(broker, beat_atom_v, epoch);
  self->delayed_send(self, rules.beat, caf::tick_atom_v);
}

// -- failures and the end ---------------------------------------------------------------------------------------------------

void node_state::on_down(const caf::down_msg& down) {
  if (down.source == parent || down.source == broker.address())
    end(caf::exit_reason::user_shutdown);
  else
    supervised->on_down(down);
}

void node_state::on_supervisor_down(const caf::error& why, const decision& next) {
  supervisor = nullptr;
  epoch = 0; // no lease is taken until there is another one
  if (next.give_up)
    return end(next.give_up);
  spdlog::warn("The node starts its supervisor again: {}", reason_text(why));
}

void node_state::end(caf::error why) {
  if (ending)
    return;
  ending = true;
  reason = std::move(why);
  supervised->stop();
}

node_actor::behavior_type node(self_ptr self, caf::actor_addr parent, broker_actor broker, sampler_actor sampler, node_setup setup,
                               policy rules) {
  use_log(self);
  auto& st = self->state;
  st.self = self;
  st.parent = std::move(parent);
  st.broker = std::move(broker);
  st.sampler = std::move(sampler);
  st.limits = serialization::bounds_of(*setup.run);
  st.setup = std::move(setup);
  st.rules = std::move(rules);
  st.rows = row_cache{st.rules.row_cache_bytes};
  self->monitor(st.parent);
  self->monitor(st.broker);
  self->set_down_handler([=](caf::down_msg& down) { self->state.on_down(down); });
  self->set_exit_handler([=](caf::exit_msg& m) { self->state.end(m.reason); });
  st.supervise();
  st.beat();
  return {
    [=](lease_atom, std::uint64_t epoch, const msg<wire::Lease>& m) { self->state.take(epoch, m); },
    [=](fence_atom, std::uint64_t epoch) {
      if (epoch == self->state.epoch && epoch > 0 && !self->state.ending)
        self->state.enlist();
    },
    [=](leave_atom) { self->state.end(caf::exit_reason::normal); },
    [=](fetch_atom, std::uint64_t number, std::uint32_t chunk) { return self->state.piece(number, chunk); },
    [=](done_atom, const msg<wire::Block>& m) { self->state.deliver(m); },
    [=](credit_atom, std::uint32_t room) { self->state.make_room(room); },
    [=](failed_atom, const msg<wire::Failure>& m) {
      self->send(self->state.broker, failed_atom_v, self->state.epoch, m);
    },
    [=](caf::tick_atom) { self->state.beat(); },
    [=](restart_atom, std::uint64_t timer) { self->state.supervised->on_timer(timer); }};
}

} // namespace

node_actor spawn_node(caf::actor_system& system, caf::actor_addr parent, broker_actor broker, sampler_actor sampler, node_setup setup,
                      const policy& rules) {
  return spawn_scheduled(system, rules, node, std::move(parent), std::move(broker), std::move(sampler), std::move(setup), rules);
}

} // namespace enn::actors
