/// Graph, data facts and run definition as the bytes of one Cap'n Proto message each: what checkpoints keep and enlistment
/// sends. Encoding the same value gives the same bytes. Decoding checks every number against the rules of graph.hpp; errors
/// are ec::bad_checkpoint.
#pragma once
#include <enn/model/training/trainer.hpp>

#include <cstddef>
#include <span>
#include <vector>

namespace enn::serialization {

std::vector<std::byte> encode(const model::graph& x);
std::vector<std::byte> encode(const model::data_facts& x);
std::vector<std::byte> encode(const model::run_definition& x);

caf::expected<model::graph> decode_graph(std::span<const std::byte> bytes);
caf::expected<model::data_facts> decode_facts(std::span<const std::byte> bytes);
/// The weight layout is derived from the graph.
caf::expected<model::run_definition> decode_run(std::span<const std::byte> bytes);

} // namespace enn::serialization
