// How much of a refinement to use: a share p per cell, inside the interval in which a + p (q - a) stays within bounds.
#include <enn/model/operators/operator.hpp>

#include <algorithm>
#include <cmath>

namespace enn::model {
namespace {

/// Inputs a, q, logit (B, ...), least, greatest (...); output p (B, ...). Per cell, with d = q - a:
///   interval [low, high] of all p in [floor, ceil] with least <= a + p d <= greatest;  p = low + (high - low) sigmoid(logit).
/// If there is none (a is outside and d leads away or not far enough), the p in [floor, ceil] that comes closest.
/// Where |d| < epsilon the interval is [floor, ceil]. Only the logit gets a gradient: the interval is taken as given.
template <class T>
struct gate final : bound_operator<T> {
  std::int64_t cells;
  T floor, ceil, epsilon;
  explicit gate(const node_facts& f)
    : cells(elements(f.inputs[0])), floor(static_cast<T>(real_of(*f.attrs, "floor"))), ceil(static_cast<T>(real_of(*f.attrs, "ceil"))),
      epsilon(static_cast<T>(real_of(*f.attrs, "epsilon"))) {}

  struct interval {
    T low, high;
  };
  interval interval_of(T a, T q, T least, T greatest) const {
    auto d = q - a;
    if (!(std::abs(d) >= epsilon))
      return {floor + (d - d), ceil}; // a NaN stays one
    auto x = (least - a) / d, y = (greatest - a) / d;
    auto low = std::min(x, y), high = std::max(x, y);
    if (low > ceil)
      return {ceil, ceil};
    if (high < floor)
      return {floor, floor};
    return {std::max(low, floor), std::min(high, ceil)};
  }

  void forward(const call<T>& c) const override {
    auto n = c.rows * cells;
    c.kernels->map(kernels::unary::sigmoid, n, c.in[2], c.out[0]);
    for (std::int64_t i = 0; i < n; ++i) {
      auto x = interval_of(c.in[0][i], c.in[1][i], c.in[3][i % cells], c.in[4][i % cells]);
      auto width = x.high - x.low;
      c.out[0][i] = x.low + width * c.out[0][i];
      c.saved[i] = width;
    }
  }
  void backward(const call<T>& c) const override { // dp/dlogit = width s (1 - s)
    auto n = c.rows * cells;
    c.kernels->map(kernels::unary::sigmoid, n, c.in[2], c.scratch);
    for (std::int64_t i = 0; i < n; ++i)
      c.d_in[2][i] += c.d_out[0][i] * c.saved[i] * c.scratch[i] * (T{1} - c.scratch[i]);
  }
  backward_reads reads() const override { return {4, 0}; }
  std::int64_t saved_size(std::int64_t rows) const override { return rows * cells; }
  std::int64_t scratch_size(std::int64_t rows, const kernels::kernel_table<T>&) const override { return rows * cells; }
};

std::vector<shape> infer_gate(const node_facts& f) {
  require(f.inputs.size() == 5, "takes a, q, logit, least and greatest");
  const auto& a = f.inputs[0];
  require(is_batched(a) && f.inputs[1] == a && f.inputs[2] == a, "a, q and logit are not of one shape (B, ...)");
  shape cells(a.begin() + 1, a.end());
  require(f.inputs[3] == cells && f.inputs[4] == cells, "least and greatest are not of the shape of a row");
  require(real_of(*f.attrs, "floor") <= real_of(*f.attrs, "ceil") && real_of(*f.attrs, "epsilon") > 0, "floor, ceil or epsilon is wrong");
  return {a};
}

/// Everything by minimum and maximum. d is pushed away from zero by epsilon, which makes the interval wide there; clamping low
/// and high to [floor, ceil] gives the closest p where the interval is empty.
std::vector<value_id> lower_gate(graph_builder& b, const node_facts& f, std::span<const value_id> in) {
  auto floor = real_of(*f.attrs, "floor"), ceil = real_of(*f.attrs, "ceil"), epsilon = real_of(*f.attrs, "epsilon");
  auto constant = [&](const char* name, double value) { return b.add_buffer(name, {1}, {value}); };
  auto affine = [&](value_id x, double scale, double shift) { return b.apply("affine", {x}, {{"scale", scale}, {"shift", shift}}); };
  auto a = b.apply("stop_gradient", {in[0]});
  auto d = b.apply("subtract", {b.apply("stop_gradient", {in[1]}), a});
  // step = 1 if |d| >= epsilon, else 0
  auto step = b.apply("minimum", {b.apply("maximum", {affine(b.apply("abs", {d}), 1e30, 1 - epsilon * 1e30), constant("zero", 0)}),
                                  constant("one", 1)});
  auto safe = b.apply("add", {b.apply("multiply", {d, step}), affine(step, -1, 1)}); // d, or 1 where it is too small
  auto away = [&](value_id bound) { return b.apply("divide", {b.apply("subtract", {affine(a, -1, 0), affine(bound, -1, 0)}), safe}); };
  auto x = away(in[3]), y = away(in[4]);
  auto clamp = [&](value_id v) {
    return b.apply("minimum", {b.apply("maximum", {v, constant("floor", floor)}), constant("ceil", ceil)});
  };
  auto low = clamp(b.apply("minimum", {x, y})), high = clamp(b.apply("maximum", {x, y}));
  auto choose = [&](value_id v, double otherwise) { // v where the step is 1
    return affine(b.apply("multiply", {affine(v, 1, -otherwise), step}), 1, otherwise);
  };
  low = choose(low, floor);
  high = choose(high, ceil);
  auto width = b.apply("subtract", {high, low});
  return {b.apply("add", {low, b.apply("multiply", {width, b.apply("sigmoid", {in[2]})})})};
}

} // namespace

void add_gate_operators(operator_table& t) {
  auto d = define<gate>("gate", infer_gate);
  d.flops = [](const node_facts& f) { return 12.0 * static_cast<double>(elements(f.outputs[0])); };
  d.lower = lower_gate;
  d.differentiable = 4;
  d.swallows = 31;
  t.add(d);
}

} // namespace enn::model
