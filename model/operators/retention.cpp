// Retention without keys: per head an exponentially decaying sum of values, read elementwise by queries.
#include <enn/model/operators/operator.hpp>

#include <algorithm>
#include <cmath>

namespace enn::model {
namespace {

// lambda = 1 - 2^-beta, kept inside [1e-30, 1 - 1e-9] (1 - 6e-8 in float); by the kernels' exp, as no libm is allowed in a result.
constexpr double ln2 = 0.6931471805599453;

/// Inputs q, v (B, L, d), beta (heads) and, if causal, state (B, d). Outputs y (B, L, d) and, if causal, the state after the last
/// token (B, d).
///   causal:        s_t = lambda s_{t-1} + v_t, s_{-1} = state;  y_t = q_t * s_t
///   bidirectional: s_t = sum over u of lambda^|t-u| v_u;        y_t = q_t * s_t
/// saved: lambda (heads); s forward (B, L, d); bidirectional: s backward (B, L, d).
template <class T>
struct retention final : bound_operator<T> {
  std::int64_t length, width, heads;
  bool causal;
  explicit retention(const node_facts& f)
    : length(f.inputs[0][1]), width(f.inputs[0][2]), heads(f.inputs[2][0]), causal(flag_of(*f.attrs, "causal")) {}

  std::int64_t row_size() const { return length * width; }
  T* forward_sum(const call<T>& c, std::int64_t r) const { return c.saved + heads + r * row_size(); }
  T* backward_sum(const call<T>& c, std::int64_t r) const { return forward_sum(c, c.rows + r); }

  kernels::scan_args<T> scan(const T* lambda, bool reverse, const T* v, const T* initial, T* s) const {
    kernels::scan_args<T> a;
    a.length = length;
    a.heads = heads;
    a.width = width / heads;
    a.stride = width;
    a.reverse = reverse;
    a.decay = lambda;
    a.v = v;
    a.initial = initial;
    a.s = s;
    return a;
  }

  void forward(const call<T>& c) const override {
    const auto& k = *c.kernels;
    T* lambda = c.saved;
    k.scale(heads, static_cast<T>(-ln2), c.in[2], lambda);
    k.map(kernels::unary::exp, heads, lambda, lambda);
    for (std::int64_t h = 0; h < heads; ++h)
      lambda[h] = clamp(T{1} - lambda[h]);
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const T* q = c.in[0] + r * row_size();
      const T* v = c.in[1] + r * row_size();
      T* y = c.out[0] + r * row_size();
      T* s = forward_sum(c, r);
      k.scan(scan(lambda, false, v, causal ? c.in[3] + r * width : nullptr, s));
      if (causal) {
        std::copy_n(s + row_size() - width, width, c.out[1] + r * width);
        k.zip(kernels::binary::multiply, row_size(), q, s, y);
      } else {
        T* back = backward_sum(c, r);
        k.scan(scan(lambda, true, v, nullptr, back));
        k.zip(kernels::binary::add, row_size(), s, back, y);
        k.zip(kernels::binary::subtract, row_size(), y, v, y);
        k.zip(kernels::binary::multiply, row_size(), q, y, y);
      }
    }
  }

  // With g = q * dy and G the scan of g against the time of the sum: dv = G, dlambda = sum of G_t s_{t-1}, dstate = lambda G_0;
  // a gradient of the last state joins g at the last token.
  void backward(const call<T>& c) const override {
    for (std::int64_t r = 0; r < c.rows; ++r)
      backward_row(c, r);
    if (!c.d_in[2])
      return;
    auto* per_head = c.scratch + 2 * row_size() + length; // sums of backward_row
    for (std::int64_t h = 0; h < heads; ++h) {
      auto lambda = c.saved[h];
      bool inside = lambda > lowest() && lambda < highest();
      c.d_in[2][h] += inside ? per_head[h] * static_cast<T>(ln2) * (T{1} - lambda) : T{0};
      per_head[h] = 0;
    }
  }

