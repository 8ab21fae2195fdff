/// Linear least squares with a penalty, for the baselines.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace enn::model {

/// Takes rows one at a time and keeps A'A and A'B only. All in double.
class least_squares {
public:
  least_squares(std::size_t inputs, std::size_t outputs);
  void add(std::span<const double> input, std::span<const double> output);
  std::int64_t rows() const { return rows_; }
  /// W (inputs, outputs) of (A'A + penalty * rows * I) W = A'B, by Cholesky. Pre: penalty > 0, rows() > 0.
  std::vector<double> solve(double penalty);

private:
  void flush();

  std::size_t inputs_, outputs_;
  std::int64_t rows_ = 0;
  std::vector<double> pending_input_, pending_output_; // whole rows, added in blocks because that is much faster
  std::vector<double> gram_, moment_;                  // (inputs, inputs), lower triangle; (inputs, outputs)
};

} // namespace enn::model
