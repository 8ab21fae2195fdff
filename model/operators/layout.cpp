// Arrays moved, cut, joined and repeated; means over an extent.
#include <enn/model/operators/broadcast.hpp>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace enn::model {
namespace {

/// An array seen as (outer, extent, inner) around one axis.
struct axis_view {
  std::int64_t outer = 1, extent = 1, inner = 1;
  bool outer_batched = false;
  axis_view(const shape& s, std::int64_t axis) {
    for (std::size_t i = 0; i < s.size(); ++i) {
      auto at = static_cast<std::int64_t>(i);
      auto size = s[i] == batch ? 1 : s[i];
      outer_batched |= s[i] == batch;
      (at < axis ? outer : at == axis ? extent : inner) *= size;
    }
  }
  std::int64_t outer_of(std::int64_t rows) const { return outer_batched ? outer * rows : outer; }
};

std::int64_t axis_of(const node_facts& f) {
  auto axis = int_of(*f.attrs, "axis");
  const auto& s = f.inputs.at(0);
  require(axis >= (is_batched(s) ? 1 : 0) && axis < static_cast<std::int64_t>(s.size()),
          "axis " + std::to_string(axis) + " is not one of the inner extents of " + to_string(s));
  return axis;
}

template <class T>
struct reshape final : bound_operator<T> {
  explicit reshape(const node_facts&) {}
  void forward(const call<T>&) const override {}
  void backward(const call<T>&) const override {} // a view: the gradient's memory is shared too
  backward_reads reads() const override { return {0, 0}; }
};

std::vector<shape> infer_reshape(const node_facts& f) {
  const auto& to = ints_of(*f.attrs, "shape");
  require(f.inputs.size() == 1, "takes one input");
  require(elements(to) == elements(f.inputs[0]) && is_batched(to) == is_batched(f.inputs[0]),
          "cannot become " + to_string(to) + ": another number of elements");
  return {to};
}

/// out[i] = in[from(i)], a permutation of axes; runs of the last output axis at a time.
template <class T>
struct transpose final : bound_operator<T> {
  shape out_shape;
  std::vector<std::int64_t> in_strides; // of the input, in the order of output axes; batch counts as one
  std::int64_t row_size;
  bool batched;

  explicit transpose(const node_facts& f) : out_shape(f.outputs[0]), row_size(elements(f.inputs[0])), batched(is_batched(f.inputs[0])) {
    const auto& s = f.inputs[0];
    const auto& order = ints_of(*f.attrs, "order");
    std::vector<std::int64_t> strides(s.size(), 1);
    for (std::size_t i = s.size() - 1; i-- > 0;)
      strides[i] = strides[i + 1] * s[i + 1];
    for (auto axis : order)
      in_strides.push_back(strides[static_cast<std::size_t>(axis)]);
  }

