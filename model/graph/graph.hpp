/// The network as data: named values, and nodes that compute values from values. Immutable once built; serialised into
/// checkpoints and messages; compiled into schedules. A node names an operator; what the operator does stands in
/// model/operators. No pointers, no code.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace enn::model {

/// Extents of a value, outermost first. The first one may be `batch`: the number of rows, which no operator mixes.
using shape = std::vector<std::int64_t>;
inline constexpr std::int64_t batch = -1;

/// Elements with `rows` in place of batch.
std::int64_t elements(const shape& s, std::int64_t rows = 1);
bool is_batched(const shape& s);
std::string to_string(const shape& s); // "(B, 207, 48)"

using attribute = std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>, std::vector<double>>;
using attributes = std::map<std::string, attribute, std::less<>>;

/// Number of a value in its graph.
using value_id = std::int32_t;

/// What fills an input.
enum class input_role : std::uint8_t {
  feature,     // copied from the data set by its path: "x", "calendar"
  target,      // "target"
  mask,        // "mask": 1 where the target is valid, else 0
  state,       // what a stream carries from call to call; zero at its start
};

/// What an output is for.
enum class output_role : std::uint8_t {
  prediction,  // raw units, (B, ...) as the target
  loss,        // one number a row (B): the row's sum of weighted errors; divided by the step's denominator outside
  state,       // continues the input of the same path
  diagnostic,  // looked at, never trained on
};

/// Which number generator fills a new parameter. `scale` is the half-width, deviation or constant.
enum class init : std::uint8_t { uniform, normal, constant, linear_space /* scale .. scale_last along the elements */, given };

struct input {
  std::string path;
  input_role role;
  value_id value;
};

/// A named array that is not computed. Trainable ones are float in the flat weight vector; the others (scaler, bounds) are
/// `given`, kept in double, and called buffers.
struct parameter {
  std::string path;
  value_id value = -1;
  init rule = init::constant;
  double scale = 0, scale_last = 0;
  bool trainable = true;
  bool decay = false;           // weight decay applies: matrices only
  std::vector<double> data;     // buffers and `given`: the values
};

struct node {
  std::string op;
  std::int32_t version = 1;
  std::string path;             // unique, such as "collector.layer2.attention": names it in health, profile, random keys, errors
  std::vector<value_id> inputs;
  std::vector<value_id> outputs;
  attributes attrs;
};

struct output {
  std::string path;             // "prediction", "loss.final"
  output_role role;
  value_id value;
  double weight = 1;            // of a loss term
};

/// values[id] is the shape of value id. Every value has exactly one source: an input, a parameter or a node's output.
/// Nodes stand in an order in which each uses only values of inputs, parameters and earlier nodes.
struct graph {
  std::vector<shape> values;
  std::vector<input> inputs;
  std::vector<parameter> parameters;
  std::vector<node> nodes;
  std::vector<output> outputs;
};

/// Looks up by path; null if there is none.
const input* find_input(const graph& g, std::string_view path);
const output* find_output(const graph& g, std::string_view path);

/// The same graph without operators that only training uses (dropout, drop path): what prediction and export compile.
graph without_training(const graph& g);

/// Where each trainable parameter lies in the flat weight vector: in order of declaration, without gaps.
struct weight_span {
  std::string path;
  shape extent;
  std::int64_t offset = 0, size = 0;
  bool decay = false;
};
struct weight_layout {
  std::vector<weight_span> spans;
  std::int64_t size = 0; // floats
};
weight_layout layout_of(const graph& g);

/// Initial weights: a pure function of the graph and the seed (counter = path hash and element).
std::vector<float> initial_weights(const graph& g, std::uint64_t seed);

} // namespace enn::model
