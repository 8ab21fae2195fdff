/// How a parent meets the end of a child: what it stops, what it starts again and when, or that it gives up. Decided here
/// without actors; `children` carries it out. No clock decides: faults are counted since the child last did its duty.
#pragma once
#include <enn/actors/policy.hpp>
#include <enn/model/error.hpp>

#include <string>
#include <vector>

namespace enn::actors {

enum class strategy : std::uint8_t {
  one_for_one,  // the child alone is started again
  one_for_all,  // all are
  rest_for_one, // the child and those after it, which may use it
};

enum class lifetime : std::uint8_t {
  permanent, // started again however it ended
  transient, // started again unless it ended in good order
  temporary, // never started again; its end concerns nobody
};

struct child_spec {
  std::string name;
  std::uint32_t intensity = 0;            // faults since its last duty that are met by a restart; one more, and the parent gives up
  std::chrono::milliseconds shutdown{0};  // to end when asked to; then it is killed
  lifetime kind = lifetime::permanent;
  std::vector<ec> mendable = {};          // errors of ours that a restart may mend; no restart mends any other
};

struct decision {
  std::vector<std::size_t> stop;          // descending: a child ends before those that it may use
  std::vector<std::size_t> start;         // ascending, when those to stop are gone and the pause is over
  std::chrono::milliseconds pause{0};     // back-off with jitter
  caf::error give_up;                     // set: stop all and end with this, which names the cause
};

class supervision {
public:
  supervision(strategy how, std::vector<child_spec> specs, const policy& rules);

  /// This child ended for this reason, unasked.
  decision went_down(std::size_t child, const caf::error& reason);
  /// This child did what it is for (a lease, a block, a step): its faults are forgotten.
  void did_duty(std::size_t child);
  const child_spec& spec(std::size_t child) const { return children_[child].spec; }
  std::size_t size() const { return children_.size(); }
  strategy how() const { return how_; }

private:
  struct entry {
    child_spec spec;
    std::uint32_t faults = 0, losses = 0; // since its last duty
  };
  strategy how_;
  std::chrono::milliseconds backoff_;
  std::vector<entry> children_;
};

/// A connection that was lost, not a fault of what was behind it.
bool is_loss(const caf::error& reason);

} // namespace enn::actors
