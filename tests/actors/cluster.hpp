/// A coordinator and node processes on one thread and on virtual time: groups of actors that know of each other by links only.
/// Which actor runs next, how long a worker computes and how long a message travels is drawn from a seed.
#pragma once
#include "disk.hpp"
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
  /// `files`: of the coordinator, if it is to be lost.
  cluster(std::uint64_t seed, link::habits network, policy rules, disk* files = nullptr)
      : book{rules.late_lease}, network_{network}, rules_{std::move(rules)}, turns_{seed, "turns"}, work_{seed, "work"}, traffic_{seed, "traffic"},
        power_{seed, "power"}, seed_{seed}, files_{files} {
    rules_.threads = false;
    rules_.throwing = [this, plan = std::move(rules_.throwing)](std::string_view name, const caf::mailbox_element& m) {
      watch(name, m);
      return plan ? plan(name, m) : throws::not_at_all;
    };
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
  /// Whose turn it is: 0 is the coordinator, nodes count from 1.
  std::size_t running_process() const { return running_ ? home_of(*running_) : 0; }
  std::map<std::string, std::uint32_t> notes;  // how often the driver noted what of nodes
  std::map<std::int64_t, std::vector<serialization::progress>> steps; // what was told of each
  std::vector<std::string> failures;           // of agents that are started again
  std::vector<std::string> complaints;         // of others that ended with an error; of what nobody may do
  std::uint32_t kills = 0;                     // of the coordinator's actors
  std::uint32_t losses = 0;                    // of the coordinator
  ledger book;
  milliseconds longest_wait{0}, longest_absence{0}; // for a step, of a node: while nothing disturbed them

  /// Nothing: it did not end within this virtual time.
  std::optional<run_outcome> run(run_request request, milliseconds within) {
    request.rules = rules_;
    request.publish = [this](const gate_actor& gate) {
      published_ = gate;
      return caf::expected<void>{caf::unit};
    };
    data_ = request.data;
    processes_[0].plan.workers = request.workers;
    request_ = std::move(request);
    start_coordinator();
    while (!outcome_ && complaints.empty() && times_.elapsed() < within && turn())
      receive();
    if (!book.problem.empty())
      complaints.push_back(book.problem);
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

  std::size_t start_node(node_plan plan, bool once) {
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
    processes_[i].plan = plan;
    disturb(i, {});
    self_->monitor(processes_[i].agent);
    return i;
  }
  std::size_t nodes() const { return processes_.size() - 1; }
  bool is_up(std::size_t node) const { return static_cast<bool>(processes_[node].agent); }

  void stop_node(std::size_t node) {
    leave(processes_[node]);
    caf::anon_send(processes_[node].agent, stop_atom_v);
  }

  void drain(const std::string& name) {
    for (auto& p : processes_)
      if (p.plan.name == name)
        leave(p);
    caf::anon_send(published_, drain_atom_v, name, false);
  }
  void ask_for_status() { caf::anon_send(published_, status_atom_v); }

  /// The coordinator learns of it later.
  void kill_node(std::size_t node, milliseconds noticed_after) {
    for (auto& l : processes_[node].links)
      l->lose_side(at_node, noticed_after);
    disturb(node, noticed_after);
    destroy(node);
  }

  /// Its process is killed, or its machine loses power; after a while it goes on with what is left of its folder.
  void lose_coordinator(bool power, milliseconds noticed_after, milliseconds away) {
    if (is_over() || !is_coordinator_up_)
      return;
    ++losses;
    is_coordinator_up_ = false;
    auto left = power ? files_->after_power_cut(power_) : files_->written();
    for (auto& p : processes_)
      for (auto& l : p.links)
        l->lose_side(at_coordinator, noticed_after);
    disturb(0, std::max(noticed_after, away));
    destroy(0);
    files_->hold(std::move(left)); // whatever the dying did
    request_.what = duty::resume;
    times_.after(away, [this] { start_coordinator(); });
  }

  /// As by SIGSTOP: nothing of it runs, everything waits.
  void freeze(std::size_t which, milliseconds how_long) {
    disturb(which, how_long);
    processes_[which].frozen_until = times_.now() + how_long;
    times_.after(how_long, [] {});
  }

  /// Its workers hang, it beats.
  void hang(std::size_t node, milliseconds how_long) {
    disturb(node, how_long);
    processes_[node].hangs_until = times_.now() + how_long;
  }

  void cut(std::size_t node, milliseconds node_notices, milliseconds coordinator_notices) {
    disturb(node, std::max(node_notices, coordinator_notices));
    for (auto& l : processes_[node].links)
      l->cut(node_notices, coordinator_notices);
  }

  /// Messages wait, or vanish.
  void partition(std::size_t node, bool to_node, bool to_coordinator, milliseconds how_long, bool vanish) {
    disturb(node, how_long);
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
        disturb(0, {});
        kill(who);
        return;
      }
  }

private:
  struct process {
    std::vector<caf::actor_addr> actors;
    std::vector<std::shared_ptr<link>> links;
    bool once = false;
    agent_actor agent = {}; // null: it ended, or never was
    timeline::time frozen_until, hangs_until, unreachable_until;
    node_plan plan = {"", 0};
    bool leaves = false;                       // or is to
    timeline::time calm_from{}, member_at{};   // since its last disturbance ended; when it last was one
    std::uint64_t epoch = 0;                   // that its node was told
    caf::actor_id supervisor = 0;              // the newest
    std::uint64_t held = 0;                    // leases that this has not made room for
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

  void start_coordinator() {
    is_coordinator_up_ = true;
    auto request = request_;
    inside(0, [&] { spawn_driver(system_, std::move(request), caf::actor_cast<observer_actor>(self_)); });
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

  // -- what must not be ---------------------------------------------------------------------------------------------------

  /// While nothing disturbs the coordinator and somebody who computes. Joining takes seconds: dial_timeout, longest_pause.
  static constexpr milliseconds most_wait{15000}, most_absence{10000};

  void disturb(std::size_t which, milliseconds how_long) {
    stirred_ = times_.now();
    processes_[which].calm_from = std::max(processes_[which].calm_from, stirred_ + how_long);
  }
  void leave(process& p) {
    p.leaves = true;
    stirred_ = times_.now();
  }
  void complain(const std::string& text) { complaints.push_back(text); }

  /// What an actor of ours is about to take.
  void watch(std::string_view name, const caf::mailbox_element& message) {
    const auto& m = message.content();
    auto where = home_of(*running_);
    auto& p = processes_[where];
    if (name == "broker")
      book.heard(running_->id(), message, times_.now());
    if (name == "node" && where == 0 && message.sender)
      book.said(message.sender->id(), m, times_.now(), false);
    if (name == "node" && message.mid.is_response() && m.match_elements<std::uint64_t>())
      p.epoch = m.get_as<std::uint64_t>(0);
    if (name == "node" && m.match_elements<credit_atom, std::uint32_t>() && message.sender && message.sender->id() == p.supervisor)
      p.held -= std::min<std::uint64_t>(p.held, m.get_as<std::uint32_t>(1));
    if (name == "supervisor" && m.match_elements<lease_atom, msg<wire::Lease>, weights_ptr, rows_ptr>()) {
      if (std::exchange(p.supervisor, running_->id()) != running_->id())
        p.held = 0;
      if (++p.held > 2 * p.plan.workers)
        complain("node process " + std::to_string(where) + " holds " + std::to_string(p.held) + " leases");
    }
  }

  /// Nobody waits for ever, nor much longer than it must.
  void check_waits() {
    auto now = times_.now(), busy_from = timeline::time::max();
    for (std::size_t i = 0; i < processes_.size(); ++i) {
      auto& p = processes_[i];
      if (p.leaves || p.plan.workers == 0 || (i > 0 && !p.agent))
        continue;
      auto calm_from = std::max(p.calm_from, processes_[0].calm_from);
      busy_from = std::min(busy_from, calm_from);
      if (book.is_open(p.epoch))
        p.member_at = now;
      longest_absence = std::max(longest_absence, elapsed(std::max(p.member_at, calm_from)));
    }
    if (busy_from < now)
      longest_wait = std::max(longest_wait, elapsed(std::max({busy_from, stirred_, advanced_at_})));
    if (longest_wait > most_wait)
      complain("no step for " + std::to_string(longest_wait.count()) + " ms that nothing disturbed");
    if (longest_absence > most_absence)
      complain("a node did not enlist for " + std::to_string(longest_absence.count()) + " ms that nothing disturbed");
  }
  milliseconds elapsed(timeline::time since) const { return std::chrono::duration_cast<milliseconds>(times_.now() - since); }

  // -- turns ----------------------------------------------------------------------------------------------------------------

  /// One message of one actor, or else the next event.
  bool turn() {
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < sched_.jobs.size(); ++i)
      if (may_run(sched_.jobs[i]))
        ready.push_back(i);
    if (ready.empty()) {
      if (!outcome_)
        check_waits();
      return times_.advance();
    }
    run_job(ready[turns_.below(ready.size())]);
    return true;
  }

  void run_job(std::size_t i) {
    std::rotate(sched_.jobs.begin(), sched_.jobs.begin() + static_cast<std::ptrdiff_t>(i),
                sched_.jobs.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    auto* a = dynamic_cast<caf::scheduled_actor*>(sched_.jobs.front());
    if (a)
      computing_.erase(a->id());
    running_ = a;
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
      place->second = std::max(times_.now(), processes_[home_of(*a)].hangs_until) + work_.between(50, 600);
      times_.at(place->second, [] {});
    }
    return times_.now() >= place->second;
  }

  void receive() {
    while (self_->has_next_message())
      self_->receive(
        [&](progress_atom, const msg<wire::Progress>& m) {
          advanced_at_ = times_.now();
          if (auto p = serialization::read(m))
            steps[p->step].push_back(std::move(*p));
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
        stirred_ = times_.now();
        if (down.reason && down.reason != caf::exit_reason::normal) {
          auto again = processes_[i].plan.again;
          (again ? failures : complaints)
            .push_back("the agent of node process " + std::to_string(i) + " ended: " + caf::to_string(down.reason));
          if (again)
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
    auto fresh = std::make_shared<link>(system_, times_, book, network_, dice{seed_ + ++connections_, "link"});
    processes_[node].links.push_back(fresh);
    return fresh->known_at(at_node, gate);
  }

  link::habits network_;
  policy rules_;
  dice turns_, work_, traffic_, power_;
  std::uint64_t seed_, connections_ = 0;
  disk* files_;
  interleaving_config config_;
  caf::actor_system system_{config_};
  caf::scheduler::test_coordinator& sched_ = dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
  timeline times_{sched_.clock()};
  caf::scoped_actor self_{system_, true};
  gate_actor published_;
  run_request request_;
  bool is_coordinator_up_ = false;
  data_ptr data_;
  std::optional<run_outcome> outcome_;
  std::deque<process> processes_;
  caf::scheduled_actor* running_ = nullptr; // whose turn it is
  timeline::time stirred_ = times_.now(), advanced_at_ = stirred_; // the last disturbance began; the last step was told of
  std::map<caf::actor_id, std::size_t> home_;
  std::map<caf::actor_id, timeline::time> computing_; // workers: until when
};

} // namespace enn::actors::test
