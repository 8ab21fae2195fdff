// Products of matrices: matmul over leading extents, and linear = x W + b.
#include <enn/model/operators/broadcast.hpp>
#include <enn/model/operators/product.hpp>

#include <algorithm>

namespace enn::model {
namespace {

/// C = A B of the two last extents, either transposed if the attributes say so. Leading extents of the second operand are
/// those of the first; of an operand that has fewer (from the right), the same matrix serves all.
template <class T>
struct matmul final : bound_operator<T> {
  bool ta, tb;
  std::int64_t m, n, k;
  shape outer;                 // leading extents of the result
  std::int64_t a_count, b_count; // matrices in an operand, for one row
  bool a_batched, b_batched;

  explicit matmul(const node_facts& f) : ta(flag_of(*f.attrs, "transpose_a")), tb(flag_of(*f.attrs, "transpose_b")) {
    const auto &a = f.inputs[0], &b = f.inputs[1], &c = f.outputs[0];
    m = c[c.size() - 2];
    n = c[c.size() - 1];
    k = a[a.size() - (ta ? 2 : 1)];
    outer.assign(c.begin(), c.end() - 2);
    a_count = elements({a.begin(), a.end() - 2});
    b_count = elements({b.begin(), b.end() - 2});
    a_batched = is_batched(a);
    b_batched = is_batched(b);
  }

  std::int64_t count(std::int64_t rows) const { return elements(outer, rows); }
  std::int64_t a_at(std::int64_t i, std::int64_t rows) const { return i % (a_batched ? a_count * rows : a_count); }
  std::int64_t b_at(std::int64_t i, std::int64_t rows) const { return i % (b_batched ? b_count * rows : b_count); }

  void forward(const call<T>& c) const override {
    for (std::int64_t i = 0; i < count(c.rows); ++i) {
      kernels::gemm_args<T> g;
      g.transpose_a = ta;
      g.transpose_b = tb;
      g.m = m, g.n = n, g.k = k;
      g.a = c.in[0] + a_at(i, c.rows) * m * k;
      g.lda = ta ? m : k;
      g.b = c.in[1] + b_at(i, c.rows) * k * n;
      g.ldb = tb ? k : n;
      g.c = c.out[0] + i * m * n;
      g.ldc = n;
      product(c, g);
    }
  }

  // dA = dC B', dB = A' dC; of a transposed operand the transpose of that.
  void backward(const call<T>& c) const override {
    for (std::int64_t i = 0; i < count(c.rows); ++i) {
      const T* a = c.in[0] + a_at(i, c.rows) * m * k;
      const T* b = c.in[1] + b_at(i, c.rows) * k * n;
      const T* d = c.d_out[0] + i * m * n;
      if (c.d_in[0]) {
        kernels::gemm_args<T> g;
        g.accumulate = true;
        g.c = c.d_in[0] + a_at(i, c.rows) * m * k;
        if (!ta) { // (m, k) = d (m, n) . op(B)' (n, k)
          g.m = m, g.n = k, g.k = n, g.ldc = k;
          g.a = d, g.lda = n;
          g.b = b, g.ldb = tb ? k : n, g.transpose_b = !tb;
        } else {   // stored (k, m) = op(B) (k, n) . d' (n, m)
          g.m = k, g.n = m, g.k = n, g.ldc = m;
          g.a = b, g.lda = tb ? k : n, g.transpose_a = tb;
          g.b = d, g.ldb = n, g.transpose_b = true;
        }
        product(c, g);
      }
      if (c.d_in[1]) {
        kernels::gemm_args<T> g;
        g.accumulate = true;
        g.c = c.d_in[1] + b_at(i, c.rows) * k * n;
        if (!tb) { // (k, n) = op(A)' (k, m) . d (m, n)
          g.m = k, g.n = n, g.k = m, g.ldc = n;
          g.a = a, g.lda = ta ? m : k, g.transpose_a = !ta;
          g.b = d, g.ldb = n;
        } else {   // stored (n, k) = d' (n, m) . op(A) (m, k)
          g.m = n, g.n = k, g.k = m, g.ldc = k;
          g.a = d, g.lda = n, g.transpose_a = true;
          g.b = a, g.ldb = ta ? m : k, g.transpose_b = ta;
        }
        product(c, g);
      }
    }
  }

