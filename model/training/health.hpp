/// What a pass found about its numbers. Returned with every result; never repaired silently.
#pragma once
#include <cstdint>
#include <string>

namespace enn::model {

/// The ladder of a lease: fast kernels first; `master` is the supervisor's reissue with reference kernels in the master dtype.
enum class rung : std::uint8_t { fast = 0, master = 4 };

struct numeric_health {
  std::int64_t nonfinite = 0;      // numbers, in outputs and gradient
  std::string first_node;          // path of the first node (in schedule order) with a nonfinite output; "backward" suffix ".grad"
  bool inputs_finite = true;       // features, targets
  bool parameters_finite = true;
  double largest = 0;              // largest magnitude among outputs and gradient
  bool ok() const { return nonfinite == 0 && inputs_finite && parameters_finite; }
};

} // namespace enn::model
