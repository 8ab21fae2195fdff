// Errors of predictions: one number a row, the sum over its cells of mask * error(prediction - target).
#include <enn/model/operators/operator.hpp>

#include <cmath>

namespace enn::model {
namespace {

enum class error_kind { mse, mae, huber };

error_kind kind_of(const node_facts& f) {
  const auto& kind = text_of(*f.attrs, "kind");
  require(kind == "mse" || kind == "mae" || kind == "huber", "kind " + kind + " is none of mse, mae, huber");
  return kind == "mse" ? error_kind::mse : kind == "mae" ? error_kind::mae : error_kind::huber;
}

/// Inputs prediction, target, mask (B, ...); output (B). With e = prediction - target:
///   mse: e^2;  mae: |e|;  huber: e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2)  (Huber 1964).
/// The derivative of |e| at 0 is 0.
template <class T>
struct loss final : bound_operator<T> {
  std::int64_t cells;
  error_kind kind;
  T delta;
  explicit loss(const node_facts& f)
    : cells(elements(f.inputs[0])), kind(kind_of(f)), delta(static_cast<T>(real_of(*f.attrs, "delta"))) {}

  T error(T e) const {
    auto size = std::abs(e);
    if (kind == error_kind::mae)
      return size;
    if (kind == error_kind::mse)
      return e * e;
    return size <= delta ? T(0.5) * e * e : delta * (size - T(0.5) * delta);
  }
  T slope(T e) const {
    auto sign = static_cast<T>((e > 0) - (e < 0)) + (e - e); // a NaN stays one
    if (kind == error_kind::mae)
      return sign;
    if (kind == error_kind::mse)
      return T(2) * e;
    return std::abs(e) <= delta ? e : delta * sign;
  }

  void forward(const call<T>& c) const override {
    for (std::int64_t i = 0; i < c.rows * cells; ++i)
      c.scratch[i] = c.in[2][i] * error(c.in[0][i] - c.in[1][i]);
    c.kernels->row_sum(c.rows, cells, false, c.scratch, c.out[0]);
  }
  void backward(const call<T>& c) const override {
    for (std::int64_t r = 0; r < c.rows; ++r)
      for (auto i = r * cells; i < (r + 1) * cells; ++i)
        c.d_in[0][i] += c.d_out[0][r] * c.in[2][i] * slope(c.in[0][i] - c.in[1][i]);
  }
  std::int64_t scratch_size(std::int64_t rows, const kernels::kernel_table<T>&) const override { return rows * cells; }
};

} // namespace

void add_loss_operators(operator_table& t) {
  auto d = define<loss>("loss", [](const node_facts& f) -> std::vector<shape> {
    kind_of(f);
    require(real_of(*f.attrs, "delta") > 0, "delta is not above 0");
    require(f.inputs.size() == 3 && is_batched(f.inputs[0]) && f.inputs[1] == f.inputs[0] && f.inputs[2] == f.inputs[0],
            "takes prediction, target and mask of one shape (B, ...)");
    return {{batch}};
  });
  d.flops = [](const node_facts& f) { return 4.0 * static_cast<double>(elements(f.inputs[0])); };
  d.differentiable = 1;
  t.add(d);
}

} // namespace enn::model