  std::int64_t scratch_size(std::int64_t, const kernels::kernel_table<T>& t) const override {
    return std::max({product_scratch(t, m, n, k), product_scratch(t, m, k, n), product_scratch(t, k, m, n), product_scratch(t, k, n, m),
                     product_scratch(t, n, k, m)});
  }
};

std::vector<shape> infer_matmul(const node_facts& f) {
  require(f.inputs.size() == 2, "takes two inputs");
  bool ta = flag_of(*f.attrs, "transpose_a"), tb = flag_of(*f.attrs, "transpose_b");
  const auto &a = f.inputs[0], &b = f.inputs[1];
  auto matrix = [](const shape& s) { return s.size() >= (is_batched(s) ? 3u : 2u); };
  require(matrix(a) && matrix(b), "an input is no matrix");
  auto rows = [](const shape& s, bool t) { return s[s.size() - (t ? 1 : 2)]; };
  auto cols = [](const shape& s, bool t) { return s[s.size() - (t ? 2 : 1)]; };
  require(cols(a, ta) == rows(b, tb), "inner extents differ");
  shape oa(a.begin(), a.end() - 2), ob(b.begin(), b.end() - 2);
  auto& more = oa.size() >= ob.size() ? oa : ob;
  auto& less = oa.size() >= ob.size() ? ob : oa;
  require(std::equal(less.rbegin(), less.rend(), more.rbegin()), "leading extents differ");
  shape c = more;
  c.push_back(rows(a, ta));
  c.push_back(cols(b, tb));
  return {c};
}

double matmul_flops(const node_facts& f) {
  const auto& a = f.inputs[0];
  auto k = a[a.size() - (flag_of(*f.attrs, "transpose_a") ? 2 : 1)];
  return 2.0 * static_cast<double>(elements(f.outputs[0])) * static_cast<double>(k);
}

/// y = x W (+ b): x (..., in), W (in, out), b (out). All leading extents together are the rows of one product.
template <class T>
struct linear final : bound_operator<T> {
  shape lead;
  std::int64_t in, out;
  bool bias;
  explicit linear(const node_facts& f)
    : lead(f.inputs[0].begin(), f.inputs[0].end() - 1), in(f.inputs[1][0]), out(f.inputs[1][1]), bias(f.inputs.size() == 3) {}

  void forward(const call<T>& c) const override {
    auto m = elements(lead, c.rows);
    kernels::gemm_args<T> g;
    g.m = m, g.n = out, g.k = in;
    g.a = c.in[0], g.lda = in;
    g.b = c.in[1], g.ldb = out;
    g.c = c.out[0], g.ldc = out;
    product(c, g);
    if (bias)
      c.kernels->zip_row(kernels::binary::add, m, out, c.out[0], c.in[2], c.out[0]);
  }
  void backward(const call<T>& c) const override {
    auto m = elements(lead, c.rows);
    kernels::gemm_args<T> g;
    g.accumulate = true;
    if (c.d_in[0]) {
      g.m = m, g.n = in, g.k = out;
      g.a = c.d_out[0], g.lda = out;
      g.b = c.in[1], g.ldb = out, g.transpose_b = true;
      g.c = c.d_in[0], g.ldc = in;
      product(c, g);
    }
    if (c.d_in[1]) {
      g.m = in, g.n = out, g.k = m;
      g.a = c.in[0], g.lda = in, g.transpose_a = true;
      g.b = c.d_out[0], g.ldb = out, g.transpose_b = false;
      g.c = c.d_in[1], g.ldc = out;
      product(c, g);
    }
    if (bias && c.d_in[2])
      c.kernels->column_sum(m, out, c.d_out[0], c.d_in[2]);
  }
  backward_reads reads() const override { return {3, 0}; }
  std::int64_t scratch_size(std::int64_t rows, const kernels::kernel_table<T>& t) const override {
    auto m = elements(lead, rows);
    return std::max({product_scratch(t, m, out, in), product_scratch(t, m, in, out), product_scratch(t, in, out, m)});
  }
};

std::vector<shape> infer_linear(const node_facts& f) {
  require(f.inputs.size() == 2 || f.inputs.size() == 3, "takes x, weight and perhaps bias");
  const auto &x = f.inputs[0], &w = f.inputs[1];
  require(x.size() >= (is_batched(x) ? 2u : 1u) && w.size() == 2 && !is_batched(w) && x.back() == w[0], "x does not fit the weight");
  require(f.inputs.size() == 2 || f.inputs[2] == shape{w[1]}, "the bias does not fit the weight");
  shape y = x;
  y.back() = w[1];
  return {y};
}

std::vector<value_id> lower_linear(graph_builder& b, const node_facts& f, std::span<const value_id> in) {
  const auto& x = f.inputs[0];
  auto flat = x; // a matrix, so that matmul sees one product
  if (x.size() == (is_batched(x) ? 2u : 1u))
    flat.insert(flat.end() - 1, 1);
  auto y = b.apply("reshape", {in[0]}, {{"shape", flat}});
  y = b.apply("matmul", {y, in[1]}, {{"transpose_a", false}, {"transpose_b", false}});
  y = b.apply("reshape", {y}, {{"shape", f.outputs[0]}});
  return {in.size() == 3 ? b.apply("add", {y, in[2]}) : y};
}

} // namespace

void add_matrix_operators(operator_table& t) {
  auto d = define<matmul>("matmul", infer_matmul);
  d.flops = matmul_flops;
  t.add(d);
  d = define<linear>("linear", infer_linear);
  d.flops = [](const node_facts& f) {
    return static_cast<double>(elements(f.outputs[0])) * (2.0 * static_cast<double>(f.inputs[1][0]) + (f.inputs.size() == 3 ? 1 : 0));
  };
  d.lower = lower_linear;
  t.add(d);
}

} // namespace enn::model
