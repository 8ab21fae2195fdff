/// The derived form of a graph: linear steps with buffers, for one number of rows and one kernel table. Never stored, never
/// written by hand. The constructor allocates; run() does not, unless helpers share a product.
#pragma once
#include <enn/model/graph/graph.hpp>
#include <enn/model/graph/number_fault.hpp>
#include <enn/model/operators/operator.hpp>
#include <enn/model/training/health.hpp>

#include <memory>
#include <span>

namespace enn::model {

/// What a schedule is for. Steps that no chosen output needs are left out.
struct schedule_plan {
  std::int64_t rows = 1;
  std::vector<std::string> outputs;  // paths
  bool backward = false;             // also gradients of the weighted sum of all loss outputs; these are computed then too
};

/// Where a schedule takes its numbers from for one run.
template <class T>
struct schedule_inputs {
  std::uint64_t seed = 0, step = 0;
  std::span<const std::uint64_t> row_numbers;
  std::span<const T> weights;        // the flat weight vector
  T loss_scale = 1;                  // 1 / denominator: the seed of backward, times each loss output's weight
  const number_fault* fault = nullptr; // a test's
  model::helpers* helpers = nullptr; // with large products; null: nobody
};

/// One thread at a time.
template <class T>
class schedule {
public:
  /// std::logic_error: an output or operator that does not exist. Keeps the graph; kernels must outlive it.
  schedule(std::shared_ptr<const graph> g, schedule_plan plan, const kernels::kernel_table<T>& kernels,
           const operator_table& operators = standard_operators());
  ~schedule();
  schedule(schedule&&) noexcept;

  /// Memory of an input, to be filled before run(); empty if no step reads it. It keeps its values; states start as 0.
  std::span<T> input(std::string_view path);
  /// An output after run(): one that the plan names.
  std::span<const T> output(std::string_view path) const;

  /// Forward, and backward if planned. `gradient` has layout_of(graph).size elements and is overwritten (backward only).
  void run(const schedule_inputs<T>& in, std::span<T> gradient);

  /// After run(): what was found in the plan's outputs, the gradient, and what run() looked at on its way (see health.hpp). Only if
  /// something is wrong, everything is computed again step by step, to name the first node and to look at inputs, weights and rows.
  numeric_health inspect(const schedule_inputs<T>& in, std::span<T> gradient);

  std::int64_t arena_size() const;   // elements of all buffers together
  std::int64_t step_count() const;   // nodes that are run
  /// The nodes that are run, in order.
  std::span<const node* const> nodes() const;

private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

} // namespace enn::model
