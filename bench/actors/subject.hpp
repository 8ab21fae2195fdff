/// What both programs of this folder measure: a run on the data of a configuration, trained through actors.
#pragma once

#include <enn/actors/run.hpp>
#include <enn/serialization/config_file.hpp>
#include <enn/serialization/readers/csv.hpp>

#include <caf/actor_system.hpp>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace enn::bench {

template <class T>
T must(caf::expected<T> result) {
  if (!result)
    throw std::runtime_error{text_of(result.error())};
  return std::move(*result);
}

inline double median(std::vector<double> values) {
  auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct actor_config : caf::actor_system_config {
  actor_config() {
    actors::configure(*this);
    actors::set_defaults(*this);
  }
};

struct subject {
  std::shared_ptr<const model::dataset> data;
  std::shared_ptr<const model::run_definition> run;
};

inline subject load(const model::config& settings) {
  subject s;
  s.data = must(model::dataset::make(must(serialization::read_csv(settings.data.path, settings.data)), settings.data,
                                     static_cast<std::uint64_t>(settings.train.seed)));
  s.run = must(model::define_run(settings, *s.data));
  return s;
}

/// Trains in an actor system of its own.
inline actors::run_outcome train(const subject& s, std::uint32_t workers, const std::filesystem::path& folder,
                                 const actors::on_progress& at_step) {
  actor_config config;
  caf::actor_system system{config};
  actors::run_request request;
  request.run = s.run;
  request.data = s.data;
  request.folder = folder;
  request.workers = workers;
  return must(actors::train(system, std::move(request), at_step));
}

} // namespace enn::bench
