/// Every place of a pass where a number can be changed, found by watching one, and changes at them.
#pragma once
#include <enn/kernels/random.hpp>
#include <enn/model/graph/graph.hpp>
#include <enn/model/graph/number_fault.hpp>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

namespace enn::model::test {

struct fault_place {
  number_place::kind what;
  std::string path;
  std::size_t slot;
  std::int64_t size;
  /// How health names it.
  std::string name() const { return what == number_place::kind::gradient ? path + ".grad" : path; }
};

/// `pass` computes with the hook that it is given.
template <class Pass>
std::vector<fault_place> places_of(Pass&& pass) {
  std::vector<fault_place> all;
  number_fault watch = [&](const number_place& p) {
    all.push_back({p.what, std::string{p.path}, p.slot, p.size});
    return std::nullopt;
  };
  pass(watch);
  return all;
}

inline number_fault change_at(const fault_place& place, std::int64_t element, double value) {
  return [=](const number_place& p) -> std::optional<changed_number> {
    if (p.what != place.what || p.slot != place.slot || p.path != place.path)
      return std::nullopt;
    return changed_number{element, value};
  };
}

/// One of its elements, another for each place.
inline std::int64_t some_element(const fault_place& p, std::uint64_t draw = 0) {
  return static_cast<std::int64_t>(kernels::random_bits({.seed = 3, .step = p.slot, .purpose = kernels::purpose_hash(p.path)}, draw)
                                   % static_cast<std::uint64_t>(p.size));
}

/// As change_at, of some element, whatever the number of rows: value + times * what it was.
inline number_fault change_somewhere(const fault_place& place, double value, double times = 0) {
  return [=](const number_place& p) -> std::optional<changed_number> {
    if (p.what != place.what || p.slot != place.slot || p.path != place.path)
      return std::nullopt;
    return changed_number{some_element({p.what, place.path, p.slot, p.size}), value, times};
  };
}

/// The array that lies there.
inline value_id value_at(const graph& g, const fault_place& p) {
  auto n = std::find_if(g.nodes.begin(), g.nodes.end(), [&](const node& x) { return x.path == p.path; });
  if (n == g.nodes.end())
    return -1;
  return p.what == number_place::kind::output ? n->outputs[p.slot] : n->inputs[p.slot];
}

inline const double nonfinite_numbers[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                                           -std::numeric_limits<double>::infinity()};

} // namespace enn::model::test
