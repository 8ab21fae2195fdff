/// The whole configuration of a run: one struct a section, each field declared once in its section's header.
#pragma once
#include <enn/model/config/data_config.hpp>
#include <enn/model/config/model_config.hpp>
#include <enn/model/config/train_config.hpp>
#include <enn/model/error.hpp>

#include <functional>
#include <map>
#include <string>

namespace enn::model {

struct config {
  data_config data;
  model_config model;
  train_config train;
  run_config run;
  /// Where each value that was given came from: "model.d-model" -> "los.toml:12" or "--model.d-model".
  std::map<std::string, std::string> origins;
};

/// Calls visit(section name, section struct) for data, model, train, run.
template <class Config, class Visitor>
void for_each_section(Config& c, Visitor&& visit) {
  visit(std::string_view{"data"}, c.data);
  visit(std::string_view{"model"}, c.model);
  visit(std::string_view{"train"}, c.train);
  visit(std::string_view{"run"}, c.run);
}

/// Values outside their limits, then values that contradict each other: heads not dividing d-model, patch longer than history,
/// leases no power of two, ... The error names the keys, their origins and what to do. Needs no data; what needs data is
/// checked where it is read.
caf::expected<void> check(const config& c);

} // namespace enn::model
