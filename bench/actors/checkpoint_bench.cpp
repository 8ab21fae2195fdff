// What checkpoints cost a run: after every 20th step one is written while training goes on. Of these 20 steps the first ten, which
// share the machine with it, are compared with the last ten, which do not. What was written is checked before anything is printed.
//
//   OPENBLAS_NUM_THREADS=1 checkpoint_bench CONFIG.toml [D_MODEL] [CHECKPOINTS] [WORKERS]
//
// Goals: at one checkpoint in 100 steps at most 3 % of the time, and with 10 million parameters no step longer by more than 20 ms.
#include "subject.hpp"

#include <enn/actors/version.hpp>
#include <enn/model/machine.hpp>
#include <enn/serialization/checkpoint.hpp>

#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <unistd.h>

namespace {

using namespace enn;
using bench::median, bench::must, bench::subject;
using clock_type = std::chrono::steady_clock;

constexpr std::size_t period = 20, busy = period / 2; // steps

subject load(const char* path, std::int64_t width, std::int64_t checkpoints) {
  auto settings = must(serialization::load_config(path));
  settings.model.d_model = width;
  settings.train.batch_rows = settings.train.leases; // the shortest step, of which a checkpoint is the largest share
  settings.train.steps = static_cast<std::int64_t>(period) * (checkpoints + 1);
  settings.train.validate_every = 1'000'000;
  settings.run.checkpoint_every = period;
  settings.run.keep_checkpoints = 2;
  return bench::load(settings);
}

/// Seconds from the record of one step to that of the next, and of each step itself: the record may wait for the disk.
struct timing {
  std::vector<double> records, steps;
};

/// The last checkpoint, read again, must have the weights that the run ended with.
timing train(const subject& s, std::uint32_t workers, const std::filesystem::path& folder) {
  timing result;
  auto last = clock_type::now();
  auto outcome = bench::train(s, workers, folder, [&](const serialization::progress& p) {
    auto now = clock_type::now();
    result.records.push_back(std::chrono::duration<double>(now - last).count());
    result.steps.push_back(p.seconds);
    last = now;
  });
  auto place = serialization::checkpoint_folder::view(folder / "checkpoints");
  auto read = must(actors::restore(must(place.load(must(place.named("last"))))));
  if (actors::hash_of_weights(*read.version) != outcome.weights_hash)
    throw std::runtime_error{"the last checkpoint has other weights than the run"};
  return result;
}

std::vector<double> part(const std::vector<double>& all, std::size_t begin) {
  auto first = all.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(busy)};
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

double longest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}

void measure(const subject& s, std::uint32_t workers) {
  auto folder = std::filesystem::temp_directory_path() / ("enn_checkpoint_bench_" + std::to_string(::getpid()));
  std::filesystem::remove_all(folder);
  auto times = train(s, workers, folder);
  auto bytes = std::filesystem::file_size(serialization::checkpoint_folder::view(folder / "checkpoints").file_of(s.run->total_steps));
  std::filesystem::remove_all(folder);
  std::vector<double> costs, stalls, noise, quiet;
  for (std::size_t begin = period; begin + period <= times.steps.size(); begin += period) { // none is before the first of them
    auto with = part(times.steps, begin), without = part(times.steps, begin + busy);
    auto usual = median(without);
    quiet.push_back(usual);
    costs.push_back(sum(part(times.records, begin)) - sum(part(times.records, begin + busy)));
    stalls.push_back(longest(with) - usual);
    noise.push_back(longest(without) - usual);
  }
  auto step = median(quiet), cost = median(costs);
  std::printf("%s, %lld parameters, checkpoints of %.0f MB, %u workers; medians over %zu checkpoints\n",
              model::describe_machine().processor.c_str(), static_cast<long long>(s.run->layout.size), 1e-6 * static_cast<double>(bytes),
              workers, costs.size());
  std::printf("  step                 %8.1f ms\n", 1e3 * step);
  std::printf("  cost of a checkpoint %8.1f ms   %.2f %% of 100 steps\n", 1e3 * cost, cost / step);
  std::printf("  longest step longer  %8.1f ms   %.1f ms without a checkpoint\n", 1e3 * median(stalls), 1e3 * median(noise));
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 5) {
    std::fprintf(stderr, "usage: checkpoint_bench CONFIG.toml [D_MODEL] [CHECKPOINTS] [WORKERS]\n");
    return 2;
  }
  spdlog::set_level(spdlog::level::warn);
  auto number = [&](int index, int otherwise) { return argc > index ? std::atoi(argv[index]) : otherwise; };
  try {
    measure(load(argv[1], number(2, 576), number(3, 6)), static_cast<std::uint32_t>(number(4, 1)));
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "checkpoint_bench: %s\n", problem.what());
    return 1;
  }
  return 0;
}
