/// Where buffers of a schedule lie: each is needed during an interval of time, and buffers whose intervals do not meet share
/// memory. Used by schedule.cpp alone.
#pragma once
#include <enn/model/graph/graph.hpp>

namespace enn::model {

/// First say what is needed, then place(), then ask for offsets. Sizes and offsets in elements.
class arena_planner {
public:
  explicit arena_planner(std::size_t values);

  /// The value is made at `time`. Values that are never made (inputs, parameters) get no memory here.
  void value(value_id v, std::int64_t size, int time);
  /// `view` is the memory of `of`; its gradient too, if gradients pass.
  void alias(value_id view, value_id of, bool gradient);
  /// The value is read at `time`.
  void use(value_id v, int time);
  /// The value's gradient is added to or read at `time`. Values that are never made get no memory here.
  void gradient(value_id v, std::int64_t size, int time);
  void saved(int step, std::int64_t size, int first, int last);
  /// One for all steps, as large as the largest: it stays in the cache.
  void scratch(std::int64_t size);

  void place();

  value_id root(value_id v) const { return roots_[static_cast<std::size_t>(v)]; }
  value_id gradient_root(value_id v) const { return gradient_roots_[static_cast<std::size_t>(v)]; }
  std::int64_t value_offset(value_id v) const { return offset_of(values_, root(v)); }
  std::int64_t gradient_offset(value_id v) const { return offset_of(gradients_, gradient_root(v)); }
  std::int64_t saved_offset(int step) const { return offset_of(saved_, step); }
  std::int64_t scratch_offset() const { return scratch_offset_; }
  std::int64_t size() const { return size_; }

private:
  struct buffer {
    std::int64_t size = 0;
    int first = 0, last = -1; // empty interval: no memory
    std::int64_t offset = 0;
  };
  static void extend(buffer& b, std::int64_t size, int time);
  static std::int64_t offset_of(const std::vector<buffer>& all, int i) { return all[static_cast<std::size_t>(i)].offset; }

  std::vector<value_id> roots_, gradient_roots_;
  std::vector<buffer> values_, gradients_, saved_;
  std::int64_t scratch_size_ = 0, scratch_offset_ = 0, size_ = 0;
};

} // namespace enn::model
