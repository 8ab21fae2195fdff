/// The definition of every kernel, one number at a time, in plain loops; change it only with kernel_table.hpp.
#include "elementary.hpp"
#include "isa/sets.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace enn::kernels {
namespace {

using std::int64_t;
constexpr int lane_count = 16;

/// Rule 2 of the contract.
template <class T, class Element>
T lane_sum(int64_t n, Element element) {
  T lane[lane_count] = {};
  for (int64_t i = 0; i < n; ++i)
    lane[i % lane_count] += element(i);
  for (int half = lane_count / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j)
      lane[j] += lane[j + half];
  return lane[0];
}

// ---- matrices ------------------------------------------------------------------------------------------------------

template <class T>
[[gnu::always_inline]] inline void chains(const gemm_args<T>& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    T* c = g.c + i * g.ldc;
    if (!g.accumulate)
      std::fill(c, c + g.n, T(0));
    for (int64_t p = 0; p < g.k; ++p) {
      const T a = g.transpose_a ? g.a[p * g.lda + i] : g.a[i * g.lda + p];
      const T* b = g.transpose_b ? g.b + p : g.b + p * g.ldb;
      const int64_t next = g.transpose_b ? g.ldb : 1;
      for (int64_t j = 0; j < g.n; ++j)
        c[j] = std::fma(a, b[j * next], c[j]);
    }
  }
}

/// The C library's fma() is a call for each number; where the processor has one, it is an instruction.
#ifdef __x86_64__
template <class T>
[[gnu::target("fma")]] void chains_of_instructions(const gemm_args<T>& g) {
  chains(g);
}
template <class T>
void gemm(const gemm_args<T>& g) {
  __builtin_cpu_supports("fma") ? chains_of_instructions(g) : chains(g);
}
#else
template <class T>
void gemm(const gemm_args<T>& g) {
  chains(g);
}
#endif

int64_t gemm_workspace(int64_t, int64_t, int64_t) {
  return 0;
}

// ---- elementwise ---------------------------------------------------------------------------------------------------

template <class T>
void map(unary f, int64_t n, const T* x, T* y) {
  elementary::with_constant(f, [&]<unary F>() {
    for (int64_t i = 0; i < n; ++i)
      y[i] = elementary::value<F>(x[i]);
  });
}

template <class T>
void map_backward(unary f, int64_t n, const T* x, const T* y, const T* dy, T* dx) {
  elementary::with_constant(f, [&]<unary F>() {
    for (int64_t i = 0; i < n; ++i)
      dx[i] += elementary::derivative<F>(x[i], y[i]) * dy[i];
  });
}

template <class T>
T apply(binary f, T a, T b) {
  T y = 0;
  elementary::with_constant(f, [&]<binary F>() { y = elementary::value<F>(a, b); });
  return y;
}

template <class T>
void zip(binary f, int64_t n, const T* a, const T* b, T* y) {
  for (int64_t i = 0; i < n; ++i)
    y[i] = apply(f, a[i], b[i]);
}

template <class T>
void zip_row(binary f, int64_t rows, int64_t cols, const T* a, const T* b, T* y) {
  for (int64_t i = 0; i < rows * cols; ++i)
    y[i] = apply(f, a[i], b[i % cols]);
}

template <class T>
void zip_column(binary f, int64_t rows, int64_t cols, const T* a, const T* b, T* y) {
  for (int64_t i = 0; i < rows * cols; ++i)
    y[i] = apply(f, a[i], b[i / cols]);
}

template <class T>
void axpy(int64_t n, T alpha, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i)
    y[i] += alpha * x[i];
}

template <class T>
void multiply_add(int64_t n, const T* a, const T* b, T* y) {
  for (int64_t i = 0; i < n; ++i)
    y[i] += a[i] * b[i];
}

template <class T>
void scale(int64_t n, T alpha, const T* x, T* y) {
  for (int64_t i = 0; i < n; ++i)
    y[i] = alpha * x[i];
}

// ---- rows ----------------------------------------------------------------------------------------------------------

template <class T>
T row_maximum(int64_t n, const T* x) {
  T largest = -std::numeric_limits<T>::infinity();
  for (int64_t i = 0; i < n; ++i)
    if (x[i] > largest || std::isnan(x[i]))
      largest = x[i];
  return largest;
}

