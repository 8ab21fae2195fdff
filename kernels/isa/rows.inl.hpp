/// Every kernel but gemm, written once and compiled once per instruction set. Elementwise loops are plain, and g++ turns
/// them into vector code; sums along rows take the set's vector type V, as in gemm.inl.hpp. Everything has internal
/// linkage, so that the linker cannot swap a function of one set for another's. reference.cpp defines what is computed.
#include "../elementary.hpp"
#include "lanes.inl.hpp"
#include "philox.inl.hpp"

namespace enn::kernels {
namespace {

using std::int64_t;
/// f(0) ... f(n-1). Outputs are disjoint from inputs or exactly in place, so no iteration needs another's result; without
/// the pragma g++ would take the scalar path whenever a function works in place.
template <class F>
[[gnu::always_inline]] inline void each(int64_t n, F f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    f(i);
}

/// y[i] = f(x[i]) for one row. Its last, partial block goes through a full one on the stack, because g++ would compute it
/// one by one, which costs more than all the rest when f is an exponential.
template <class V, class F>
[[gnu::always_inline]] inline void transform(int64_t n, const float* x, float* y, F f) {
  const int64_t whole = n & -int64_t(lane_count);
  each(whole, [=](int64_t i) { y[i] = f(x[i]); });
  if (whole < n) {
    const part_block<V> rest{whole, n - whole};
    float block[lane_count];
    full_block<V>{0}.store(block, rest(x));
    for (float& b : block)
      b = f(b);
    rest.store(y, full_block<V>{0}(block));
  }
}

// ---- elementwise ---------------------------------------------------------------------------------------------------

void map(unary f, int64_t n, const float* x, float* y) {
  elementary::with_constant(f, [&]<unary F>() { each(n, [=](int64_t i) { y[i] = elementary::value<F>(x[i]); }); });
}

void map_backward(unary f, int64_t n, const float* x, const float* y, const float* dy, float* dx) {
  elementary::with_constant(f, [&]<unary F>() {
    each(n, [=](int64_t i) { dx[i] += elementary::derivative<F>(x[i], y[i]) * dy[i]; });
  });
}

void zip(binary f, int64_t n, const float* a, const float* b, float* y) {
  elementary::with_constant(f, [&]<binary F>() { each(n, [=](int64_t i) { y[i] = elementary::value<F>(a[i], b[i]); }); });
}

void zip_row(binary f, int64_t rows, int64_t cols, const float* a, const float* b, float* y) {
  for (int64_t r = 0; r < rows; ++r)
    zip(f, cols, a + r * cols, b, y + r * cols);
}

void zip_column(binary f, int64_t rows, int64_t cols, const float* a, const float* b, float* y) {
  elementary::with_constant(f, [&]<binary F>() {
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = a + r * cols;
      float* to = y + r * cols;
      const float other = b[r];
      each(cols, [=](int64_t i) { to[i] = elementary::value<F>(from[i], other); });
    }
  });
}

void axpy(int64_t n, float alpha, const float* x, float* y) {
  each(n, [=](int64_t i) { y[i] += alpha * x[i]; });
}

void multiply_add(int64_t n, const float* a, const float* b, float* y) {
  each(n, [=](int64_t i) { y[i] += a[i] * b[i]; });
}

void scale(int64_t n, float alpha, const float* x, float* y) {
  each(n, [=](int64_t i) { y[i] = alpha * x[i]; });
}

// ---- rows ----------------------------------------------------------------------------------------------------------

template <class V>
void softmax(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const float largest = row_maximum<V>(cols, x);
    if (largest == -__builtin_inff()) {
      each(cols, [=](int64_t i) { y[i] = 0; });
      continue;
    }
    transform<V>(cols, x, y, [=](float v) { return elementary::exp(v - largest); });
    const float sum = lane_sum<V>(cols, [=](auto block) { return block(y); });
    transform<V>(cols, y, y, [=](float v) { return v / sum; });
  }
}

template <class V>
void softmax_backward(int64_t rows, int64_t cols, const float* y, const float* dy, float* dx) {
  for (int64_t r = 0; r < rows; ++r, y += cols, dy += cols, dx += cols) {
    const float sum = lane_sum<V>(cols, [=](auto block) { return block(y) * block(dy); });
    for_blocks<V>(cols, [=](auto block) { block.store(dx, block(y) * (block(dy) - sum)); });
  }
}

