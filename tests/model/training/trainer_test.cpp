// Training without actors: rows, leases, optimizer, rungs.
#include "../operators/helper_threads.hpp"

#include <enn/kernels/machine.hpp>
#include <enn/kernels/random.hpp>
#include <enn/model/enn.hpp>
#include <enn/model/training/trainer.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

namespace enn::model::test {
namespace {

/// Hourly sines of three nodes with noise; one label is missing.
std::shared_ptr<const dataset> sines(const config& c, std::int64_t lines = 240) {
  table t;
  t.columns = {"a", "b", "c"};
  t.lines = lines;
  t.source = "sines";
  t.fingerprint = "sines";
  for (std::int64_t i = 0; i < lines; ++i)
    for (std::uint64_t n = 0; n < 3; ++n)
      t.values.push_back(std::sin(static_cast<double>(i) * 0.26 + static_cast<double>(n))
                         + 0.1 * kernels::random_normal({.seed = 2, .row = static_cast<std::uint64_t>(i)}, n));
  auto data = dataset::make(std::move(t), c.data, 1);
  EXPECT_TRUE(data) << (data ? "" : text_of(data.error()));
  return *data;
}

config small() {
  config c;
  c.model.preset = "spatiotemporal";
  c.model.refine = true;
  c.data.history = 8;
  c.data.horizon = 4;
  c.model.d_model = 8;
  c.model.heads = 2;
  c.model.latents = 4;
  c.train.batch_rows = 16;
  c.train.leases = 4;
  c.train.epochs = 3;
  c.train.kernels = "portable";
  return c;
}

std::shared_ptr<const run_definition> define(const config& c, const dataset& data) {
  auto run = define_run(c, data);
  EXPECT_TRUE(run) << (run ? "" : text_of(run.error()));
  return *run;
}

TEST(rows, every_epoch_has_each_training_row_once) {
  auto c = small();
  auto data = sines(c);
  auto run = define(c, *data);
  std::vector<std::uint64_t> orders[2];
  for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
    auto& order = orders[epoch];
    for (std::int64_t i = 0; i < run->steps_per_epoch; ++i) {
      auto rows = rows_of_step(*run, *data, epoch * run->steps_per_epoch + i);
      order.insert(order.end(), rows.begin(), rows.end());
    }
    EXPECT_EQ(order.size(), data->rows(part::train));
    EXPECT_EQ(std::set<std::uint64_t>(order.begin(), order.end()).size(), order.size());
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_EQ(run->total_steps, 3 * run->steps_per_epoch);
}

TEST(rows, leases_cut_a_step_without_gaps) {
  std::vector<std::uint64_t> rows(13);
  std::iota(rows.begin(), rows.end(), 5);
  std::vector<std::uint64_t> together;
  for (std::int64_t i = 0; i < 8; ++i) {
    auto piece = rows_of_lease(rows, i, 8);
    together.insert(together.end(), piece.begin(), piece.end());
  }
  EXPECT_EQ(together, rows);
}

/// Sums of the leases of a step, in double: the same step cut into other leases differs by rounding alone.
TEST(lease, gradients_of_a_step_add_up_whatever_the_cut) {
  auto c = small();
  c.model.dropout = 0.2;
  auto data = sines(c);
  auto run = define(c, *data);
  auto tensors = initial_tensors(*run);
  auto rows = rows_of_step(*run, *data, 2);
  auto denominator = denominator_of(*data, rows);
  lease_computer computer{run};
  std::vector<std::vector<double>> sums;
  for (std::int64_t leases : {1, 4}) {
    sums.emplace_back(tensors.weights.size());
    std::vector<float> gradient(tensors.weights.size());
    for (std::int64_t i = 0; i < leases; ++i) {
      lease_request request{lease_kind::train, 2, data.get(), rows_of_lease(rows, i, leases), denominator, rung::fast};
      auto result = computer.compute(request, tensors.weights, gradient, {});
      EXPECT_TRUE(result.health.ok());
      std::transform(gradient.begin(), gradient.end(), sums.back().begin(), sums.back().begin(), [](float g, double s) { return g + s; });
    }
  }
  double largest = 0;
  for (auto g : sums[0])
    largest = std::max(largest, std::abs(g));
  for (std::size_t i = 0; i < sums[0].size(); ++i)
    EXPECT_NEAR(sums[0][i], sums[1][i], 1e-5 * largest);
}

TEST(lease, one_of_so_many_is_checked_at_every_place_of_a_step) {
  auto c = small();
  auto data = sines(c);
  auto none = define(c, *data);
  c.run.check_every = 8; // a multiple of the leases
  auto run = define(c, *data);
  c.run.check_every = 1;
  auto all = define(c, *data);
  std::int64_t at[4] = {};
  for (std::int64_t step = 0; step < 1000; ++step)
    for (std::int64_t index = 0; index < 4; ++index) {
      at[index] += is_checked(*run, step, index);
      EXPECT_FALSE(is_checked(*none, step, index));
      EXPECT_TRUE(is_checked(*all, step, index));
    }
  for (auto count : at)
    EXPECT_NEAR(static_cast<double>(count), 125, 40);
}

TEST(lease, the_reference_kernels_give_the_bits_of_the_run) {
  auto c = small();
  auto data = sines(c);
  std::string why_not;
  for (auto set : {"portable", "avx2", "avx512"}) {
    c.train.kernels = set;
    if (!kernels::find_kernels(set, why_not))
      continue;
    auto run = define(c, *data);
    auto rows = rows_of_step(*run, *data, 0);
    auto tensors = initial_tensors(*run);
    lease_computer computer{run};
    lease_request request{lease_kind::train, 0, data.get(), rows, denominator_of(*data, rows)};
    std::vector<float> gradient(tensors.weights.size()), reference = gradient;
    auto by_run = computer.compute(request, tensors.weights, gradient, {});
    request.by_reference = true;
    auto by_reference = computer.compute(request, tensors.weights, reference, {});
    EXPECT_EQ(gradient, reference) << set;
    EXPECT_EQ(by_run.losses, by_reference.losses) << set;
  }
}

TEST(lease, the_master_rung_agrees_and_goes_further) {
  auto c = small();
  auto data = sines(c);
  auto run = define(c, *data);
  auto tensors = initial_tensors(*run);
  lease_computer computer{run};
  auto rows = rows_of_step(*run, *data, 0);
  lease_request request{lease_kind::train, 0, data.get(), rows, denominator_of(*data, rows), rung::fast};
  std::vector<float> fast(tensors.weights.size()), master(tensors.weights.size());
  auto a = computer.compute(request, tensors.weights, fast, {});
  request.start = rung::master;
  auto b = computer.compute(request, tensors.weights, master, {});
  for (std::size_t i = 0; i < a.losses.size(); ++i)
    EXPECT_NEAR(a.losses[i], b.losses[i], 1e-5 * std::abs(b.losses[i]));
  EXPECT_NE(fast, master);
  // A weight whose product overflows float, though what follows it is a norm.
  auto huge = tensors.weights;
  for (const auto& span : run->layout.spans)
    if (span.path == "spatial.tokens.weight")
      huge[static_cast<std::size_t>(span.offset)] = 3e38f;
  request.start = rung::fast;
  EXPECT_FALSE(computer.compute(request, huge, fast, {}).health.ok());
  request.start = rung::master;
  EXPECT_TRUE(computer.compute(request, huge, master, {}).health.ok());
}

/// Under ThreadSanitizer this is the test that has threads: they share run, data and weights, as workers do.
TEST(lease, threads_that_share_run_and_data_compute_the_same) {
  auto c = small();
  auto data = sines(c);
  auto run = define(c, *data);
  auto tensors = initial_tensors(*run);
  auto rows = rows_of_step(*run, *data, 1);
  auto denominator = denominator_of(*data, rows);
  std::vector<std::vector<float>> gradients(4, std::vector<float>(tensors.weights.size()));
  std::vector<std::thread> threads;
  for (auto& gradient : gradients)
    threads.emplace_back([&] {
      lease_computer computer{run};
      for (auto start : {rung::master, rung::fast})
        computer.compute({lease_kind::train, 1, data.get(), rows, denominator, start}, tensors.weights, gradient, {});
    });
  for (auto& t : threads)
    t.join();
  for (const auto& gradient : gradients)
    EXPECT_EQ(gradient, gradients[0]);
}

TEST(lease, whose_products_are_shared_has_the_same_bits) {
  auto c = small();
  c.model.d_model = 256;
  c.train.kernels = "auto";
  auto data = sines(c);
  auto run = define(c, *data);
  auto tensors = initial_tensors(*run);
  auto rows = rows_of_step(*run, *data, 1);
  lease_computer computer{run};
  helper_threads help;
  lease_request request{lease_kind::train, 1, data.get(), rows, denominator_of(*data, rows), rung::fast};
  std::vector<float> alone(tensors.weights.size()), shared = alone;
  auto losses = computer.compute(request, tensors.weights, alone, {}).losses;
  request.helpers = &help;
  EXPECT_EQ(computer.compute(request, tensors.weights, shared, {}).losses, losses);
  EXPECT_EQ(alone, shared);
  EXPECT_GT(help.loops, 0);
}

TEST(lease, predicts_in_raw_units_the_same_for_any_chunk) {
  auto c = small();
  auto data = sines(c);
  auto run = define(c, *data);
  auto tensors = initial_tensors(*run);
  lease_computer computer{run};
  std::vector<std::uint64_t> rows;
  for (std::uint64_t i = 0; i < data->rows(part::test); ++i)
    rows.push_back(data->row(part::test, i));
  auto size = static_cast<std::size_t>(data->target_size());
  std::vector<float> all(rows.size() * size), one(size);
  computer.compute({lease_kind::predict, 0, data.get(), rows, 1, rung::fast}, tensors.weights, {}, all);
  for (std::size_t i = 0; i < rows.size(); i += 5) {
    computer.compute({lease_kind::predict, 0, data.get(), std::span{rows}.subspan(i, 1), 1, rung::fast}, tensors.weights, {}, one);
    EXPECT_TRUE(std::equal(one.begin(), one.end(), all.begin() + static_cast<std::ptrdiff_t>(i * size))) << i;
  }
}

TEST(optimizer, learns) {
  for (std::string optimizer : {"adamw", "sgd"})
    for (std::string loss : {"mse", "mae", "huber"}) {
      auto c = small();
      c.train.optimizer = optimizer;
      c.train.loss = loss;
      c.train.learning_rate = optimizer == "sgd" ? 0.02 : 5e-3;
      c.train.warmup_steps = 5;
      c.train.epochs = 12;
      auto data = sines(c);
      auto run = define(c, *data);
      auto tensors = initial_tensors(*run);
      run_state state;
      lease_computer computer{run};
      std::vector<float> gradient(tensors.weights.size());
      double first = 0, last = 0;
      while (!state.finished) {
        auto rows = rows_of_step(*run, *data, state.step);
        lease_request request{lease_kind::train, state.step, data.get(), rows, denominator_of(*data, rows), rung::fast};
        auto result = computer.compute(request, tensors.weights, gradient, {});
        (state.step == 0 ? first : last) = result.losses[0];
        EXPECT_TRUE(apply_step(*run, gradient, tensors, tensors, state).applied);
      }
      EXPECT_EQ(state.step, run->total_steps);
      EXPECT_LT(last, 0.4 * first) << optimizer << " " << loss;
    }
}

struct one_weight {
  config c = small();
  std::shared_ptr<const dataset> data;
  std::shared_ptr<const run_definition> run;
  training_tensors tensors;
  run_state state;
  std::vector<float> gradient;
  void start() {
    data = sines(c);
    run = define(c, *data);
    tensors = initial_tensors(*run);
    gradient.assign(tensors.weights.size(), 0);
  }
};

TEST(optimizer, gives_the_same_bits_in_place_and_elsewhere_whoever_computes_which_chunk) {
  for (std::string optimizer : {"adamw", "sgd"}) {
    one_weight o;
    o.c.train.optimizer = optimizer;
    o.c.train.average_decay = 0.9;
    o.c.model.d_model = 160; // several chunks
    o.start();
    helper_threads help;
    ASSERT_GT(o.gradient.size(), std::size_t{1} << 19);
    for (std::size_t i = 0; i < o.gradient.size(); ++i)
      o.gradient[i] = std::sin(static_cast<float>(i));
    auto other = o.tensors;
    auto state = o.state;
    for (int step = 0; step < 3; ++step) {
      auto here = apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state);
      training_tensors next;
      auto there = apply_step(*o.run, o.gradient, other, next, state, {}, &help);
      other = std::move(next);
      EXPECT_TRUE(here.applied && there.applied);
      EXPECT_EQ(here.norm, there.norm);
      EXPECT_EQ(o.tensors.weights, other.weights) << optimizer;
      EXPECT_EQ(o.tensors.first, other.first) << optimizer;
      EXPECT_EQ(o.tensors.second, other.second) << optimizer;
      EXPECT_EQ(o.tensors.average, other.average) << optimizer;
    }
    o.gradient[5] = std::numeric_limits<float>::infinity();
    training_tensors next;
    EXPECT_FALSE(apply_step(*o.run, o.gradient, other, next, state, {}, &help).applied);
    EXPECT_EQ(next.weights, other.weights);
    EXPECT_EQ(next.average, other.average);
  }
}

TEST(optimizer, rate_warms_up_and_falls_as_a_cosine) {
  one_weight o;
  o.c.train.warmup_steps = 4;
  o.c.train.final_rate = 0.1;
  o.c.train.learning_rate = 1;
  o.c.train.steps = 12;
  o.start();
  std::vector<double> rates;
  while (!o.state.finished)
    rates.push_back(apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state).learning_rate);
  ASSERT_EQ(rates.size(), 12u);
  EXPECT_DOUBLE_EQ(rates[0], 0.25);
  EXPECT_DOUBLE_EQ(rates[3], 1);
  EXPECT_DOUBLE_EQ(rates[4], 1);
  EXPECT_NEAR(rates[8], 0.1 + 0.9 * 0.5, 1e-12);
  EXPECT_NEAR(rates[11], 0.1 + 0.9 * 0.5 * (1 + std::cos(3.141592653589793 * 7 / 8)), 1e-12);
}

