// A short training of a coordinator and up to four node processes, disturbed as a seed says, must give the bits of the undisturbed
// one. It simulates our protocol on links as link.hpp describes them, not CAF's.
#include "cluster.hpp"

#include <charconv>
#include <cstdio>
#include <cstring>

namespace enn::actors::test {
namespace {

using std::chrono::seconds;

struct plan {
  std::vector<node_plan> nodes;
  std::uint32_t own_workers = 0; // of the coordinator
  bool once = true;              // agents end with the run
  bool large = false;            // gradients and weights of several pieces
  double throws = 0;             // of computed leases
  link::habits network;
  policy rules;
  struct disturbance {
    milliseconds when;
    std::string what;
    std::function<void(cluster&)> act;
  };
  std::vector<disturbance> disturbances;
  milliseconds within{200000};           // for the outcome
  std::size_t leave_early = 0;           // this node process ends before the run

  void at(milliseconds when, std::string what, std::function<void(cluster&)> act) {
    disturbances.push_back({when, std::move(what), std::move(act)});
  }
};

// -- what a seed draws ------------------------------------------------------------------------------------------------------

constexpr std::int64_t span_ms = 8000; // in which disturbances begin

std::size_t running(const cluster& c) {
  std::size_t count = 0;
  for (std::size_t i = 1; i <= c.nodes(); ++i)
    count += c.is_up(i);
  return count;
}

/// The k-th node process that is up, counted on from any k; 0: none is.
std::size_t some_node(const cluster& c, std::uint64_t k) {
  std::vector<std::size_t> up;
  for (std::size_t i = 1; i <= c.nodes(); ++i)
    if (c.is_up(i))
      up.push_back(i);
  return up.empty() ? 0 : up[k % up.size()];
}

std::string ms(milliseconds t) {
  return std::to_string(t.count()) + " ms";
}

void draw_disturbance(plan& p, dice& d) {
  auto when = d.between(0, d.chance(0.4) ? 1000 : span_ms), how_long = d.between(500, 10000);
  auto a = d.between(0, 3000), b = d.between(0, 3000);
  auto k = d.below(4);
  auto to_node = [k](auto act) {
    return [k, act](cluster& c) {
      if (auto i = some_node(c, k))
        act(c, i);
    };
  };
  auto which = " the node process " + std::to_string(k) + " of those that are up";
  switch (d.below(10)) {
    case 0:
    case 1:
      return p.at(when, "cut" + which + ", noticed after " + ms(a) + " there, " + ms(b) + " here",
                  to_node([a, b](cluster& c, std::size_t i) { c.cut(i, a, b); }));
    case 2:
    case 3: {
      auto directions = d.below(3);
      bool vanish = d.chance(0.5);
      return p.at(when, "partition" + which + " for " + ms(how_long) + (vanish ? ", messages vanish, " : ", messages wait, ")
                          + (directions == 0 ? "both ways" : directions == 1 ? "towards it" : "from it"),
                  to_node([=](cluster& c, std::size_t i) { c.partition(i, directions != 2, directions != 1, how_long, vanish); }));
    }
    case 4: {
      auto again = d.chance(0.7);
      auto fresh = p.nodes[k % p.nodes.size()];
      auto once = p.once;
      return p.at(when, "kill" + which + ", noticed after " + ms(a) + (again ? ", start one after " + ms(b) : ""),
                  to_node([=](cluster& c, std::size_t i) {
                    c.kill_node(i, a);
                    if (again)
                      c.times().after(b, [&c, fresh, once] {
                        if (!c.is_over())
                          c.start_node(fresh, once);
                      });
                  }));
    }
    case 5:
      return p.at(when, "freeze" + which + " for " + ms(how_long), to_node([=](cluster& c, std::size_t i) { c.freeze(i, how_long); }));
    case 6: return p.at(when, "freeze the coordinator for " + ms(how_long), [=](cluster& c) { c.freeze(0, how_long); });
    case 7: return p.at(when, "stop" + which, to_node([](cluster& c, std::size_t i) { c.stop_node(i); }));
    case 8:
      return p.at(when, "let the workers hang of" + which + " for " + ms(how_long),
                  to_node([=](cluster& c, std::size_t i) { c.hang(i, how_long); }));
    default: {
      auto whom = std::array{"broker", "gate", "sampler", "node"}[d.below(4)];
      return p.at(when, std::string{"kill the "} + whom, [whom](cluster& c) {
        if (c.kills < 2) // more without a step in between end the run
          c.kill_actor(whom);
      });
    }
  }
}

/// Up to four, down to one, up and down again.
void draw_membership(plan& p, dice& d) {
  for (std::int64_t i = 0; i < 4; ++i) {
    bool up = i % 2 == 0;
    auto fresh = p.nodes.front();
    auto once = p.once;
    for (std::int64_t k = 0; k < 3; ++k) {
      auto when = milliseconds{i * 2000} + d.between(0, 1500);
      auto gentle = d.chance(0.5);
      p.at(when, up ? "start a node process" : gentle ? "stop a node process" : "kill a node process", [=](cluster& c) {
        if (up) {
          if (running(c) < 4)
            c.start_node(fresh, once);
        } else if (auto one = running(c) > 1 ? some_node(c, static_cast<std::uint64_t>(k)) : 0) {
          gentle ? c.stop_node(one) : c.kill_node(one, milliseconds{100});
        }
      });
    }
  }
}

void draw_loss(plan& p, dice& d) {
  auto noticed = d.between(0, 3000), away = d.between(0, 5000);
  bool power = d.chance(0.5);
  p.at(d.between(0, 2 * span_ms), (power ? "power cut at the coordinator, " : "kill the coordinator, ") + ms(away) + " away",
       [=](cluster& c) { c.lose_coordinator(power, noticed, away); });
}

plan draw(std::uint64_t seed) {
  dice d{seed, "plan"};
  plan p;
  auto count = 1 + d.below(4);
  for (std::uint64_t i = 0; i < count; ++i)
    p.nodes.push_back({"node" + std::to_string(d.below(4)), 1 + static_cast<std::uint32_t>(d.below(2)), d.chance(0.5)});
  p.own_workers = d.chance(0.5) ? 0 : 1 + static_cast<std::uint32_t>(d.below(2));
  p.once = d.chance(0.5);
  p.large = d.chance(0.04);
  p.throws = d.chance(0.3) ? 0.1 : 0;
  p.network = {.least = milliseconds{d.below(2)}, .most = d.between(2, 80), .duplicates = d.chance(0.5) ? 0.2 : 0};
  p.rules.row_cache_bytes = d.chance(0.5) ? 200 : p.rules.row_cache_bytes;
  p.rules.bulk_bytes = d.chance(0.5) ? 1000 : p.rules.bulk_bytes; // gradients are larger, losses are not
  if (d.chance(0.2))
    draw_membership(p, d);
  else
    for (auto n = 1 + d.below(8); n > 0; --n)
      draw_disturbance(p, d);
  for (auto n = d.chance(0.3) ? 1 + d.below(3) : 0; n > 0; --n)
    draw_loss(p, d);
  return p;
}

// -- scenarios with names: what went wrong in other systems ---------------------------------------------------------------

plan calm(std::size_t nodes, std::uint32_t own_workers) {
  plan p;
  p.own_workers = own_workers;
  for (std::size_t i = 0; i < nodes; ++i)
    p.nodes.push_back({"node" + std::to_string(i), 1, i % 2 == 0});
  return p;
}

/// A node process that comes back under its name before anybody noticed that it was gone, again and again.
plan quick_rejoin() { // pytorch#147064
  auto p = calm(2, 0);
  for (auto when : {700, 1100, 1500, 1900, 2300})
    p.at(milliseconds{when}, "kill a node process unnoticed and start it at once", [](cluster& c) {
      c.kill_node(some_node(c, c.nodes()), milliseconds{5000});
      c.start_node({"node1", 1, false}, true);
    });
  return p;
}

/// A node whose beats no longer arrive, for good: the others must go on.
plan lost_beats() { // pytorch#111646
  auto p = calm(3, 0);
  p.at(milliseconds{900}, "silence from a node process", [](cluster& c) { c.partition(1, false, true, milliseconds{600000}, true); });
  return p;
}

/// The only node falls silent before anything is computed, and nobody knows how long a lease takes.
plan silent_from_the_start() {
  auto p = calm(1, 0);
  p.nodes[0].workers = 2; // it has room for all leases
  p.at(milliseconds{250}, "silence from the node process", [](cluster& c) { c.partition(1, false, true, milliseconds{600000}, true); });
  p.at(milliseconds{1000}, "start another one", [](cluster& c) { c.start_node({"node1", 1, true}, true); });
  p.within = milliseconds{40000};
  return p;
}

/// Of two nodes one is lost while the other one is at work.
plan sole_survivor() { // pytorch#182221
  auto p = calm(2, 0);
  p.at(milliseconds{600}, "kill a node process", [](cluster& c) { c.kill_node(1, milliseconds{0}); });
  return p;
}

/// The place where nodes meet is started again.
plan gate_restarts() { // pytorch#123678
  auto p = calm(3, 1);
  for (auto when : {600, 1800})
    p.at(milliseconds{when}, "kill the gate", [](cluster& c) { c.kill_actor("gate"); });
  return p;
}

/// A node that beats, but answers for none of its leases: others help.
plan hung_workers() {
  auto p = calm(2, 0);
  p.at(milliseconds{900}, "let the workers of a node process hang", [](cluster& c) { c.hang(1, milliseconds{60000}); });
  return p;
}

/// Nobody is left to compute; later one comes.
plan nobody_left() { // horovod#3494
  auto p = calm(2, 0);
  p.at(milliseconds{800}, "kill all node processes", [](cluster& c) {
    c.kill_node(1, milliseconds{0});
    c.kill_node(2, milliseconds{3000});
  });
  p.at(milliseconds{9000}, "start a node process", [](cluster& c) { c.start_node({"node0", 1, true}, true); });
  return p;
}

/// Workers fail everywhere, and one connection breaks: the survivors do not end with the victim.
plan one_fails() { // horovod#3264
  auto p = calm(4, 0);
  p.throws = 0.2;
  p.at(milliseconds{500}, "cut a node process off", [](cluster& c) { c.cut(2, milliseconds{0}, milliseconds{0}); });
  p.at(milliseconds{900}, "kill a node process", [](cluster& c) { c.kill_node(3, milliseconds{0}); });
  return p;
}

/// A connection that breaks while the node process waits to be let in is not waited for.
plan cut_while_joining() {
  auto p = calm(1, 0);
  p.network = {.least = milliseconds{200}, .most = milliseconds{200}};
  p.within = milliseconds{25000}; // less than a request may take
  p.at(milliseconds{250}, "cut the node process off", [](cluster& c) { c.cut(1, milliseconds{0}, milliseconds{0}); });
  return p;
}

/// A node that is to leave leaves, though it was taken for dead meanwhile.
plan drained_while_silent() {
  auto p = calm(1, 0);
  p.leave_early = 1;
  p.at(milliseconds{300}, "stall a node process", [](cluster& c) { c.partition(1, false, true, milliseconds{3500}, false); });
  p.at(milliseconds{500}, "drain it", [](cluster& c) { c.drain("node0"); });
  p.at(milliseconds{5000}, "start another one", [](cluster& c) { c.start_node({"node1", 1, true}, true); });
  return p;
}

/// The machine of the coordinator fails again and again, with nodes that wait for it.
plan coordinator_returns() {
  auto p = calm(2, 1);
  for (auto when : {400, 1500, 3000, 6000})
    p.at(milliseconds{when}, "power cut at the coordinator", [](cluster& c) { c.lose_coordinator(true, milliseconds{100}, milliseconds{700}); });
  return p;
}

struct scenario {
  std::string_view name;
  plan (*make)();
};
constexpr scenario scenarios[] = {{"quick_rejoin", quick_rejoin}, {"lost_beats", lost_beats},
                                  {"silent_from_the_start", silent_from_the_start}, {"sole_survivor", sole_survivor},
                                  {"gate_restarts", gate_restarts}, {"hung_workers", hung_workers}, {"nobody_left", nobody_left},
                                  {"one_fails", one_fails}, {"cut_while_joining", cut_while_joining},
                                  {"coordinator_returns", coordinator_returns},
                                  {"drained_while_silent", drained_while_silent}};

// -- checking ---------------------------------------------------------------------------------------------------------------

constexpr std::int64_t steps = 6;
constexpr milliseconds end_within{100000};

// The first loss of a training lease is so large that the reported sum over a step's leases is a number with a digit for each of
// them: how often it was counted. Gradients and what is added to the digits keep their bits.
constexpr double mark = 0x1p20; // far above what rows add
constexpr int digit_bits = 4;
constexpr std::string_view marked_loss = "loss.final";

model::number_fault mark_lease(std::uint64_t, const serialization::lease& l) {
  if (l.kind != model::lease_kind::train)
    return {};
  return [value = std::ldexp(mark * l.denominator, digit_bits * static_cast<int>(l.index))](
           const model::number_place& p) -> std::optional<model::changed_number> {
    if (p.what != model::number_place::kind::output || p.path != marked_loss)
      return std::nullopt;
    return model::changed_number{0, value};
  };
}

/// Empty: every lease of the step once.
std::string count_leases(const serialization::progress& step) {
  auto marked = std::find_if(step.terms.begin(), step.terms.end(), [](const auto& term) { return term.first == marked_loss; });
  auto digits = static_cast<std::uint64_t>(marked->second / mark + 0.5);
  for (std::int64_t i = 0; i < tiny_config().train.leases; ++i, digits >>= digit_bits)
    if (auto times = digits % (1 << digit_bits); times != 1)
      return "lease " + std::to_string(i) + " of step " + std::to_string(step.step) + " counts " + std::to_string(times) + " times";
  return digits == 0 ? "" : "step " + std::to_string(step.step) + " has more leases than there are";
}

model::config short_config(bool large) {
  auto c = tiny_config();
  c.train.steps = steps;
  c.run.checkpoint_every = 1;
  if (large)
    c.model.d_model = 256;
  return c;
}

struct expected_run {
  tiny t;
  run_outcome outcome;
  std::string losses;
};

fs::path fresh(const fs::path& folder) {
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

/// The undisturbed run.
expected_run compute(const fs::path& folder, bool large) {
  expected_run r{make_tiny(short_config(large)), {}, {}};
  auto request = request_for(r.t, fresh(folder), 1);
  request.rules.number_faults = mark_lease;
  r.outcome = simulation{0}.run(std::move(request));
  r.losses = losses_of(folder);
  return r;
}

class judge {
public:
  explicit judge(const fs::path& folder) : folder_{folder}, files_{folder / "run", folder / "trace"} {}

  /// What is wrong with this seed; nothing: all is well.
  std::string try_seed(std::uint64_t seed, plan p, bool trace) {
    auto& expected = of(p.large);
    dice thrown{seed, "throws"};
    if (p.throws > 0)
      p.rules.faults = [&](std::uint64_t, const serialization::lease&) { return thrown.chance(p.throws); };
    p.rules.number_faults = mark_lease;
    cluster c{seed, p.network, p.rules, &files_};
    for (const auto& n : p.nodes)
      c.start_node(n, p.once);
    for (auto& d : p.disturbances)
      c.times().after(d.when, [&] {
        if (c.is_over())
          return;
        if (trace)
          std::printf("%8lld ms: %s\n", static_cast<long long>(c.times().elapsed().count()), d.what.c_str());
        d.act(c);
      });
    for (auto when : {20000, 60000}) // those that compute may all be gone
      c.times().after(milliseconds{when}, [&] {
        if (!c.is_over())
          c.start_node(p.nodes.front(), p.once);
      });
    files_.hold({});
    auto request = request_for(expected.t, files_.folder(), p.own_workers);
    auto outcome = c.run(std::move(request), p.within);
    if (trace)
      std::printf("%8lld ms: %s\n", static_cast<long long>(c.times().elapsed().count()), outcome ? "it ends" : "it goes on for ever");
    auto took = c.times().elapsed();
    longest_ = std::max(longest_, took);
    for (const auto& [event, count] : c.notes)
      notes_[event] += count;
    kills_ += c.kills;
    losses_ += c.losses;
    leases_ += c.book.given;
    shared_ += c.book.shared;
    longest_wait_ = std::max(longest_wait_, c.longest_wait);
    longest_absence_ = std::max(longest_absence_, c.longest_absence);
    if (!c.complaints.empty())
      return c.complaints.front();
    if (!outcome)
      return "no outcome after " + ms(took) + " of virtual time";
    if (p.leave_early > 0 && c.is_up(p.leave_early))
      return "node process " + std::to_string(p.leave_early) + " did not leave";
    if (!c.everybody_ends(end_within))
      return "actors are left " + ms(end_within) + " after the outcome";
    return compare(c, *outcome, p, expected);
  }
  /// What the seeds went through.
  std::string summary() const {
    auto text = "the longest run took " + ms(longest_) + " of virtual time, the longest undisturbed wait for a step " + ms(longest_wait_)
                + ", for a node " + ms(longest_absence_) + "; " + std::to_string(leases_) + " leases, " + std::to_string(shared_)
                + " of them with a second holder; " + std::to_string(kills_) + " kills, " + std::to_string(losses_)
                + " losses of the coordinator";
    for (const auto& [event, count] : notes_)
      text += ", " + std::to_string(count) + " " + event;
    return text;
  }

private:
  const expected_run& of(bool large) {
    auto& r = expected_[large];
    if (!r)
      r = compute(folder_ / "expected", large);
    return *r;
  }

  std::string compare(const cluster& c, const run_outcome& outcome, const plan& p, const expected_run& expected) {
    if (auto same = same_bits(outcome, expected.outcome); !same)
      return same.message();
    if (losses_of(files_.folder()) != expected.losses)
      return "other losses";
    for (std::int64_t s = 1; s <= steps; ++s)
      if (!c.steps.contains(s) || (c.kills + c.losses == 0 && c.steps.at(s).size() > 1))
        return "step " + std::to_string(s) + " was not recorded once";
    for (const auto& [s, told] : c.steps)
      for (const auto& step : told)
        if (auto wrong = count_leases(step); !wrong.empty())
          return wrong;
    if (outcome.restarts > c.kills)
      return std::to_string(outcome.restarts) + " restarts for " + std::to_string(c.kills) + " kills";
    auto found = c.notes.find("enlisted");
    auto enlisted = found == c.notes.end() ? 0 : found->second;
    if (auto most = 10 + 12 * (p.nodes.size() + p.disturbances.size()); enlisted > most)
      return std::to_string(enlisted) + " times a node enlisted, more than " + std::to_string(most);
    return c.complaints.empty() ? "" : c.complaints.front();
  }

  fs::path folder_;
  disk files_;
  std::optional<expected_run> expected_[2];
  milliseconds longest_{0}, longest_wait_{0}, longest_absence_{0};
  std::map<std::string, std::uint64_t> notes_;
  std::uint64_t kills_ = 0, losses_ = 0, leases_ = 0, shared_ = 0;
};

int usage() {
  std::fprintf(stderr, "usage: cluster_simulation FIRST_SEED LAST_SEED [NAME | --trace]\n"
                       "NAME: a scenario instead of what the seed draws:");
  for (const auto& s : scenarios)
    std::fprintf(stderr, " %s", std::string{s.name}.c_str());
  std::fprintf(stderr, "\n");
  return 2;
}

bool read_seed(const char* text, std::uint64_t& seed) {
  auto end = text + std::strlen(text);
  return std::from_chars(text, end, seed).ptr == end && end != text;
}

int main(int argc, char** argv) {
  std::uint64_t first = 0, last = 0;
  if (argc < 3 || argc > 4 || !read_seed(argv[1], first) || !read_seed(argv[2], last))
    return usage();
  std::string_view what = argc == 4 ? argv[3] : "";
  bool trace = what == "--trace";
  auto named = std::find_if(std::begin(scenarios), std::end(scenarios), [&](const scenario& s) { return s.name == what; });
  if (named == std::end(scenarios) && !trace && !what.empty())
    return usage();
  spdlog::set_level(trace ? spdlog::level::debug : spdlog::level::off);
  scratch files;
  judge j{files.path};
  std::uint64_t wrong = 0;
  for (auto seed = first; seed <= last; ++seed) {
    auto problem = j.try_seed(seed, named == std::end(scenarios) ? draw(seed) : named->make(), trace);
    if (problem.empty())
      continue;
    ++wrong;
    auto text = std::to_string(seed);
    std::printf("seed %s: %s\n  replay: %s %s %s %s\n", text.c_str(), problem.c_str(), argv[0], text.c_str(), text.c_str(),
                what.empty() ? "--trace" : std::string{what}.c_str());
    std::fflush(stdout);
  }
  std::printf("%llu of %llu seeds fail; %s\n", static_cast<unsigned long long>(wrong), static_cast<unsigned long long>(last - first + 1),
              j.summary().c_str());
  return wrong > 0;
}

} // namespace
} // namespace enn::actors::test

int main(int argc, char** argv) {
  return enn::actors::test::main(argc, argv);
}
