/// What to do with the numbers of a lease: the decision table of the supervisor, apart from who carries it out. A pure function of
/// what the lease's pass found, so the same lease takes the same way wherever it is computed.
///
///   parameters     inputs       results                      rung     duty               verdict
///   nonfinite, of the node's weights too                     any      any                refuse_weights
///   nonfinite, the node's weights are not                    any      any                replace_worker
///   finite         nonfinite    any                          any      predict            leave_out_rows
///   finite         nonfinite    any                          any      train, evaluate    refuse_rows
///   finite         finite       finite and in range          any      any                accept
///   finite         finite       nonfinite or out of range    fast     any                reissue
///   finite         finite       nonfinite                    master   predict            mark_rows
///   finite         finite       nonfinite                    master   train, evaluate    accept: the step is skipped, or the
///                                                                                        evaluation has no loss
#pragma once
#include <enn/model/training/trainer.hpp>

namespace enn::model {

enum class verdict : std::uint8_t {
  accept,         // the result goes on, with its health
  reissue,        // the same lease again, on the master rung
  leave_out_rows, // these rows are not computable; the lease again without them, on the same rung
  mark_rows,      // the rows whose numbers are bad are not computable; the others go on
  refuse_rows,    // no data set holds nonfinite numbers: the run ends, naming the rows
  replace_worker, // it does not compute with the weights that it was given: the same lease elsewhere, on the same rung
  refuse_weights, // no optimizer step makes nonfinite weights: the run ends, naming the parameter
};

/// `start`: the rung that gave the numbers. `weights_finite`: of the weights that the worker was given; matters only if the health
/// says that the worker's parameters are not.
verdict judge(const numeric_health& health, rung start, lease_kind kind, bool weights_finite);

} // namespace enn::model
