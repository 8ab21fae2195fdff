/// exp, log, tanh, erf and their kin, for float and double, from additions, multiplications, divisions, square roots,
/// comparisons and bit casts alone: no libm, no fused multiply-add. The bits are therefore the same in every kernel set,
/// on every machine. All are branch-free, so that g++ turns a loop over them into vector code.
///
/// Everything has internal linkage (the unnamed namespace is deliberate): a copy that was compiled for AVX-512 must never
/// be the one that the linker keeps for a portable caller. For the same reason no std header with functions is included.
///
/// Error bounds in units in the last place of the result, held by tests/kernels/elementary_test.cpp:
///   float: exp 1.1, log 1.0, log1p 1.3, tanh 1.4, erf 1.5, sigmoid 2.5, softplus 2.0, silu 3.5.  double: all of these 2.5.
///   gelu: |error| <= 1.5 epsilon |x|; below 0 that is not relative, since 1 + erf cancels there.
///   sin, cos (|x| <= 1000): |error| <= 1.2 epsilon.
/// Special values: exp(-inf) = 0, exp(+inf) = inf, log(0) = -inf, log(x < 0) = NaN, tanh and erf(+-inf) = +-1,
/// sigmoid(-inf) = 0; subnormals are kept; NaN gives NaN. Coefficients come from elementary_coefficients.py.
#pragma once
#include <enn/kernels/kernel_table.hpp>

#include <cstdint>

