/// The arithmetic that everything above is made of, as one table of functions.
///
/// A kernel_table is a value: a name and one function per operation. Operators of the model call its functions and
/// nothing else does arithmetic on tensors, so swapping the table swaps the machine: reference, portable, AVX2,
/// AVX-512 and OpenBLAS are five tables. Tables for float exist in all sets, for double in the reference set only.
///
/// The numeric contract. For every function the *bits* of each output element follow from its inputs and from the rules
/// below, never from the instruction set, the number of rows, the position in a matrix, alignment or a thread:
///   1. gemm: an element is one chain of fused multiply-adds in ascending k, started from 0 (or from C).
///   2. sum over a row of n elements ("lane sum"): 16 partial sums, lane j adds elements j, j+16, j+32, ... in ascending
///      order starting from +0; then lanes are folded j += j+8, j += j+4, j += j+2, j += j+1. A row maximum is exact and
///      needs no rule, but a NaN anywhere in the row gives NaN.
///   3. sum over rows (bias gradients): for each column, rows are added in ascending order, started from the destination.
///   4. elementwise functions use additions, multiplications, divisions and square roots only (no fused multiply-add, no
///      reciprocal estimate, no libm), in the order of kernels/elementary.hpp, which is compiled for every set.
/// Hence reference, portable, avx2 and avx512 agree bit for bit, and tests compare them with ==. OpenBLAS does not
/// promise rule 1; the set `openblas` differs from the others in gemm and is a set of its own for that reason.
///
/// No function allocates, throws, or keeps state. Any number of threads may call at once on disjoint outputs. Pointers
/// need the alignment of T only. Output and input may be the same array where a function says "in place".
/// Sizes of zero are fine. NaN and infinity are data: they propagate by IEEE rules and are never replaced.
#pragma once
#include <enn/kernels/random.hpp>

#include <cstdint>
#include <string_view>

namespace enn::kernels {

/// Which elementwise function. Append only: the numbers are not stored, the names are (see name()).
enum class unary : std::uint8_t {
  exp, log, tanh, sigmoid, erf, relu, gelu /* exact, by erf */, silu, softplus, square, sqrt, abs, negate, reciprocal,
};
std::string_view name(unary f);
inline constexpr int unary_count = 14;

/// Elementwise functions of two arrays.
enum class binary : std::uint8_t { add, subtract, multiply, divide, maximum, minimum };
std::string_view name(binary f);

/// Activation of a gated linear unit: y = act(first half) * second half.
enum class glu : std::uint8_t { silu, gelu };

/// C = op(A) op(B) or C += op(A) op(B).  op(A) is (m, k), op(B) is (k, n), C is (m, n), all row-major.
template <class T>
struct gemm_args {
  bool transpose_a = false; // if so, A is stored (k, m)
  bool transpose_b = false; // if so, B is stored (n, k)
  bool accumulate = false;  // chains start from C instead of 0
  std::int64_t m = 0, n = 0, k = 0;
  const T* a = nullptr;
  std::int64_t lda = 0; // elements from one stored row to the next
  const T* b = nullptr;
  std::int64_t ldb = 0;
  T* c = nullptr;
  std::int64_t ldc = 0;
  /// Room for packing, `workspace` elements as gemm_workspace() says; the caller's, so that nothing is allocated.
  T* scratch = nullptr;
};

/// y = (x - mean) * rstd * gain + bias over rows of `cols`. mean and rstd, (rows) each, are kept for backward.
/// mean = lane sum / cols; variance = lane sum of (x-mean)^2 / cols; rstd = 1 / sqrt(variance + epsilon).
/// With `center` false it is the root-mean-square norm: mean is taken as 0 and not subtracted. bias may be null.
template <class T>
struct norm_args {
  std::int64_t rows = 0, cols = 0;
  bool center = true;
  T epsilon = 0;
  const T* x = nullptr;    // (rows, cols)
  const T* gain = nullptr; // (cols)
  const T* bias = nullptr; // (cols) or null
  T* y = nullptr;          // (rows, cols)
  T* mean = nullptr;       // (rows); written as 0 when not centred
  T* rstd = nullptr;       // (rows)
};

/// Adds to dx, dgain, dbias (each may be null: not wanted). g = dy * gain; xh = (x - mean) * rstd;
/// dx += rstd * (g - [center] mean(g) - xh * mean(g * xh)), means by lane sums. dgain, dbias by rule 3.
template <class T>
struct norm_backward_args {
  std::int64_t rows = 0, cols = 0;
  bool center = true;
  const T* x = nullptr;
  const T* gain = nullptr;
  const T* mean = nullptr;
  const T* rstd = nullptr;
  const T* dy = nullptr;
  T* dx = nullptr;
  T* dgain = nullptr;
  T* dbias = nullptr;
};

/// One first-order recurrence per (head, channel), applied along `length`; the core of retention.
///   forward in time:   s[t] = decay[h] * s[t-1] + v[t],  s[-1] = initial (or 0)
///   reverse in time:   s[t] = decay[h] * s[t+1] + v[t],  s[length] = 0
/// A product and a sum, not fused. Arrays are (length, heads * width) with row stride `stride`.
template <class T>
struct scan_args {
  std::int64_t length = 0, heads = 0, width = 0, stride = 0;
  bool reverse = false;
  const T* decay = nullptr;   // (heads)
  const T* v = nullptr;       // (length, heads*width)
  const T* initial = nullptr; // (heads*width) or null
  T* s = nullptr;             // (length, heads*width); may be v (in place)
};

/// AdamW on a span of n values (Loshchilov & Hutter 2019, arXiv:1711.05101), decay decoupled.
///   m = b1*m + (1-b1)*g;  v = b2*v + (1-b2)*g*g;  w -= rate * (m*correction1 / (sqrt(v*correction2) + epsilon) + decay*w)
/// with g = scale * gradient. The right-hand w, m, v are those of `from`, which may be the same arrays. All coefficients come ready
/// from the caller, so no power or cosine is computed here.
template <class T>
struct adamw_args {
  std::int64_t n = 0;
  T rate = 0, beta1 = 0, beta2 = 0, one_minus_beta1 = 0, one_minus_beta2 = 0;
  T correction1 = 1, correction2 = 1; // 1/(1-b1^t), 1/(1-b2^t)
  T epsilon = 0, decay = 0, scale = 1;
  const T* gradient = nullptr;
  const T *from_w = nullptr, *from_m = nullptr, *from_v = nullptr;
  T *w = nullptr, *m = nullptr, *v = nullptr;
};

/// What a pass over numbers found; see count_nonfinite.
struct finiteness {
  std::int64_t nonfinite = 0;
  double largest = 0; // largest magnitude among the finite ones
};

template <class T>
struct kernel_table {
  std::string_view name; // "reference", "portable", "avx2", "avx512", "openblas"