template <class T>
void softmax(int64_t rows, int64_t cols, const T* x, T* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const T largest = row_maximum(cols, x);
    if (largest == -std::numeric_limits<T>::infinity()) {
      std::fill_n(y, cols, T(0));
      continue;
    }
    for (int64_t i = 0; i < cols; ++i)
      y[i] = elementary::exp(x[i] - largest);
    const T sum = lane_sum<T>(cols, [&](int64_t i) { return y[i]; });
    for (int64_t i = 0; i < cols; ++i)
      y[i] = y[i] / sum;
  }
}

template <class T>
void softmax_backward(int64_t rows, int64_t cols, const T* y, const T* dy, T* dx) {
  for (int64_t r = 0; r < rows; ++r, y += cols, dy += cols, dx += cols) {
    const T sum = lane_sum<T>(cols, [&](int64_t i) { return y[i] * dy[i]; });
    for (int64_t i = 0; i < cols; ++i)
      dx[i] = y[i] * (dy[i] - sum);
  }
}

template <class T>
void norm(const norm_args<T>& n) {
  for (int64_t r = 0; r < n.rows; ++r) {
    const T* x = n.x + r * n.cols;
    T* y = n.y + r * n.cols;
    const T mean = n.center ? lane_sum<T>(n.cols, [&](int64_t i) { return x[i]; }) / T(n.cols) : T(0);
    const T variance = lane_sum<T>(n.cols, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / T(n.cols);
    const T rstd = 1 / elementary::sqrt(variance + n.epsilon);
    for (int64_t i = 0; i < n.cols; ++i) {
      const T scaled = (x[i] - mean) * rstd * n.gain[i];
      y[i] = n.bias ? scaled + n.bias[i] : scaled;
    }
    n.mean[r] = mean;
    n.rstd[r] = rstd;
  }
}

template <class T>
void norm_backward(const norm_backward_args<T>& n) {
  for (int64_t r = 0; r < n.rows; ++r) {
    const T* x = n.x + r * n.cols;
    const T* dy = n.dy + r * n.cols;
    const T mean = n.center ? n.mean[r] : T(0);
    const T rstd = n.rstd[r];
    const auto g = [&](int64_t i) { return dy[i] * n.gain[i]; };
    const auto xh = [&](int64_t i) { return (x[i] - mean) * rstd; };
    if (n.dx) {
      const T mean_g = n.center ? lane_sum<T>(n.cols, g) / T(n.cols) : T(0);
      const T mean_gx = lane_sum<T>(n.cols, [&](int64_t i) { return g(i) * xh(i); }) / T(n.cols);
      for (int64_t i = 0; i < n.cols; ++i)
        n.dx[r * n.cols + i] += rstd * (g(i) - mean_g - xh(i) * mean_gx);
    }
    for (int64_t i = 0; n.dgain && i < n.cols; ++i)
      n.dgain[i] += dy[i] * xh(i);
    for (int64_t i = 0; n.dbias && i < n.cols; ++i)
      n.dbias[i] += dy[i];
  }
}

template <class T>
void gated(glu f, int64_t rows, int64_t width, const T* x, T* y) {
  elementary::with_constant(f, [&]<glu F>() {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < width; ++i) {
        const T a = x[r * 2 * width + i], c = x[r * 2 * width + width + i];
        y[r * width + i] = elementary::value<elementary::activation<F>>(a) * c;
      }
  });
}

template <class T>
void gated_backward(glu f, int64_t rows, int64_t width, const T* x, const T* dy, T* dx) {
  elementary::with_constant(f, [&]<glu F>() {
    constexpr unary act = elementary::activation<F>;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < width; ++i) {
        const int64_t first = r * 2 * width + i, second = first + width;
        const T g = dy[r * width + i];
        const T y = elementary::value<act>(x[first]);
        dx[first] += g * x[second] * elementary::derivative<act>(x[first], y);
        dx[second] += g * y;
      }
  });
}

template <class T>
void row_sum(int64_t rows, int64_t cols, bool accumulate, const T* x, T* y) {
  for (int64_t r = 0; r < rows; ++r) {
    const T sum = lane_sum<T>(cols, [&](int64_t i) { return x[r * cols + i]; });
    y[r] = accumulate ? y[r] + sum : sum;
  }
}

