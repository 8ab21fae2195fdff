/// The current training version, the memory for the next one, and the weights that nodes ask for. A value without actors.
#pragma once
#include <enn/actors/version.hpp>

#include <map>
#include <memory>
#include <vector>

namespace enn::actors {

class version_store {
public:
  explicit version_store(version_ptr first) : current_(std::move(first)) {}

  const training_version& current() const { return *current_; }
  const version_ptr& share() const { return current_; }

  /// To become the next version: the state of the current one, tensors of any content; their memory is that of an older version
  /// which nobody holds any more, not even in a message.
  std::shared_ptr<training_version> successor();
  void advance(std::shared_ptr<training_version> next);
  /// The same tensors with another state.
  void set_state(model::run_state state);

  /// With which the current version is evaluated and predicts.
  serialization::weights_id evaluated_id() const { return {current_->state.step, !current_->tensors.average.empty()}; }
  /// Of the current version, or of the one before if they were asked for as a whole. all_chunks, which receivers of this process ask
  /// for: one message for all, which keeps the version and copies nothing. ec::protocol where there are none.
  caf::expected<serialization::msg<wire::Weights>> weights(serialization::weights_id id, std::uint32_t chunk, std::uint32_t chunks);

private:
  version_ptr current_;
  std::vector<std::shared_ptr<training_version>> spares_; // older ones
  std::map<serialization::weights_id, serialization::msg<wire::Weights>> published_; // of the two newest versions
};

} // namespace enn::actors
