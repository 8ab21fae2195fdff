#include <enn/serialization/graph_wire.hpp>

#include <enn/model/config/text.hpp>
#include <enn/serialization/reading.hpp>
#include <enn/serialization/schema/graph.capnp.h>
#include <enn/serialization/schema/run.capnp.h>

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <cstring>

namespace enn::serialization {
namespace {

// -- bytes --------------------------------------------------------------------------------------------------------------------

template <class Schema, class Fill>
std::vector<std::byte> to_bytes(Fill&& fill) {
  capnp::MallocMessageBuilder message;
  fill(message.initRoot<Schema>());
  auto words = capnp::messageToFlatArray(message);
  std::vector<std::byte> result(words.size() * sizeof(capnp::word));
  std::memcpy(result.data(), words.begin(), result.size());
  return result;
}

template <class Root>
void check_version(Root root) {
  require(root.getVersion() == wire::SCHEMA_VERSION, "schema version " + std::to_string(root.getVersion()) + "; this program reads "
                                                       + std::to_string(wire::SCHEMA_VERSION));
}

template <class Schema, class Read>
auto from_bytes(const char* what, std::span<const std::byte> bytes, Read&& body)
  -> caf::expected<decltype(body(std::declval<typename Schema::Reader>()))> {
  return guarded(ec::bad_checkpoint, what, [&] {
    require(!bytes.empty() && bytes.size() % sizeof(capnp::word) == 0, "the message is cut off");
    auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
    std::memcpy(words.begin(), bytes.data(), bytes.size());
    capnp::ReaderOptions options;
    options.traversalLimitInWords = 8 * words.size() + 1024;
    capnp::FlatArrayMessageReader reader{words, options};
    auto root = reader.getRoot<Schema>();
    check_version(root);
    return body(root);
  });
}

template <class Builder, class Values>
void put(Builder to, const Values& values) {
  for (unsigned i = 0; i < to.size(); ++i)
    to.set(i, values[i]);
}

unsigned count(const auto& values) {
  return static_cast<unsigned>(values.size());
}

template <class Value, class Reader>
std::vector<Value> get(Reader from) {
  std::vector<Value> result;
  result.reserve(from.size());
  for (auto value : from)
    result.push_back(Value(value));
  return result;
}

template <class Structs>
Structs get_structs(const char* field, Structs from) {
  require(takes_room(from), std::string{field} + ": structs of less than a word");
  return from;
}

void put_values(capnp::List<wire::NameValue>::Builder to, const model::name_values& values) {
  for (unsigned i = 0; i < to.size(); ++i) {
    to[i].setName(values[i].first);
    to[i].setValue(values[i].second);
  }
}

// -- graph: out -----------------------------------------------------------------------------------------------------------

void put_attribute(wire::Attribute::Builder to, const std::string& name, const model::attribute& value) {
  to.setName(name);
  struct {
    wire::Attribute::Builder& to;
    void operator()(bool v) { to.setFlag(v); }
    void operator()(std::int64_t v) { to.setInteger(v); }
    void operator()(double v) { to.setNumber(v); }
    void operator()(const std::string& v) { to.setText(v); }
    void operator()(const std::vector<std::int64_t>& v) { put(to.initIntegers(count(v)), v); }
    void operator()(const std::vector<double>& v) { put(to.initNumbers(count(v)), v); }
  } visitor{to};
  std::visit(visitor, value);
}

void put_node(wire::Node::Builder to, const model::node& x) {
  to.setOp(x.op);
  to.setVersion(x.version);
  to.setPath(x.path);
  put(to.initInputs(count(x.inputs)), x.inputs);
  put(to.initOutputs(count(x.outputs)), x.outputs);
  auto attributes = to.initAttributes(count(x.attrs));
  unsigned i = 0;
  for (const auto& [name, value] : x.attrs)
    put_attribute(attributes[i++], name, value);
}

void put_parameter(wire::Parameter::Builder to, const model::parameter& x) {
  to.setPath(x.path);
  to.setValue(x.value);
  to.setRule(static_cast<std::uint8_t>(x.rule));
  to.setScale(x.scale);
  to.setScaleLast(x.scale_last);
  to.setTrainable(x.trainable);
  to.setDecay(x.decay);
  put(to.initData(count(x.data)), x.data);
}

void put_graph(wire::Graph::Builder to, const model::graph& x) {
  to.setVersion(wire::SCHEMA_VERSION);
  auto values = to.initValues(count(x.values));
  for (unsigned i = 0; i < values.size(); ++i)
    put(values[i].initExtents(count(x.values[i])), x.values[i]);
  auto inputs = to.initInputs(count(x.inputs));
  for (unsigned i = 0; i < inputs.size(); ++i) {
    inputs[i].setPath(x.inputs[i].path);
    inputs[i].setRole(static_cast<std::uint8_t>(x.inputs[i].role));
    inputs[i].setValue(x.inputs[i].value);
  }
  auto parameters = to.initParameters(count(x.parameters));
  for (unsigned i = 0; i < parameters.size(); ++i)
    put_parameter(parameters[i], x.parameters[i]);
  auto nodes = to.initNodes(count(x.nodes));
  for (unsigned i = 0; i < nodes.size(); ++i)
    put_node(nodes[i], x.nodes[i]);
  auto outputs = to.initOutputs(count(x.outputs));
  for (unsigned i = 0; i < outputs.size(); ++i) {
    outputs[i].setPath(x.outputs[i].path);
    outputs[i].setRole(static_cast<std::uint8_t>(x.outputs[i].role));
    outputs[i].setValue(x.outputs[i].value);
    outputs[i].setWeight(x.outputs[i].weight);
  }
}

// -- graph: in ------------------------------------------------------------------------------------------------------------

template <class Enum>
Enum get_enum(std::uint8_t value, Enum last, const std::string& path) {
  require(value <= static_cast<std::uint8_t>(last), path + ": role or rule " + std::to_string(value) + " is unknown");
  return static_cast<Enum>(value);
}

model::attribute get_attribute(wire::Attribute::Reader from) {
  switch (from.which()) {
    case wire::Attribute::FLAG: return from.getFlag();
    case wire::Attribute::INTEGER: return from.getInteger();
    case wire::Attribute::NUMBER: return from.getNumber();
    case wire::Attribute::TEXT: return std::string{from.getText()};
    case wire::Attribute::INTEGERS: return get<std::int64_t>(from.getIntegers());
    case wire::Attribute::NUMBERS: return get<double>(from.getNumbers());
  }
  throw std::invalid_argument("attribute " + std::string{from.getName()} + " has an unknown type");
}

model::node get_node(wire::Node::Reader from) {
  model::node x{.op = from.getOp(), .version = from.getVersion(), .path = from.getPath(),
                .inputs = get<model::value_id>(from.getInputs()), .outputs = get<model::value_id>(from.getOutputs()), .attrs = {}};
  for (auto attribute : get_structs("attributes", from.getAttributes()))
    require(x.attrs.emplace(attribute.getName(), get_attribute(attribute)).second,
            x.path + ": attribute " + std::string{attribute.getName()} + " is there twice");
  return x;
}

model::parameter get_parameter(wire::Parameter::Reader from) {
  return {.path = from.getPath(), .value = from.getValue(), .rule = get_enum(from.getRule(), model::init::given, from.getPath()),
          .scale = from.getScale(), .scale_last = from.getScaleLast(), .trainable = from.getTrainable(),
          .decay = from.getDecay(), .data = get<double>(from.getData())};
}

constexpr std::int64_t most_elements = std::int64_t{1} << 32; // of one value, a batch counted as one row

void check_shape(const model::shape& s) {
  std::int64_t elements = 1;
  for (std::size_t i = 0; i < s.size(); ++i) {
    require((i == 0 && s[i] == model::batch) || (s[i] >= 0 && s[i] <= most_elements), "extent " + std::to_string(s[i]));
    auto extent = s[i] == model::batch ? 1 : s[i];
    require(extent == 0 || elements <= most_elements / extent, "a value has too many elements");
    elements *= extent;
  }
}

/// Every value has one source, and stands before its use.
class source_check {
public:
  explicit source_check(std::size_t values) : made_(values) {}
  void makes(model::value_id id, const std::string& path) {
    in_range(id, path);
    require(!made_[static_cast<std::size_t>(id)], path + ": value " + std::to_string(id) + " has two sources");
    made_[static_cast<std::size_t>(id)] = true;
  }
  void uses(model::value_id id, const std::string& path) {
    in_range(id, path);
    require(made_[static_cast<std::size_t>(id)], path + ": value " + std::to_string(id) + " is used before it is made");
  }

private:
  void in_range(model::value_id id, const std::string& path) const {
    require(id >= 0 && static_cast<std::size_t>(id) < made_.size(), path + ": there is no value " + std::to_string(id));
  }
  std::vector<bool> made_;
};

void check_graph(const model::graph& x) {
  for (const auto& s : x.values)
    check_shape(s);
  source_check sources{x.values.size()};
  for (const auto& input : x.inputs)
    sources.makes(input.value, input.path);
  for (const auto& parameter : x.parameters) {
    sources.makes(parameter.value, parameter.path);
    const auto& extent = x.values[static_cast<std::size_t>(parameter.value)];
    require(!model::is_batched(extent), parameter.path + ": a parameter has a batch");
    auto size = static_cast<std::size_t>(model::elements(extent));
    auto given = parameter.rule == model::init::given;
    require(given || parameter.trainable, parameter.path + ": neither trained nor given");
    require(parameter.data.size() == (given ? size : 0), parameter.path + ": expected " + std::to_string(given ? size : 0)
                                                           + " numbers, found " + std::to_string(parameter.data.size()));
  }
  for (const auto& node : x.nodes) {
    for (auto id : node.inputs)
      sources.uses(id, node.path);
    for (auto id : node.outputs)
      sources.makes(id, node.path);
  }
  for (const auto& output : x.outputs)
    sources.uses(output.value, output.path);
}

model::graph get_graph(wire::Graph::Reader from) {
  model::graph x;
  for (auto value : get_structs("values", from.getValues()))
    x.values.push_back(get<std::int64_t>(value.getExtents()));
  for (auto input : get_structs("inputs", from.getInputs()))
    x.inputs.push_back({input.getPath(), get_enum(input.getRole(), model::input_role::state, input.getPath()), input.getValue()});
  for (auto parameter : get_structs("parameters", from.getParameters()))
    x.parameters.push_back(get_parameter(parameter));
  for (auto node : get_structs("nodes", from.getNodes()))
    x.nodes.push_back(get_node(node));
  for (auto output : get_structs("outputs", from.getOutputs()))
    x.outputs.push_back({output.getPath(), get_enum(output.getRole(), model::output_role::diagnostic, output.getPath()),
                         output.getValue(), output.getWeight()});
  check_graph(x);
  return x;
}

// -- facts and run --------------------------------------------------------------------------------------------------------

void put_facts(wire::DataFacts::Builder to, const model::data_facts& x) {
  to.setVersion(wire::SCHEMA_VERSION);
  to.setKind(x.kind);
  put(to.initFeatures(count(x.features)), x.features);
  put(to.initOutputs(count(x.outputs)), x.outputs);
  auto categories = to.initCategories(count(x.categories));
  for (unsigned i = 0; i < categories.size(); ++i) {
    categories[i].setColumn(x.categories[i].column);
    categories[i].setCount(x.categories[i].count);
    categories[i].setWidth(x.categories[i].width);
    categories[i].setFirst(x.categories[i].first);
  }
  to.setHistory(x.history);
  to.setHorizon(x.horizon);
  to.setLinesPerDay(x.lines_per_day);
  to.setIntervalSeconds(x.interval_seconds);
  put(to.initMean(count(x.mean)), x.mean);
  put(to.initDeviation(count(x.deviation)), x.deviation);
  put(to.initTargetMean(count(x.target_mean)), x.target_mean);
  put(to.initTargetDeviation(count(x.target_deviation)), x.target_deviation);
  put(to.initTargetLeast(count(x.target_least)), x.target_least);
  put(to.initTargetGreatest(count(x.target_greatest)), x.target_greatest);
  to.setMeanAll(x.mean_all);
  to.setDeviationAll(x.deviation_all);
  to.setFingerprint(x.fingerprint);
}

model::data_facts get_facts(wire::DataFacts::Reader from) {
  model::data_facts x;
  x.kind = from.getKind();
  require(x.kind == "window" || x.kind == "row", "kind: expected window or row, found '" + x.kind + "'");
  x.features = get<std::string>(from.getFeatures());
  x.outputs = get<std::string>(from.getOutputs());
  for (auto c : get_structs("categories", from.getCategories()))
    x.categories.push_back({c.getColumn(), c.getCount(), c.getWidth(), c.getFirst()});
  x.history = from.getHistory();
  x.horizon = from.getHorizon();
  x.lines_per_day = from.getLinesPerDay();
  x.interval_seconds = from.getIntervalSeconds();
  for (auto lines : {x.history, x.horizon, x.lines_per_day, x.interval_seconds})
    require(lines >= 0 && lines <= most_elements, "a number of lines or seconds is " + std::to_string(lines));
  x.mean = get<double>(from.getMean());
  x.deviation = get<double>(from.getDeviation());
  x.target_mean = get<double>(from.getTargetMean());
  x.target_deviation = get<double>(from.getTargetDeviation());
  x.target_least = get<double>(from.getTargetLeast());
  x.target_greatest = get<double>(from.getTargetGreatest());
  x.mean_all = from.getMeanAll();
  x.deviation_all = from.getDeviationAll();
  x.fingerprint = from.getFingerprint();
  return x;
}

} // namespace

std::vector<std::byte> encode(const model::graph& x) {
  return to_bytes<wire::Graph>([&](wire::Graph::Builder to) { put_graph(to, x); });
}

std::vector<std::byte> encode(const model::data_facts& x) {
  return to_bytes<wire::DataFacts>([&](wire::DataFacts::Builder to) { put_facts(to, x); });
}

msg<wire::RunDefinition> write(const model::run_definition& x) {
  return msg<wire::RunDefinition>::make([&](wire::RunDefinition::Builder to) {
    to.setVersion(wire::SCHEMA_VERSION);
    auto settings = model::to_name_values(x.settings);
    put_values(to.initSettings(count(settings)), settings);
    put_facts(to.initFacts(), x.facts);
    put_graph(to.initNetwork(), x.network);
    to.setTotalSteps(x.total_steps);
    to.setStepsPerEpoch(x.steps_per_epoch);
    to.setKernels(x.kernels);
  }, 16384);
}

caf::expected<model::graph> decode_graph(std::span<const std::byte> bytes) {
  return from_bytes<wire::Graph>("graph", bytes, [](wire::Graph::Reader from) { return get_graph(from); });
}

caf::expected<model::data_facts> decode_facts(std::span<const std::byte> bytes) {
  return from_bytes<wire::DataFacts>("data facts", bytes, [](wire::DataFacts::Reader from) { return get_facts(from); });
}

caf::expected<model::run_definition> read(const msg<wire::RunDefinition>& m) {
  return guarded("run definition", m, [](wire::RunDefinition::Reader from) {
    check_version(from);
    model::name_values values;
    for (auto v : get_structs("settings", from.getSettings())) {
      require(v.getName().size() <= 256, "a setting's name is too long"); // before anything looks for one that is near to it
      values.emplace_back(v.getName(), v.getValue());
    }
    auto settings = model::from_name_values(values);
    require(static_cast<bool>(settings), settings ? "" : text_of(settings.error()));
    model::run_definition x;
    x.settings = std::move(*settings);
    x.facts = get_facts(from.getFacts());
    x.network = get_graph(from.getNetwork());
    x.layout = model::layout_of(x.network);
    x.total_steps = from.getTotalSteps();
    x.steps_per_epoch = from.getStepsPerEpoch();
    require(x.total_steps >= 0 && x.steps_per_epoch >= 1, "steps: " + std::to_string(x.total_steps) + " in all, "
                                                            + std::to_string(x.steps_per_epoch) + " an epoch");
    x.kernels = from.getKernels();
    return x;
  });
}

} // namespace enn::serialization