TEST(optimizer, clips_and_decays_only_what_it_should) {
  one_weight o;
  o.c.train.optimizer = "sgd";
  o.c.train.momentum = 0;
  o.c.train.warmup_steps = 0;
  o.c.train.learning_rate = 1;
  o.c.train.weight_decay = 0.5;
  o.c.train.clip_norm = 2;
  o.start();
  o.gradient[0] = 6;
  o.gradient[1] = 8;
  auto before = o.tensors.weights;
  auto report = apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state);
  EXPECT_DOUBLE_EQ(report.norm, 10);
  bool matrices = false, vectors = false;
  for (const auto& span : o.run->layout.spans)
    for (auto i = std::max<std::int64_t>(span.offset, 2); i < span.offset + span.size; ++i) {
      auto w = before[static_cast<std::size_t>(i)];
      EXPECT_EQ(o.tensors.weights[static_cast<std::size_t>(i)], span.decay ? w - 1.0f * (0.5f * w) : w) << span.path;
      (span.decay ? matrices : vectors) = true;
      EXPECT_EQ(span.decay, span.path.ends_with(".weight")) << span.path;
    }
  EXPECT_TRUE(matrices && vectors);
  auto decay = o.run->layout.spans[0].decay ? 0.5f : 0.0f;
  EXPECT_NEAR(o.tensors.weights[0], before[0] - (6 * 0.2f + decay * before[0]), 1e-6);
}

