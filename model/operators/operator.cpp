#include <enn/model/operators/operator.hpp>

#include <algorithm>
#include <stdexcept>

namespace enn::model {

void operator_table::add(operator_definition d) {
  auto known = std::find_if(all_.begin(), all_.end(), [&](const auto& x) { return x.name == d.name; });
  if (known == all_.end())
    all_.push_back(std::move(d));
  else
    *known = std::move(d);
}

const operator_definition* operator_table::find(std::string_view name) const {
  auto found = std::find_if(all_.begin(), all_.end(), [&](const auto& x) { return x.name == name; });
  return found == all_.end() ? nullptr : &*found;
}

const operator_table& standard_operators() {
  static const operator_table all = [] {
    operator_table t;
    for (auto add : {add_elementwise_operators, add_layout_operators, add_matrix_operators, add_norm_operators, add_random_operators,
                     add_embedding_operators, add_attention_operators, add_retention_operators, add_gate_operators, add_loss_operators})
      add(t);
    return t;
  }();
  return all;
}

double flops_of(const operator_definition& d, const node_facts& f) {
  if (d.is_view)
    return 0;
  if (d.flops)
    return d.flops(f);
  double n = 0;
  for (const auto& s : f.outputs)
    n += static_cast<double>(elements(s));
  return n;
}

void require(bool ok, std::string_view what) {
  if (!ok)
    throw std::logic_error(std::string{what});
}

namespace {

template <class V>
const V& attribute_of(const attributes& a, std::string_view name) {
  auto found = a.find(name);
  require(found != a.end(), "attribute " + std::string{name} + " is missing");
  const auto* value = std::get_if<V>(&found->second);
  require(value, "attribute " + std::string{name} + " has the wrong type");
  return *value;
}

} // namespace

std::int64_t int_of(const attributes& a, std::string_view name) {
  return attribute_of<std::int64_t>(a, name);
}
double real_of(const attributes& a, std::string_view name) {
  return attribute_of<double>(a, name);
}
bool flag_of(const attributes& a, std::string_view name) {
  return attribute_of<bool>(a, name);
}
const std::string& text_of(const attributes& a, std::string_view name) {
  return attribute_of<std::string>(a, name);
}
const std::vector<std::int64_t>& ints_of(const attributes& a, std::string_view name) {
  return attribute_of<std::vector<std::int64_t>>(a, name);
}

std::vector<shape> same_as_first(const node_facts& f) {
  require(f.inputs.size() == 1, "takes one input");
  return {f.inputs[0]};
}

} // namespace enn::model
