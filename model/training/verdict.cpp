#include <enn/model/training/verdict.hpp>

namespace enn::model {

verdict judge(const numeric_health& health, rung start, lease_kind kind, bool weights_finite) {
  bool predicts = kind == lease_kind::predict;
  if (!health.parameters_finite)
    return weights_finite ? verdict::replace_worker : verdict::refuse_weights;
  if (!health.inputs_finite)
    return predicts ? verdict::leave_out_rows : verdict::refuse_rows;
  if (health.ok())
    return verdict::accept;
  if (start != rung::master)
    return verdict::reissue;
  return predicts ? verdict::mark_rows : verdict::accept;
}

} // namespace enn::model
