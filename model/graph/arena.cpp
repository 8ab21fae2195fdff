#include <enn/model/graph/arena.hpp>

#include <algorithm>
#include <numeric>

namespace enn::model {
namespace {
constexpr std::int64_t line = 16; // elements: buffers start on cache lines
}

arena_planner::arena_planner(std::size_t values) : roots_(values), gradient_roots_(values), values_(values), gradients_(values) {
  std::iota(roots_.begin(), roots_.end(), 0);
  gradient_roots_ = roots_;
}

void arena_planner::extend(buffer& b, std::int64_t size, int time) {
  b.size = std::max(b.size, size);
  b.first = b.last < 0 ? time : std::min(b.first, time);
  b.last = std::max(b.last, time);
}

void arena_planner::value(value_id v, std::int64_t size, int time) {
  extend(values_[static_cast<std::size_t>(v)], size, time);
}

void arena_planner::alias(value_id view, value_id of, bool gradient) {
  roots_[static_cast<std::size_t>(view)] = root(of);
  if (gradient)
    gradient_roots_[static_cast<std::size_t>(view)] = gradient_root(of);
}

void arena_planner::use(value_id v, int time) {
  auto& b = values_[static_cast<std::size_t>(root(v))];
  if (b.last >= 0)
    extend(b, b.size, time);
}

void arena_planner::gradient(value_id v, std::int64_t size, int time) {
  if (values_[static_cast<std::size_t>(gradient_root(v))].last < 0)
    return;
  extend(gradients_[static_cast<std::size_t>(gradient_root(v))], size, time);
}

void arena_planner::saved(int step, std::int64_t size, int first, int last) {
  saved_.resize(std::max(saved_.size(), static_cast<std::size_t>(step) + 1));
  if (size > 0) {
    extend(saved_[static_cast<std::size_t>(step)], size, first);
    extend(saved_[static_cast<std::size_t>(step)], size, last);
  }
}

void arena_planner::scratch(std::int64_t size) {
  scratch_size_ = std::max(scratch_size_, size);
}

/// Largest first, each at the lowest place that is free during its interval.
void arena_planner::place() {
  std::vector<buffer*> order;
  for (auto* all : {&values_, &gradients_, &saved_})
    for (auto& b : *all)
      if (b.last >= 0 && b.size > 0)
        order.push_back(&b);
  std::stable_sort(order.begin(), order.end(), [](const buffer* a, const buffer* b) { return a->size > b->size; });
  std::vector<const buffer*> placed; // by offset
  for (auto* b : order) {
    auto size = (b->size + line - 1) / line * line;
    std::int64_t free = 0;
    for (const auto* other : placed) {
      if (other->last < b->first || b->last < other->first)
        continue;
      if (other->offset >= free + size)
        break;
      free = std::max(free, other->offset + (other->size + line - 1) / line * line);
    }
    b->offset = free;
    size_ = std::max(size_, free + size);
    auto before = [](const buffer* x, const buffer* y) { return x->offset < y->offset; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), b, before), b);
  }
  scratch_offset_ = size_;
  size_ += scratch_size_;
}

} // namespace enn::model