/// Without centring the mean is 0, and x - 0 is x, so one formula serves both.
template <class V>
void norm(const norm_args<float>& n) {
  const float *gain = n.gain, *bias = n.bias;
  for (int64_t r = 0; r < n.rows; ++r) {
    const float* x = n.x + r * n.cols;
    float* y = n.y + r * n.cols;
    const float count = static_cast<float>(n.cols);
    const float mean = n.center ? lane_sum<V>(n.cols, [=](auto block) { return block(x); }) / count : 0;
    const float variance = lane_sum<V>(n.cols, [=](auto block) { return (block(x) - mean) * (block(x) - mean); }) / count;
    const float rstd = 1 / elementary::sqrt(variance + n.epsilon);
    for_blocks<V>(n.cols, [=](auto block) {
      const auto scaled = (block(x) - mean) * rstd * block(gain);
      block.store(y, bias ? scaled + block(bias) : scaled);
    });
    n.mean[r] = mean;
    n.rstd[r] = rstd;
  }
}

template <class V>
void norm_backward(const norm_backward_args<float>& n) {
  for (int64_t r = 0; r < n.rows; ++r) {
    const float *x = n.x + r * n.cols, *dy = n.dy + r * n.cols, *gain = n.gain;
    const float mean = n.center ? n.mean[r] : 0, rstd = n.rstd[r], count = static_cast<float>(n.cols);
    const auto g = [=](auto block) { return block(dy) * block(gain); };
    const auto xh = [=](auto block) { return (block(x) - mean) * rstd; };
    if (n.dx) {
      const float mean_g = n.center ? lane_sum<V>(n.cols, g) / count : 0;
      const float mean_gx = lane_sum<V>(n.cols, [=](auto block) { return g(block) * xh(block); }) / count;
      float* dx = n.dx + r * n.cols;
      for_blocks<V>(n.cols, [=](auto block) { block.store(dx, block(dx) + (g(block) - mean_g - xh(block) * mean_gx) * rstd); });
    }
    if (float* dgain = n.dgain)
      for_blocks<V>(n.cols, [=](auto block) { block.store(dgain, block(dgain) + block(dy) * xh(block)); });
    if (float* dbias = n.dbias)
      for_blocks<V>(n.cols, [=](auto block) { block.store(dbias, block(dbias) + block(dy)); });
  }
}

void gated(glu f, int64_t rows, int64_t width, const float* x, float* y) {
  elementary::with_constant(f, [&]<glu F>() {
    for (int64_t r = 0; r < rows; ++r) {
      const float *a = x + r * 2 * width, *c = a + width;
      float* to = y + r * width;
      each(width, [=](int64_t i) { to[i] = elementary::value<elementary::activation<F>>(a[i]) * c[i]; });
    }
  });
}

void gated_backward(glu f, int64_t rows, int64_t width, const float* x, const float* dy, float* dx) {
  elementary::with_constant(f, [&]<glu F>() {
    constexpr unary act = elementary::activation<F>;
    for (int64_t r = 0; r < rows; ++r) {
      const float *a = x + r * 2 * width, *c = a + width, *g = dy + r * width;
      float *da = dx + r * 2 * width, *dc = da + width;
      each(width, [=](int64_t i) {
        const float y = elementary::value<act>(a[i]);
        da[i] += g[i] * c[i] * elementary::derivative<act>(a[i], y);
        dc[i] += g[i] * y;
      });
    }
  });
}

template <class V>
void row_sum(int64_t rows, int64_t cols, bool accumulate, const float* x, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols) {
    const float sum = lane_sum<V>(cols, [=](auto block) { return block(x); });
    y[r] = accumulate ? y[r] + sum : sum;
  }
}

template <class V>
void row_dot(int64_t rows, int64_t cols, bool accumulate, const float* a, const float* b, float* y) {
  for (int64_t r = 0; r < rows; ++r, a += cols, b += cols) {
    const float sum = lane_sum<V>(cols, [=](auto block) { return block(a) * block(b); });
    y[r] = accumulate ? y[r] + sum : sum;
  }
}

void column_sum(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols)
    each(cols, [=](int64_t i) { y[i] += x[i]; });
}

// ---- sequences, training -------------------------------------------------------------------------------------------

