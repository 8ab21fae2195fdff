/// A coordinator and node processes on one thread and on virtual time: groups of actors that know of each other by links only.
/// Which actor runs next, how long a worker computes and how long a message travels is drawn from a seed.
#pragma once
#include "fixture.hpp"
#include "link.hpp"

#include <enn/actors/agent.hpp>
#include <enn/actors/spawn.hpp>

#include <map>
#include <set>

namespace enn::actors::test {

struct node_plan {
  std::string name;
  std::uint32_t workers = 1;
  bool has_data = true;
  bool again = false; // it is started again when its agent fails, as by systemd
};

class cluster {
public:
  cluster(std::uint64_t seed, link::habits network, policy rules)
      : network_{network}, rules_{std::move(rules)}, turns_{seed, "turns"}, work_{seed, "work"}, traffic_{seed, "traffic"}, seed_{seed} {
    rules_.threads = false;
    processes_.emplace_back(); // the coordinator
  }

  ~cluster() {
    for (std::size_t i = 0; i < processes_.size(); ++i)
      destroy(i);
    for (auto& p : processes_)
      for (auto& l : p.links)
        l->close();
  }

  timeline& times() { return times_; }
  bool is_over() const { return outcome_.has_value(); }
  std::map<std::string, std::uint32_t> notes;  // how often the driver noted what of nodes
  std::map<std::int64_t, std::uint32_t> steps; // how often each was told of
  std::vector<std::string> complaints;         // of agents that ended with an error
  std::uint32_t kills = 0;                     // of the coordinator's actors

  /// Nothing: it did not end within this virtual time.
  std::optional<run_outcome> run(run_request request, milliseconds within) {
    request.rules = rules_;
    request.publish = [this](const gate_actor& gate) {
      published_ = gate;
      return caf::expected<void>{caf::unit};
    };
    data_ = request.data;
    inside(0, [&] { spawn_driver(system_, std::move(request), caf::actor_cast<observer_actor>(self_)); });
    while (!outcome_ && times_.elapsed() < within && turn())
      receive();
    return outcome_;
  }

  /// After the outcome. False: some actor does not end.
  bool everybody_ends(milliseconds within) {
    for (auto& p : processes_)
      if (p.agent)
        caf::anon_send(p.agent, stop_atom_v);
    auto until = times_.elapsed() + within;
    while (system_.registry().running() > 1 && times_.elapsed() < until && turn()) // one is the scoped actor
      receive();
    receive();
    return system_.registry().running() == 1;
  }

  // -- what happens to it: nodes count from 1 ---------------------------------------------------------------------------

  std::size_t start_node(const node_plan& plan, bool once) {
    processes_.emplace_back().plan = plan;
    auto i = processes_.size() - 1;
    inside(i, [&] {
      agent_setup setup;
      setup.cluster = "local";
      setup.name = plan.name;
      setup.workers = plan.workers;
      setup.once = processes_[i].once = once;
      setup.spawn_dialler = [this, i](const caf::actor_addr& parent) { return spawn_dialler(parent, i); };
      if (plan.has_data)
        setup.find_data = [this](const model::run_definition&) { return caf::expected<data_ptr>{data_}; };
      processes_[i].agent = spawn_agent(system_, std::move(setup), rules_);
    });
    self_->monitor(processes_[i].agent);
    return i;
  }
  std::size_t nodes() const { return processes_.size() - 1; }
  bool is_up(std::size_t node) const { return static_cast<bool>(processes_[node].agent); }

  void stop_node(std::size_t node) { caf::anon_send(processes_[node].agent, stop_atom_v); }

  void drain(const std::string& name) { caf::anon_send(published_, drain_atom_v, name, false); }
  void ask_for_status() { caf::anon_send(published_, status_atom_v); }

  /// The coordinator learns of it later.
  void kill_node(std::size_t node, milliseconds noticed_after) {
    for (auto& l : processes_[node].links)
      l->lose_side(at_node, noticed_after);
    destroy(node);
  }

  /// As by SIGSTOP: nothing of it runs, everything waits.
  void freeze(std::size_t which, milliseconds how_long) {
    processes_[which].frozen_until = times_.now() + how_long;
    times_.after(how_long, [] {});
  }

  void cut(std::size_t node, milliseconds node_notices, milliseconds coordinator_notices) {
    for (auto& l : processes_[node].links)
      l->cut(node_notices, coordinator_notices);
  }

