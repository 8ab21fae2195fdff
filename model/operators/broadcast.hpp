/// How a smaller array is read along a larger one: shapes aligned at their last extents, where the smaller one has extent 1 or
/// none at all. The walk is cut into blocks of two extents, which the kernels do at once.
#pragma once
#include <enn/kernels/kernel_table.hpp>
#include <enn/model/operators/operator.hpp>

#include <array>

namespace enn::model {

class broadcasting {
public:
  /// Throws std::logic_error if `small` does not broadcast to `large`.
  broadcasting(const shape& large, const shape& small);

  /// y = f(a, b) with b read along a.
  template <class T>
  void zip(const kernels::kernel_table<T>& k, kernels::binary f, std::int64_t rows, const T* a, const T* b, T* y) const {
    for_each_block(rows, [&](block x) {
      if (x.repeat == along::none)
        k.zip(f, x.cols, a + x.large, b + x.small, y + x.large);
      else if (x.repeat == along::rows)
        k.zip_row(f, x.rows, x.cols, a + x.large, b + x.small, y + x.large);
      else
        k.zip_column(f, x.rows, x.cols, a + x.large, b + x.small, y + x.large);
    });
  }

  /// b += x summed over what b repeats along.
  template <class T>
  void add_sums(const kernels::kernel_table<T>& k, std::int64_t rows, const T* x, T* b) const {
    for_each_block(rows, [&](block y) {
      if (y.repeat == along::none)
        k.axpy(y.cols, T{1}, x + y.large, b + y.small);
      else if (y.repeat == along::rows)
        k.column_sum(y.rows, y.cols, x + y.large, b + y.small);
      else
        k.row_sum(y.rows, y.cols, true, x + y.large, b + y.small);
    });
  }

  /// y = b, repeated.
  template <class T>
  void copy(std::int64_t rows, const T* b, T* y) const {
    for_each_block(rows, [&](block x) {
      for (std::int64_t r = 0; r < x.rows; ++r)
        for (std::int64_t c = 0; c < x.cols; ++c)
          y[x.large + r * x.cols + c] = b[x.small + (x.repeat == along::rows ? c : x.repeat == along::none ? r * x.cols + c : r)];
    });
  }

private:
  enum class along { none, rows, columns }; // which extent of a block the small array repeats along
  struct block {
    along repeat;
    std::int64_t rows, cols, large, small;
  };
  struct group {       // adjacent extents of one kind
    std::int64_t extent = 1;
    bool batched = false, repeated = false;
    std::int64_t size(std::int64_t rows) const { return batched ? extent * rows : extent; }
  };

  template <class Visit>
  void for_each_block(std::int64_t rows, Visit&& visit) const {
    auto count = groups_.size();
    if (count == 0) {
      visit(block{along::none, 1, 1, 0, 0});
      return;
    }
    auto last = groups_[count - 1];
    block inner{along::none, 1, last.size(rows), 0, 0};
    if (last.repeated)
      inner.repeat = along::columns;
    std::size_t outer = count - 1;
    if (count > 1) {
      --outer;
      inner.rows = groups_[outer].size(rows);
      inner.repeat = last.repeated ? along::columns : along::rows;
    }
    std::int64_t small_size = inner.repeat == along::columns ? inner.rows : inner.cols;
    walk(rows, 0, outer, inner, small_size, visit);
  }

  template <class Visit>
  void walk(std::int64_t rows, std::size_t g, std::size_t outer, block& at, std::int64_t small_size, Visit& visit) const {
    if (g == outer) {
      visit(at);
      at.large += at.rows * at.cols;
      at.small += small_size;
      return;
    }
    auto start = at.small;
    for (std::int64_t i = 0; i < groups_[g].size(rows); ++i) {
      if (groups_[g].repeated)
        at.small = start;
      walk(rows, g + 1, outer, at, small_size, visit);
    }
  }

  std::vector<group> groups_;
};

} // namespace enn::model
