#include <enn/actors/block_tree.hpp>

#include <algorithm>
#include <cassert>

namespace enn::actors {
namespace {

void add(model::numeric_health& left, const model::numeric_health& right) {
  left.nonfinite += right.nonfinite;
  if (left.first_node.empty())
    left.first_node = right.first_node;
  left.inputs_finite &= right.inputs_finite;
  left.parameters_finite &= right.parameters_finite;
  left.largest = std::max(left.largest, right.largest);
  left.in_range &= right.in_range;
  left.input_rows.insert(left.input_rows.end(), right.input_rows.begin(), right.input_rows.end());
  left.rows.insert(left.rows.end(), right.rows.begin(), right.rows.end());
}

void add(serialization::flat_vector& left, const serialization::flat_vector& right, model::helpers* helpers) {
  if (!left.is_seen())
    return model::add_gradients(left, right, left.edit(), helpers);
  serialization::flat_vector::owned sum(left.size()); // written once, instead of a copy that is then added to
  model::add_gradients(left, right, sum, helpers);
  left = std::move(sum);
}

} // namespace

void add_sibling(block& left, const block& right, model::helpers* helpers) {
  assert(left.count == right.count && (left.first ^ left.count) == right.first);
  add(left.numbers, right.numbers, helpers);
  for (std::size_t i = 0; i < left.losses.size(); ++i)
    left.losses[i] += right.losses[i];
  left.rungs.insert(left.rungs.end(), right.rungs.begin(), right.rungs.end());
  add(left.health, right.health);
  left.checked += right.checked;
  left.mended += right.mended;
  left.count *= 2;
}

bool block_tree::covers(std::uint32_t lease) const {
  auto after = blocks_.upper_bound(lease);
  return after != blocks_.begin() && contains(std::prev(after)->second, lease);
}

block_tree::verdict block_tree::put(block b) {
  auto after = blocks_.upper_bound(b.first);
  if (after != blocks_.begin()) {
    auto held = std::prev(after);
    if (held->second.first == b.first && held->second.count == b.count && held->second.rungs == b.rungs
        && serialization::hash_of(held->second) != serialization::hash_of(b)) {
      blocks_.erase(held);
      return verdict::conflict;
    }
    if (contains(held->second, b.first) && held->second.count >= b.count)
      return verdict::contained;
  }
  auto first = b.first;
  blocks_.erase(blocks_.lower_bound(first), blocks_.lower_bound(first + b.count));
  blocks_.emplace(first, std::move(b));
  merge_up(first);
  return verdict::taken;
}

std::vector<std::uint32_t> block_tree::drop(std::uint32_t first, std::uint32_t count) {
  std::vector<std::uint32_t> gone;
  std::erase_if(blocks_, [&](const auto& entry) {
    const auto& b = entry.second;
    if (b.first >= first + count || first >= b.first + b.count)
      return false;
    for (auto i = b.first; i < b.first + b.count; ++i)
      gone.push_back(i);
    return true;
  });
  return gone;
}

void block_tree::merge_up(std::uint32_t first) {
  for (auto it = blocks_.find(first); it->second.count < leases_;) {
    auto other = blocks_.find(it->second.first ^ it->second.count);
    if (other == blocks_.end() || other->second.count != it->second.count)
      return;
    if (other->first < it->first)
      std::swap(it, other);
    add_sibling(it->second, other->second, helpers_);
    blocks_.erase(other);
  }
}

} // namespace enn::actors
