#include <enn/actors/version_store.hpp>

#include <algorithm>
#include <atomic>

namespace enn::actors {
namespace {

constexpr std::size_t most_spares = 2; // nodes of this process hold the weights of two versions

} // namespace

std::shared_ptr<training_version> version_store::successor() {
  auto free = std::find_if(spares_.begin(), spares_.end(), [](const auto& v) { return v.use_count() == 1; });
  auto next = free != spares_.end() ? std::move(*free) : std::make_shared<training_version>();
  if (free != spares_.end())
    spares_.erase(free);
  else if (spares_.size() == most_spares)
    spares_.erase(spares_.begin());
  std::atomic_thread_fence(std::memory_order_acquire); // after whoever released it last
  next->state = current_->state;
  return next;
}

void version_store::advance(std::shared_ptr<training_version> next) {
  spares_.push_back(std::const_pointer_cast<training_version>(std::exchange(current_, std::move(next))));
}

void version_store::set_state(model::run_state state) {
  auto next = std::make_shared<training_version>(*current_);
  next->state = state;
  current_ = std::move(next);
}

caf::expected<serialization::msg<wire::Weights>> version_store::weights(serialization::weights_id id, std::uint32_t chunk,
                                                                         std::uint32_t chunks) {
  bool whole = chunk == 0 && chunks == serialization::all_chunks;
  if (whole)
    if (auto it = published_.find(id); it != published_.end())
      return it->second;
  if (id.step != current_->state.step)
    return fail(ec::protocol, "weights of step " + std::to_string(id.step) + " are gone; this is step "
                                + std::to_string(current_->state.step));
  const auto& tensors = current_->tensors;
  auto values = id.averaged ? model::evaluated_weights(tensors) : std::span<const float>{tensors.weights};
  if (std::uint64_t{chunk} * serialization::chunk_bytes > values.size_bytes())
    return fail(ec::protocol, "weights have no chunk " + std::to_string(chunk));
  auto m = serialization::write_weights(id, values, chunk, chunks, whole ? current_ : nullptr);
  if (whole) {
    std::erase_if(published_, [&](const auto& p) { return p.first.step + 1 < id.step; });
    published_.emplace(id, m);
  }
  return m;
}

} // namespace enn::actors
