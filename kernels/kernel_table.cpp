#include <enn/kernels/kernel_table.hpp>

namespace enn::kernels {

std::string_view name(unary f) {
  switch (f) {
    case unary::exp: return "exp";
    case unary::log: return "log";
    case unary::tanh: return "tanh";
    case unary::sigmoid: return "sigmoid";
    case unary::erf: return "erf";
    case unary::relu: return "relu";
    case unary::gelu: return "gelu";
    case unary::silu: return "silu";
    case unary::softplus: return "softplus";
    case unary::square: return "square";
    case unary::sqrt: return "sqrt";
    case unary::abs: return "abs";
    case unary::negate: return "negate";
    case unary::reciprocal: return "reciprocal";
  }
  return "unknown";
}

std::string_view name(binary f) {
  switch (f) {
    case binary::add: return "add";
    case binary::subtract: return "subtract";
    case binary::multiply: return "multiply";
    case binary::divide: return "divide";
    case binary::maximum: return "maximum";
    case binary::minimum: return "minimum";
  }
  return "unknown";
}

} // namespace enn::kernels