template <class T>
void row_dot(int64_t rows, int64_t cols, bool accumulate, const T* a, const T* b, T* y) {
  for (int64_t r = 0; r < rows; ++r) {
    const T sum = lane_sum<T>(cols, [&](int64_t i) { return a[r * cols + i] * b[r * cols + i]; });
    y[r] = accumulate ? y[r] + sum : sum;
  }
}

template <class T>
void column_sum(int64_t rows, int64_t cols, const T* x, T* y) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < cols; ++i)
      y[i] += x[r * cols + i];
}

// ---- sequences, training -------------------------------------------------------------------------------------------

template <class T>
void scan(const scan_args<T>& s) {
  for (int64_t i = 0; i < s.heads * s.width; ++i) {
    T state = !s.reverse && s.initial ? s.initial[i] : T(0);
    for (int64_t step = 0; step < s.length; ++step) {
      const int64_t t = s.reverse ? s.length - 1 - step : step;
      state = s.decay[i / s.width] * state + s.v[t * s.stride + i];
      s.s[t * s.stride + i] = state;
    }
  }
}

template <class T>
void adamw(const adamw_args<T>& o) {
  for (int64_t i = 0; i < o.n; ++i) {
    const T g = o.scale * o.gradient[i];
    const T m = o.beta1 * o.from_m[i] + o.one_minus_beta1 * g;
    const T v = o.beta2 * o.from_v[i] + o.one_minus_beta2 * g * g;
    const T update = m * o.correction1 / (elementary::sqrt(v * o.correction2) + o.epsilon);
    o.w[i] = o.from_w[i] - o.rate * (update + o.decay * o.from_w[i]);
    o.m[i] = m;
    o.v[i] = v;
  }
}

template <class T>
double sum_of_squares(int64_t n, const T* x) {
  return lane_sum<double>(n, [&](int64_t i) { return double(x[i]) * double(x[i]); });
}

template <class T>
finiteness count_nonfinite(int64_t n, const T* x) {
  finiteness found;
  for (int64_t i = 0; i < n; ++i)
    if (std::isfinite(x[i]))
      found.largest = std::max(found.largest, double(std::fabs(x[i])));
    else
      ++found.nonfinite;
  return found;
}

template <class T>
void dropout_scales(const random_place& place, int64_t n, double probability, T* keep) {
  for (int64_t i = 0; i < n; ++i)
    keep[i] = random_uniform(place, static_cast<std::uint64_t>(i)) < probability ? T(0) : static_cast<T>(1 / (1 - probability));
}

template <class T>
constexpr kernel_table<T> table = {
    .name = "reference",
    .gemm = gemm<T>,
    .gemm_workspace = gemm_workspace,
    .map = map<T>,
    .map_backward = map_backward<T>,
    .zip = zip<T>,
    .zip_row = zip_row<T>,
    .zip_column = zip_column<T>,
    .axpy = axpy<T>,
    .multiply_add = multiply_add<T>,
    .scale = scale<T>,
    .softmax = softmax<T>,
    .softmax_backward = softmax_backward<T>,
    .norm = norm<T>,
    .norm_backward = norm_backward<T>,
    .gated = gated<T>,
    .gated_backward = gated_backward<T>,
    .row_sum = row_sum<T>,
    .row_dot = row_dot<T>,
    .column_sum = column_sum<T>,
    .scan = scan<T>,
    .dropout_scales = dropout_scales<T>,
    .adamw = adamw<T>,
    .sum_of_squares = sum_of_squares<T>,
    .count_nonfinite = count_nonfinite<T>,
};

int64_t fma_burst(int64_t rounds, float* sink) {
  float sum[4] = {};
  for (int64_t i = 0; i < rounds; ++i)
    for (float& s : sum)
      s = std::fma(s, 0.5f, 1.0f);
  *sink = sum[0] + sum[1] + sum[2] + sum[3];
  return rounds * 4 * 2;
}

} // namespace

template <>
const kernel_table<float>& reference_kernels<float>() {
  return table<float>;
}
template <>
const kernel_table<double>& reference_kernels<double>() {
  return table<double>;
}

const isa::implementation isa::reference = {&table<float>, fma_burst};

} // namespace enn::kernels
