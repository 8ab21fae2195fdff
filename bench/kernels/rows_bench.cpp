/// Kernels along rows at the model's shapes: nanoseconds per element per set. Answers are compared with the reference
/// first, with ==. Usage: rows_bench [set...]
#include "measure.hpp"

#include <enn/kernels/machine.hpp>

#include <cstdlib>
#include <cstring>
#include <functional>

namespace {

using enn::kernels::binary, enn::kernels::glu, enn::kernels::unary;
using table = enn::kernels::kernel_table<float>;

/// A call on x (inputs, `elements` of them and then some) and y (outputs).
struct work {
  std::string name;
  std::int64_t elements;
  std::function<void(const table&, const float* x, float* y)> run;
};

std::vector<work> all_work() {
  std::vector<work> list;
  for (int f = 0; f < enn::kernels::unary_count; ++f) {
    list.push_back(
      {"map " + std::string(name(unary(f))), 40000, [f](const table& t, const float* x, float* y) { t.map(unary(f), 40000, x, y); }});
    list.push_back({"map_backward " + std::string(name(unary(f))), 40000,
                    [f](const table& t, const float* x, float* y) { t.map_backward(unary(f), 40000, x, x, x, y); }});
  }
  for (const std::int64_t cols : {12, 48, 207, 256}) {
    const std::int64_t rows = 40000 / cols;
    const auto add = [&](const char* what, auto run) { list.push_back({std::string(what) + " x " + std::to_string(cols), rows * cols, run}); };
    add("softmax", [=](const table& t, const float* x, float* y) { t.softmax(rows, cols, x, y); });
    add("softmax_backward", [=](const table& t, const float* x, float* y) { t.softmax_backward(rows, cols, x, x, y); });
    add("norm", [=](const table& t, const float* x, float* y) {
      t.norm({.rows = rows, .cols = cols, .epsilon = 1e-5f, .x = x, .gain = x, .bias = x, .y = y, .mean = y + 50000, .rstd = y + 60000});
    });
    add("norm_backward", [=](const table& t, const float* x, float* y) {
      t.norm_backward(
        {.rows = rows, .cols = cols, .x = x, .gain = x, .mean = x, .rstd = x, .dy = x, .dx = y, .dgain = y + 50000, .dbias = y + 60000});
    });
    add("gated silu", [=](const table& t, const float* x, float* y) { t.gated(glu::silu, rows, cols, x, y); });
    add("gated_backward silu", [=](const table& t, const float* x, float* y) { t.gated_backward(glu::silu, rows, cols, x, x, y); });
    add("gated gelu", [=](const table& t, const float* x, float* y) { t.gated(glu::gelu, rows, cols, x, y); });
    add("row_sum", [=](const table& t, const float* x, float* y) { t.row_sum(rows, cols, false, x, y); });
    add("column_sum", [=](const table& t, const float* x, float* y) { t.column_sum(rows, cols, x, y); });
    add("zip_row add", [=](const table& t, const float* x, float* y) { t.zip_row(binary::add, rows, cols, x, x, y); });
    add("scan", [=](const table& t, const float* x, float* y) {
      t.scan({.length = rows, .heads = 4, .width = cols / 4, .stride = cols, .decay = x, .v = x, .s = y});
    });
  }
  list.push_back({"adamw", 20000, [](const table& t, const float* x, float* y) {
                    t.adamw({.n = 20000, .rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .one_minus_beta1 = 0.1f, .one_minus_beta2 = 0.001f,
                             .epsilon = 1e-8f, .decay = 0.01f, .gradient = x,
                             .from_w = y, .from_m = y + 20000, .from_v = y + 40000, .w = y, .m = y + 20000, .v = y + 40000});
                  }});
  list.push_back({"sum_of_squares", 40000, [](const table& t, const float* x, float* y) { y[0] = static_cast<float>(t.sum_of_squares(40000, x)); }});
  list.push_back({"count_nonfinite", 40000,
                  [](const table& t, const float* x, float* y) { y[0] = static_cast<float>(t.count_nonfinite(40000, x).largest); }});
  list.push_back({"dropout_scales", 40000, [](const table& t, const float*, float* y) { t.dropout_scales({.seed = 1}, 40000, 0.1, y); }});
  return list;
}

constexpr std::size_t room = 90000;

} // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> wanted(argv + 1, argv + argc);
  auto x = enn::bench::numbers(room, 1);
  for (float& v : x)
    v *= 0.4f; // decays below 1, so that nothing grows beyond bounds
  for (const work& w : all_work()) {
    std::vector<float> expected(room, 0.0f);
    w.run(enn::kernels::reference_kernels<float>(), x.data(), expected.data());
    std::printf("{\"work\": \"%s\"", w.name.c_str());
    for (const enn::kernels::kernel_set& set : enn::kernels::kernel_sets()) {
      if (!set.refusal.empty() || (wanted.empty() ? set.name == "openblas" : std::ranges::find(wanted, set.name) == wanted.end()))
        continue;
      std::vector<float> y(room, 0.0f);
      w.run(*set.table, x.data(), y.data());
      for (std::size_t i = 0; i < room; ++i)
        if (y[i] != expected[i] && !(y[i] != y[i] && expected[i] != expected[i])) {
          std::fprintf(stderr, "%s: %s is wrong at %zu\n", set.name.c_str(), w.name.c_str(), i);
          return EXIT_FAILURE;
        }
      const double seconds = enn::bench::best_seconds([&] { w.run(*set.table, x.data(), y.data()); }, 0.02);
      std::printf(", \"%s_ns\": %.3f", set.name.c_str(), seconds * 1e9 / static_cast<double>(w.elements));
    }
    std::printf("}\n");
  }
}
