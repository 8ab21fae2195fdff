/// How far a run is, on standard output: one line that is written over on a terminal, else a line every few seconds.
#pragma once
#include <enn/model/training/trainer.hpp>
#include <enn/serialization/wire.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace enn::apps {

/// What a sample is called: "windows" or "rows".
std::string samples_name(const model::data_facts& facts);

class progress_line {
public:
  using clock = std::chrono::steady_clock;
  explicit progress_line(std::shared_ptr<const model::run_definition> run);
  ~progress_line() { end(); }
  void show(const serialization::progress& p);
  /// For those who see no line: "step 12 of 3000, loss 0.05".
  std::string brief(const serialization::progress& p) const;
  /// What is written next begins a new line.
  void end();

private:
  std::string text(const serialization::progress& p, double seconds) const;

  std::shared_ptr<const model::run_definition> run_;
  bool terminal_ = false, open_ = false;
  clock::time_point begun_, shown_;
  std::uint64_t steps_ = 0, samples_ = 0; // of this execution
  std::optional<double> validation_loss_;
};

} // namespace enn::apps
