/// The derived form of a graph: linear steps with buffers, for one number of rows and one kernel table. Never stored, never
/// written by hand. compile() allocates; run() does not.
#pragma once
#include <enn/model/graph/graph.hpp>
#include <enn/model/operators/operator.hpp>
#include <enn/model/training/health.hpp>

#include <memory>
#include <span>

namespace enn::model {

/// What a schedule is for. Steps that no chosen output needs are left out.
struct schedule_plan {
  std::int64_t rows = 1;
  std::vector<std::string> outputs;  // paths
  bool backward = false;             // gradients of all loss outputs' weighted sum
};

/// Where a schedule takes its numbers from for one run.
template <class T>
struct schedule_inputs {
  std::uint64_t seed = 0, step = 0;
  std::span<const std::uint64_t> row_numbers;
  std::span<const T> weights;        // the flat weight vector
  T loss_scale = 1;                  // 1 / denominator: the seed of backward, times each loss output's weight
};

template <class T>
class schedule {
public:
  schedule(std::shared_ptr<const graph> g, schedule_plan plan, const kernels::kernel_table<T>& kernels,
           const operator_table& operators = standard_operators());
  ~schedule();
  schedule(schedule&&) noexcept;

  /// Memory of an input, to be filled before run(); null if no step reads it.
  T* input(std::string_view path);
  /// Memory of an output after run().
  const T* output(std::string_view path) const;
  std::int64_t output_size(std::string_view path) const;

  /// Forward, and backward if planned. `gradient` has layout_of(graph).size elements and is overwritten.
  void run(const schedule_inputs<T>& in, std::span<T> gradient);

  /// Looks for nonfinite numbers: first the outputs and the gradient; only if some are found, the inputs, the weights and
  /// every step's outputs in order (values whose buffers were reused are recomputed).
  numeric_health inspect(const schedule_inputs<T>& in, std::span<const T> gradient);

  std::int64_t arena_size() const;   // elements
  std::int64_t step_count() const;

private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

} // namespace enn::model
