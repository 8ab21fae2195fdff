// Errors of predictions: one number a row, the sum over its cells of mask * error(prediction - target).
#include <enn/model/operators/operator.hpp>

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

  // Without branches, so that the loops below become vector code; a NaN stays one.
  static T magnitude(T e) { return e < 0 ? -e : e; }
  static T huber(T e, T delta) { // |e| <= delta: |e| (|e| - |e|/2)
    auto size = magnitude(e), inner = size < delta ? size : delta;
    return inner * (size - T(0.5) * inner);
  }
  static T huber_slope(T e, T delta) { return e < -delta ? -delta : e > delta ? delta : e; }
  static T sign(T e) { return (e > 0 ? T(1) : e < 0 ? T(-1) : T(0)) + (e - e); }

  /// f(error) for the kind's error function.
  template <class F>
  void with_error(F f) const {
    if (kind == error_kind::mae)
      f([](T e) { return magnitude(e); });
    else if (kind == error_kind::mse)
      f([](T e) { return e * e; });
    else
      f([d = delta](T e) { return huber(e, d); });
  }
  template <class F>
  void with_slope(F f) const {
    if (kind == error_kind::mae)
      f([](T e) { return sign(e); });
    else if (kind == error_kind::mse)
      f([](T e) { return T(2) * e; });
    else
      f([d = delta](T e) { return huber_slope(e, d); });
  }

  void forward(const call<T>& c) const override {
    with_error([&](auto error) {
      const T *x = c.in[0], *target = c.in[1], *mask = c.in[2];
      T* terms = c.scratch;
      for (std::int64_t i = 0; i < c.rows * cells; ++i)
        terms[i] = mask[i] * error(x[i] - target[i]);
    });
    c.kernels->row_sum(c.rows, cells, false, c.scratch, c.out[0]);
  }
  void backward(const call<T>& c) const override {
    with_slope([&](auto slope) {
      const T *x = c.in[0], *target = c.in[1], *mask = c.in[2];
      T* dx = c.d_in[0];
      for (std::int64_t r = 0; r < c.rows; ++r) {
        auto weight = c.d_out[0][r];
        for (auto i = r * cells; i < (r + 1) * cells; ++i)
          dx[i] += weight * mask[i] * slope(x[i] - target[i]);
      }
    });
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
