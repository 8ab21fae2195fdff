/// Trains a model inside a program of one's own, with the actor system of that program: twenty steps, then the loss.
///
///   embed CONFIG.toml FOLDER
#include <enn/actors/run.hpp>
#include <enn/serialization/config_file.hpp>
#include <enn/serialization/readers/csv.hpp>

#include <caf/actor_system.hpp>

#include <cstdio>
#include <stdexcept>

namespace {

using namespace enn;

/// The configuration of your system; enn adds its message types to yours.
struct system_config : caf::actor_system_config {
  system_config() {
    actors::configure(*this);
    actors::set_defaults(*this); // or your own scheduler settings
  }
};

/// The library answers caf::expected; this program would rather stop.
template <class T>
T must(caf::expected<T> result) {
  if (!result)
    throw std::runtime_error{text_of(result.error())};
  return std::move(*result);
}

void train(const char* config_file, const char* folder) {
  auto settings = must(serialization::load_config(config_file));
  settings.train.steps = 20;
  auto table = must(serialization::read_csv(settings.data.path, settings.data));
  actors::run_request request;
  request.data = must(model::dataset::make(std::move(table), settings.data, static_cast<std::uint64_t>(settings.train.seed)));
  request.run = must(model::define_run(settings, *request.data));
  request.folder = folder;
  request.workers = 2;

  system_config config;
  caf::actor_system system{config};
  auto show = [](const serialization::progress& p) { std::printf("step %d: gradient norm %g\n", static_cast<int>(p.step), p.norm); };
  auto outcome = must(actors::train(system, std::move(request), show));
  std::printf("validation loss %g, weights %016llx\n", outcome.version->state.best_loss,
              static_cast<unsigned long long>(outcome.weights_hash));
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: embed CONFIG.toml FOLDER\n");
    return 2;
  }
  try {
    train(argv[1], argv[2]);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "embed: %s\n", problem.what());
    return 1;
  }
}