  void backward_row(const call<T>& c, std::int64_t r) const {
    const auto& k = *c.kernels;
    const T* lambda = c.saved;
    const T* q = c.in[0] + r * row_size();
    const T* dy = c.d_out[0] ? c.d_out[0] + r * row_size() : nullptr;
    const T* s = forward_sum(c, r);
    T* g = c.scratch;
    T* sum = c.scratch + row_size();
    T* per_head = c.scratch + 2 * row_size() + length;
    if (r == 0)
      std::fill_n(per_head, heads, T{0});
    if (dy)
      k.zip(kernels::binary::multiply, row_size(), q, dy, g);
    else
      std::fill_n(g, row_size(), T{0});
    if (causal) {
      if (c.d_in[0] && dy)
        k.multiply_add(row_size(), s, dy, c.d_in[0] + r * row_size());
      if (c.d_out[1])
        k.axpy(width, T{1}, c.d_out[1] + r * width, g + row_size() - width);
      k.scan(scan(lambda, true, g, nullptr, sum));
      if (c.d_in[1])
        k.axpy(row_size(), T{1}, sum, c.d_in[1] + r * row_size());
      if (c.d_in[2])
        add_decay_gradient(c, sum, s, c.in[3] + r * width, false, per_head);
      for (std::int64_t i = 0; c.d_in[3] && i < width; ++i)
        c.d_in[3][r * width + i] += lambda[i / (width / heads)] * sum[i];
      return;
    }
    const T* back = backward_sum(c, r);
    if (c.d_in[0]) { // dq = (s + back - v) * dy
      k.zip(kernels::binary::add, row_size(), s, back, sum);
      k.zip(kernels::binary::subtract, row_size(), sum, c.in[1] + r * row_size(), sum);
      k.multiply_add(row_size(), sum, dy, c.d_in[0] + r * row_size());
    }
    for (bool reverse : {true, false}) { // against the sum forward, then against the sum backward
      k.scan(scan(lambda, reverse, g, nullptr, sum));
      if (c.d_in[1])
        k.axpy(row_size(), T{1}, sum, c.d_in[1] + r * row_size());
      if (c.d_in[2])
        add_decay_gradient(c, sum, reverse ? s : back, nullptr, !reverse, per_head);
    }
    if (c.d_in[1])
      k.axpy(row_size(), T{-1}, g, c.d_in[1] + r * row_size());
  }

  /// per_head += sum over t and channels of g_t s_{t-1} (s_{t+1} if reverse), s_{-1} = before or 0: lane sums over a head's
  /// channels, then over t.
  void add_decay_gradient(const call<T>& c, const T* g, const T* s, const T* before, bool reverse, T* per_head) const {
    auto dh = width / heads;
    T* times = c.scratch + 2 * row_size();
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t t = 0; t < length; ++t) {
        auto from = reverse ? t + 1 : t - 1;
        bool inside = from >= 0 && from < length;
        const T* other = inside ? s + from * width : before;
        times[t] = 0;
        if (other)
          c.kernels->row_dot(1, dh, false, g + t * width + h * dh, other + h * dh, times + t);
      }
      c.kernels->row_sum(1, length, true, times, per_head + h);
    }
  }

  static constexpr T lowest() { return static_cast<T>(1e-30); }
  static constexpr T highest() { return sizeof(T) == 4 ? static_cast<T>(1 - 6e-8) : static_cast<T>(1 - 1e-9); }
  static T clamp(T lambda) { return lambda < lowest() ? lowest() : lambda > highest() ? highest() : lambda; }

  backward_reads reads() const override { return {causal ? 9u : 3u, 0}; }
  std::int64_t saved_size(std::int64_t rows) const override { return heads + rows * row_size() * (causal ? 1 : 2); }
  std::int64_t scratch_size(std::int64_t, const kernels::kernel_table<T>&) const override {
    return 2 * row_size() + length + heads;
  }
};

std::vector<shape> infer_retention(const node_facts& f) {
  bool causal = flag_of(*f.attrs, "causal");
  require(f.inputs.size() == (causal ? 4u : 3u), "takes q, v, beta and, if causal, state");
  const auto& q = f.inputs[0];
  require(q.size() == 3 && is_batched(q) && f.inputs[1] == q, "q and v are not of one shape (B, length, width)");
  require(f.inputs[2].size() == 1 && f.inputs[2][0] >= 1 && q[2] % f.inputs[2][0] == 0, "heads do not divide the width");
  if (!causal)
    return {q};
  require(f.inputs[3] == shape{batch, q[2]}, "the state is not (B, width)");
  return {q, {batch, q[2]}};
}

