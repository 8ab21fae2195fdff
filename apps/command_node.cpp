#include "command.hpp"
#include "meeting_point.hpp"
#include "run_folder.hpp"
#include "session.hpp"

#include <enn/actors/agent.hpp>
#include <enn/model/machine.hpp>

#include <CLI/CLI.hpp> // slow to compile
#include <caf/all.hpp>

#include <cstdio>
#include <unistd.h>

namespace enn::apps {
namespace {

struct node_options {
  std::string join = actors::to_string({"127.0.0.1", actors::default_port}), cluster;
  // start
  std::int64_t workers = 0, parent = 0;
  std::string data, name;
  bool once = false;
  // drain, stop
  std::string who;
};

using command_function = caf::expected<void> (*)(const node_options&);

caf::expected<actors::data_ptr> find_data(const model::run_definition& run, const std::string& path) {
  if (path.empty())
    return actors::data_ptr{};
  return load_data(run, path);
}

caf::expected<void> wait_for(session& s, const actors::agent_actor& agent) {
  caf::scoped_actor self{s.system()};
  self->monitor(agent);
  caf::error reason;
  bool over = false, told = false;
  while (!over) {
    self->receive(
      [&](caf::down_msg& down) {
        reason = std::move(down.reason);
        over = true;
      },
      caf::after(std::chrono::milliseconds{100}) >> [] {});
    if (!over && !told && *s.stop()) {
      told = true;
      self->send(agent, actors::stop_atom_v);
    }
  }
  if (told)
    return fail(ec::interrupted, "stopped; its leases were finished or given back");
  if (reason && code_of(reason) == ec::none) // an exception
    return fail(ec::gave_up, "the agent of this node failed: " + text_of(reason));
  return reason ? caf::expected<void>{reason} : caf::expected<void>{caf::unit};
}

caf::expected<void> start(const node_options& o) {
  if (o.parent > 0 && !end_with(static_cast<pid_t>(o.parent)))
    return {}; // a node that was started by a coordinator must not outlive it
  auto meeting = find_meeting_point(o.join, o.cluster);
  if (!meeting)
    return meeting.error();
  session s{true};
  actors::policy rules;
  actors::agent_setup setup;
  setup.cluster = meeting->own.cluster;
  setup.name = o.name.empty() ? serialization::machine_name() + "-" + std::to_string(::getpid()) : o.name;
  setup.workers = o.workers > 0 ? static_cast<std::uint32_t>(o.workers) : model::describe_machine().cores;
  setup.once = o.once;
  setup.spawn_dialler = [&s, to = *meeting, limit = rules.dial_timeout](const caf::actor_addr& agent) {
    return actors::spawn_dialler(s.system(), agent, to.own, to.at, limit);
  };
  setup.find_data = [path = o.data](const model::run_definition& run) { return find_data(run, path); };
  auto name = setup.name;
  setup.tell = [name](const std::string& text) {
    say(name, text);
    std::fflush(stdout);
  };
  say("node", name + ", " + counted(setup.workers, "workers") + ", joins " + to_string(meeting->at));
  std::fflush(stdout);
  if (o.parent > 0)
    s.signals().on_signal("", "");
  else
    s.signals().on_signal("finishing the leases at work; a second signal ends at once", "ended at once; its leases go to others");
  return wait_for(s, actors::spawn_agent(s.system(), std::move(setup), rules));
}

// -- what is asked of the coordinator -------------------------------------------------------------------------------------------

/// Asks the gate of the run.
template <class Answer, class... Request>
caf::expected<Answer> ask(const node_options& o, const Request&... request) {
  auto meeting = find_meeting_point(o.join, o.cluster);
  if (!meeting)
    return meeting.error();
  session s{true};
  actors::policy rules;
  caf::scoped_actor self{s.system()};
  auto dialler = actors::spawn_dialler(s.system(), self->address(), meeting->own, meeting->at, rules.dial_timeout);
  caf::expected<Answer> result{fail(ec::unavailable, "no answer")};
  auto failed = [&](caf::error& e) { result = e == caf::sec::request_timeout ? fail(ec::unavailable, "no answer from " + to_string(meeting->at)) : e; };
  self->request(dialler, rules.request_timeout, caf::connect_atom_v)
    .receive(
      [&](const actors::gate_actor& gate) {
        self->request(gate, rules.request_timeout, request...).receive([&](const Answer& a) { result = a; }, failed);
      },
      failed);
  return result;
}

caf::expected<void> status(const node_options& o) {
  auto m = ask<actors::msg<wire::Members>>(o, actors::status_atom_v);
  if (!m)
    return m.error();
  auto all = serialization::read(*m);
  if (!all)
    return all.error();
  say("run", "step " + counted(static_cast<std::uint64_t>(all->step)) + " of " + counted(static_cast<std::uint64_t>(all->total_steps)) + ", "
               + counted(all->members.size(), "nodes"));
  std::printf("%-24s %-20s %7s %6s %5s %10s  %s\n", "NODE", "MACHINE", "WORKERS", "EPOCH", "OUT", "DONE", "STATE");
  for (const auto& n : all->members)
    std::printf("%-24s %-20s %7u %6llu %5u %10llu  %s\n", n.name.c_str(), n.machine.c_str(), n.workers, static_cast<unsigned long long>(n.epoch),
                n.leases_out, static_cast<unsigned long long>(n.leases_done),
                n.draining ? "draining" : n.silent_ticks > 2 ? "silent" : "working");
  return {};
}

caf::expected<void> dismiss(const node_options& o, bool now) {
  auto count = ask<std::uint32_t>(o, actors::drain_atom_v, o.who, now);
  if (!count)
    return count.error();
  say(o.who, now ? "leaves at once; its leases go to others" : "gets no more leases, and leaves when it has answered for those it has");
  return {};
}

void add_join(CLI::App& app, node_options& o) {
  app.add_option("--join", o.join, "Where the coordinator listens, or the folder of its run if that is on this machine.")
    ->type_name("HOST:PORT|RUN")->capture_default_str();
  app.add_option("--cluster", o.cluster, "This machine's folder of enn cluster init; not needed with a RUN that has certificates of its own.")->type_name("FOLDER");
}

} // namespace

action declare_node(CLI::App& app) {
  auto o = std::make_shared<node_options>();
  auto chosen = std::make_shared<command_function>();
  app.require_subcommand(1);
  auto declare = [&](const char* name, const char* meaning, command_function act) {
    auto* sub = app.add_subcommand(name, meaning);
    add_join(*sub, *o);
    sub->callback([chosen, act] { *chosen = act; });
    return sub;
  };
  auto* start_app = declare("start", "Compute for a coordinator, until stopped.", start);
  start_app->add_option("--workers", o->workers, "Threads that compute; 0: one a core.")->check(CLI::Range(0, 1024));
  start_app->add_option("--data", o->data, "The run's data file on this machine; otherwise its rows are fetched from the coordinator.")
    ->type_name("FILE");
  start_app->add_option("--name", o->name, "What commands call this node. Default: the machine's name and the process number.");
  start_app->add_flag("--once", o->once, "End when the run is over, instead of waiting for the next one.");
  start_app->add_option("--parent", o->parent)->group(""); // for nodes that a coordinator starts
  start_app->footer("It dials the coordinator, again whenever the connection is lost, and needs no port of its own. Ctrl-C finishes the\n"
                    "leases at work; a second one ends at once.");
  declare("status", "Show the nodes of a run.", status);
  auto* drain = declare("drain", "Let a node finish its leases, then leave.", [](const node_options& all) { return dismiss(all, false); });
  auto* stop = declare("stop", "Let a node leave at once; its leases go to others.", [](const node_options& all) { return dismiss(all, true); });
  for (auto* sub : {drain, stop})
    sub->add_option("NAME", o->who, "Of the node, as enn node status shows it.")->required();
  return [o, chosen] { return (*chosen)(*o); };
}

} // namespace enn::apps
