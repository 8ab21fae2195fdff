// Vectors looked up in a table, by a number that is a category or a place in a period.
#include <enn/model/operators/operator.hpp>

#include <cmath>
#include <limits>

namespace enn::model {
namespace {

/// Inputs index (B), table (V, w); output (B, w).
/// period = 0: row index - first of the table. period > 0: index / period * V is a place on the closed ring of table rows,
/// and the two neighbours are interpolated. An index outside the table (or NaN) gives NaN, which health reports.
template <class T>
struct embedding final : bound_operator<T> {
  std::int64_t count, width;
  T first, period;
  explicit embedding(const node_facts& f)
    : count(f.inputs[1][0]), width(f.inputs[1][1]), first(static_cast<T>(int_of(*f.attrs, "first"))),
      period(static_cast<T>(real_of(*f.attrs, "period"))) {}

  struct place {
    std::int64_t low = -1, high = 0; // table rows; low < 0: none
    T share = 0;                     // of high
  };
  place place_of(T index) const {
    if (period == 0) {
      auto at = index - first;
      if (!(at >= 0 && at < static_cast<T>(count)))
        return {};
      auto row = static_cast<std::int64_t>(at);
      return {row, row, T{0}};
    }
    auto at = index / period * static_cast<T>(count);
    if (!(at >= 0 && at <= static_cast<T>(count)))
      return {};
    auto whole = static_cast<std::int64_t>(at);
    return {whole % count, (whole + 1) % count, at - static_cast<T>(whole)};
  }

  void forward(const call<T>& c) const override {
    for (std::int64_t r = 0; r < c.rows; ++r) {
      auto p = place_of(c.in[0][r]);
      T* y = c.out[0] + r * width;
      for (std::int64_t i = 0; i < width; ++i)
        y[i] = p.low < 0 ? std::numeric_limits<T>::quiet_NaN()
                         : (T{1} - p.share) * c.in[1][p.low * width + i] + p.share * c.in[1][p.high * width + i];
    }
  }
  void backward(const call<T>& c) const override {
    for (std::int64_t r = 0; r < c.rows; ++r) {
      auto p = place_of(c.in[0][r]);
      if (p.low < 0)
        continue;
      c.kernels->axpy(width, T{1} - p.share, c.d_out[0] + r * width, c.d_in[1] + p.low * width);
      if (p.share != 0)
        c.kernels->axpy(width, p.share, c.d_out[0] + r * width, c.d_in[1] + p.high * width);
    }
  }
  backward_reads reads() const override { return {1, 0}; }
};

} // namespace

void add_embedding_operators(operator_table& t) {
  auto d = define<embedding>("embedding", [](const node_facts& f) -> std::vector<shape> {
    int_of(*f.attrs, "first");
    require(real_of(*f.attrs, "period") >= 0, "the period is negative");
    require(f.inputs.size() == 2 && f.inputs[0] == shape{batch} && f.inputs[1].size() == 2 && !is_batched(f.inputs[1]),
            "takes an index (B) and a table (V, w)");
    return {{batch, f.inputs[1][1]}};
  });
  d.differentiable = 2;
  t.add(d);
}

} // namespace enn::model
