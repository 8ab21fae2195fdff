/// Matrix products of operators, which take most of the time of a lease: in pieces, where somebody helps.
#pragma once
#include <enn/model/operators/operator.hpp>

namespace enn::model {

/// Elements of scratch for product() of this shape.
template <class T>
std::int64_t product_scratch(const kernels::kernel_table<T>& t, std::int64_t m, std::int64_t n, std::int64_t k);

/// c.kernels->gemm(g), whose scratch is c.scratch. Rows of C may be computed by c.helpers: no bit depends on it.
template <class T>
void product(const call<T>& c, kernels::gemm_args<T> g);

} // namespace enn::model
