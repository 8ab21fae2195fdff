/// Virtual time and chance of a simulation: what happens when, drawn from a seed.
#pragma once
#include <enn/kernels/random.hpp>

#include <caf/scheduler/test_coordinator.hpp>

#include <chrono>
#include <functional>
#include <map>

namespace enn::actors::test {

using std::chrono::milliseconds;

/// Draws that follow from a seed and what they are for.
class dice {
public:
  dice(std::uint64_t seed, std::string_view purpose) : place_{.seed = seed, .purpose = kernels::purpose_hash(purpose)} {}

  /// 0 .. size - 1.
  std::uint64_t below(std::uint64_t size) {
    ++place_.step;
    return kernels::random_bits(place_, 0) % size;
  }
  bool chance(double p) { return static_cast<double>(below(1'000'000)) < p * 1e6; }
  milliseconds between(std::int64_t first, std::int64_t last) {
    return milliseconds{first + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(last - first + 1)))};
  }

private:
  kernels::random_place place_;
};

/// Events beside the timeouts of the actors' clock, on the same virtual time.
class timeline {
public:
  using clock = caf::detail::test_actor_clock;
  using time = clock::time_point;

  explicit timeline(clock& of_actors) : clock_{of_actors}, began_{of_actors.current_time} {}

  time now() const { return clock_.current_time; }
  milliseconds elapsed() const { return std::chrono::duration_cast<milliseconds>(now() - began_); }
  void at(time when, std::function<void()> what) { events_.emplace(std::max(when, now()), std::move(what)); }
  void after(milliseconds delay, std::function<void()> what) { at(now() + delay, std::move(what)); }

  /// The next event or timeout. False: nothing will ever happen again.
  bool advance() {
    const auto& timeouts = clock_.schedule();
    if (events_.empty() || (!timeouts.empty() && timeouts.begin()->first < events_.begin()->first))
      return clock_.trigger_timeout();
    auto next = events_.extract(events_.begin());
    clock_.current_time = std::max(clock_.current_time, next.key());
    next.mapped()();
    return true;
  }

private:
  clock& clock_;
  time began_;
  std::multimap<time, std::function<void()>> events_; // of the same time: in the order of their making
};

} // namespace enn::actors::test
