// Multi-head scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762), with a bias a key and a dilation.
#include <enn/model/operators/operator.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace enn::model {
namespace {

/// Inputs q (B, N, d), k and v (B, K, d), and perhaps bias (K), which is added to all scores of a key. Output (B, N, d).
/// Per head of width d / heads: softmax(q k' / sqrt(d / heads) + bias) v. With dilation > 1, query i sees key j only if
/// (i - j) mod dilation = 0. Probabilities are dropped with `dropout`; element (head * N + i) * K + j of the row.
template <class T>
struct attention final : bound_operator<T> {
  std::int64_t queries, keys, width, heads, dilation;
  double probability;
  bool biased;
  T factor;

  explicit attention(const node_facts& f)
    : queries(f.inputs[0][1]), keys(f.inputs[1][1]), width(f.inputs[0][2]), heads(int_of(*f.attrs, "heads")),
      dilation(int_of(*f.attrs, "dilation")), probability(real_of(*f.attrs, "dropout")), biased(f.inputs.size() == 4),
      factor(T{1} / std::sqrt(static_cast<T>(width / heads))) {}

  std::int64_t head_width() const { return width / heads; }
  std::int64_t scores() const { return queries * keys; }

  /// (m, k) (k, n) on heads that lie side by side: all leading dimensions are given.
  static void product(const call<T>& c, bool ta, bool tb, bool accumulate, std::int64_t m, std::int64_t n, std::int64_t k, const T* a,
                      std::int64_t lda, const T* b, std::int64_t ldb, T* y, std::int64_t ldy, T* workspace) {
    kernels::gemm_args<T> g;
    g.transpose_a = ta, g.transpose_b = tb, g.accumulate = accumulate;
    g.m = m, g.n = n, g.k = k;
    g.a = a, g.lda = lda, g.b = b, g.ldb = ldb, g.c = y, g.ldc = ldy;
    g.scratch = workspace;
    c.kernels->gemm(g);
  }

  void mask(T* s) const {
    for (std::int64_t i = 0; dilation > 1 && i < queries; ++i)
      for (std::int64_t j = 0; j < keys; ++j)
        if ((i - j) % dilation != 0)
          s[i * keys + j] = -std::numeric_limits<T>::infinity();
  }

  /// saved: a row's and head's probabilities before dropout; then, with dropout, their scales.
  T* probabilities(const call<T>& c, std::int64_t r, std::int64_t h) const { return c.saved + (r * heads + h) * scores(); }
  T* scales(const call<T>& c, std::int64_t r, std::int64_t h) const { return probabilities(c, c.rows + r, h); }

  void forward(const call<T>& c) const override {
    auto dh = head_width();
    T* dropped = c.scratch;
    T* workspace = c.scratch + scores();
    for (std::int64_t r = 0; r < c.rows; ++r) {
      if (probability > 0)
        c.kernels->dropout_scales({c.seed, c.step, c.row_numbers[static_cast<std::size_t>(r)], c.path_hash}, heads * scores(), probability,
                                scales(c, r, 0));
      for (std::int64_t h = 0; h < heads; ++h) {
        const T* q = c.in[0] + r * queries * width + h * dh;
        const T* k = c.in[1] + r * keys * width + h * dh;
        const T* v = c.in[2] + r * keys * width + h * dh;
        T* p = probabilities(c, r, h);
        product(c, false, true, false, queries, keys, dh, q, width, k, width, p, keys, workspace);
        c.kernels->scale(scores(), factor, p, p);
        if (biased)
          c.kernels->zip_row(kernels::binary::add, queries, keys, p, c.in[3], p);
        mask(p);
        c.kernels->softmax(queries, keys, p, p);
        const T* used = p;
        if (probability > 0) {
          c.kernels->zip(kernels::binary::multiply, scores(), p, scales(c, r, h), dropped);
          used = dropped;
        }
        product(c, false, false, false, queries, dh, keys, used, keys, v, width, c.out[0] + r * queries * width + h * dh, width, workspace);
      }
    }
  }