  /// Messages wait, or vanish.
  void partition(std::size_t node, bool to_node, bool to_coordinator, milliseconds how_long, bool vanish) {
    auto& p = processes_[node];
    p.unreachable_until = std::max(p.unreachable_until, times_.now() + how_long);
    for (auto [affected, towards] : {std::pair{to_node, at_node}, {to_coordinator, at_coordinator}})
      for (auto& l : p.links)
        if (affected && !l->is_cut())
          vanish ? l->silence(towards, how_long) : l->stall(towards, how_long);
  }

  /// The coordinator's actor of this name, if there is one now.
  void kill_actor(std::string_view name) {
    for (const auto& a : processes_[0].actors)
      if (auto who = caf::actor_cast<caf::strong_actor_ptr>(a); who && is_alive(who) && name_of(who) == name) {
        ++kills;
        kill(who);
        return;
      }
  }

private:
  struct process {
    std::vector<caf::actor_addr> actors;
    std::vector<std::shared_ptr<link>> links;
    node_plan plan = {};
    bool once = false;
    agent_actor agent = {}; // null: it ended, or never was
    timeline::time frozen_until, unreachable_until;
  };

  // -- actors of processes ------------------------------------------------------------------------------------------------

  static caf::monitorable_actor* get(const caf::strong_actor_ptr& who) { return static_cast<caf::monitorable_actor*>(who->get()); }
  static bool is_alive(const caf::strong_actor_ptr& who) { return !get(who)->getf(caf::abstract_actor::is_terminated_flag); }
  static std::string_view name_of(const caf::strong_actor_ptr& who) { return get(who)->name(); }

  /// Urgent, so that what waits in its mailbox is lost, as by an exception.
  static void kill(const caf::strong_actor_ptr& who) {
    who->enqueue(nullptr, caf::make_message_id(caf::message_priority::high),
                 caf::make_message(caf::exit_msg{who->address(), caf::exit_reason::kill}), nullptr);
  }

  /// What is spawned meanwhile belongs to this process.
  template <class F>
  void inside(std::size_t where, F&& f) {
    auto before = system_.latest_actor_id();
    f();
    if (system_.latest_actor_id() == before)
      return;
    for (auto* job : sched_.jobs)
      if (auto* a = dynamic_cast<caf::scheduled_actor*>(job); a && a->id() > before) {
        home_.emplace(a->id(), where);
        processes_[where].actors.push_back(a->address());
      }
  }
  std::size_t home_of(const caf::scheduled_actor& a) const {
    auto found = home_.find(a.id());
    return found == home_.end() ? 0 : found->second;
  }

  void destroy(std::size_t where) {
    processes_[where].agent = nullptr;
    for (int round = 0; round < 3; ++round) { // what is spawned by the dying dies too
      for (const auto& a : processes_[where].actors)
        if (auto who = caf::actor_cast<caf::strong_actor_ptr>(a); who && is_alive(who))
          kill(who);
      auto is_of_it = [&](caf::resumable* job) {
        auto* a = dynamic_cast<caf::scheduled_actor*>(job);
        return a && home_of(*a) == where;
      };
      for (auto job = sched_.jobs.begin(); (job = std::find_if(sched_.jobs.begin(), sched_.jobs.end(), is_of_it)) != sched_.jobs.end();)
        run_job(static_cast<std::size_t>(job - sched_.jobs.begin()));
    }
    processes_[where].actors.clear();
  }

  // -- turns ----------------------------------------------------------------------------------------------------------------

  /// One message of one actor, or else the next event.
  bool turn() {
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < sched_.jobs.size(); ++i)
      if (may_run(sched_.jobs[i]))
        ready.push_back(i);
    if (ready.empty())
      return times_.advance();
    run_job(ready[turns_.below(ready.size())]);
    return true;
  }

