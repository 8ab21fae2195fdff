/// The folder of a coordinator, and what is left of it when its process or its machine ends: every call that changes a file there is
/// taken down, so that a power cut can be computed from those that were synced. One a process.
#pragma once
#include "timeline.hpp"

#include "../fault/power_cut.hpp"

namespace enn::actors::test {

class disk {
public:
  /// `trace`: a file elsewhere.
  disk(std::filesystem::path folder, std::filesystem::path trace) : folder_{std::move(folder)}, trace_{std::move(trace)} {
    std::filesystem::create_directories(folder_);
    fault::plan taken_down;
    taken_down.counts = fault::make_tally();
    taken_down.under = folder_.c_str();
    taken_down.trace = trace_.c_str();
    fault::arm(taken_down);
    hold({});
  }
  ~disk() { fault::disarm(); }
  disk(const disk&) = delete;

  const std::filesystem::path& folder() const { return folder_; }

  /// On the disk are these and nothing else.
  void hold(fault::tree files) {
    fault::plant(files, folder_);
    std::filesystem::resize_file(trace_, 0);
    synced_ = std::move(files);
  }

  /// What is written, as after the end of a process.
  fault::tree written() const { return fault::tree_in(folder_); }

  /// Of what is not synced each change is there, lost or torn, as drawn.
  fault::tree after_power_cut(dice& d) const {
    fault::power_cuts cuts{synced_, folder_, trace_};
    std::mt19937 random{static_cast<std::mt19937::result_type>(d.below(1u << 31))};
    return cuts.draw(cuts.calls(), random);
  }

private:
  std::filesystem::path folder_, trace_; // who takes calls down looks at their text
  fault::tree synced_;
};

} // namespace enn::actors::test
