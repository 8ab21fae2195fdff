/// The children of an actor: started in order, watched, started again as `supervision` decides, stopped in reverse order.
/// Belongs to that actor, which hands it its down messages and the (restart, timer) messages that come of it.
#pragma once
#include <enn/actors/supervision.hpp>

#include <caf/scheduled_actor.hpp>
#include <caf/system_messages.hpp>

namespace enn::actors {

class children {
public:
  struct recipe {
    child_spec spec;
    std::function<caf::strong_actor_ptr()> spawn; // null: there is no such child this time
  };
  struct events {
    /// A child ended unasked; called before anything is done about it. If `give_up` is set, all are stopped afterwards.
    std::function<void(std::size_t child, const caf::error& reason, const decision& next)> down;
    std::function<void(std::size_t child)> started;
    /// All that were to be started are.
    std::function<void()> ready;
    /// After stop(): all are gone, or given up on with a warning.
    std::function<void()> ended;
  };

  children(caf::scheduled_actor* parent, strategy how, std::vector<recipe> table, const policy& rules, events on);

  void start();
  /// Each gets its shutdown time, is killed then, and left alone when that does not help: this always comes to an end.
  void stop();
  bool stopping() const { return stopping_; }
  /// A child that is wrong or stuck is left alone, and counts as one that ended for this reason.
  void fail(std::size_t child, const caf::error& reason);
  const std::string& name_of(std::size_t child) const { return rules_.spec(child).name; }
  void did_duty(std::size_t child) { rules_.did_duty(child); }
  /// False: not a child of these.
  bool on_down(const caf::down_msg& down);
  void on_timer(std::uint64_t timer);

private:
  enum class stage : std::uint8_t { absent, up, doomed, asked, killed };
  struct entry {
    std::function<caf::strong_actor_ptr()> spawn;
    caf::strong_actor_ptr who;
    stage at = stage::absent;
    bool wanted = false;            // to be started
    std::uint64_t pause = 0;        // the timer before its start
    std::uint64_t patience = 0;     // the timer of its end
  };

  void decide(std::size_t child, const caf::error& reason);
  void proceed();
  void ask_to_end();
  void start_wanted();
  void out_of_patience(std::size_t child);
  void leave(entry& e);
  bool all_gone() const;
  std::uint64_t set_timer(std::chrono::milliseconds after);

  caf::scheduled_actor* parent_;
  supervision rules_;
  std::vector<entry> entries_;
  events on_;
  std::uint64_t last_timer_ = 0;
  bool stopping_ = false, ended_ = false;
};

} // namespace enn::actors
