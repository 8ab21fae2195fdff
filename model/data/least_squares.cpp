#include <enn/model/data/least_squares.hpp>

#include <Eigen/Cholesky>
#include <Eigen/Core>

namespace enn::model {
namespace {

using matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
constexpr std::size_t block_rows = 256;

Eigen::Map<matrix> view(std::vector<double>& values, std::size_t rows, std::size_t columns) {
  return {values.data(), static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns)};
}

} // namespace

least_squares::least_squares(std::size_t inputs, std::size_t outputs)
  : inputs_(inputs), outputs_(outputs), gram_(inputs * inputs), moment_(inputs * outputs) {}

void least_squares::add(std::span<const double> input, std::span<const double> output) {
  pending_input_.insert(pending_input_.end(), input.begin(), input.end());
  pending_output_.insert(pending_output_.end(), output.begin(), output.end());
  ++rows_;
  if (pending_input_.size() == block_rows * inputs_)
    flush();
}

void least_squares::flush() {
  const auto rows = pending_input_.size() / inputs_;
  const auto a = view(pending_input_, rows, inputs_), b = view(pending_output_, rows, outputs_);
  view(gram_, inputs_, inputs_).selfadjointView<Eigen::Lower>().rankUpdate(a.transpose());
  view(moment_, inputs_, outputs_).noalias() += a.transpose() * b;
  pending_input_.clear();
  pending_output_.clear();
}

std::vector<double> least_squares::solve(double penalty) {
  flush();
  auto penalised = gram_;
  for (std::size_t i = 0; i < inputs_; ++i)
    penalised[i * inputs_ + i] += penalty * static_cast<double>(rows_);
  auto weights = moment_;
  view(penalised, inputs_, inputs_).selfadjointView<Eigen::Lower>().llt().solveInPlace(view(weights, inputs_, outputs_));
  return weights;
}

} // namespace enn::model
