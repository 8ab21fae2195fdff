/// What a pass found about its numbers. Returned with every result; never repaired silently.
///
/// Inspected are the results of a pass (outputs, gradient), whatever an operator reads that may swallow a nonfinite number (it is
/// declared there, see operator_definition), and what no operator reads. All else reaches a result.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace enn::model {

/// The ladder of a lease: fast kernels first; `master` is the supervisor's reissue with reference kernels in the master dtype.
enum class rung : std::uint8_t { fast = 0, master = 4 };

/// The range guard of float, 1.15e18: a number beyond it is suspect although it is finite, as the sum of 256 products of two such
/// numbers may be none of float, and a norm or a softmax may make something small of what overflowed inside it. Double has room.
inline constexpr double range_limit = 0x1p60;

struct numeric_health {
  std::int64_t nonfinite = 0;      // inspected numbers
  std::string first_node;          // path of the first node (in schedule order) with a bad output; "backward" suffix ".grad"
  bool inputs_finite = true;       // features, targets
  bool parameters_finite = true;
  double largest = 0;              // largest magnitude among the finite inspected numbers
  bool in_range = true;            // float: `largest` is within range_limit
  // Looked up only if something is wrong, as the first node is. Global numbers.
  std::vector<std::uint64_t> input_rows = {}; // rows with a nonfinite feature or target
  std::vector<std::uint64_t> rows = {};       // rows of which some node made a bad number; all, if it is no row's
  bool ok() const { return nonfinite == 0 && inputs_finite && parameters_finite && in_range; }
};

} // namespace enn::model