/// Time outside, channels inside: rows of s are read back from the cache, and all channels go on at once. Channels are
/// taken in chunks, whose decays are spread out so that the inner loop does not see where one head ends.
void scan(const scan_args<float>& s) {
  constexpr int64_t chunk = 256;
  float decay[chunk], zero[chunk] = {};
  const int64_t channels = s.heads * s.width;
  for (int64_t first = 0; first < channels; first += chunk) {
    const int64_t n = channels - first < chunk ? channels - first : chunk;
    for (int64_t i = 0; i < n; ++i)
      decay[i] = s.decay[(first + i) / s.width];
    const float *from = s.initial && !s.reverse ? s.initial + first : zero, *d = decay;
    for (int64_t step = 0; step < s.length; ++step) {
      const int64_t t = s.reverse ? s.length - 1 - step : step;
      const float* v = s.v + t * s.stride + first;
      float* to = s.s + t * s.stride + first;
      each(n, [=](int64_t i) { to[i] = d[i] * from[i] + v[i]; });
      from = to;
    }
  }
}

void adamw(const adamw_args<float>& args) {
  const adamw_args<float> o = args; // a copy: the stores below cannot alias it
  each(o.n, [=](int64_t i) {
    const float g = o.scale * o.gradient[i];
    const float w = o.from_w[i];
    const float m = o.beta1 * o.from_m[i] + o.one_minus_beta1 * g;
    const float v = o.beta2 * o.from_v[i] + o.one_minus_beta2 * g * g;
    const float update = m * o.correction1 / (elementary::sqrt(v * o.correction2) + o.epsilon);
    o.m[i] = m;
    o.v[i] = v;
    o.w[i] = w - o.rate * (update + o.decay * w);
  });
}

/// Rule 2 in double; called once a step, and explicit vectors were no faster.
double sum_of_squares(int64_t n, const float* x) {
  double lane[lane_count] = {};
  for (int64_t i = 0; i < n; i += lane_count)
    for (int64_t j = 0, m = n - i < lane_count ? n - i : lane_count; j < m; ++j)
      lane[j] += double(x[i + j]) * double(x[i + j]);
  for (int half = lane_count / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j)
      lane[j] += lane[j + half];
  return lane[0];
}

/// Magnitudes compare like their bits, and an integer maximum vectorises where a float one may not.
finiteness count_nonfinite(int64_t n, const float* x) {
  constexpr std::int32_t infinity = 0x7f800000;
  std::int32_t largest = 0;
  int64_t nonfinite = 0;
  for (int64_t start = 0; start < n; start += 65536) { // in blocks, so that 32-bit counters serve
    const int block = static_cast<int>(n - start < 65536 ? n - start : 65536);
    std::int32_t count = 0, most = 0;
    for (int i = 0; i < block; ++i) {
      const std::int32_t magnitude = __builtin_bit_cast(std::int32_t, x[start + i]) & 0x7fffffff;
      const std::int32_t spoiled = -static_cast<std::int32_t>(magnitude >= infinity); // a mask
      const std::int32_t finite = magnitude & ~spoiled;
      count -= spoiled;
      most = finite > most ? finite : most;
    }
    nonfinite += count;
    largest = most > largest ? most : largest;
  }
  return {nonfinite, __builtin_bit_cast(float, largest)};
}

template <class V>
constexpr kernel_table<float> table_of(std::string_view name) {
  return {
      .name = name,
      .gemm = gemm_of<V>,
      .gemm_workspace = workspace_of<V>,
      .map = map,
      .map_backward = map_backward,
      .zip = zip,
      .zip_row = zip_row,
      .zip_column = zip_column,
      .axpy = axpy,
      .multiply_add = multiply_add,
      .scale = scale,
      .softmax = softmax<V>,
      .softmax_backward = softmax_backward<V>,
      .norm = norm<V>,
      .norm_backward = norm_backward<V>,
      .gated = gated,
      .gated_backward = gated_backward,
      .row_sum = row_sum<V>,
      .row_dot = row_dot<V>,
      .column_sum = column_sum,
      .scan = scan,
      .dropout_scales = dropout_scales,
      .adamw = adamw,
      .sum_of_squares = sum_of_squares,
      .count_nonfinite = count_nonfinite,
  };
}

} // namespace
} // namespace enn::kernels
