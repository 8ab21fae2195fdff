// Graph, facts and run definition: round trips, rules, damaged bytes.
#include "example_graph.hpp"

#include <enn/kernels/random.hpp>
#include <enn/model/config/text.hpp>
#include <enn/serialization/graph_wire.hpp>
#include <enn/serialization/schema/graph.capnp.h>

#include <gtest/gtest.h>

namespace enn::serialization {
namespace {

model::data_facts facts() {
  model::data_facts f;
  f.kind = "window";
  f.features = {"a", "b"};
  f.outputs = {"a", "b"};
  f.categories = {{1, 5, 3, 1}};
  f.history = 12;
  f.horizon = 3;
  f.lines_per_day = 288;
  f.mean = {1.5, -0.1};
  f.deviation = {1, 2};
  f.target_mean = {3, 4};
  f.mean_all = 0.7;
  f.fingerprint = "abc";
  return f;
}

std::string error_of(const model::graph& g) {
  auto found = decode_graph(encode(g));
  if (found)
    return "";
  EXPECT_EQ(code_of(found.error()), ec::bad_checkpoint);
  return text_of(found.error());
}

TEST(graph_wire, a_graph_comes_back_with_everything) {
  auto g = example();
  auto bytes = encode(g);
  auto found = decode_graph(bytes);
  ASSERT_TRUE(found) << text_of(found.error());
  EXPECT_EQ(encode(*found), bytes);
  EXPECT_EQ(found->values, g.values);
  EXPECT_EQ(found->nodes[0].attrs, g.nodes[0].attrs);
  EXPECT_EQ(found->nodes[0].inputs, g.nodes[0].inputs);
  EXPECT_EQ(found->parameters[1].data, g.parameters[1].data);
  EXPECT_EQ(found->parameters[0].rule, model::init::uniform);
  EXPECT_EQ(found->outputs[1].weight, 0.5);
}

TEST(graph_wire, facts_and_run_come_back) {
  auto found = decode_facts(encode(facts()));
  ASSERT_TRUE(found);
  EXPECT_EQ(encode(*found), encode(facts()));
  EXPECT_EQ(found->mean, facts().mean);
  model::run_definition run;
  run.settings.train.learning_rate = 0.1;
  run.settings.data.missing = {"", "a,b", "\""};
  run.facts = facts();
  run.network = example();
  run.total_steps = 99;
  run.steps_per_epoch = 11;
  run.kernels = "portable";
  auto again = read(write(run));
  ASSERT_TRUE(again) << text_of(again.error());
  EXPECT_EQ(model::to_name_values(again->settings), model::to_name_values(run.settings));
  EXPECT_EQ(again->layout.size, 6);
  EXPECT_EQ(again->total_steps, 99);
  EXPECT_EQ(again->kernels, "portable");
  run.steps_per_epoch = 0; // nobody divides by it
  EXPECT_EQ(text_of(read(write(run)).error()), "run definition: steps: 99 in all, 0 an epoch");
  auto f = facts();
  f.history = -1;
  EXPECT_EQ(text_of(decode_facts(encode(f)).error()), "data facts: a number of lines or seconds is -1");
}

TEST(graph_wire, a_graph_that_breaks_the_rules_is_refused_by_name) {
  auto g = example();
  g.nodes[0].inputs[1] = 77;
  EXPECT_EQ(error_of(g), "graph: head.linear: there is no value 77");
  g = example();
  std::swap(g.nodes[0], g.nodes[1]);
  EXPECT_EQ(error_of(g), "graph: loss: value 3 is used before it is made");
  g = example();
  g.nodes[1].outputs = {3};
  EXPECT_EQ(error_of(g), "graph: loss: value 3 has two sources");
  g = example();
  g.parameters[1].data.pop_back();
  EXPECT_EQ(error_of(g), "graph: mean: expected 2 numbers, found 1");
  g = example();
  g.values[1] = {std::int64_t{1} << 31, std::int64_t{1} << 31};
  EXPECT_EQ(error_of(g), "graph: a value has too many elements");
  g.values[1] = {std::int64_t{1} << 32, std::int64_t{1} << 32}; // 0 if it wraps
  EXPECT_EQ(error_of(g), "graph: a value has too many elements");
  g = example();
  g.parameters[0].rule = model::init::given;
  EXPECT_EQ(error_of(g), "graph: w: expected 6 numbers, found 0");
  g = example();
  g.parameters[0].trainable = false;
  EXPECT_EQ(error_of(g), "graph: w: neither trained nor given");
}

TEST(graph_wire, an_attribute_that_is_there_twice_is_refused) {
  capnp::MallocMessageBuilder message;
  auto g = message.initRoot<wire::Graph>();
  g.setVersion(wire::SCHEMA_VERSION);
  auto node = g.initNodes(1)[0];
  node.setPath("twin");
  for (auto attribute : node.initAttributes(2))
    attribute.setName("width");
  auto words = capnp::messageToFlatArray(message);
  auto found = decode_graph(std::as_bytes(std::span{words.begin(), words.size()}));
  ASSERT_FALSE(found);
  EXPECT_EQ(text_of(found.error()), "graph: twin: attribute width is there twice");
}

TEST(graph_wire, damaged_or_cut_bytes_never_crash) {
  auto bytes = encode(example());
  for (std::uint64_t round = 0; round < 1000; ++round) {
    auto damaged = bytes;
    for (std::uint64_t flip = 0; flip <= round % 4; ++flip)
      damaged[kernels::random_bits({.seed = round, .step = flip}, 0) % damaged.size()]
        = static_cast<std::byte>(kernels::random_bits({.seed = round, .step = flip}, 1));
    if (round % 7 == 0)
      damaged.resize(kernels::random_bits({.seed = round}, 2) % damaged.size());
    if (auto found = decode_graph(damaged); !found) {
      EXPECT_EQ(code_of(found.error()), ec::bad_checkpoint);
    }
  }
}

} // namespace
} // namespace enn::serialization
