// What a training step costs besides its arithmetic: the same steps computed in a plain loop (forward and backward of every lease,
// addition of gradients, optimizer), and through actors with one worker and with two; and what two cores give two such loops at once, which
// have nothing to do with each other. The bits are compared first.
//
//   OPENBLAS_NUM_THREADS=1 step_bench CONFIG.toml [STEPS] [D_MODEL]
#include "subject.hpp"

#include <enn/actors/version.hpp>
#include <enn/model/describe.hpp>
#include <enn/model/machine.hpp>

#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <limits>
#include <malloc.h>
#include <numeric>
#include <thread>
#include <unistd.h>

namespace {

using namespace enn;
using bench::median, bench::must, bench::subject;
using clock_type = std::chrono::steady_clock;

constexpr std::ptrdiff_t warm_up = 5; // steps
constexpr int rounds = 9;

double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

/// Processor time of all threads: unlike the clock, it does not grow while others use the machine.
double processor_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// `width`: 0: that of the file.
subject load(const char* path, std::int64_t steps, std::int64_t width) {
  auto settings = must(serialization::load_config(path));
  if (width > 0)
    settings.model.d_model = width;
  settings.train.steps = steps;
  settings.train.validate_every = settings.run.checkpoint_every = 1'000'000; // neither belongs to a step
  return bench::load(settings);
}

/// Seconds of each step, and of its kinds of work.
struct loop_result {
  std::vector<double> steps, processor, passes, additions, optimizer;
  std::uint64_t hash = 0;
};

loop_result plain_loop(const subject& s) {
  const auto& run = *s.run;
  auto leases = run.settings.train.leases;
  auto version = *actors::first_version(run);
  model::lease_computer computer{s.run};
  std::vector<std::vector<float>> sums(static_cast<std::size_t>(leases), std::vector<float>(version.tensors.weights.size()));
  loop_result result;
  while (!version.state.finished) {
    auto start = clock_type::now();
    auto used = processor_seconds();
    auto rows = model::rows_of_step(run, *s.data, version.state.step);
    auto denominator = model::denominator_of(*s.data, rows);
    auto begin = clock_type::now();
    for (std::int64_t i = 0; i < leases; ++i)
      computer.compute({model::lease_kind::train, version.state.step, s.data.get(), model::rows_of_lease(rows, i, leases), denominator,
                        model::rung::fast},
                       version.tensors.weights, sums[static_cast<std::size_t>(i)], {});
    result.passes.push_back(seconds_since(begin));
    begin = clock_type::now();
    for (std::size_t width = 1; width < sums.size(); width *= 2)
      for (std::size_t i = 0; i < sums.size(); i += 2 * width)
        model::add_gradients(sums[i], sums[i + width], sums[i]);
    result.additions.push_back(seconds_since(begin));
    begin = clock_type::now();
    model::apply_step(run, sums[0], version.tensors, version.tensors, version.state);
    result.optimizer.push_back(seconds_since(begin));
    result.steps.push_back(seconds_since(start));
    result.processor.push_back(processor_seconds() - used);
  }
  result.hash = actors::hash_of_weights(version);
  return result;
}

/// Steps of two loops that have nothing to do with each other, at once: what two cores give here.
std::vector<double> two_loops(const subject& s) {
  loop_result first, second;
  std::thread other{[&] { second = plain_loop(s); }};
  first = plain_loop(s);
  other.join();
  first.steps.insert(first.steps.end(), second.steps.begin() + warm_up, second.steps.end());
  return first.steps;
}

struct actor_result {
  std::vector<double> steps, processor; // the latter of all threads
  std::uint64_t hash = 0;
};

actor_result through_actors(const subject& s, std::uint32_t workers) {
  auto folder = std::filesystem::temp_directory_path() / ("enn_step_bench_" + std::to_string(::getpid()));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  actor_result result;
  auto last = clock_type::now();
  auto used = processor_seconds();
  result.hash = bench::train(s, workers, folder, [&](const serialization::progress&) {
    result.steps.push_back(seconds_since(last));
    result.processor.push_back(processor_seconds() - used);
    last = clock_type::now();
    used = processor_seconds();
  }).weights_hash;
  std::filesystem::remove_all(folder);
  return result;
}

/// Without the first steps, in which memory is taken and caches are filled, and without the last, which ends with a validation.
std::vector<double> usual(const std::vector<double>& steps) {
  return {steps.begin() + warm_up, steps.end() - 1};
}

void append(std::vector<double>& all, const std::vector<double>& steps) {
  auto some = usual(steps);
  all.insert(all.end(), some.begin(), some.end());
}

void measure(const subject& s) {
  std::vector<double> loop, loop_processor, passes, additions, optimizer, beside, one, one_processor, two, two_processor, gains, limits;
  for (int round = 0; round < rounds; ++round) { // interleaved: the machine's mood is the same for all
    auto plain = plain_loop(s);
    auto single = through_actors(s, 1), twice = through_actors(s, 2);
    if (single.hash != plain.hash || twice.hash != plain.hash)
      throw std::runtime_error{"the loop and the actors do not agree on the weights"};
    auto loops = two_loops(s);
    gains.push_back(median(usual(single.steps)) / median(usual(twice.steps)));
    limits.push_back(2 * median(usual(plain.steps)) / median(usual(loops)));
    append(loop, plain.steps);
    append(beside, loops);
    append(passes, plain.passes);
    append(additions, plain.additions);
    append(optimizer, plain.optimizer);
    append(loop_processor, plain.processor);
    append(one_processor, single.processor);
    append(one, single.steps);
    append(two, twice.steps);
    append(two_processor, twice.processor);
  }
  const auto& t = s.run->settings.train;
  auto rows = static_cast<double>(t.batch_rows);
  auto flops = 3 * model::forward_flops(s.run->network) * rows;
  auto peak = model::measure_fma_peak(s.run->kernels);
  auto arithmetic = median(passes) + median(additions) + median(optimizer);
  std::printf("%s, %lld rows in %lld leases, kernels %s; medians of a step\n", model::describe_machine().processor.c_str(),
              static_cast<long long>(t.batch_rows), static_cast<long long>(t.leases), s.run->kernels.c_str());
  std::printf("  forward and backward %8.3f ms   %4.1f %% of one core's peak (%.0f GFLOP/s)\n", 1e3 * median(passes),
              100 * flops / median(passes) / (1e9 * peak), peak);
  std::printf("  addition             %8.3f ms\n  optimizer            %8.3f ms\n", 1e3 * median(additions), 1e3 * median(optimizer));
  std::printf("  plain loop           %8.3f ms   %6.0f rows/s\n", 1e3 * median(loop), rows / median(loop));
  std::printf("  actors, 1 worker     %8.3f ms   %6.0f rows/s   %.1f %% is no arithmetic\n", 1e3 * median(one), rows / median(one),
              100 * (median(one) - arithmetic) / median(one));
  std::printf("  processor time       %8.3f ms in the loop, %.3f ms with 1 worker, %.3f ms with 2: %.1f %% and %.1f %% more\n",
              1e3 * mean(loop_processor), 1e3 * mean(one_processor), 1e3 * mean(two_processor),
              100 * (mean(one_processor) / mean(loop_processor) - 1), 100 * (mean(two_processor) / mean(loop_processor) - 1));
  std::printf("  actors, 2 workers    %8.3f ms   %6.0f rows/s   %.2f times one, the median of %d pairs\n", 1e3 * median(two), rows / median(two),
              median(gains), rounds);
  std::printf("  two loops at once    %8.3f ms   %6.0f rows/s   %.2f times one\n", 1e3 * median(beside), 2 * rows / median(beside),
              median(limits));
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: step_bench CONFIG.toml [STEPS] [D_MODEL]\n");
    return 2;
  }
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20); // as the program does
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  spdlog::set_level(spdlog::level::warn);
  auto steps = argc > 2 ? std::atoi(argv[2]) : 40;
  if (steps < warm_up + 2) {
    std::fprintf(stderr, "step_bench: expected at least %td steps, found %s\n", warm_up + 2, argv[2]);
    return 2;
  }
  try {
    measure(load(argv[1], steps, argc > 3 ? std::atoi(argv[3]) : 0));
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "step_bench: %s\n", problem.what());
    return 1;
  }
  return 0;
}
