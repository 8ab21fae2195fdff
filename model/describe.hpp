/// A run's network in words: shapes, parameters, operations, memory.
#pragma once
#include <enn/model/training/trainer.hpp>

namespace enn::model {

/// Floating-point operations of forward for one row.
double forward_flops(const graph& g);

/// Parts with their parameters and operations; totals of one row and of one lease. With `nodes`, every operator too.
std::string describe(const run_definition& run, bool nodes);

} // namespace enn::model