TEST(optimizer, leaves_the_weights_alone_when_the_gradient_is_not_finite) {
  one_weight o;
  o.start();
  auto before = o.tensors.weights;
  o.gradient[3] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state).applied);
  EXPECT_EQ(o.tensors.weights, before);
  EXPECT_EQ(o.state.skipped_steps, 1);
  EXPECT_EQ(o.state.step, 1);
  o.gradient[3] = 1;
  EXPECT_TRUE(apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state).applied);
  EXPECT_EQ(o.state.skipped_steps, 0);
}

/// A lease may have met such a number although what reached the gradient is finite.
TEST(optimizer, skips_a_step_that_no_rung_computed_well) {
  one_weight o;
  o.start();
  auto before = o.tensors.weights;
  numeric_health health;
  health.nonfinite = 1;
  EXPECT_FALSE(apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state, health).applied);
  EXPECT_EQ(o.tensors.weights, before);
  EXPECT_EQ(o.state.skipped_steps, 1);
}

TEST(optimizer, skips_a_gradient_whose_squares_are_beyond_float_unless_it_is_clipped) {
  one_weight o;
  o.c.train.clip_norm = 0;
  o.start();
  o.gradient[3] = 1e19f;
  EXPECT_FALSE(apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state).applied);
  o.c.train.clip_norm = 1;
  o.start();
  o.gradient[3] = 1e19f;
  EXPECT_TRUE(apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state).applied);
  for (const auto* tensor : {&o.tensors.weights, &o.tensors.first, &o.tensors.second})
    EXPECT_TRUE(std::all_of(tensor->begin(), tensor->end(), [](float x) { return std::isfinite(x); }));
}