/// As a product with the matrix of lambda^|t-u|, one a head.
std::vector<value_id> lower_retention(graph_builder& b, const node_facts& f, std::span<const value_id> in) {
  auto length = f.inputs[0][1], width = f.inputs[0][2], heads = f.inputs[2][0];
  bool causal = flag_of(*f.attrs, "causal");
  std::vector<double> distance, allowed, since, left;
  for (std::int64_t t = 0; t < length; ++t) {
    since.push_back(static_cast<double>(t + 1));
    left.push_back(static_cast<double>(length - 1 - t));
    for (std::int64_t u = 0; u < length; ++u) {
      distance.push_back(static_cast<double>(std::abs(t - u)));
      allowed.push_back(!causal || u <= t ? 1 : 0);
    }
  }
  auto suffix = std::to_string(length);
  auto two_to = b.apply("exp", {b.apply("affine", {in[2]}, {{"scale", -ln2}, {"shift", 0.0}})});
  auto lambda = b.apply("affine", {two_to}, {{"scale", -1.0}, {"shift", 1.0}}); // (heads)
  lambda = b.apply("maximum", {lambda, b.add_buffer("least_decay", {1}, {1e-30})});
  lambda = b.apply("minimum", {lambda, b.add_buffer("greatest_decay", {1}, {1 - 1e-9})});
  auto log_lambda = b.apply("log", {lambda});
  auto power = [&](const std::string& name, const std::vector<double>& exponents, shape s) { // lambda^exponent, (heads, ...)
    shape rank(s.size() + 1, 1), all = s;
    rank[0] = heads;
    all.insert(all.begin(), heads);
    auto repeated = b.apply("broadcast", {b.add_buffer(name + suffix, s, exponents)}, {{"shape", all}});
    auto log_shaped = b.apply("reshape", {log_lambda}, {{"shape", rank}});
    return b.apply("exp", {b.apply("multiply", {repeated, log_shaped})});
  };
  auto split = [&](value_id x) {
    x = b.apply("reshape", {x}, {{"shape", shape{batch, length, heads, width / heads}}});
    return b.apply("transpose", {x}, {{"order", shape{0, 2, 1, 3}}});
  };
  auto weights = power("distance", distance, {length, length});
  weights = b.apply("multiply", {weights, b.add_buffer((causal ? "causal" : "all") + suffix, {length, length}, allowed)});
  auto s = b.apply("matmul", {weights, split(in[1])}, {{"transpose_a", false}, {"transpose_b", false}});
  std::vector<value_id> last;
  if (causal) { // + lambda^(t+1) state
    auto state = b.apply("reshape", {in[3]}, {{"shape", shape{batch, heads, 1, width / heads}}});
    auto repeated = b.apply("broadcast", {state}, {{"shape", shape{batch, heads, length, width / heads}}});
    s = b.apply("add", {s, b.apply("multiply", {repeated, power("since", since, {length, 1})})});
    auto newest = b.apply("slice", {s}, {{"axis", 2}, {"begin", length - 1}, {"size", 1}});
    last.push_back(b.apply("reshape", {newest}, {{"shape", shape{batch, width}}}));
  }
  s = b.apply("transpose", {s}, {{"order", shape{0, 2, 1, 3}}});
  s = b.apply("reshape", {s}, {{"shape", f.outputs[0]}});
  last.insert(last.begin(), b.apply("multiply", {in[0], s}));
  return last;
}

} // namespace

void add_retention_operators(operator_table& t) {
  auto d = define<retention>("retention", infer_retention);
  d.flops = [](const node_facts& f) { return 4.0 * static_cast<double>(elements(f.inputs[0])); };
  d.lower = lower_retention;
  d.swallows = 4; // beta: the decay is clamped
  d.swallows_gradient = true;
  t.add(d);
}

} // namespace enn::model
