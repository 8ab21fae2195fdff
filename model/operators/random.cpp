// Operators of training alone: dropout and stochastic depth. Without random numbers they are the identity, and
// without_training() removes them. A draw is keyed by (seed, step, global row, node path, element).
#include <enn/model/operators/operator.hpp>

namespace enn::model {
namespace {

template <class T>
struct dropout final : bound_operator<T> {
  std::int64_t row_size;
  double probability;
  explicit dropout(const node_facts& f) : row_size(elements(f.inputs[0])), probability(real_of(*f.attrs, "dropout")) {}
  void forward(const call<T>& c) const override {
    for (std::int64_t r = 0; r < c.rows; ++r)
      c.kernels->dropout_scales({c.seed, c.step, c.row_numbers[static_cast<std::size_t>(r)], c.path_hash}, row_size, probability,
                              c.saved + r * row_size);
    c.kernels->zip(kernels::binary::multiply, c.rows * row_size, c.in[0], c.saved, c.out[0]);
  }
  void backward(const call<T>& c) const override { c.kernels->multiply_add(c.rows * row_size, c.d_out[0], c.saved, c.d_in[0]); }
  backward_reads reads() const override { return {0, 0}; }
  std::int64_t saved_size(std::int64_t rows) const override { return rows * row_size; }
};

/// Drops a whole row. Huang et al. 2016, arXiv:1603.09382.
template <class T>
struct drop_path final : bound_operator<T> {
  std::int64_t row_size;
  double probability;
  explicit drop_path(const node_facts& f) : row_size(elements(f.inputs[0])), probability(real_of(*f.attrs, "dropout")) {}
  void forward(const call<T>& c) const override {
    for (std::int64_t r = 0; r < c.rows; ++r) {
      c.kernels->dropout_scales({c.seed, c.step, c.row_numbers[static_cast<std::size_t>(r)], c.path_hash}, 1, probability, c.saved + r);
      c.kernels->scale(row_size, c.saved[r], c.in[0] + r * row_size, c.out[0] + r * row_size);
    }
  }
  void backward(const call<T>& c) const override {
    for (std::int64_t r = 0; r < c.rows; ++r)
      c.kernels->axpy(row_size, c.saved[r], c.d_out[0] + r * row_size, c.d_in[0] + r * row_size);
  }
  backward_reads reads() const override { return {0, 0}; }
  std::int64_t saved_size(std::int64_t rows) const override { return rows; }
};

std::vector<shape> infer_random(const node_facts& f) {
  auto probability = real_of(*f.attrs, "dropout");
  require(probability >= 0 && probability < 1, "dropout is not in [0, 1)");
  require(f.inputs.size() == 1 && is_batched(f.inputs[0]), "takes one input with a batch");
  return {f.inputs[0]};
}

} // namespace

void add_random_operators(operator_table& t) {
  t.add(define<dropout>("dropout", infer_random));
  t.add(define<drop_path>("drop_path", infer_random));
}

} // namespace enn::model