  // -- matrices --
  /// Rule 1 holds, so rows of C may be computed apart.
  bool rows_are_independent = true;
  void (*gemm)(const gemm_args<T>&);
  /// Elements of scratch that gemm needs for this shape; at most a few hundred KiB whatever the shape.
  std::int64_t (*gemm_workspace)(std::int64_t m, std::int64_t n, std::int64_t k);

  // -- elementwise, n elements; all may work in place --
  void (*map)(unary f, std::int64_t n, const T* x, T* y);
  /// dx += f'(x) * dy; y = f(x) is given because some derivatives are cheaper by it.
  void (*map_backward)(unary f, std::int64_t n, const T* x, const T* y, const T* dy, T* dx);
  void (*zip)(binary f, std::int64_t n, const T* a, const T* b, T* y);
  /// y = f(a, b[column]): a, y (rows, cols), b (cols).
  void (*zip_row)(binary f, std::int64_t rows, std::int64_t cols, const T* a, const T* b, T* y);
  /// y = f(a, b[row]): a, y (rows, cols), b (rows).
  void (*zip_column)(binary f, std::int64_t rows, std::int64_t cols, const T* a, const T* b, T* y);
  /// y += alpha * x
  void (*axpy)(std::int64_t n, T alpha, const T* x, T* y);
  /// y += a * b, elementwise (product and sum, not fused)
  void (*multiply_add)(std::int64_t n, const T* a, const T* b, T* y);
  /// y = alpha * x
  void (*scale)(std::int64_t n, T alpha, const T* x, T* y);

  // -- rows --
  /// y[r] = softmax(x[r]): subtract the row maximum, exp, divide by the lane sum. A row whose maximum is -infinity is
  /// fully masked and gives exact zeros. In place.
  void (*softmax)(std::int64_t rows, std::int64_t cols, const T* x, T* y);
  /// dx = y * (dy - sum(y*dy)); overwrites; dx may be dy.
  void (*softmax_backward)(std::int64_t rows, std::int64_t cols, const T* y, const T* dy, T* dx);
  void (*norm)(const norm_args<T>&);
  void (*norm_backward)(const norm_backward_args<T>&);
  /// x (rows, 2*width) = [a | c], y (rows, width) = act(a) * c.
  void (*gated)(glu f, std::int64_t rows, std::int64_t width, const T* x, T* y);
  /// dx (rows, 2*width) += ...
  void (*gated_backward)(glu f, std::int64_t rows, std::int64_t width, const T* x, const T* dy, T* dx);
  /// y[r] (+)= lane sum of x[r].
  void (*row_sum)(std::int64_t rows, std::int64_t cols, bool accumulate, const T* x, T* y);
  /// y[r] (+)= lane sum of a[r]*b[r].
  void (*row_dot)(std::int64_t rows, std::int64_t cols, bool accumulate, const T* a, const T* b, T* y);
  /// y[c] += sum of x[.][c], rows ascending (rule 3).
  void (*column_sum)(std::int64_t rows, std::int64_t cols, const T* x, T* y);

  // -- sequences --
  void (*scan)(const scan_args<T>&);

  // -- training --
  /// keep[i] = 1/(1-p) with probability 1-p, else 0, for elements 0..n-1: 0 where random_uniform(place, i) < p.
  void (*dropout_scales)(const random_place& place, std::int64_t n, double probability, T* keep);
  void (*adamw)(const adamw_args<T>&);
  /// Sum of squares in double: 16 double lanes as in rule 2.
  double (*sum_of_squares)(std::int64_t n, const T* x);
  finiteness (*count_nonfinite)(std::int64_t n, const T* x);
};

/// Plain loops that define every result. T: float, double.
template <class T>
const kernel_table<T>& reference_kernels();

} // namespace enn::kernels