  template <class Move>
  void walk(std::size_t axis, std::int64_t in, std::int64_t& out, Move&& move) const {
    auto extent = out_shape[axis];
    if (axis + 1 == out_shape.size()) {
      move(in, in_strides[axis], out, extent);
      out += extent;
      return;
    }
    for (std::int64_t i = 0; i < extent; ++i)
      walk(axis + 1, in + i * in_strides[axis], out, move);
  }
  template <class Move>
  void for_each_run(std::int64_t rows, Move&& move) const {
    for (std::int64_t r = 0; r < (batched ? rows : 1); ++r) {
      std::int64_t out = r * row_size;
      walk(batched ? 1 : 0, r * row_size, out, move);
    }
  }
  void forward(const call<T>& c) const override {
    for_each_run(c.rows, [&](std::int64_t in, std::int64_t stride, std::int64_t out, std::int64_t n) {
      const T* x = c.in[0] + in;
      T* y = c.out[0] + out;
      for (std::int64_t i = 0; i < n; ++i)
        y[i] = x[i * stride];
    });
  }
  void backward(const call<T>& c) const override {
    for_each_run(c.rows, [&](std::int64_t in, std::int64_t stride, std::int64_t out, std::int64_t n) {
      T* x = c.d_in[0] + in;
      const T* y = c.d_out[0] + out;
      for (std::int64_t i = 0; i < n; ++i)
        x[i * stride] += y[i];
    });
  }
  backward_reads reads() const override { return {0, 0}; }
};

std::vector<shape> infer_transpose(const node_facts& f) {
  const auto& order = ints_of(*f.attrs, "order");
  require(f.inputs.size() == 1, "takes one input");
  const auto& s = f.inputs[0];
  std::vector<std::int64_t> sorted = order, expected(s.size());
  std::iota(expected.begin(), expected.end(), 0);
  std::sort(sorted.begin(), sorted.end());
  require(sorted == expected && (!is_batched(s) || order[0] == 0), "order is no permutation that leaves the batch in front");
  shape to;
  for (auto axis : order)
    to.push_back(s[static_cast<std::size_t>(axis)]);
  return {to};
}

template <class T>
struct concat final : bound_operator<T> {
  std::vector<axis_view> parts;
  std::int64_t total = 0; // elements of an output slice
  explicit concat(const node_facts& f) {
    for (const auto& s : f.inputs) {
      parts.emplace_back(s, int_of(*f.attrs, "axis"));
      total += parts.back().extent * parts.back().inner;
    }
  }
  void forward(const call<T>& c) const override {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      auto n = parts[i].extent * parts[i].inner;
      for (std::int64_t o = 0; o < parts[i].outer_of(c.rows); ++o)
        std::copy_n(c.in[i] + o * n, n, c.out[0] + o * total + offset);
      offset += n;
    }
  }
  void backward(const call<T>& c) const override {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      auto n = parts[i].extent * parts[i].inner;
      for (std::int64_t o = 0; c.d_in[i] && o < parts[i].outer_of(c.rows); ++o)
        c.kernels->axpy(n, T{1}, c.d_out[0] + o * total + offset, c.d_in[i] + o * n);
      offset += n;
    }
  }
  backward_reads reads() const override { return {0, 0}; }
};

std::vector<shape> infer_concat(const node_facts& f) {
  auto axis = static_cast<std::size_t>(axis_of(f));
  shape to = f.inputs[0];
  to[axis] = 0;
  for (const auto& s : f.inputs) {
    require(s.size() == to.size(), "inputs have different ranks");
    for (std::size_t i = 0; i < s.size(); ++i)
      require(i == axis || s[i] == to[i], "inputs differ outside the axis");
    to[axis] += s[axis];
  }
  return {to};
}

template <class T>
struct slice final : bound_operator<T> {
  axis_view view;
  std::int64_t begin, size;
  explicit slice(const node_facts& f)
    : view(f.inputs[0], int_of(*f.attrs, "axis")), begin(int_of(*f.attrs, "begin")), size(int_of(*f.attrs, "size")) {}
  void forward(const call<T>& c) const override {
    for (std::int64_t o = 0; o < view.outer_of(c.rows); ++o)
      std::copy_n(c.in[0] + (o * view.extent + begin) * view.inner, size * view.inner, c.out[0] + o * size * view.inner);
  }
  void backward(const call<T>& c) const override {
    for (std::int64_t o = 0; o < view.outer_of(c.rows); ++o)
      c.kernels->axpy(size * view.inner, T{1}, c.d_out[0] + o * size * view.inner, c.d_in[0] + (o * view.extent + begin) * view.inner);
  }
  backward_reads reads() const override { return {0, 0}; }
};

std::vector<shape> infer_slice(const node_facts& f) {
  require(f.inputs.size() == 1, "takes one input");
  auto axis = static_cast<std::size_t>(axis_of(f));
  auto begin = int_of(*f.attrs, "begin"), size = int_of(*f.attrs, "size");
  shape to = f.inputs[0];
  require(begin >= 0 && size >= 1 && begin + size <= to[axis], "the slice is outside the axis");
  to[axis] = size;
  return {to};
}

/// Repeats an array: extents of 1 and missing leading extents become those of `shape`.
template <class T>
struct broadcast final : bound_operator<T> {
  broadcasting b;
  explicit broadcast(const node_facts& f) : b(f.outputs[0], f.inputs[0]) {}
  void forward(const call<T>& c) const override { b.copy(c.rows, c.in[0], c.out[0]); }
  void backward(const call<T>& c) const override { b.add_sums(*c.kernels, c.rows, c.d_out[0], c.d_in[0]); }
  backward_reads reads() const override { return {0, 0}; }
};

std::vector<shape> infer_broadcast(const node_facts& f) {
  require(f.inputs.size() == 1, "takes one input");
  shape to = ints_of(*f.attrs, "shape");
  broadcasting{to, f.inputs[0]};
  return {to};
}

