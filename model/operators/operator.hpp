/// What an operator is: a name in the graph, and the code behind it. Definitions are values in a table that is handed to the
/// builder and to compile(); a user's operator joins by being in the table.
///
/// bind turns a node with known shapes into a bound_operator<T>: plain fields and two functions. It exists for float and for
/// double: the whole model runs in double for gradient checks and on the master rung.
///
/// No operator mixes rows of the batch, except that gradients of unbatched inputs are sums over rows, in ascending order.
#pragma once
#include <enn/kernels/kernel_table.hpp>
#include <enn/kernels/random.hpp>
#include <enn/model/graph/graph_builder.hpp>
#include <enn/model/operators/helpers.hpp>

#include <functional>
#include <memory>
#include <span>

namespace enn::model {

/// One execution of a node. Arrays are dense, row-major, of the node's shapes with `rows` in place of batch.
template <class T>
struct call {
  const kernels::kernel_table<T>* kernels = nullptr;
  std::int64_t rows = 0;
  std::uint64_t seed = 0, step = 0;
  std::span<const std::uint64_t> row_numbers; // global, one a row: the key of random numbers
  std::uint32_t path_hash = 0;
  std::span<const T* const> in;    // inputs
  std::span<T* const> out;         // outputs; in backward as forward left them, if reads() asked for them
  std::span<const T* const> d_out; // backward: gradients of outputs; null where none arrived
  std::span<T* const> d_in;        // backward: where gradients of inputs are *added*; null where none is wanted
  T* saved = nullptr;              // saved_size() elements that live from forward to backward
  T* scratch = nullptr;            // scratch_size() elements for the duration of the call
  model::helpers* helpers = nullptr; // null: nobody
};

/// Which arrays backward reads: bit i stands for input or output i. Others may be overwritten before.
struct backward_reads {
  unsigned inputs = ~0u, outputs = 0;
};

template <class T>
class bound_operator {
public:
  virtual ~bound_operator() = default;
  virtual void forward(const call<T>& c) const = 0;
  /// Adds to c.d_in. At least one d_out and one d_in are there.
  virtual void backward(const call<T>& c) const = 0;
  virtual backward_reads reads() const { return {}; }
  virtual std::int64_t saved_size(std::int64_t /*rows*/) const { return 0; }
  virtual std::int64_t scratch_size(std::int64_t /*rows*/, const kernels::kernel_table<T>&) const { return 0; }
};

/// What bind and infer see of a node.
struct node_facts {
  const attributes* attrs = nullptr;
  std::vector<shape> inputs;
  std::vector<shape> outputs; // empty for infer
};

struct operator_definition {
  std::string name;
  std::int32_t version = 1;
  std::function<std::vector<shape>(const node_facts&)> infer; // throws std::logic_error
  std::function<std::unique_ptr<bound_operator<float>>(const node_facts&)> bind_float;
  std::function<std::unique_ptr<bound_operator<double>>(const node_facts&)> bind_double;
  /// Floating-point operations of forward for one row (or in all, if unbatched). Empty: one an output element.
  std::function<double(const node_facts&)> flops;
  /// Adds simpler nodes that compute the same to a builder; empty: the operator is a primitive. Of graphs without training.
  std::function<std::vector<value_id>(graph_builder&, const node_facts&, std::span<const value_id>)> lower;
  unsigned differentiable = ~0u;    // bit i: input i can get a gradient
  bool is_view = false;             // the output is the first input's memory under another shape
  unsigned swallows = 0;            // bit i: a nonfinite number in input i may leave all outputs finite, so input i is inspected
  bool swallows_gradient = false;   // the same of gradients: from outputs to those of some inputs
};

class operator_table {
public:
  /// Replaces a definition of the same name.
  void add(operator_definition d);
  const operator_definition* find(std::string_view name) const;
  const std::vector<operator_definition>& all() const { return all_; }

private:
  std::vector<operator_definition> all_;
};

/// The operators of this library.
const operator_table& standard_operators();

double flops_of(const operator_definition& d, const node_facts& f);

// -- reading attributes (throw std::logic_error naming the attribute) --
std::int64_t int_of(const attributes& a, std::string_view name);
double real_of(const attributes& a, std::string_view name);
bool flag_of(const attributes& a, std::string_view name);
const std::string& text_of(const attributes& a, std::string_view name);
const std::vector<std::int64_t>& ints_of(const attributes& a, std::string_view name);

/// infer for "same as the first input".
std::vector<shape> same_as_first(const node_facts& f);
/// Throws std::logic_error(what) unless ok.
void require(bool ok, std::string_view what);

/// Fills both binds from one class template: Op<float>(facts), Op<double>(facts).
template <template <class> class Op>
operator_definition define(std::string name, std::function<std::vector<shape>(const node_facts&)> infer) {
  operator_definition d;
  d.name = std::move(name);
  d.infer = std::move(infer);
  d.bind_float = [](const node_facts& f) { return std::make_unique<Op<float>>(f); };
  d.bind_double = [](const node_facts& f) { return std::make_unique<Op<double>>(f); };
  return d;
}

void add_elementwise_operators(operator_table& t);
void add_layout_operators(operator_table& t);
void add_matrix_operators(operator_table& t);
void add_norm_operators(operator_table& t);
void add_random_operators(operator_table& t);
void add_embedding_operators(operator_table& t);
void add_attention_operators(operator_table& t);
void add_retention_operators(operator_table& t);
void add_gate_operators(operator_table& t);
void add_loss_operators(operator_table& t);

} // namespace enn::model
