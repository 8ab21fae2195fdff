// Functions of one array, of two (the second may be repeated along the first), and y = scale * x + shift.
#include <enn/model/operators/broadcast.hpp>

namespace enn::model {

broadcasting::broadcasting(const shape& large, const shape& small) {
  require(small.size() <= large.size(), to_string(small) + " does not broadcast to " + to_string(large));
  auto missing = large.size() - small.size();
  for (std::size_t i = 0; i < large.size(); ++i) {
    auto extent = i < missing ? 1 : small[i - missing];
    require(extent == large[i] || extent == 1, to_string(small) + " does not broadcast to " + to_string(large));
    if (large[i] == 1)
      continue;
    bool repeated = extent != large[i];
    if (groups_.empty() || groups_.back().repeated != repeated)
      groups_.push_back({1, false, repeated});
    auto& g = groups_.back();
    if (large[i] == batch)
      g.batched = true;
    else
      g.extent *= large[i];
  }
}

namespace {

template <kernels::unary F>
struct unary_of {
  template <class T>
  struct op final : bound_operator<T> {
    shape s;
    explicit op(const node_facts& f) : s(f.inputs[0]) {}
    void forward(const call<T>& c) const override { c.kernels->map(F, elements(s, c.rows), c.in[0], c.out[0]); }
    void backward(const call<T>& c) const override {
      c.kernels->map_backward(F, elements(s, c.rows), c.in[0], c.out[0], c.d_out[0], c.d_in[0]);
    }
    backward_reads reads() const override { return {1, 1}; }
  };
};

template <kernels::unary... F>
void add_unary_operators(operator_table& t, std::integer_sequence<kernels::unary, F...>) {
  (t.add(define<unary_of<F>::template op>(std::string{kernels::name(F)}, same_as_first)), ...);
}

template <kernels::binary F>
struct binary_of {
  template <class T>
  struct op final : bound_operator<T> {
    shape s;
    broadcasting b;
    explicit op(const node_facts& f) : s(f.inputs[0]), b(f.inputs[0], f.inputs[1]) {}

    void forward(const call<T>& c) const override { b.zip(*c.kernels, F, c.rows, c.in[0], c.in[1], c.out[0]); }

    void backward(const call<T>& c) const override {
      auto n = elements(s, c.rows);
      const auto& k = *c.kernels;
      const T* dy = c.d_out[0];
      if constexpr (F == kernels::binary::add || F == kernels::binary::subtract) {
        if (c.d_in[0])
          k.axpy(n, T{1}, dy, c.d_in[0]);
        if (!c.d_in[1])
          return;
        if (F == kernels::binary::subtract) {
          k.scale(n, T{-1}, dy, c.scratch);
          dy = c.scratch;
        }
        b.add_sums(k, c.rows, dy, c.d_in[1]);
      } else if constexpr (F == kernels::binary::multiply) {
        if (c.d_in[0]) {
          b.zip(k, F, c.rows, dy, c.in[1], c.scratch);
          k.axpy(n, T{1}, c.scratch, c.d_in[0]);
        }
        if (c.d_in[1]) {
          k.zip(F, n, dy, c.in[0], c.scratch);
          b.add_sums(k, c.rows, c.scratch, c.d_in[1]);
        }
      } else if constexpr (F == kernels::binary::divide) {
        b.zip(k, F, c.rows, dy, c.in[1], c.scratch); // dy / b
        if (c.d_in[0])
          k.axpy(n, T{1}, c.scratch, c.d_in[0]);
        if (c.d_in[1]) { // -(dy / b) * (a / b)
          k.zip(kernels::binary::multiply, n, c.scratch, c.in[0], c.scratch);
          b.zip(k, F, c.rows, c.scratch, c.in[1], c.scratch);
          k.scale(n, T{-1}, c.scratch, c.scratch);
          b.add_sums(k, c.rows, c.scratch, c.d_in[1]);
        }
      } else { // the gradient goes to the one that was chosen; to the first if they are equal
        auto* chosen = c.scratch;
        auto* first = c.scratch + n;
        b.zip(k, F, c.rows, c.in[0], c.in[1], chosen);
        for (std::int64_t i = 0; i < n; ++i) {
          bool is_first = chosen[i] == c.in[0][i];
          first[i] = is_first ? dy[i] : T{0};
          chosen[i] = is_first ? T{0} : dy[i];
        }
        if (c.d_in[0])
          k.axpy(n, T{1}, first, c.d_in[0]);
        if (c.d_in[1])
          b.add_sums(k, c.rows, chosen, c.d_in[1]);
      }
    }

