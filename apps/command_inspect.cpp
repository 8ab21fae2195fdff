#include "command.hpp"

#include <enn/actors/version.hpp>
#include <enn/serialization/checkpoint.hpp>
#include <enn/serialization/file.hpp>
#include <enn/serialization/graph_wire.hpp>
#include <enn/serialization/predictions.hpp>

#include <CLI/CLI.hpp> // slow to compile

#include <algorithm>
#include <filesystem>

namespace enn::apps {
namespace {

namespace fs = std::filesystem;
using serialization::checkpoint;

void say_all(const std::string& label, const serialization::name_values& values) {
  std::string text;
  for (const auto& [name, value] : values)
    text += (text.empty() ? "" : "\n") + name + " = " + value;
  say(label, text);
}

void say_graph(const model::graph& g) {
  std::string values, nodes;
  auto add = [&](const std::string& what, const std::string& path, model::value_id value) {
    values += (values.empty() ? "" : "\n") + what + " " + path + " " + model::to_string(g.values[static_cast<std::size_t>(value)]);
  };
  for (const auto& input : g.inputs)
    add("input", input.path, input.value);
  for (const auto& output : g.outputs)
    add("output", output.path, output.value);
  for (const auto& node : g.nodes)
    nodes += (nodes.empty() ? "" : "\n") + node.path + "  " + node.op;
  say("graph", values);
  say("nodes", counted(g.nodes.size()) + "\n" + nodes);
}

caf::expected<void> inspect_checkpoint(const fs::path& file, const checkpoint& c) {
  auto graph = serialization::decode_graph(c.graph);
  auto usable = actors::restore(c);
  if (!graph || !usable)
    return fail(ec::bad_checkpoint, file.string() + ": " + text_of(graph ? usable.error() : graph.error()));
  say("checkpoint", file.string() + ", every checksum is right");
  say("step", std::to_string(c.step));
  say("content", serialization::content_fingerprint(c));
  say_all("facts", c.facts);
  say_all("state", c.state);
  std::string tensors, layout;
  for (const auto& [name, values] : c.tensors)
    tensors += (tensors.empty() ? "" : "\n") + name + ": " + counted(values.size(), "floats");
  say("tensors", tensors);
  for (const auto& entry : c.layout)
    layout += (layout.empty() ? "" : "\n") + entry.path + " " + model::to_string(entry.extent) + " at "
              + std::to_string(entry.offset);
  say("layout", layout);
  say_graph(*graph);
  return {};
}

void inspect_predictions(const fs::path& file, const serialization::predictions& p) {
  const auto& h = p.header;
  say("predictions", file.string() + ", every checksum is right");
  say("rows", counted(h.rows.size()) + " of " + model::to_string(h.shape) + ", not computable "
                + counted(static_cast<std::uint64_t>(std::count(p.status.begin(), p.status.end(), 1)))
                + (p.targets.empty() ? ", without targets" : ", with targets"));
  say("model", h.model);
  say("data", "XXH3-128 " + h.data_fingerprint);
  say("kernels", h.kernels);
  std::string columns;
  for (const auto& name : h.columns)
    columns += (columns.empty() ? "" : ", ") + name;
  say("columns", columns);
}

/// The file says what it is: HDF5 files of ours begin with a seal, all else can only be a graph.
caf::expected<void> inspect_file(const fs::path& file) {
  if (std::error_code ignored; fs::is_directory(file, ignored))
    return fail(ec::bad_usage, file.string() + " is a folder; inspect a file in it, or enn describe a run");
  auto bytes = serialization::read_file(file);
  if (!bytes)
    return bytes.error();
  if (!bytes->starts_with("ENN sealed")) {
    auto graph = serialization::decode_graph(std::as_bytes(std::span{*bytes}));
    if (!graph)
      return fail(code_of(graph.error()), file.string() + " is neither a checkpoint, predictions nor a graph; read as a graph: "
                                            + text_of(graph.error()));
    say_graph(*graph);
    return {};
  }
  auto checkpoint = serialization::read_checkpoint(file);
  if (checkpoint)
    return inspect_checkpoint(file, *checkpoint);
  auto predictions = serialization::read_predictions(file);
  if (!predictions)
    return checkpoint.error();
  inspect_predictions(file, *predictions);
  return {};
}

} // namespace

action declare_inspect(CLI::App& app) {
  auto file = std::make_shared<std::string>();
  app.add_option("FILE", *file, "A checkpoint, predictions, or a graph.")->required();
  return [file] { return inspect_file(*file); };
}

} // namespace enn::apps
