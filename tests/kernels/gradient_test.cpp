/// Derivatives of the reference in double against central differences.
#include "arrays.hpp"

#include <functional>

namespace enn::kernels::test {
namespace {

const kernel_table<double>& t = reference_kernels<double>();

/// Compares `gradient` with the central difference of sum(weight * f(x)) for each element of x.
void expect_gradient(std::vector<double> x, const std::vector<double>& weight, const std::vector<double>& gradient,
                     const std::function<std::vector<double>(const std::vector<double>&)>& f) {
  constexpr double h = 1e-6;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double centre = x[i];
    x[i] = centre + h;
    const auto up = f(x);
    x[i] = centre - h;
    const auto down = f(x);
    x[i] = centre;
    double difference = 0;
    for (std::size_t j = 0; j < up.size(); ++j)
      difference += weight[j] * (up[j] - down[j]);
    EXPECT_NEAR(gradient[i], difference / (2 * h), 1e-8 * std::max(1.0, std::fabs(gradient[i]))) << "element " << i;
  }
}

TEST(gradients, of_elementwise_functions_match_central_differences) {
  for (int f = 0; f < unary_count; ++f) {
    SCOPED_TRACE(name(unary(f)));
    auto x = numbers<double>(40, 1);
    for (double& v : x) {
      if (unary(f) == unary::log || unary(f) == unary::sqrt || unary(f) == unary::reciprocal)
        v = std::fabs(v) + 0.5;
      if (std::fabs(v) < 0.01) // relu and abs have a corner at 0
        v += 0.1;
    }
    const auto n = std::int64_t(x.size());
    const auto weight = numbers<double>(n, 2);
    std::vector<double> y(x.size()), dx(x.size(), 0.0);
    t.map(unary(f), n, x.data(), y.data());
    t.map_backward(unary(f), n, x.data(), y.data(), weight.data(), dx.data());
    expect_gradient(x, weight, dx, [&](const std::vector<double>& at) {
      std::vector<double> out(at.size());
      t.map(unary(f), n, at.data(), out.data());
      return out;
    });
  }
}

TEST(gradients, of_softmax_match_central_differences) {
  const std::int64_t rows = 2, cols = 19;
  const auto x = numbers<double>(rows * cols, 3), weight = numbers<double>(rows * cols, 4);
  std::vector<double> y(x.size()), dx(x.size());
  t.softmax(rows, cols, x.data(), y.data());
  t.softmax_backward(rows, cols, y.data(), weight.data(), dx.data());
  expect_gradient(x, weight, dx, [&](const std::vector<double>& at) {
    std::vector<double> out(at.size());
    t.softmax(rows, cols, at.data(), out.data());
    return out;
  });
}

TEST(gradients, of_gated_units_match_central_differences) {
  const std::int64_t rows = 2, width = 9;
  for (const glu f : {glu::silu, glu::gelu}) {
    const auto x = numbers<double>(rows * 2 * width, 5), weight = numbers<double>(rows * width, 6);
    std::vector<double> dx(x.size(), 0.0);
    t.gated_backward(f, rows, width, x.data(), weight.data(), dx.data());
    expect_gradient(x, weight, dx, [&](const std::vector<double>& at) {
      std::vector<double> out(std::size_t(rows * width));
      t.gated(f, rows, width, at.data(), out.data());
      return out;
    });
  }
}

TEST(gradients, of_norms_match_central_differences_in_input_gain_and_bias) {
  const std::int64_t rows = 3, cols = 17;
  for (const bool center : {false, true}) {
    const auto x = numbers<double>(rows * cols, 7), gain = numbers<double>(cols, 8), bias = numbers<double>(cols, 9),
               weight = numbers<double>(rows * cols, 10);
    std::vector<double> mean(rows), rstd(rows), dx(x.size(), 0.0), dgain(gain.size(), 0.0), dbias(bias.size(), 0.0);
    const auto norm = [&](const std::vector<double>& at, const std::vector<double>& g, const std::vector<double>& b) {
      std::vector<double> out(at.size());
      t.norm({.rows = rows, .cols = cols, .center = center, .epsilon = 1e-5, .x = at.data(), .gain = g.data(), .bias = b.data(),
              .y = out.data(), .mean = mean.data(), .rstd = rstd.data()});
      return out;
    };
    norm(x, gain, bias);
    t.norm_backward({.rows = rows, .cols = cols, .center = center, .x = x.data(), .gain = gain.data(), .mean = mean.data(),
                     .rstd = rstd.data(), .dy = weight.data(), .dx = dx.data(), .dgain = dgain.data(), .dbias = dbias.data()});
    expect_gradient(x, weight, dx, [&](const std::vector<double>& at) { return norm(at, gain, bias); });
    expect_gradient(gain, weight, dgain, [&](const std::vector<double>& at) { return norm(x, at, bias); });
    expect_gradient(bias, weight, dbias, [&](const std::vector<double>& at) { return norm(x, gain, at); });
  }
}

TEST(gradients, of_a_scan_are_the_scan_in_reverse) {
  const std::int64_t length = 11, heads = 2, width = 3, channels = heads * width;
  const auto v = numbers<double>(length * channels, 11), weight = numbers<double>(length * channels, 12);
  const double decay[] = {0.9, 0.5};
  const auto scan = [&](const std::vector<double>& at, bool reverse) {
    std::vector<double> out(at.size());
    t.scan({.length = length, .heads = heads, .width = width, .stride = channels, .reverse = reverse, .decay = decay,
            .v = at.data(), .s = out.data()});
    return out;
  };
  expect_gradient(v, weight, scan(weight, true), [&](const std::vector<double>& at) { return scan(at, false); });
}

} // namespace
} // namespace enn::kernels::test
