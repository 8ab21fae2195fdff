/// The one place that decides on which thread an actor runs, and what every actor of ours installs. Only sources include this.
#pragma once
#include <enn/actors/policy.hpp>
#include <enn/model/error.hpp>

#include <caf/all.hpp>
#include <spdlog/spdlog.h>

#include <stdexcept>

namespace enn::actors {

/// An actor that throws where a test's plan says so.
template <class Actor>
class thrower : public Actor {
public:
  thrower(caf::actor_config& config, throw_plan plan) : Actor(config), plan_(std::move(plan)) {}

  caf::invoke_message_result consume(caf::mailbox_element& message) override {
    auto when = plan_(this->name(), message);
    auto text = "injected fault at " + (when == throws::not_at_all ? std::string{} : to_string(message.content()));
    this->current_element_ = &message; // whose sender CAF answers with the exception
    if (when == throws::at_once)
      throw std::runtime_error(text);
    auto result = Actor::consume(message);
    if (when == throws::at_last) // the sender has an answer, and CAF does not expect an exception after it
      this->quit(caf::make_error(caf::sec::runtime_error, text));
    return result;
  }

private:
  throw_plan plan_;
};

/// All actors but drivers are spawned by this, or by spawn_computing().
template <caf::spawn_options Options = caf::no_spawn_options, class Body, class... Ts>
auto spawn_scheduled(caf::actor_system& system, const policy& rules, Body body, Ts&&... xs) {
  using actor = caf::infer_impl_from_fun_t<Body>;
  if (!rules.throwing)
    return system.spawn<Options>(body, std::forward<Ts>(xs)...);
  caf::actor_config config;
  config.init_fun = caf::detail::init_fun_factory<actor, Body>{}(body, std::forward<Ts>(xs)...);
  return system.spawn_impl<thrower<actor>, Options>(config, rules.throwing);
}

/// What computes or blocks gets a thread of its own; under the deterministic scheduler nothing does.
template <class Body, class... Ts>
auto spawn_computing(caf::actor_system& system, const policy& rules, Body body, Ts&&... xs) {
  return rules.threads ? spawn_scheduled<caf::detached>(system, rules, body, std::forward<Ts>(xs)...)
                       : spawn_scheduled(system, rules, body, std::forward<Ts>(xs)...);
}

/// Unexpected messages and exceptions go to the log, with the actor's name; an exception's text becomes the exit reason.
inline void use_log(caf::scheduled_actor* self) {
  self->set_default_handler([](caf::scheduled_actor* s, caf::message_view& v) -> caf::result<caf::message> {
    spdlog::warn("{} {} ignores an unexpected message {}", s->name(), s->id(), to_string(v.content()));
    return caf::sec::unexpected_message;
  });
  self->set_exception_handler([](caf::scheduled_actor* s, std::exception_ptr& p) -> caf::error {
    std::string text = "unknown exception";
    try {
      std::rethrow_exception(p);
    } catch (const std::exception& e) {
      text = e.what();
    } catch (...) {
    }
    spdlog::warn("{} {} ends with an exception: {}", s->name(), s->id(), text);
    return caf::make_error(caf::sec::runtime_error, std::move(text));
  });
}

/// Ends when its parent ends, whatever happened to it.
template <class Self, class Handle>
void follow(Self* self, const Handle& parent) {
  self->monitor(parent);
  self->set_down_handler([=](caf::down_msg&) { self->quit(caf::exit_reason::user_shutdown); });
}

/// Why an actor ended, for people: the text of an error of ours, or of an exception.
inline std::string reason_text(const caf::error& reason) {
  if (reason.context().match_elements<std::string>())
    return reason.context().get_as<std::string>(0);
  return caf::to_string(reason);
}

} // namespace enn::actors
