#include <enn/model/graph/graph_builder.hpp>

#include <enn/model/operators/operator.hpp>

namespace enn::model {

graph_builder::graph_builder(const operator_table& operators) : operators_(operators) {}

value_id graph_builder::add_value(shape s) {
  graph_.values.push_back(std::move(s));
  return static_cast<value_id>(graph_.values.size() - 1);
}

value_id graph_builder::add_input(std::string path, input_role role, shape s) {
  auto value = add_value(std::move(s));
  graph_.inputs.push_back({std::move(path), role, value});
  return value;
}

value_id graph_builder::add_parameter(std::string_view name, shape s, parameter p) {
  p.path = prefix_ + std::string{name};
  if (auto known = parameters_.find(p.path); known != parameters_.end()) {
    require(shape_of(known->second) == s, p.path + ": shared as " + to_string(s) + ", but it is " + to_string(shape_of(known->second)));
    return known->second;
  }
  require(!is_batched(s), p.path + ": a parameter has no batch");
  p.value = add_value(std::move(s));
  parameters_[p.path] = p.value;
  graph_.parameters.push_back(p);
  return p.value;
}

value_id graph_builder::add_weight(std::string_view name, shape s, init rule, double scale, bool decay, double scale_last) {
  parameter p;
  p.rule = rule;
  p.scale = scale;
  p.scale_last = scale_last;
  p.decay = decay;
  return add_parameter(name, std::move(s), std::move(p));
}

value_id graph_builder::add_buffer(std::string_view name, shape s, std::vector<double> data) {
  require(static_cast<std::int64_t>(data.size()) == elements(s), prefix_ + std::string{name} + ": " + std::to_string(data.size())
                                                                   + " values for shape " + to_string(s));
  parameter p;
  p.rule = init::given;
  p.trainable = false;
  p.data = std::move(data);
  return add_parameter(name, std::move(s), std::move(p));
}

std::string graph_builder::unique_path(std::string_view name) {
  auto path = prefix_ + std::string{name};
  auto count = ++used_[path];
  return count == 1 ? path : path + "#" + std::to_string(count);
}

std::vector<value_id> graph_builder::apply_all(std::string_view op, std::span<const value_id> inputs, attributes attrs,
                                               std::string_view name) {
  node n;
  n.path = unique_path(name.empty() ? op : name);
  n.op = op;
  n.inputs.assign(inputs.begin(), inputs.end());
  n.attrs = std::move(attrs);
  const auto* definition = operators_.find(op);
  require(definition, n.path + ": unknown operator " + n.op);
  n.version = definition->version;
  node_facts facts{&n.attrs, {}, {}};
  for (auto v : inputs)
    facts.inputs.push_back(shape_of(v));
  try {
    for (auto& s : definition->infer(facts))
      n.outputs.push_back(add_value(std::move(s)));
  } catch (const std::logic_error& e) {
    std::string shapes;
    for (const auto& s : facts.inputs)
      shapes += " " + to_string(s);
    throw std::logic_error(n.path + " (" + n.op + shapes + "): " + e.what());
  }
  graph_.nodes.push_back(n);
  return n.outputs;
}

value_id graph_builder::apply(std::string_view op, std::initializer_list<value_id> inputs, attributes attrs, std::string_view name) {
  return apply_all(op, std::span{inputs.begin(), inputs.size()}, std::move(attrs), name).front();
}

void graph_builder::add_output(std::string path, output_role role, value_id value, double weight) {
  require(is_batched(shape_of(value)), "output " + path + " does not depend on the input");
  graph_.outputs.push_back({std::move(path), role, value, weight});
}

graph_builder::scope::scope(graph_builder& b, std::string_view name) : builder_(b), length_(b.prefix_.size()) {
  b.prefix_ += std::string{name} + ".";
}

graph_builder::scope::~scope() {
  builder_.prefix_.resize(length_);
}

} // namespace enn::model
