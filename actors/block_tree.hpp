/// Sums of a step's leases along the fixed tree: only siblings are ever added, so the sum has the same bits whoever adds what,
/// when, and in which order blocks arrive. A value without actors; supervisors and the broker each hold one.
#pragma once
#include <enn/model/training/trainer.hpp>
#include <enn/serialization/wire.hpp>

#include <map>
#include <optional>

namespace enn::actors {

using serialization::block;

class block_tree {
public:
  enum class verdict {
    taken,     // new, or replaced the smaller blocks that it contains
    contained, // already there inside a larger block, or the same block again: ignored
    conflict,  // the same range and rungs with another hash: somebody computed wrongly; both are gone
  };

  /// `leases`: a power of two. `helpers`: with the sums; null: nobody.
  explicit block_tree(std::uint32_t leases, model::helpers* helpers = nullptr) : leases_(leases), helpers_(helpers) {}

  /// Adds the block and sums siblings as far up as they are there. Pre: the range is aligned (wire checks it).
  verdict put(block b);

  /// Removes all blocks that hold a lease of this range; answers the leases that are gone with them.
  std::vector<std::uint32_t> drop(std::uint32_t first, std::uint32_t count);

  bool complete() const { return blocks_.size() == 1 && blocks_.begin()->second.count == leases_; }
  bool covers(std::uint32_t lease) const;
  std::uint32_t leases() const { return leases_; }
  const std::map<std::uint32_t, block>& blocks() const { return blocks_; } // by first lease

  /// Removes and answers, lowest first, the blocks whose sibling will never be whole here: some lease of it is neither held nor
  /// coming. What a supervisor sends on.
  template <class Predicate>
  std::vector<block> take_alone(Predicate&& is_coming);

private:
  bool contains(const block& b, std::uint32_t lease) const { return lease >= b.first && lease - b.first < b.count; }
  void merge_up(std::uint32_t first);

  std::uint32_t leases_;
  model::helpers* helpers_;
  std::map<std::uint32_t, block> blocks_;
};

/// left += right, for siblings. Gradients elementwise, losses in double, health in lease order.
void add_sibling(block& left, const block& right, model::helpers* helpers = nullptr);

template <class Predicate>
std::vector<block> block_tree::take_alone(Predicate&& is_coming) {
  std::vector<block> result;
  for (auto it = blocks_.begin(); it != blocks_.end();) {
    auto sibling = it->second.first ^ it->second.count;
    bool wait = it->second.count < leases_; // the root has no sibling
    for (auto i = sibling; i < sibling + it->second.count && wait; ++i)
      wait = covers(i) || is_coming(i);
    if (wait) {
      ++it;
    } else {
      result.push_back(std::move(it->second));
      it = blocks_.erase(it);
    }
  }
  return result;
}

} // namespace enn::actors