  void run_job(std::size_t i) {
    std::rotate(sched_.jobs.begin(), sched_.jobs.begin() + static_cast<std::ptrdiff_t>(i),
                sched_.jobs.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    auto* a = dynamic_cast<caf::scheduled_actor*>(sched_.jobs.front());
    if (a)
      computing_.erase(a->id());
    inside(a ? home_of(*a) : 0, [&] { sched_.run_once(); });
  }

  bool may_run(caf::resumable* job) {
    auto* a = dynamic_cast<caf::scheduled_actor*>(job);
    if (!a)
      return true;
    if (times_.now() < processes_[home_of(*a)].frozen_until)
      return false;
    if (std::string_view{a->name()} != "worker")
      return true;
    auto [place, fresh] = computing_.try_emplace(a->id());
    if (fresh) {
      place->second = times_.now() + work_.between(50, 600);
      times_.at(place->second, [] {});
    }
    return times_.now() >= place->second;
  }

  void receive() {
    while (self_->has_next_message())
      self_->receive(
        [&](progress_atom, const msg<wire::Progress>& m) {
          if (auto p = serialization::read(m))
            ++steps[p->step];
        },
        [&](note_atom, const std::string& event, const std::string&) { ++notes[event]; },
        [](beat_atom) {}, [](predict_atom, const msg<wire::Block>&) {},
        [&](outcome_atom, const outcome_ptr& result) { outcome_ = *result; },
        [&](caf::down_msg& down) { on_agent_down(down); });
  }

  void on_agent_down(const caf::down_msg& down) {
    for (std::size_t i = 1; i < processes_.size(); ++i)
      if (processes_[i].agent && processes_[i].agent.address() == down.source) {
        processes_[i].agent = nullptr;
        if (down.reason) {
          complaints.push_back("the agent of node process " + std::to_string(i) + " ended: " + caf::to_string(down.reason));
          if (processes_[i].plan.again)
            times_.after(milliseconds{1000}, [this, i] {
              if (!is_over())
                start_node(processes_[i].plan, processes_[i].once);
            });
        }
        for (auto& l : processes_[i].links) // the process ends with its agent, when its other actors have ended
          times_.after(milliseconds{200}, [l] { l->cut(milliseconds{0}, milliseconds{0}); });
      }
  }

  // -- connections ------------------------------------------------------------------------------------------------------------

  struct dialler_state {
    static inline const char* name = "dialler";
    std::deque<caf::typed_response_promise<gate_actor>> waiting;
  };

  dialler_actor spawn_dialler(const caf::actor_addr& parent, std::size_t node) {
    return caf::actor_cast<dialler_actor>(spawn_scheduled(system_, rules_, [=, this](caf::stateful_actor<dialler_state>* self) {
      use_log(self);
      follow(self, parent);
      return dialler(self, node);
    }));
  }

  caf::behavior dialler(caf::stateful_actor<dialler_state>* self, std::size_t node) {
    return {[=, this](caf::connect_atom) -> caf::result<gate_actor> {
              self->state.waiting.push_back(self->make_response_promise<gate_actor>());
              auto away = times_.now() < processes_[node].unreachable_until;
              self->delayed_send(self, away ? rules_.dial_timeout : traffic_.between(1, 100), caf::tick_atom_v);
              return self->state.waiting.back();
            },
            [=, this](caf::tick_atom) {
              auto found = connect(node);
              auto& next = self->state.waiting.front();
              found ? next.deliver(caf::actor_cast<gate_actor>(*found)) : next.deliver(found.error());
              self->state.waiting.pop_front();
            }};
  }

  caf::expected<caf::strong_actor_ptr> connect(std::size_t node) {
    auto gate = caf::actor_cast<caf::strong_actor_ptr>(published_);
    if (times_.now() < processes_[node].unreachable_until || !gate || !is_alive(gate))
      return fail(ec::unavailable, "nobody answers");
    auto fresh = std::make_shared<link>(system_, times_, network_, dice{seed_ + ++connections_, "link"});
    processes_[node].links.push_back(fresh);
    return fresh->known_at(at_node, gate);
  }

  link::habits network_;
  policy rules_;
  dice turns_, work_, traffic_;
  std::uint64_t seed_, connections_ = 0;
  interleaving_config config_;
  caf::actor_system system_{config_};
  caf::scheduler::test_coordinator& sched_ = dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
  timeline times_{sched_.clock()};
  caf::scoped_actor self_{system_, true};
  gate_actor published_;
  data_ptr data_;
  std::optional<run_outcome> outcome_;
  std::deque<process> processes_;
  std::map<caf::actor_id, std::size_t> home_;
  std::map<caf::actor_id, timeline::time> computing_; // workers: until when
};

} // namespace enn::actors::test