namespace enn::kernels::elementary {
namespace {

/// What the algorithms need to know of a binary format.
template <class T>
struct format;

template <>
struct format<float> {
  using bits = std::uint32_t;
  using integer = std::int32_t;
  static constexpr int mantissa = 23, bias = 127;
  static constexpr float round_magic = 0x1.8p23f;          // adding it leaves the nearest integer in the low bits
  static constexpr float ln2_high = 0x1.63p-1f;            // 9 bits: times an exponent it is exact
  static constexpr float ln2_low = -0x1.bd0106p-13f;
  static constexpr float exp_low = -104, exp_high = 89;    // beyond, the result is 0 or infinite
  static constexpr float erf_end = 4;                      // beyond, erf rounds to 1
  static constexpr float smallest_normal = 0x1p-126f, scale_up = 0x1p23f;
  static constexpr bits root_half = 0x3f3504f3, one = 0x3f800000;
};

template <>
struct format<double> {
  using bits = std::uint64_t;
  using integer = std::int64_t;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double round_magic = 0x1.8p52;
  static constexpr double ln2_high = 0x1.62e42feep-1;      // 32 bits
  static constexpr double ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double exp_low = -746, exp_high = 710;
  static constexpr double erf_end = 6;
  static constexpr double smallest_normal = 0x1p-1022, scale_up = 0x1p52;
  static constexpr bits root_half = 0x3fe6a09e667f3bcd, one = 0x3ff0000000000000;
};

template <class T>
inline constexpr bool single = sizeof(T) == sizeof(float);

/// Horner's rule, lowest coefficient first.
template <class T>
[[gnu::always_inline]] inline T polynomial(T, T last) {
  return last;
}
template <class T, class... Rest>
[[gnu::always_inline]] inline T polynomial(T x, T first, Rest... rest) {
  return first + x * polynomial(x, static_cast<T>(rest)...);
}

[[gnu::always_inline]] inline float sqrt(float x) { return __builtin_sqrtf(x); }
[[gnu::always_inline]] inline double sqrt(double x) { return __builtin_sqrt(x); }
[[gnu::always_inline]] inline float abs(float x) { return __builtin_fabsf(x); }
[[gnu::always_inline]] inline double abs(double x) { return __builtin_fabs(x); }
[[gnu::always_inline]] inline float with_sign_of(float x, float y) { return __builtin_copysignf(y, x); }
[[gnu::always_inline]] inline double with_sign_of(double x, double y) { return __builtin_copysign(y, x); }

/// 2^n by its bits, for n in the range of normal numbers.
template <class T>
[[gnu::always_inline]] inline T power_of_two(typename format<T>::integer n) {
  using bits = typename format<T>::bits;
  return __builtin_bit_cast(T, static_cast<bits>(n + format<T>::bias) << format<T>::mantissa);
}

/// e^x = 2^n e^r with |r| <= ln2/2. The scaling is done in two halves, so that subnormal results round once.
template <class T>
[[gnu::always_inline]] inline T exp(T x) {
  using f = format<T>;
  using integer = typename f::integer;
  T c = x < f::exp_low ? f::exp_low : x; // a NaN passes both
  c = c > f::exp_high ? f::exp_high : c;
  const T shifted = c * T(1.4426950408889634074) + f::round_magic;
  const T n = shifted - f::round_magic;
  const T r = (c - n * f::ln2_high) - n * f::ln2_low;
  T p;
  if constexpr (single<T>)
    p = polynomial(r, 0.5f, 0.166665763f, 0.0416665561f, 0.00836319476f, 0.00139262038f);
  else
    p = polynomial(r, 0.5, 0.16666666666666671, 0.041666666666666671, 0.0083333333333261202, 0.0013888888888883737,
                   0.00019841269873874975, 2.4801587325585839e-05, 2.7557255332554409e-06, 2.7557273594799413e-07,
                   2.5105245153901371e-08, 2.0914707069612355e-09);
  const T y = 1 + (r + r * r * p);
  using bits = typename f::bits;
  const auto exponent = static_cast<integer>(__builtin_bit_cast(bits, shifted) - __builtin_bit_cast(bits, f::round_magic));
  const integer half = exponent >> 1;
  return y * power_of_two<T>(half) * power_of_two<T>(exponent - half);
}

/// log(x) = k ln2 + log(1+f), sqrt(1/2) <= 1+f < sqrt(2), with s = f/(2+f):
/// log(1+f) = 2s + s^3 R(s^2) = f - f^2/2 + s (f^2/2 + s^2 R), which loses nothing for small f.
template <class T>
[[gnu::always_inline]] inline T log(T x) {
  using t = format<T>;
  using bits = typename t::bits;
  using integer = typename t::integer;
  const bool small = x < t::smallest_normal;
  const T scaled = small ? x * t::scale_up : x;
  const bits moved = __builtin_bit_cast(bits, scaled) + (t::one - t::root_half);
  const integer exponent = static_cast<integer>(moved >> t::mantissa) - t::bias;
  const T k = static_cast<T>(exponent) - (small ? T(t::mantissa) : T(0));
  const bits fraction = moved & ((bits(1) << t::mantissa) - 1);
  const T f = __builtin_bit_cast(T, fraction + t::root_half) - 1;
  const T s = f / (2 + f);
  const T z = s * s;
  T tail;
  if constexpr (single<T>)
    tail = polynomial(z, 0.666666687f, 0.400001228f, 0.285508037f, 0.233309641f);
  else
    tail = polynomial(z, 0.66666666666666663, 0.40000000000000879, 0.28571428570801954, 0.22222222392089008,
                      0.18181795600060788, 0.15386241881938825, 0.13268714792342884, 0.13087236196706833);
  const T half_square = T(0.5) * f * f;
  T y = k * t::ln2_high - ((half_square - (s * (half_square + z * tail) + k * t::ln2_low)) - f);
  y = x < T(__builtin_inff()) ? y : x; // +inf and NaN are their own logarithm
  y = x < 0 ? T(__builtin_nanf("")) : y;
  return x == 0 ? -T(__builtin_inff()) : y;
}

/// log(1+u) for u >= 0: the rounding of 1+u is repaired to first order.
template <class T>
[[gnu::always_inline]] inline T log1p(T u) {
  const T w = 1 + u;
  const T repaired = log(w) - ((w - 1) - u) / w;
  return u < T(__builtin_inff()) ? repaired : u;
}

template <class T>
[[gnu::always_inline]] inline T tanh(T x) {
  const T a = abs(x);
  const T z = x * x;
  T p;
  if constexpr (single<T>)
    p = polynomial(z, -0.333333284f, 0.133327678f, -0.0538506098f, 0.0209957547f, -0.00609464152f);
  else
    p = polynomial(z, -0.33333333333333331, 0.13333333333333319, -0.053968253968235728, 0.021869488535124274,
                   -0.0088632354995673533, 0.0035921275039821881, -0.0014558283645951342, 0.00058998159053386503,
                   -0.00023888848777076579, 9.6038403942694565e-05, -3.707630062797232e-05, 1.2205070696528866e-05,
                   -2.4366763192518323e-06);
  const T near = a + a * (z * p);
  const T far = 1 - 2 / (exp(2 * a) + 1);
  return with_sign_of(x, a < T(0.625) ? near : far);
}

/// 1 / (1 + e^-x); the exponential is taken of -|x|, so it never overflows and small results keep their digits.
template <class T>
[[gnu::always_inline]] inline T sigmoid(T x) {
  const T e = exp(-abs(x));
  return (x < 0 ? e : T(1)) / (1 + e);
}

/// Near 0 a polynomial in x^2, beyond 1 by erfc: e^(-t^2) times a polynomial in (t-2.5)/(t+2.5).
template <class T>
[[gnu::always_inline]] inline T erf(T x) {
  const T a = abs(x);
  const T t = a > format<T>::erf_end ? format<T>::erf_end : a;
  const T z = t * t;
  const T w = (t - T(2.5)) / (t + T(2.5));
  T p, q;
  if constexpr (single<T>) {
    p = polynomial(z, -0.376126379f, 0.112837903f, -0.0268659461f, 0.00522261113f, -0.0008508545f, 0.000114517366f,
                   -1.02167478e-05f);
    q = polynomial(w, 0.21080637f, -0.371736795f, 0.251712203f, -0.125030175f, 0.0399643853f, -0.00398635026f,
                   -0.0031158498f);
  } else {
    p = polynomial(z, -0.37612638903183754, 0.11283791670955126, -0.026866170645131249, 0.0052239776254420977,
                   -0.00085483270234387721, 0.00012055332980820326, -1.4925650307970883e-05, 1.64621125825314e-06,
                   -1.6365800670626893e-07, 1.4806425307596068e-08, -1.2281123990301673e-09, 9.3425447650217143e-11,
                   -6.2581446593948804e-12, 2.8959983358564892e-13);
    q = polynomial(w, 0.21080636406114359, -0.37173673394897339, 0.25171319321744939, -0.1250330523788247,
                   0.039922539075574935, -0.003993701166223159, -0.0026423659637844531, 0.00087591546307945077,
                   0.00022838036598153182, -0.00012887741536369735, -3.4182063549802165e-05, 1.8617072081910595e-05,
                   7.5513017799442535e-06, -2.3140931150942177e-06, -1.79706306540687e-06, 1.2966926825389417e-07,
                   3.3657006736237105e-07);
  }
  const T near = a + a * (T(0.12837916709551257390) + z * p); // 2/sqrt(pi) - 1
  const T far = 1 - exp(-z) * q;
  return with_sign_of(x, a < 1 ? near : far);
}

template <class T>
[[gnu::always_inline]] inline T relu(T x) {
  return x < 0 ? T(0) : x; // so written, a NaN stays
}

template <class T>
[[gnu::always_inline]] inline T gelu(T x) {
  return T(0.5) * x * (1 + erf(x * T(0.70710678118654752440)));
}

template <class T>
[[gnu::always_inline]] inline T silu(T x) {
  return x * sigmoid(x);
}

template <class T>
[[gnu::always_inline]] inline T softplus(T x) {
  return (x < 0 ? T(0) : x) + log1p(exp(-abs(x)));
}

/// The sine and cosine of x in one: x = n pi/2 + r, |r| <= pi/4, then the quadrant picks and signs.
template <class T>
[[gnu::always_inline]] inline T sin_of_quadrant(T x, int quadrant) {
  using f = format<T>;
  using bits = typename f::bits;
  const T shifted = x * T(0.63661977236758134308) + f::round_magic;
  const T n = shifted - f::round_magic;
  T r;
  if constexpr (single<T>) // pi/2 in three parts; the products of the first two are exact for |x| <= 1000
    r = ((x - n * 0x1.92p0f) - n * 0x1.fb4p-12f) - n * 0x1.4442d2p-24f;
  else
    r = ((x - n * 0x1.921fb544p0) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69;
  const T z = r * r;
  T s, c;
  if constexpr (single<T>) {
    s = polynomial(z, -0.166666672f, 0.00833333191f, -0.000198400856f, 2.72498505e-06f);
    c = polynomial(z, 0.0416666642f, -0.00138883025f, 2.45478805e-05f);
  } else {
    s = polynomial(z, -0.16666666666666666, 0.0083333333333333315, -0.0001984126984126506, 2.7557319219334661e-06,
                   -2.505210623088241e-08, 1.6058531370931902e-10, -7.5866824971576878e-13);
    c = polynomial(z, 0.041666666666666664, -0.0013888888888888887, 2.4801587301584642e-05, -2.755731922140032e-07,
                   2.0876755790210145e-09, -1.1470460749685967e-11, 4.7458637727396088e-14);
  }
  const T sine = r + r * (z * s);
  const T cosine = 1 - (T(0.5) * z - z * (z * c));
  const bits turn = __builtin_bit_cast(bits, shifted) + static_cast<bits>(quadrant);
  const T picked = (turn & 1) != 0 ? cosine : sine;
  return (turn & 2) != 0 ? -picked : picked;
}

template <class T>
[[gnu::always_inline]] inline T sin(T x) {
  return sin_of_quadrant(x, 0);
}
template <class T>
[[gnu::always_inline]] inline T cos(T x) {
  return sin_of_quadrant(x, 1);
}

// ---- by name -------------------------------------------------------------------------------------------------------

template <unary F, class T>
[[gnu::always_inline]] inline T value(T x) {
  if constexpr (F == unary::exp) return exp(x);
  if constexpr (F == unary::log) return log(x);
  if constexpr (F == unary::tanh) return tanh(x);
  if constexpr (F == unary::sigmoid) return sigmoid(x);
  if constexpr (F == unary::erf) return erf(x);
  if constexpr (F == unary::relu) return relu(x);
  if constexpr (F == unary::gelu) return gelu(x);
  if constexpr (F == unary::silu) return silu(x);
  if constexpr (F == unary::softplus) return softplus(x);
  if constexpr (F == unary::square) return x * x;
  if constexpr (F == unary::sqrt) return sqrt(x);
  if constexpr (F == unary::abs) return abs(x);
  if constexpr (F == unary::negate) return -x;
  if constexpr (F == unary::reciprocal) return 1 / x;
}

/// f'(x), where y = f(x) is known.
template <unary F, class T>
[[gnu::always_inline]] inline T derivative(T x, T y) {
  if constexpr (F == unary::exp) return y;
  if constexpr (F == unary::log) return 1 / x;
  if constexpr (F == unary::tanh) return 1 - y * y;
  if constexpr (F == unary::sigmoid) return y * (1 - y);
  if constexpr (F == unary::erf) return T(1.1283791670955125739) * exp(-(x * x));
  if constexpr (F == unary::relu) return x <= 0 ? T(0) : T(1);
  if constexpr (F == unary::gelu) {
    const T below = T(0.5) * (1 + erf(x * T(0.70710678118654752440)));
    return below + x * (T(0.39894228040143267794) * exp(T(-0.5) * x * x));
  }
  if constexpr (F == unary::silu) {
    const T s = sigmoid(x);
    return s * (1 + x * (1 - s));
  }
  if constexpr (F == unary::softplus) return sigmoid(x);
  if constexpr (F == unary::square) return 2 * x;
  if constexpr (F == unary::sqrt) return T(0.5) / y;
  if constexpr (F == unary::abs) return x < 0 ? T(-1) : (x > 0 ? T(1) : T(0));
  if constexpr (F == unary::negate) return T(-1);
  if constexpr (F == unary::reciprocal) return -(y * y);
}

template <binary F, class T>
[[gnu::always_inline]] inline T value(T a, T b) {
  if constexpr (F == binary::add) return a + b;
  if constexpr (F == binary::subtract) return a - b;
  if constexpr (F == binary::multiply) return a * b;
  if constexpr (F == binary::divide) return a / b;
  if constexpr (F == binary::maximum) return a > b || a != a ? a : b; // a NaN on either side wins
  if constexpr (F == binary::minimum) return a < b || a != a ? a : b;
}

template <glu F>
inline constexpr unary activation = F == glu::silu ? unary::silu : unary::gelu;

/// Calls body.template operator()<F>() with the constant that f holds.
template <class Body>
[[gnu::always_inline]] inline void with_constant(unary f, Body body) {
  switch (f) {
    case unary::exp: return body.template operator()<unary::exp>();
    case unary::log: return body.template operator()<unary::log>();
    case unary::tanh: return body.template operator()<unary::tanh>();
    case unary::sigmoid: return body.template operator()<unary::sigmoid>();
    case unary::erf: return body.template operator()<unary::erf>();
    case unary::relu: return body.template operator()<unary::relu>();
    case unary::gelu: return body.template operator()<unary::gelu>();
    case unary::silu: return body.template operator()<unary::silu>();
    case unary::softplus: return body.template operator()<unary::softplus>();
    case unary::square: return body.template operator()<unary::square>();
    case unary::sqrt: return body.template operator()<unary::sqrt>();
    case unary::abs: return body.template operator()<unary::abs>();
    case unary::negate: return body.template operator()<unary::negate>();
    case unary::reciprocal: return body.template operator()<unary::reciprocal>();
  }
}

template <class Body>
[[gnu::always_inline]] inline void with_constant(binary f, Body body) {
  switch (f) {
    case binary::add: return body.template operator()<binary::add>();
    case binary::subtract: return body.template operator()<binary::subtract>();
    case binary::multiply: return body.template operator()<binary::multiply>();
    case binary::divide: return body.template operator()<binary::divide>();
    case binary::maximum: return body.template operator()<binary::maximum>();
    case binary::minimum: return body.template operator()<binary::minimum>();
  }
}

template <class Body>
[[gnu::always_inline]] inline void with_constant(glu f, Body body) {
  switch (f) {
    case glu::silu: return body.template operator()<glu::silu>();
    case glu::gelu: return body.template operator()<glu::gelu>();
  }
}

} // namespace
} // namespace enn::kernels::elementary
