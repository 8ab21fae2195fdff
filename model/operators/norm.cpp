// Along the last extent: layer norm, root-mean-square norm, softmax, gated linear units.
#include <enn/model/operators/operator.hpp>

namespace enn::model {
namespace {

/// The last extent as columns, all others as rows.
struct row_view {
  shape lead;
  std::int64_t cols;
  explicit row_view(const shape& s) : lead(s.begin(), s.end() - 1), cols(s.back()) {}
  std::int64_t count(std::int64_t rows) const { return elements(lead, rows); }
};

/// Inputs x, gain and, unless root-mean-square, bias.
template <class T>
struct norm final : bound_operator<T> {
  row_view view;
  T epsilon;
  bool center;
  explicit norm(const node_facts& f)
    : view(f.inputs[0]), epsilon(static_cast<T>(real_of(*f.attrs, "epsilon"))), center(f.inputs.size() == 3) {}

  void forward(const call<T>& c) const override {
    kernels::norm_args<T> a;
    a.rows = view.count(c.rows);
    a.cols = view.cols;
    a.center = center;
    a.epsilon = epsilon;
    a.x = c.in[0];
    a.gain = c.in[1];
    a.bias = center ? c.in[2] : nullptr;
    a.y = c.out[0];
    a.mean = c.saved;
    a.rstd = c.saved + a.rows;
    c.kernels->norm(a);
  }
  void backward(const call<T>& c) const override {
    kernels::norm_backward_args<T> a;
    a.rows = view.count(c.rows);
    a.cols = view.cols;
    a.center = center;
    a.x = c.in[0];
    a.gain = c.in[1];
    a.mean = c.saved;
    a.rstd = c.saved + a.rows;
    a.dy = c.d_out[0];
    a.dx = c.d_in[0];
    a.dgain = c.d_in[1];
    a.dbias = center ? c.d_in[2] : nullptr;
    c.kernels->norm_backward(a);
  }
  backward_reads reads() const override { return {3, 0}; }
  std::int64_t saved_size(std::int64_t rows) const override { return 2 * view.count(rows); }
};

std::vector<shape> infer_norm(const node_facts& f, std::size_t inputs) {
  real_of(*f.attrs, "epsilon");
  require(f.inputs.size() == inputs, "takes " + std::to_string(inputs) + " inputs");
  const auto& x = f.inputs[0];
  require(x.size() >= (is_batched(x) ? 2u : 1u), "a row of the batch is one number");
  for (std::size_t i = 1; i < inputs; ++i)
    require(f.inputs[i] == shape{x.back()}, "gain and bias need the last extent");
  return {x};
}

std::vector<value_id> lower_norm(graph_builder& b, const node_facts& f, std::span<const value_id> in) {
  attributes last{{"axis", static_cast<std::int64_t>(f.inputs[0].size()) - 1}};
  auto x = in[0];
  if (in.size() == 3)
    x = b.apply("subtract", {x, b.apply("mean", {x}, last)});
  auto variance = b.apply("mean", {b.apply("square", {x})}, last);
  auto deviation = b.apply("sqrt", {b.apply("affine", {variance}, {{"scale", 1.0}, {"shift", real_of(*f.attrs, "epsilon")}})});
  auto y = b.apply("multiply", {b.apply("divide", {x, deviation}), in[1]});
  return {in.size() == 3 ? b.apply("add", {y, in[2]}) : y};
}

template <class T>
struct softmax final : bound_operator<T> {
  row_view view;
  explicit softmax(const node_facts& f) : view(f.inputs[0]) {}
  void forward(const call<T>& c) const override { c.kernels->softmax(view.count(c.rows), view.cols, c.in[0], c.out[0]); }
  void backward(const call<T>& c) const override {
    auto rows = view.count(c.rows);
    c.kernels->softmax_backward(rows, view.cols, c.out[0], c.d_out[0], c.scratch);
    c.kernels->axpy(rows * view.cols, T{1}, c.scratch, c.d_in[0]);
  }
  backward_reads reads() const override { return {0, 1}; }
  std::int64_t scratch_size(std::int64_t rows, const kernels::kernel_table<T>&) const override { return view.count(rows) * view.cols; }
};

kernels::glu activation_of(const node_facts& f) {
  const auto& name = text_of(*f.attrs, "activation");
  require(name == "silu" || name == "gelu", "activation " + name + " is none of silu, gelu");
  return name == "silu" ? kernels::glu::silu : kernels::glu::gelu;
}

/// (..., 2w) -> (..., w): activation(first half) * second half. Shazeer 2020, arXiv:2002.05202.
template <class T>
struct gated final : bound_operator<T> {
  row_view view;
  kernels::glu f_;
  explicit gated(const node_facts& f) : view(f.outputs[0]), f_(activation_of(f)) {}
  void forward(const call<T>& c) const override { c.kernels->gated(f_, view.count(c.rows), view.cols, c.in[0], c.out[0]); }
  void backward(const call<T>& c) const override {
    c.kernels->gated_backward(f_, view.count(c.rows), view.cols, c.in[0], c.d_out[0], c.d_in[0]);
  }
};

std::vector<shape> infer_gated(const node_facts& f) {
  activation_of(f);
  require(f.inputs.size() == 1 && f.inputs[0].back() % 2 == 0, "takes one input with an even last extent");
  shape y = f.inputs[0];
  y.back() /= 2;
  return {y};
}

std::vector<value_id> lower_gated(graph_builder& b, const node_facts& f, std::span<const value_id> in) {
  auto axis = static_cast<std::int64_t>(f.inputs[0].size()) - 1;
  auto width = f.outputs[0].back();
  auto half = [&](std::int64_t begin) { return b.apply("slice", {in[0]}, {{"axis", axis}, {"begin", begin}, {"size", width}}); };
  return {b.apply("multiply", {b.apply(text_of(*f.attrs, "activation"), {half(0)}), half(width)})};
}

} // namespace

void add_norm_operators(operator_table& t) {
  for (std::size_t inputs : {2, 3}) {
    auto d = define<norm>(inputs == 3 ? "layernorm" : "rmsnorm", [inputs](const node_facts& f) { return infer_norm(f, inputs); });
    d.flops = [](const node_facts& f) { return 8.0 * static_cast<double>(elements(f.outputs[0])); };
    d.lower = lower_norm;
    d.swallows = 1; // of x = infinity, 0
    t.add(d);
  }
  auto d = define<softmax>("softmax", same_as_first);
  d.flops = [](const node_facts& f) { return 4.0 * static_cast<double>(elements(f.outputs[0])); };
  d.swallows = 1;
  t.add(d);
  d = define<gated>("gated", infer_gated);
  d.flops = [](const node_facts& f) { return 6.0 * static_cast<double>(elements(f.outputs[0])); };
  d.lower = lower_gated;
  d.swallows = 1;
  t.add(d);
}

} // namespace enn::model
