/// Errors of the elementary functions against long double libm: the bounds that elementary.hpp states.
#include "arrays.hpp"

#include <enn/kernels/elementary.hpp>

namespace enn::kernels::test {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

/// |got - exact| in units in the last place of T at `exact`.
template <class T>
double error_in_ulps(T got, long double exact) {
  if (std::isinf(got) && std::fabs(exact) > std::numeric_limits<T>::max())
    return 0;
  int exponent = 0;
  std::frexp(exact, &exponent);
  const int last =
    std::max(exponent - std::numeric_limits<T>::digits, std::numeric_limits<T>::min_exponent - std::numeric_limits<T>::digits);
  return static_cast<double>(std::fabs(got - exact) / std::ldexp(1.0L, last));
}

/// The largest error over floats from `low` to `high`, every 2500th of them by magnitude.
template <class F, class G>
double worst_of_floats(float low, float high, F ours, G exact) {
  double worst = 0;
  for (std::uint64_t bits = 0; bits < (std::uint64_t(1) << 32); bits += 2503)
    if (const float x = std::bit_cast<float>(std::uint32_t(bits)); x >= low && x <= high)
      worst = std::max(worst, error_in_ulps(ours(x), exact(static_cast<long double>(x))));
  return worst;
}

template <class F, class G>
double worst_of_doubles(double low, double high, F ours, G exact) {
  double worst = 0;
  for (std::uint64_t i = 0; i < 100000; ++i) {
    const double u = (random_bits({.seed = 5}, i) + 0.5) * 0x1p-32, x = low + (high - low) * u;
    worst = std::max(worst, error_in_ulps(ours(x), exact(static_cast<long double>(x))));
    if (low <= 0 && high >= 1) // small numbers too
      worst = std::max(worst, error_in_ulps(ours(x * 0x1p-20 * u * u), exact(static_cast<long double>(x * 0x1p-20 * u * u))));
  }
  return worst;
}

long double exact_sigmoid(long double x) {
  return 1 / (1 + std::exp(-x));
}
long double exact_softplus(long double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

TEST(elementary, functions_of_float_keep_their_stated_errors) {
  using std::exp, std::log, std::log1p, std::tanh, std::erf;
  using L = long double;
  constexpr float most = std::numeric_limits<float>::max();
  EXPECT_LE(worst_of_floats(-110, 89, [](float x) { return elementary::exp(x); }, [](L x) { return exp(x); }), 1.1);
  EXPECT_LE(worst_of_floats(1e-45f, most, [](float x) { return elementary::log(x); }, [](L x) { return log(x); }), 1.0);
  EXPECT_LE(worst_of_floats(0, most, [](float x) { return elementary::log1p(x); }, [](L x) { return log1p(x); }), 1.3);
  EXPECT_LE(worst_of_floats(-most, most, [](float x) { return elementary::tanh(x); }, [](L x) { return tanh(x); }), 1.4);
  EXPECT_LE(worst_of_floats(-most, most, [](float x) { return elementary::erf(x); }, [](L x) { return erf(x); }), 1.5);
  EXPECT_LE(worst_of_floats(-most, most, [](float x) { return elementary::sigmoid(x); }, exact_sigmoid), 2.5);
  EXPECT_LE(worst_of_floats(-most, most, [](float x) { return elementary::softplus(x); }, exact_softplus), 2.0);
  EXPECT_LE(worst_of_floats(-80, most, [](float x) { return elementary::silu(x); }, [](L x) { return x * exact_sigmoid(x); }), 3.5);
}

template <class T>
void expect_gelu_within_its_bound() {
  for (std::uint64_t i = 0; i < 100000; ++i) {
    const T x = T(16) * random_uniform({.seed = 12}, i) - T(8);
    const long double exact = x * (0.5L * std::erfc(-static_cast<long double>(x) / std::sqrt(2.0L)));
    ASSERT_LE(std::fabs(elementary::gelu(x) - exact), 1.5L * std::numeric_limits<T>::epsilon() * std::fabs(x)) << x;
  }
}

TEST(elementary, gelu_keeps_its_stated_absolute_error) {
  expect_gelu_within_its_bound<float>();
  expect_gelu_within_its_bound<double>();
}

TEST(elementary, functions_of_double_keep_their_stated_errors) {
  using std::exp, std::log, std::log1p, std::tanh, std::erf;
  using L = long double;
  EXPECT_LE(worst_of_doubles(-745, 709, [](double x) { return elementary::exp(x); }, [](L x) { return exp(x); }), 2.5);
  EXPECT_LE(worst_of_doubles(-2, 2, [](double x) { return elementary::exp(x); }, [](L x) { return exp(x); }), 2.5);
  EXPECT_LE(worst_of_doubles(1e-300, 3, [](double x) { return elementary::log(x); }, [](L x) { return log(x); }), 2.5);
  EXPECT_LE(worst_of_doubles(0, 1e300, [](double x) { return elementary::log1p(x); }, [](L x) { return log1p(x); }), 2.5);
  EXPECT_LE(worst_of_doubles(-3, 3, [](double x) { return elementary::tanh(x); }, [](L x) { return tanh(x); }), 2.5);
  EXPECT_LE(worst_of_doubles(-7, 7, [](double x) { return elementary::erf(x); }, [](L x) { return erf(x); }), 2.5);
  EXPECT_LE(worst_of_doubles(-740, 740, [](double x) { return elementary::sigmoid(x); }, exact_sigmoid), 2.5);
  EXPECT_LE(worst_of_doubles(-30, 30, [](double x) { return elementary::softplus(x); }, exact_softplus), 2.5);
}

TEST(elementary, sine_and_cosine_keep_their_stated_absolute_error) {
  double worst_float = 0, worst_double = 0;
  for (std::uint64_t i = 0; i < 200000; ++i) {
    const double x = 2000 * (random_bits({.seed = 6}, i) * 0x1p-32) - 1000;
    const auto f = static_cast<float>(x);
    const auto off = [](auto got, long double exact) { return static_cast<double>(std::fabs(got - exact)); };
    worst_float =
      std::max({worst_float, off(elementary::sin(f), std::sin((long double)f)), off(elementary::cos(f), std::cos((long double)f))});
    worst_double =
      std::max({worst_double, off(elementary::sin(x), std::sin((long double)x)), off(elementary::cos(x), std::cos((long double)x))});
  }
  EXPECT_LE(worst_float, 1.2 * std::numeric_limits<float>::epsilon());
  EXPECT_LE(worst_double, 1.2 * std::numeric_limits<double>::epsilon());
  EXPECT_EQ(elementary::cos(0.0), 1.0);
  EXPECT_EQ(elementary::sin(0.0), 0.0);
}

template <class T>
void expect_special_values() {
  using namespace elementary;
  const T nan = std::numeric_limits<T>::quiet_NaN(), infinite = std::numeric_limits<T>::infinity(), huge = std::numeric_limits<T>::max();
  EXPECT_EQ(exp(-infinite), 0);
  EXPECT_EQ(exp(-huge), 0);
  EXPECT_EQ(exp(infinite), infinite);
  EXPECT_EQ(exp(huge), infinite);
  EXPECT_EQ(exp(T(0)), 1);
  EXPECT_EQ(exp(T(-0.0)), 1);
  EXPECT_EQ(log(T(0)), -infinite);
  EXPECT_EQ(log(T(-0.0)), -infinite);
  EXPECT_EQ(log(T(1)), 0);
  EXPECT_EQ(log(infinite), infinite);
  EXPECT_TRUE(std::isnan(log(T(-1))));
  EXPECT_TRUE(std::isnan(log(-infinite)));
  EXPECT_EQ(tanh(infinite), 1);
  EXPECT_EQ(tanh(-huge), -1);
  EXPECT_EQ(erf(infinite), 1);
  EXPECT_EQ(erf(-infinite), -1);
  EXPECT_EQ(erf(huge), 1);
  EXPECT_EQ(sigmoid(-infinite), 0);
  EXPECT_EQ(sigmoid(infinite), 1);
  EXPECT_EQ(sigmoid(T(0)), T(0.5));
  EXPECT_EQ(softplus(infinite), infinite);
  EXPECT_EQ(softplus(-infinite), 0);
  EXPECT_EQ(log1p(infinite), infinite);
  EXPECT_TRUE(std::signbit(tanh(T(-0.0))));
  EXPECT_TRUE(std::signbit(erf(T(-0.0))));
  const T smallest = std::numeric_limits<T>::denorm_min();
  EXPECT_EQ(tanh(smallest), smallest);
  EXPECT_NEAR(double(log(smallest)), std::log(double(smallest)), 1e-4);
  for (const T y : {exp(nan), log(nan), tanh(nan), sigmoid(nan), erf(nan), relu(nan), gelu(nan), silu(nan), softplus(nan),
                    elementary::sqrt(nan), elementary::abs(nan)})
    EXPECT_TRUE(std::isnan(y));
}

TEST(elementary, functions_treat_special_values_as_documented) {
  expect_special_values<float>();
  expect_special_values<double>();
}

TEST(elementary, maximum_and_minimum_let_a_nan_of_either_side_through) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(elementary::value<binary::maximum>(nan, 1.0f)));
  EXPECT_TRUE(std::isnan(elementary::value<binary::maximum>(1.0f, nan)));
  EXPECT_TRUE(std::isnan(elementary::value<binary::minimum>(nan, 1.0f)));
  EXPECT_TRUE(std::isnan(elementary::value<binary::minimum>(1.0f, nan)));
  EXPECT_EQ(elementary::value<binary::maximum>(-inf, 1.0f), 1.0f);
}

TEST(elementary, every_function_has_a_name_of_its_own) {
  std::vector<std::string_view> names;
  for (int f = 0; f < unary_count; ++f)
    names.push_back(name(unary(f)));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_EQ(std::find(names.begin(), names.end(), "unknown"), names.end());
}

} // namespace
} // namespace enn::kernels::test