    backward_reads reads() const override {
      return {F == kernels::binary::add || F == kernels::binary::subtract ? 0u : 3u, 0};
    }
    std::int64_t scratch_size(std::int64_t rows, const kernels::kernel_table<T>&) const override {
      auto n = elements(s, rows);
      return F == kernels::binary::add ? 0 : F == kernels::binary::maximum || F == kernels::binary::minimum ? 2 * n : n;
    }
  };
};

std::vector<shape> infer_binary(const node_facts& f) {
  require(f.inputs.size() == 2, "takes two inputs");
  broadcasting{f.inputs[0], f.inputs[1]};
  return {f.inputs[0]};
}

template <kernels::binary... F>
void add_binary_operators(operator_table& t, std::integer_sequence<kernels::binary, F...>) {
  (t.add(define<binary_of<F>::template op>(std::string{kernels::name(F)}, infer_binary)), ...);
}

/// y = scale * x + shift, both fixed numbers.
template <class T>
struct affine final : bound_operator<T> {
  shape s;
  T scale, shift;
  explicit affine(const node_facts& f)
    : s(f.inputs[0]), scale(static_cast<T>(real_of(*f.attrs, "scale"))), shift(static_cast<T>(real_of(*f.attrs, "shift"))) {}
  void forward(const call<T>& c) const override {
    auto n = elements(s, c.rows);
    for (std::int64_t i = 0; i < n; ++i)
      c.out[0][i] = scale * c.in[0][i] + shift;
  }
  void backward(const call<T>& c) const override { c.kernels->axpy(elements(s, c.rows), scale, c.d_out[0], c.d_in[0]); }
  backward_reads reads() const override { return {0, 0}; }
};

template <class T>
struct stop_gradient final : bound_operator<T> {
  explicit stop_gradient(const node_facts&) {}
  void forward(const call<T>&) const override {}
  void backward(const call<T>&) const override {}
  backward_reads reads() const override { return {0, 0}; }
};

template <std::size_t... I>
constexpr auto unary_sequence(std::index_sequence<I...>) {
  return std::integer_sequence<kernels::unary, static_cast<kernels::unary>(I)...>{};
}

} // namespace

void add_elementwise_operators(operator_table& t) {
  add_unary_operators(t, unary_sequence(std::make_index_sequence<kernels::unary_count>{}));
  using b = kernels::binary;
  add_binary_operators(t, std::integer_sequence<b, b::add, b::subtract, b::multiply, b::divide, b::maximum, b::minimum>{});
  t.add(define<affine>("affine", [](const node_facts& f) {
    real_of(*f.attrs, "scale");
    real_of(*f.attrs, "shift");
    return same_as_first(f);
  }));
  auto stop = define<stop_gradient>("stop_gradient", same_as_first);
  stop.is_view = true;
  stop.differentiable = 0;
  t.add(stop);
  auto declare = [&](std::string_view name, unsigned swallows, bool swallows_gradient) {
    auto d = *t.find(name);
    d.swallows = swallows;
    d.swallows_gradient = swallows_gradient;
    t.add(d);
  };
  for (auto name : {"exp", "tanh", "sigmoid", "erf", "relu", "gelu", "silu", "softplus", "reciprocal"})
    declare(name, 1, false); // of some infinity a limit, or a NaN that loses a comparison
  declare("divide", 2, false);
  declare("maximum", 3, true);
  declare("minimum", 3, true);
}

} // namespace enn::model
