/// Builds a graph. Layers are functions that call apply(); shapes are inferred at once, so a mistake is found where it is made.
/// Breaking an operator's rules is a programmer's mistake here (configurations are checked before): std::logic_error with
/// the node's path.
#pragma once
#include <enn/model/graph/graph.hpp>

#include <initializer_list>
#include <span>

namespace enn::model {

class operator_table;

class graph_builder {
public:
  explicit graph_builder(const operator_table& operators);

  value_id add_input(std::string path, input_role role, shape s);
  /// A trainable array in the flat weight vector. The path is scope + name; adding one twice returns the first (shared
  /// parameters; the shapes must agree).
  value_id add_weight(std::string_view name, shape s, init rule, double scale = 0, bool decay = false, double scale_last = 0);
  /// An array that does not train, in double; path as above.
  value_id add_buffer(std::string_view name, shape s, std::vector<double> data);

  /// Adds a node `op` and returns its first output. The path is scope + name (the operator's, if empty), made unique.
  value_id apply(std::string_view op, std::initializer_list<value_id> inputs, attributes attrs = {}, std::string_view name = {});
  /// The same for many inputs or outputs.
  std::vector<value_id> apply_all(std::string_view op, std::span<const value_id> inputs, attributes attrs = {}, std::string_view name = {});

  /// scope + name, as add_weight() would name it.
  std::string path_of(std::string_view name) const { return prefix_ + std::string{name}; }
  void add_output(std::string path, output_role role, value_id value, double weight = 1);

  const shape& shape_of(value_id v) const { return graph_.values[static_cast<std::size_t>(v)]; }

  /// Paths of what is added while a scope lives start with its name and a dot.
  class scope {
  public:
    scope(graph_builder& b, std::string_view name);
    ~scope();
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

  private:
    graph_builder& builder_;
    std::size_t length_;
  };

  graph finish() && { return std::move(graph_); }

private:
  value_id add_value(shape s);
  value_id add_parameter(std::string_view name, shape s, parameter p);
  std::string unique_path(std::string_view name);

  const operator_table& operators_;
  graph graph_;
  std::string prefix_;
  std::map<std::string, value_id, std::less<>> parameters_;
  std::map<std::string, int, std::less<>> used_;
};

} // namespace enn::model
