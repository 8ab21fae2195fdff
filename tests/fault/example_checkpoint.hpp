/// A checkpoint that has something of everything, for tests that only care which step it is of.
#pragma once
#include <enn/serialization/checkpoint.hpp>

namespace enn::fault {

inline serialization::checkpoint example(std::int64_t step) {
  serialization::checkpoint result;
  result.step = step;
  result.configuration = {{"train.seed", "1"}, {"model.d-model", "8"}};
  result.state = {{"step", std::to_string(step)}};
  for (int i = 0; i < 12; ++i) // more than HDF5 keeps in an object's header
    result.facts.emplace_back("fact-" + std::to_string(i), std::string(300, 'x'));
  result.graph.assign(3000, std::byte{7});
  for (auto name : {"weights", "first", "second"})
    result.tensors.emplace_back(name, std::vector<float>(700, 0.1f * static_cast<float>(step)));
  result.layout = {{"encoder/w", {20, 35}, 0}};
  return result;
}

} // namespace enn::fault
