/// Every function but gemm, in every set that runs here, gives the bits of the reference.
#include "arrays.hpp"

namespace enn::kernels::test {
namespace {

using table = kernel_table<float>;

std::string of_size(std::int64_t n) {
  return "size " + std::to_string(n);
}

std::string of_shape(std::string_view what, std::int64_t rows, std::int64_t cols) {
  return std::string(what) + " " + std::to_string(rows) + " x " + std::to_string(cols);
}

/// Calls f(rows, cols) for rows 0, 1, 3 and the columns of `sizes`.
template <class F>
void for_shapes(F f) {
  for (const std::int64_t rows : {0, 1, 3})
    for (const std::int64_t cols : sizes)
      f(rows, cols);
}

TEST(kernel_sets, agree_on_every_elementwise_function_of_any_number) {
  for (int f = 0; f < unary_count; ++f)
    for (const std::int64_t n : sizes) {
      const auto x = wild_numbers(n, 1);
      expect_same_in_all_sets(numbers(n, 2), std::string(name(unary(f))) + " " + of_size(n),
                              [&](const table& t, float* y) { t.map(unary(f), n, x.data(), y); });
      expect_same_in_all_sets(x, std::string(name(unary(f))) + " in place " + of_size(n),
                              [&](const table& t, float* y) { t.map(unary(f), n, y, y); });
    }
}

TEST(kernel_sets, agree_on_elementwise_functions_over_the_whole_range) {
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits < (std::uint64_t(1) << 32); bits += 65537)
    x.push_back(std::bit_cast<float>(std::uint32_t(bits)));
  const auto n = std::int64_t(x.size());
  for (int f = 0; f < unary_count; ++f)
    expect_same_in_all_sets(x, std::string(name(unary(f))), [&](const table& t, float* y) { t.map(unary(f), n, x.data(), y); });
}

TEST(kernel_sets, agree_on_every_derivative) {
  for (int f = 0; f < unary_count; ++f)
    for (const std::int64_t n : sizes) {
      const auto x = wild_numbers(n, 3), dy = numbers(n, 4);
      std::vector<float> y(x.size());
      reference_kernels<float>().map(unary(f), n, x.data(), y.data());
      expect_same_in_all_sets(numbers(n, 5), std::string(name(unary(f))) + " " + of_size(n), [&](const table& t, float* dx) {
        t.map_backward(unary(f), n, x.data(), y.data(), dy.data(), dx);
      });
    }
}

TEST(kernel_sets, agree_on_functions_of_two_arrays) {
  for (const binary f : {binary::add, binary::subtract, binary::multiply, binary::divide, binary::maximum, binary::minimum})
    for_shapes([&](std::int64_t rows, std::int64_t cols) {
      const auto a = wild_numbers(rows * cols, 6), b = wild_numbers(rows * cols, 7), row = wild_numbers(cols, 8),
                 column = wild_numbers(rows, 9);
      const auto what = of_shape(name(f), rows, cols);
      expect_same_in_all_sets(a, what, [&](const table& t, float* y) { t.zip(f, rows * cols, y, b.data(), y); });
      expect_same_in_all_sets(a, what, [&](const table& t, float* y) { t.zip_row(f, rows, cols, a.data(), row.data(), y); });
      expect_same_in_all_sets(a, what, [&](const table& t, float* y) { t.zip_column(f, rows, cols, a.data(), column.data(), y); });
    });
}

TEST(kernel_sets, agree_on_scaled_sums) {
  for (const std::int64_t n : sizes) {
    const auto a = wild_numbers(n, 10), b = numbers(n, 11);
    expect_same_in_all_sets(numbers(n, 12), of_size(n), [&](const table& t, float* y) { t.axpy(n, 0.7f, a.data(), y); });
    expect_same_in_all_sets(numbers(n, 12), of_size(n), [&](const table& t, float* y) { t.multiply_add(n, a.data(), b.data(), y); });
    expect_same_in_all_sets(a, of_size(n), [&](const table& t, float* y) { t.scale(n, -0.3f, y, y); });
  }
}

TEST(kernel_sets, agree_on_softmax_and_its_derivative) {
  for_shapes([](std::int64_t rows, std::int64_t cols) {
    const auto what = of_shape("softmax", rows, cols);
    expect_same_in_all_sets(numbers(rows * cols, 13), what, [&](const table& t, float* y) { t.softmax(rows, cols, y, y); });
    expect_same_in_all_sets(wild_numbers(rows * cols, 14), what, [&](const table& t, float* y) { t.softmax(rows, cols, y, y); });
    auto y = numbers(rows * cols, 15);
    reference_kernels<float>().softmax(rows, cols, y.data(), y.data());
    expect_same_in_all_sets(numbers(rows * cols, 16), what,
                            [&](const table& t, float* d) { t.softmax_backward(rows, cols, y.data(), d, d); });
  });
}

TEST(kernel_sets, agree_on_norms) {
  for (const bool center : {false, true})
    for (const bool with_bias : {false, true})
      for_shapes([&](std::int64_t rows, std::int64_t cols) {
        const auto x = numbers(rows * cols, 17), gain = numbers(cols, 18), bias = numbers(cols, 19);
        // outputs one after another: y, mean, rstd
        expect_same_in_all_sets(numbers(rows * cols + 2 * rows, 20), of_shape("norm", rows, cols), [&](const table& t, float* out) {
          t.norm({.rows = rows, .cols = cols, .center = center, .epsilon = 1e-5f, .x = x.data(), .gain = gain.data(),
                  .bias = with_bias ? bias.data() : nullptr, .y = out, .mean = out + rows * cols, .rstd = out + rows * cols + rows});
        });
      });
}

TEST(kernel_sets, agree_on_derivatives_of_norms) {
  for (const bool center : {false, true})
    for_shapes([&](std::int64_t rows, std::int64_t cols) {
      const auto x = numbers(rows * cols, 21), gain = numbers(cols, 22), dy = numbers(rows * cols, 23), mean = numbers(rows, 24),
                 rstd = numbers(rows, 25);
      expect_same_in_all_sets(numbers(rows * cols + 2 * cols, 26), of_shape("norm_backward", rows, cols), [&](const table& t, float* out) {
        t.norm_backward({.rows = rows, .cols = cols, .center = center, .x = x.data(), .gain = gain.data(), .mean = mean.data(),
                         .rstd = rstd.data(), .dy = dy.data(), .dx = out, .dgain = out + rows * cols, .dbias = out + rows * cols + cols});
      });
    });
}

TEST(kernel_sets, leave_out_the_norm_gradients_that_nobody_wants) {
  const std::int64_t rows = 3, cols = 17;
  const auto x = numbers(rows * cols, 21), gain = numbers(cols, 22), stats = numbers(rows, 24);
  for (const bool want_dx : {false, true})
    for (const bool want_dgain : {false, true})
      expect_same_in_all_sets(numbers(rows * cols + cols, 26), "norm_backward", [&](const table& t, float* out) {
        t.norm_backward({.rows = rows, .cols = cols, .x = x.data(), .gain = gain.data(), .mean = stats.data(), .rstd = stats.data(),
                         .dy = x.data(), .dx = want_dx ? out : nullptr, .dgain = want_dgain ? out + rows * cols : nullptr});
      });
}

TEST(kernel_sets, agree_on_gated_units) {
  for (const glu f : {glu::silu, glu::gelu})
    for_shapes([&](std::int64_t rows, std::int64_t width) {
      const auto x = wild_numbers(rows * 2 * width, 27), dy = numbers(rows * width, 28);
      const auto what = of_shape("gated", rows, width);
      expect_same_in_all_sets(numbers(rows * width, 29), what, [&](const table& t, float* y) { t.gated(f, rows, width, x.data(), y); });
      expect_same_in_all_sets(numbers(rows * 2 * width, 30), what,
                              [&](const table& t, float* dx) { t.gated_backward(f, rows, width, x.data(), dy.data(), dx); });
    });
}

TEST(kernel_sets, agree_on_sums_along_rows_and_columns) {
  for (const bool accumulate : {false, true})
    for_shapes([&](std::int64_t rows, std::int64_t cols) {
      const auto a = numbers(rows * cols, 31), b = numbers(rows * cols, 32);
      const auto what = of_shape("sums", rows, cols);
      expect_same_in_all_sets(numbers(rows, 33), what, [&](const table& t, float* y) { t.row_sum(rows, cols, accumulate, a.data(), y); });
      expect_same_in_all_sets(numbers(rows, 33), what,
                              [&](const table& t, float* y) { t.row_dot(rows, cols, accumulate, a.data(), b.data(), y); });
      expect_same_in_all_sets(numbers(cols, 34), what, [&](const table& t, float* y) { t.column_sum(rows, cols, a.data(), y); });
    });
}

TEST(kernel_sets, agree_on_scans_in_both_directions) {
  for (const bool reverse : {false, true})
    for (const bool with_initial : {false, true})
      for (const std::int64_t width : {1, 5, 12, 16, 100})
        for (const std::int64_t length : {0, 1, 7, 40}) {
          const std::int64_t heads = 4, channels = heads * width, stride = channels + 3;
          const auto decay = numbers(heads, 35), initial = numbers(channels, 36);
          expect_same_in_all_sets(numbers(length * stride, 37), "scan of width " + std::to_string(width), [&](const table& t, float* s) {
            t.scan({.length = length, .heads = heads, .width = width, .stride = stride, .reverse = reverse, .decay = decay.data(),
                    .v = s, .initial = with_initial ? initial.data() : nullptr, .s = s});
          });
        }
}

TEST(kernel_sets, agree_on_a_step_of_adamw) {
  for (const std::int64_t n : sizes) {
    const auto gradient = numbers(n, 38);
    auto before = numbers(3 * n, 39); // w, m, v
    for (std::size_t i = std::size_t(2 * n); i < before.size(); ++i)
      before[i] = std::fabs(before[i]);
    auto step = [&](const table& t, const float* from, float* out) {
      t.adamw({.n = n, .rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .one_minus_beta1 = 0.1f, .one_minus_beta2 = 0.001f,
               .correction1 = 1.7f, .correction2 = 30.0f, .epsilon = 1e-8f, .decay = 0.01f, .scale = 0.5f,
               .gradient = gradient.data(), .from_w = from, .from_m = from + n, .from_v = from + 2 * n,
               .w = out, .m = out + n, .v = out + 2 * n});
    };
    auto in_place = before, apart = numbers(3 * n, 40);
    step(reference_kernels<float>(), in_place.data(), in_place.data());
    step(reference_kernels<float>(), before.data(), apart.data());
    EXPECT_EQ(in_place, apart) << n;
    expect_same_in_all_sets(before, of_size(n) + " in place", [&](const table& t, float* out) { step(t, out, out); });
    expect_same_in_all_sets(before, of_size(n), [&](const table& t, float* out) { step(t, before.data(), out); });
  }
}

TEST(kernel_sets, agree_on_the_sum_of_squares_and_on_nonfinite_numbers) {
  const table& reference = reference_kernels<float>();
  for (const auto* t : exact_sets(true))
    for (const std::int64_t n : sizes) {
      const auto x = numbers(n, 40), wild = wild_numbers(n, 41);
      EXPECT_EQ(t->sum_of_squares(n, x.data()), reference.sum_of_squares(n, x.data())) << t->name;
      const finiteness got = t->count_nonfinite(n, wild.data()), expected = reference.count_nonfinite(n, wild.data());
      EXPECT_EQ(got.nonfinite, expected.nonfinite) << t->name;
      EXPECT_EQ(got.largest, expected.largest) << t->name;
    }
}

TEST(kernel_sets, count_nonfinite_numbers_beyond_one_block) {
  std::vector<float> x(200000, 1.5f);
  x[3] = x[150000] = std::numeric_limits<float>::infinity();
  x[199999] = std::numeric_limits<float>::quiet_NaN();
  for (const auto* t : exact_sets(true)) {
    const finiteness found = t->count_nonfinite(std::int64_t(x.size()), x.data());
    EXPECT_EQ(found.nonfinite, 3) << t->name;
    EXPECT_EQ(found.largest, 1.5) << t->name;
  }
}

TEST(kernel_sets, give_exact_zeros_for_a_fully_masked_row_and_for_masked_places) {
  constexpr float masked = -std::numeric_limits<float>::infinity();
  auto tables = exact_sets(true);
  tables.push_back(&reference_kernels<float>());
  for (const auto* t : tables) {
    std::vector<float> x(2 * 33, masked);
    x[33 + 5] = 1;
    x[33 + 20] = 1;
    t->softmax(2, 33, x.data(), x.data());
    for (std::size_t i = 0; i < x.size(); ++i)
      EXPECT_TRUE(same(x[i], i == 33 + 5 || i == 33 + 20 ? 0.5f : 0.0f)) << t->name << " " << i;
  }
}

TEST(kernel_sets, let_a_nan_anywhere_spoil_its_row_of_softmax_and_no_other) {
  for (const auto* t : exact_sets(true))
    for (std::size_t place = 0; place < 40; ++place) {
      auto x = numbers(80, 42);
      x[place] = std::numeric_limits<float>::quiet_NaN();
      t->softmax(2, 40, x.data(), x.data());
      EXPECT_TRUE(std::all_of(x.begin(), x.begin() + 40, [](float v) { return std::isnan(v); })) << t->name << " " << place;
      EXPECT_TRUE(std::none_of(x.begin() + 40, x.end(), [](float v) { return std::isnan(v); })) << t->name << " " << place;
    }
}

TEST(reference_kernels, sum_a_row_in_sixteen_lanes) {
  std::vector<float> x(40, 0.0f);
  x[0] = 1e8f;  // lane 0
  x[1] = 3;     // lane 1
  x[16] = 3;    // lane 0 again: lost beside 1e8
  x[32] = -1e8f;
  float y = 0;
  reference_kernels<float>().row_sum(1, 40, false, x.data(), &y);
  EXPECT_EQ(y, 3.0f); // 1e8 + 3 rounds to 1e8 (units of 8), minus 1e8 is 0; plus lane 1
}

TEST(reference_kernels, normalise_a_row_as_worked_out_by_hand) {
  const double x[] = {1, 2, 3, 6}, gain[] = {1, 1, 2, 1}, bias[] = {0, 0, 1, 0};
  double y[4], mean, rstd;
  reference_kernels<double>().norm(
    {.rows = 1, .cols = 4, .epsilon = 0.5, .x = x, .gain = gain, .bias = bias, .y = y, .mean = &mean, .rstd = &rstd});
  EXPECT_EQ(mean, 3); // variance (4 + 1 + 0 + 9) / 4 = 3.5, plus epsilon 4
  EXPECT_EQ(rstd, 0.5);
  EXPECT_EQ(y[0], -1);
  EXPECT_EQ(y[2], 1);
  EXPECT_EQ(y[3], 1.5);
}

} // namespace
} // namespace enn::kernels::test
