/// A test's hook: what becomes of a number while a lease is computed. Handed down as a value from the policy of a run to the
/// schedule; production has none, and pays one comparison with null a node.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace enn::model {

/// An array of a pass that has just been filled.
struct number_place {
  enum class kind : std::uint8_t {
    output,    // of a node, forward
    gradient,  // of a node's input, after its backward has added to it
    input,     // of the graph
    parameter, // trainable; of this worker's copy alone
  };
  kind what = kind::output;
  std::string_view path;   // of the node, input or parameter
  std::size_t slot = 0;    // which output, or which input
  std::int64_t size = 0;   // elements
};

/// values[element] = value + times * values[element].
struct changed_number {
  std::int64_t element = 0;
  double value = 0, times = 0;
  template <class T>
  void apply(T* values) const {
    auto old = times != 0 ? times * static_cast<double>(values[element]) : 0;
    values[element] = static_cast<T>(value + old);
  }
};

/// Asked at every place of every pass; nothing: the number stays. A pass may be computed twice, so the answer must be the same.
using number_fault = std::function<std::optional<changed_number>(const number_place&)>;

} // namespace enn::model