/// (B, length, channels) -> (B, patches, size * channels): pieces of `size` every `stride`, the last one at the end: what does
/// not fill a piece is left out at the start, where time series are oldest.
template <class T>
struct patches final : bound_operator<T> {
  std::int64_t length, channels, count, size, stride, first;
  explicit patches(const node_facts& f)
    : length(f.inputs[0][1]), channels(f.inputs[0][2]), count(f.outputs[0][1]), size(int_of(*f.attrs, "size")),
      stride(int_of(*f.attrs, "stride")), first((length - size) % stride) {}
  void forward(const call<T>& c) const override {
    for (std::int64_t r = 0; r < c.rows; ++r)
      for (std::int64_t p = 0; p < count; ++p)
        std::copy_n(c.in[0] + (r * length + first + p * stride) * channels, size * channels, c.out[0] + (r * count + p) * size * channels);
  }
  void backward(const call<T>& c) const override {
    for (std::int64_t r = 0; r < c.rows; ++r)
      for (std::int64_t p = 0; p < count; ++p)
        c.kernels->axpy(size * channels, T{1}, c.d_out[0] + (r * count + p) * size * channels,
                        c.d_in[0] + (r * length + first + p * stride) * channels);
  }
  backward_reads reads() const override { return {0, 0}; }
};

std::vector<shape> infer_patches(const node_facts& f) {
  require(f.inputs.size() == 1 && f.inputs[0].size() == 3 && is_batched(f.inputs[0]), "takes one input (B, length, channels)");
  auto size = int_of(*f.attrs, "size"), stride = int_of(*f.attrs, "stride");
  require(size >= 1 && stride >= 1 && size <= f.inputs[0][1], "the patch is longer than the input");
  return {{batch, (f.inputs[0][1] - size) / stride + 1, size * f.inputs[0][2]}};
}

/// Mean over one axis, which stays with extent 1. Along the last axis a lane sum, else terms in ascending order.
template <class T>
struct mean final : bound_operator<T> {
  axis_view view;
  explicit mean(const node_facts& f) : view(f.inputs[0], int_of(*f.attrs, "axis")) {}
  T factor() const { return T{1} / static_cast<T>(view.extent); }
  void forward(const call<T>& c) const override {
    auto outer = view.outer_of(c.rows);
    if (view.inner == 1) {
      c.kernels->row_sum(outer, view.extent, false, c.in[0], c.out[0]);
    } else {
      std::fill_n(c.out[0], outer * view.inner, T{0});
      for (std::int64_t o = 0; o < outer; ++o)
        c.kernels->column_sum(view.extent, view.inner, c.in[0] + o * view.extent * view.inner, c.out[0] + o * view.inner);
    }
    c.kernels->scale(outer * view.inner, factor(), c.out[0], c.out[0]);
  }
  void backward(const call<T>& c) const override {
    for (std::int64_t o = 0; o < view.outer_of(c.rows); ++o)
      for (std::int64_t i = 0; i < view.extent; ++i) {
        T* dx = c.d_in[0] + (o * view.extent + i) * view.inner;
        const T* dy = c.d_out[0] + o * view.inner;
        for (std::int64_t j = 0; j < view.inner; ++j)
          dx[j] += factor() * dy[j];
      }
  }
  backward_reads reads() const override { return {0, 0}; }
};

std::vector<shape> infer_mean(const node_facts& f) {
  require(f.inputs.size() == 1, "takes one input");
  shape to = f.inputs[0];
  to[static_cast<std::size_t>(axis_of(f))] = 1;
  return {to};
}

} // namespace

void add_layout_operators(operator_table& t) {
  auto view = define<reshape>("reshape", infer_reshape);
  view.is_view = true;
  t.add(view);
  t.add(define<transpose>("transpose", infer_transpose));
  auto joined = define<concat>("concat", infer_concat);
  joined.swallows_gradient = true; // of an input that needs none
  t.add(joined);
  auto cut = define<slice>("slice", infer_slice);
  cut.swallows = 1; // what it leaves out
  t.add(cut);
  cut = define<patches>("patches", infer_patches);
  cut.swallows = 1;
  t.add(cut);
  t.add(define<broadcast>("broadcast", infer_broadcast));
  auto m = define<mean>("mean", infer_mean);
  m.flops = [](const node_facts& f) { return static_cast<double>(elements(f.inputs[0])); };
  t.add(m);
}

} // namespace enn::model
