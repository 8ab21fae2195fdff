#include <enn/actors/recorder.hpp>

#include <enn/actors/spawn.hpp>
#include <enn/serialization/file.hpp>

#include <cmath>
#include <cstdio>
#include <optional>

namespace enn::actors {
namespace {

using serialization::line_log;
using serialization::progress;

std::string printed(const char* format, double value) {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string decimal(double value) {
  return std::isfinite(value) ? printed("%.9g", value) : "null";
}

std::string hexadecimal(double value) {
  return '"' + printed("%a", value) + '"';
}

struct recorder_state;
using self_ptr = recorder_actor::stateful_pointer<recorder_state>;

struct recorder_state {
  static inline const char* name = "recorder";
  self_ptr self = nullptr;
  bool verify = false;
  std::filesystem::path folder;
  std::vector<std::string> recorded;             // lines of earlier executions, from step 1 on
  std::uint64_t steps = 0;                       // lines in losses.jsonl
  std::optional<line_log> losses, metrics;
  std::vector<subscriber_actor> subscribers;

  caf::expected<void> open();
  caf::expected<void> record(const progress& p);
  caf::expected<void> flush() const;
  caf::expected<void> compare(const progress& p, const std::string& line) const;
};

caf::expected<void> recorder_state::open() {
  if (!verify) {
    auto l = line_log::open(folder / "losses.jsonl");
    if (!l)
      return l.error();
    auto m = line_log::open(folder / "metrics.jsonl");
    if (!m)
      return m.error();
    losses.emplace(std::move(*l));
    metrics.emplace(std::move(*m));
  }
  auto lines = line_log::lines(folder / "losses.jsonl");
  if (!lines)
    return lines.error();
  recorded = std::move(*lines);
  steps = recorded.size();
  return caf::unit;
}

caf::expected<void> recorder_state::compare(const progress& p, const std::string& line) const {
  const auto& other = recorded[static_cast<std::size_t>(p.step - 1)];
  if (other == line)
    return caf::unit;
  return fail(ec::not_reproducible, "step " + std::to_string(p.step) + " gives other numbers than recorded: found " + line
                                      + ", recorded " + other);
}

caf::expected<void> recorder_state::record(const progress& p) {
  auto line = losses_line(p);
  auto step = static_cast<std::uint64_t>(p.step);
  if (step <= recorded.size())
    return compare(p, line);
  if (verify || step > steps + 1)
    return fail(ec::not_reproducible, "step " + std::to_string(step) + " follows, but losses.jsonl ends with step " + std::to_string(steps));
  if (step <= steps)
    return caf::unit; // told twice by a driver that restarted its broker
  if (auto done = losses->append(line); !done)
    return done;
  ++steps;
  return metrics->append(metrics_line(p));
}

/// A checkpoint of step s must not survive a power cut that its lines did not.
caf::expected<void> recorder_state::flush() const {
  if (verify)
    return caf::unit;
  return losses->sync();
}

recorder_actor::behavior_type recorder(self_ptr self, caf::actor_addr parent, std::filesystem::path folder, bool verify) {
  use_log(self);
  follow(self, parent);
  auto& st = self->state;
  st.self = self;
  st.folder = std::move(folder);
  st.verify = verify;
  if (auto opened = st.open(); !opened)
    self->quit(opened.error());
  return {
    [=](record_atom, const msg<wire::Progress>& m) {
      auto p = serialization::read(m);
      if (!p)
        return self->quit(p.error());
      if (auto recorded = self->state.record(*p); !recorded)
        return self->quit(recorded.error());
      for (const auto& s : self->state.subscribers)
        self->send(s, progress_atom_v, m);
    },
    [=](flush_atom) -> caf::result<std::uint64_t> {
      if (auto flushed = self->state.flush(); !flushed)
        return flushed.error();
      return self->state.steps;
    },
    [=](subscribe_atom, const subscriber_actor& who) { self->state.subscribers.push_back(who); }};
}

} // namespace

std::string losses_line(const progress& p) {
  std::string plain, exact;
  for (const auto& [path, value] : p.terms) {
    plain += '"' + path + "\":" + decimal(value) + ',';
    exact += '"' + path + "\":" + hexadecimal(value) + ',';
  }
  return "{\"step\":" + std::to_string(p.step) + ',' + plain + "\"norm\":" + decimal(p.norm) + ",\"applied\":"
         + (p.applied ? "true" : "false") + ",\"exact\":{" + exact + "\"norm\":" + hexadecimal(p.norm) + "}}";
}

std::string metrics_line(const progress& p) {
  auto line = "{\"step\":" + std::to_string(p.step) + ",\"seconds\":" + decimal(p.seconds)
              + ",\"rows_per_second\":" + decimal(p.seconds > 0 ? static_cast<double>(p.rows) / p.seconds : 0)
              + ",\"learning_rate\":" + decimal(p.learning_rate) + ",\"master_leases\":" + std::to_string(p.master_leases)
              + ",\"reissues\":" + std::to_string(p.reissues) + ",\"checked_leases\":" + std::to_string(p.checked_leases)
              + ",\"mended_leases\":" + std::to_string(p.mended_leases);
  if (p.validated)
    line += ",\"validation_loss\":" + decimal(p.validation_loss) + ",\"best\":" + (p.best ? "true" : "false");
  return line + '}';
}

recorder_actor spawn_recorder(caf::actor_system& system, caf::actor_addr parent, std::filesystem::path folder, bool verify,
                              const policy& rules) {
  return spawn_computing(system, rules, recorder, std::move(parent), std::move(folder), verify);
}

} // namespace enn::actors
