/// Graph and data facts as the bytes of one Cap'n Proto message each, which checkpoints keep: the same value gives the same bytes.
/// The run definition as a message, which a node gets when it joins. Reading checks every number against the rules of graph.hpp;
/// errors are ec::bad_checkpoint, of messages ec::protocol.
#pragma once
#include <enn/model/training/trainer.hpp>
#include <enn/serialization/frame.hpp>
#include <enn/serialization/schema/run.capnp.h>

#include <cstddef>
#include <span>
#include <vector>

namespace enn::serialization {

std::vector<std::byte> encode(const model::graph& x);
std::vector<std::byte> encode(const model::data_facts& x);

caf::expected<model::graph> decode_graph(std::span<const std::byte> bytes);
caf::expected<model::data_facts> decode_facts(std::span<const std::byte> bytes);

msg<wire::RunDefinition> write(const model::run_definition& x);
/// The weight layout is derived from the graph.
caf::expected<model::run_definition> read(const msg<wire::RunDefinition>& m);

} // namespace enn::serialization