TEST(optimizer, tells_when_a_step_spoils_the_weights) {
  one_weight o;
  o.c.train.optimizer = "sgd";
  o.c.train.warmup_steps = 0;
  o.c.train.learning_rate = o.c.train.weight_decay = 1000;
  o.start();
  EXPECT_TRUE(apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state).weights_finite);
  for (int step = 0; step < 8; ++step)
    if (!apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state).weights_finite)
      return;
  ADD_FAILURE() << "a weight that grows a million times a step is still finite";
}

/// The moments know nothing of it either.
TEST(optimizer, does_not_count_skipped_steps_in_corrections_and_average) {
  std::vector<std::vector<float>> weights, averages;
  for (int skips : {0, 3}) {
    one_weight o;
    o.c.train.warmup_steps = 0;
    o.c.train.final_rate = 1; // a constant rate: the schedule counts all steps
    o.c.train.average_decay = 0.9;
    o.start();
    for (int i = 0; i < skips; ++i) {
      o.gradient[0] = std::numeric_limits<float>::quiet_NaN();
      apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state);
    }
    for (std::size_t step = 0; step < 4; ++step) {
      for (std::size_t i = 0; i < o.gradient.size(); ++i)
        o.gradient[i] = static_cast<float>(0.01 * kernels::random_normal({.seed = 4, .step = step}, i));
      EXPECT_TRUE(apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state).applied);
    }
    EXPECT_EQ(o.state.applied_steps, 4);
    EXPECT_EQ(o.state.step, 4 + skips);
    weights.push_back(o.tensors.weights);
    averages.push_back(o.tensors.average);
  }
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_EQ(averages[0], averages[1]);
}