  void backward(const call<T>& c) const override {
    auto dh = head_width();
    T* dp = c.scratch;
    T* dropped = c.scratch + scores();
    T* workspace = c.scratch + 2 * scores();
    for (std::int64_t r = 0; r < c.rows; ++r)
      for (std::int64_t h = 0; h < heads; ++h) {
        auto at_q = r * queries * width + h * dh, at_k = r * keys * width + h * dh;
        const T* dy = c.d_out[0] + at_q;
        const T* p = probabilities(c, r, h);
        const T* used = p;
        if (probability > 0) {
          c.kernels->zip(kernels::binary::multiply, scores(), p, scales(c, r, h), dropped);
          used = dropped;
        }
        if (c.d_in[2])
          product(c, true, false, true, keys, dh, queries, used, keys, dy, width, c.d_in[2] + at_k, width, workspace);
        if (!c.d_in[0] && !c.d_in[1] && !(biased && c.d_in[3]))
          continue;
        product(c, false, true, false, queries, keys, dh, dy, width, c.in[2] + at_k, width, dp, keys, workspace);
        if (probability > 0)
          c.kernels->zip(kernels::binary::multiply, scores(), dp, scales(c, r, h), dp);
        c.kernels->softmax_backward(queries, keys, p, dp, dp);
        if (biased && c.d_in[3])
          c.kernels->column_sum(queries, keys, dp, c.d_in[3]);
        c.kernels->scale(scores(), factor, dp, dp);
        if (c.d_in[0])
          product(c, false, false, true, queries, dh, keys, dp, keys, c.in[1] + at_k, width, c.d_in[0] + at_q, width, workspace);
        if (c.d_in[1])
          product(c, true, false, true, keys, dh, queries, dp, keys, c.in[0] + at_q, width, c.d_in[1] + at_k, width, workspace);
      }
  }

  std::int64_t saved_size(std::int64_t rows) const override { return rows * heads * scores() * (probability > 0 ? 2 : 1); }
  std::int64_t scratch_size(std::int64_t, const kernels::kernel_table<T>& t) const override {
    auto dh = head_width();
    return 2 * scores()
           + std::max({t.gemm_workspace(queries, keys, dh), t.gemm_workspace(queries, dh, keys), t.gemm_workspace(keys, dh, queries)});
  }
};

std::vector<shape> infer_attention(const node_facts& f) {
  require(f.inputs.size() == 3 || f.inputs.size() == 4, "takes q, k, v and perhaps bias");
  const auto &q = f.inputs[0], &k = f.inputs[1], &v = f.inputs[2];
  require(q.size() == 3 && k.size() == 3 && is_batched(q) && is_batched(k) && k == v && q[2] == k[2], "q, k and v do not fit each other");
  require(f.inputs.size() == 3 || f.inputs[3] == shape{k[1]}, "the bias needs one number a key");
  auto heads = int_of(*f.attrs, "heads"), dilation = int_of(*f.attrs, "dilation");
  require(heads >= 1 && q[2] % heads == 0, "heads do not divide the width");
  require(dilation == 1 || (dilation > 1 && q[1] == k[1]), "dilation needs as many queries as keys");
  auto dropout = real_of(*f.attrs, "dropout");
  require(dropout >= 0 && dropout < 1, "dropout is not in [0, 1)");
  return {q};
}

double attention_flops(const node_facts& f) {
  auto scores = static_cast<double>(f.inputs[0][1] * f.inputs[1][1]);
  return scores * (4.0 * static_cast<double>(f.inputs[0][2]) + 6.0 * static_cast<double>(int_of(*f.attrs, "heads")));
}

std::vector<double> dilation_mask(std::int64_t n, std::int64_t dilation) {
  std::vector<double> mask;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j)
      mask.push_back((i - j) % dilation == 0 ? 0 : -std::numeric_limits<double>::infinity());
  return mask;
}

std::vector<value_id> lower_attention(graph_builder& b, const node_facts& f, std::span<const value_id> in) {
  require(real_of(*f.attrs, "dropout") == 0, "lower() is for graphs without training");
  auto heads = int_of(*f.attrs, "heads"), dilation = int_of(*f.attrs, "dilation"), width = f.inputs[0][2];
  auto split = [&](std::size_t i) { // (B, N, d) -> (B, heads, N, d / heads)
    auto x = b.apply("reshape", {in[i]}, {{"shape", shape{batch, f.inputs[i][1], heads, width / heads}}});
    return b.apply("transpose", {x}, {{"order", shape{0, 2, 1, 3}}});
  };
  auto s = b.apply("matmul", {split(0), split(1)}, {{"transpose_a", false}, {"transpose_b", true}});
  s = b.apply("affine", {s}, {{"scale", 1 / std::sqrt(static_cast<double>(width / heads))}, {"shift", 0.0}});
  if (in.size() == 4)
    s = b.apply("add", {s, in[3]});
  if (dilation > 1) {
    auto n = f.inputs[0][1];
    auto name = "dilation" + std::to_string(dilation) + "_of_" + std::to_string(n);
    s = b.apply("add", {s, b.add_buffer(name, {n, n}, dilation_mask(n, dilation))});
  }
  auto y = b.apply("matmul", {b.apply("softmax", {s}), split(2)}, {{"transpose_a", false}, {"transpose_b", false}});
  y = b.apply("transpose", {y}, {{"order", shape{0, 2, 1, 3}}});
  return {b.apply("reshape", {y}, {{"shape", f.outputs[0]}})};
}

} // namespace

void add_attention_operators(operator_table& t) {
  auto d = define<attention>("attention", infer_attention);
  d.flops = attention_flops;
  d.lower = lower_attention;
  d.swallows = 11; // q, k, bias: a score of minus infinity is a weight of 0
  t.add(d);
}

} // namespace enn::model