TEST(optimizer, pins_the_plan_to_the_master_rung_after_three_skips_in_a_row) {
  one_weight o;
  o.start();
  auto step = [&](bool good) {
    o.gradient[0] = good ? 1.0f : std::numeric_limits<float>::infinity();
    apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state);
    return o.state.pinned_until;
  };
  EXPECT_EQ(step(false), 0);
  EXPECT_EQ(step(false), 0);
  EXPECT_EQ(step(true), 0) << "the count begins anew";
  EXPECT_EQ(step(false), 0);
  EXPECT_EQ(step(false), 0);
  EXPECT_EQ(step(false), 6 + 256);
  EXPECT_EQ(step(false), 7 + 256) << "from the last skip on";
  EXPECT_EQ(step(true), 7 + 256);
}

TEST(optimizer, the_average_follows_the_weights) {
  one_weight o;
  o.c.train.average_decay = 0.9;
  o.start();
  ASSERT_EQ(o.tensors.average, o.tensors.weights);
  auto start = o.tensors.weights;
  std::fill(o.gradient.begin(), o.gradient.end(), 0.01f);
  apply_step(*o.run, o.gradient, o.tensors, o.tensors, o.state);
  EXPECT_NE(o.tensors.average, start);
  EXPECT_NE(o.tensors.average, o.tensors.weights);
  EXPECT_EQ(evaluated_weights(o.tensors).data(), o.tensors.average.data());
}

TEST(evaluation, stops_after_patience) {
  one_weight o;
  o.c.train.patience = 2;
  o.start();
  EXPECT_TRUE(record_evaluation(*o.run, 3, o.state));
  EXPECT_FALSE(record_evaluation(*o.run, 4, o.state));
  EXPECT_FALSE(o.state.finished);
  EXPECT_TRUE(record_evaluation(*o.run, 2, o.state));
  EXPECT_FALSE(record_evaluation(*o.run, 2, o.state));
  EXPECT_FALSE(record_evaluation(*o.run, 2.5, o.state));
  EXPECT_TRUE(o.state.finished);
}

TEST(define_run, refuses_a_network_that_has_no_room) {
  auto c = small();
  c.model.d_model = 65536;
  c.model.heads = 1024;
  auto run = define_run(c, *sines(c));
  ASSERT_FALSE(run);
  EXPECT_EQ(code_of(run.error()), ec::bad_config);
  EXPECT_NE(text_of(run.error()).find("GB of memory"), std::string::npos) << text_of(run.error());
}

TEST(define_run, refuses_to_check_bits_that_no_other_kernels_have) {
  auto c = small();
  c.run.check_every = 10;
  c.train.kernels = "openblas";
  auto run = define_run(c, *sines(c));
  ASSERT_FALSE(run);
  EXPECT_EQ(code_of(run.error()), ec::bad_config);
  EXPECT_NE(text_of(run.error()).find("run.check-every"), std::string::npos) << text_of(run.error());
}

TEST(define_run, refuses_what_the_data_cannot_give) {
  auto c = small();
  auto data = sines(c);
  c.model.calendar = {"time-of-day"};
  c.data.start = "2020-01-01";
  c.data.interval_seconds = 3600;
  auto run = define_run(c, *data); // made without times
  ASSERT_FALSE(run);
  EXPECT_EQ(code_of(run.error()), ec::bad_config);
  EXPECT_NE(text_of(run.error()).find("model.calendar"), std::string::npos);
}

} // namespace
} // namespace enn::model::test
