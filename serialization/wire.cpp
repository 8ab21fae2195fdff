#include <enn/serialization/wire.hpp>

#include <enn/model/config/text.hpp>
#include <enn/serialization/build.hpp>
#include <enn/serialization/reading.hpp>
#include <enn/serialization/schema/graph.capnp.h>
#include <enn/serialization/xxh3.hpp>

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace enn::serialization {
namespace {

static_assert(std::endian::native == std::endian::little, "floats travel as their little-endian bytes");

// -- checks -----------------------------------------------------------------------------------------------------------------

void expect(bool good, const char* field, const std::string& expected, const std::string& found) {
  if (!good)
    throw std::invalid_argument(std::string{field} + ": expected " + expected + ", found " + found);
}

void at_most(const char* field, std::uint64_t found, std::uint64_t most) {
  expect(found <= most, field, "at most " + std::to_string(most), std::to_string(found));
}

void exactly(const char* field, std::uint64_t found, std::uint64_t expected) {
  expect(found == expected, field, std::to_string(expected), std::to_string(found));
}

/// A list of at most so many structs.
template <class Structs>
Structs get_structs(const char* field, Structs from, std::uint64_t most) {
  at_most(field, from.size(), most);
  expect(takes_room(from), field, "structs of a word or more", "shorter ones");
  return from;
}

// -- flat vectors -------------------------------------------------------------------------------------------------------------

using chunk_list = capnp::List<capnp::Data>;
constexpr std::uint64_t chunk_floats = chunk_bytes / sizeof(float);

std::uint64_t chunks_of(std::uint64_t floats) {
  return (floats + chunk_floats - 1) / chunk_floats;
}

std::span<const float> chunk(std::span<const float> all, std::uint64_t number) {
  auto first = number * chunk_floats;
  return all.subspan(first, std::min<std::uint64_t>(chunk_floats, all.size() - first));
}

/// A message can refer to whole words only. Each chunk becomes a segment: few numbers are not worth one, and a reader takes a limited
/// number of them.
bool may_refer(std::span<const float> all) {
  return all.size() % 2 == 0 && all.size_bytes() >= chunk_bytes / 16 && chunks_of(all.size()) < frame::max_segments / 2;
}

/// Copies them, or refers to them where they are.
void put(chunk_list::Builder to, std::span<const float> all, bool refers) {
  for (unsigned i = 0; i < to.size(); ++i) {
    auto part = std::as_bytes(chunk(all, i));
    capnp::Data::Reader bytes{reinterpret_cast<const capnp::byte*>(part.data()), part.size()};
    if (refers)
      to.adopt(i, capnp::Orphanage::getForMessageContaining(to).referenceExternalData(bytes));
    else
      to.set(i, bytes);
  }
}

void get(const char* field, chunk_list::Reader from, std::span<float> into, std::uint64_t first_chunk = 0) {
  at_most(field, first_chunk + from.size(), chunks_of(into.size()));
  for (unsigned i = 0; i < from.size(); ++i) {
    auto part = chunk(into, first_chunk + i);
    exactly(field, from[i].size(), part.size_bytes());
    std::memcpy(into.data() + (first_chunk + i) * chunk_floats, from[i].begin(), part.size_bytes());
  }
}

/// The chunks as one span, if they lie one after the other, as a builder of ours lays them; else nothing.
std::span<const float> in_one_piece(chunk_list::Reader from) {
  std::span<const float> all;
  for (auto part : from) {
    auto* first = reinterpret_cast<const float*>(part.begin());
    if (!all.empty() && first != all.data() + all.size())
      return {};
    all = {all.empty() ? first : all.data(), all.size() + part.size() / sizeof(float)};
  }
  return all;
}

/// The whole vector: as many chunks as `size` floats need, no more. They are there before memory is taken for them.
flat_vector get_all(const char* field, const frame& whole, chunk_list::Reader from, std::uint64_t size) {
  exactly(field, from.size(), chunks_of(size));
  for (unsigned i = 0; i < from.size(); ++i)
    exactly(field, from[i].size(), sizeof(float) * std::min<std::uint64_t>(size - i * chunk_floats, chunk_floats));
  if (auto seen = in_one_piece(from); !seen.empty())
    return {whole, seen};
  flat_vector::owned result(size);
  get(field, from, result);
  return result;
}

/// A chunk that is referred to takes a pointer and two words to follow it by.
std::uint64_t hint(std::uint64_t floats, std::uint64_t others = 0, bool refers = false) {
  return (refers ? 0 : floats / 2) + chunks_of(floats) * 4 + others + 128;
}

// -- lists and enumerations -----------------------------------------------------------------------------------------------

template <class Value>
std::vector<Value> get_list(typename capnp::List<Value>::Reader from) {
  std::vector<Value> result;
  result.reserve(from.size());
  for (auto value : from)
    result.push_back(value);
  return result;
}

std::vector<std::uint64_t> get_rows(capnp::List<std::uint64_t>::Reader from, std::uint64_t most) {
  at_most("rows", from.size(), most);
  return get_list<std::uint64_t>(from);
}

template <class Builder, class Values>
void put_list(Builder to, const Values& values) {
  for (unsigned i = 0; i < to.size(); ++i)
    to.set(i, values[i]);
}

wire::Kind put_kind(model::lease_kind kind) {
  return static_cast<wire::Kind>(kind);
}

model::lease_kind get_kind(wire::Kind kind) {
  at_most("kind", static_cast<std::uint64_t>(kind), static_cast<std::uint64_t>(model::lease_kind::predict));
  return static_cast<model::lease_kind>(kind);
}

/// Rungs 1 to 3 do not exist yet.
model::rung get_rung(std::uint8_t number) {
  auto rung = static_cast<model::rung>(number);
  expect(rung == model::rung::fast || rung == model::rung::master, "rung", "0 or 4", std::to_string(number));
  return rung;
}

weights_id get_id(wire::WeightsId::Reader from) {
  return {from.getStep(), from.getAveraged()};
}

void put_id(wire::WeightsId::Builder to, weights_id id) {
  to.setStep(id.step);
  to.setAveraged(id.averaged);
}

double get_denominator(double value) {
  expect(std::isfinite(value) && value >= 0, "denominator", "a finite number, not negative", std::to_string(value));
  return value;
}

void check_range(std::uint32_t first, std::uint32_t count) {
  expect(std::has_single_bit(count) && first % count == 0 && count <= 4096, "range",
         "a power of two of leases at a multiple of it", std::to_string(first) + "+" + std::to_string(count));
}

void put_health(wire::Health::Builder to, const model::numeric_health& x) {
  to.setNonfinite(x.nonfinite);
  to.setFirstNode(x.first_node);
  to.setInputsFinite(x.inputs_finite);
  to.setParametersFinite(x.parameters_finite);
  to.setLargest(x.largest);
  to.setOutOfRange(!x.in_range);
  put_list(to.initInputRows(static_cast<unsigned>(x.input_rows.size())), x.input_rows);
  put_list(to.initRows(static_cast<unsigned>(x.rows.size())), x.rows);
}

model::numeric_health get_health(wire::Health::Reader from, const bounds& limits) {
  return {from.getNonfinite(), from.getFirstNode(), from.getInputsFinite(), from.getParametersFinite(), from.getLargest(),
          !from.getOutOfRange(), get_rows(from.getInputRows(), limits.rows), get_rows(from.getRows(), limits.rows)};
}

std::uint64_t numbers_expected(model::lease_kind kind, std::uint64_t rows, const bounds& limits) {
  switch (kind) {
    case model::lease_kind::train: return limits.parameters;
    case model::lease_kind::evaluate: return 0;
    case model::lease_kind::predict: return rows * limits.target_size;
  }
  return 0;
}

} // namespace

bounds bounds_of(const model::run_definition& run) {
  bounds result;
  result.parameters = static_cast<std::uint64_t>(run.layout.size);
  result.feature_size = static_cast<std::uint64_t>(run.facts.feature_size());
  result.calendar_size = static_cast<std::uint64_t>(run.facts.calendar_size());
  result.target_size = static_cast<std::uint64_t>(run.facts.target_size());
  result.lease_rows = static_cast<std::uint64_t>(run.settings.train.batch_rows);
  for (const auto& output : run.network.outputs)
    result.losses += output.role == model::output_role::loss;
  return result;
}

// -- leases and blocks --------------------------------------------------------------------------------------------------------

msg<wire::Lease> write(const lease& x) {
  return msg<wire::Lease>::make([&](wire::Lease::Builder to) {
    to.setTask(x.task);
    to.setKind(put_kind(x.kind));
    to.setStep(x.step);
    to.setIndex(x.index);
    to.setAttempt(x.attempt);
    put_id(to.initWeights(), x.weights);
    to.setStart(static_cast<std::uint8_t>(x.start));
    put_list(to.initRows(static_cast<unsigned>(x.rows.size())), x.rows);
    to.setDenominator(x.denominator);
  }, 64 + x.rows.size());
}

caf::expected<lease> read(const msg<wire::Lease>& m, const bounds& limits) {
  return guarded("lease", m, [&](wire::Lease::Reader from) {
    lease x;
    x.task = from.getTask();
    x.kind = get_kind(from.getKind());
    x.step = from.getStep();
    x.index = from.getIndex();
    x.attempt = from.getAttempt();
    x.weights = get_id(from.getWeights());
    x.start = get_rung(from.getStart());
    x.rows = get_rows(from.getRows(), limits.lease_rows);
    x.denominator = get_denominator(from.getDenominator());
    return x;
  });
}

std::uint64_t hash_of(const block& x) {
  auto losses = XXH3_64bits(x.losses.data(), x.losses.size() * sizeof(double));
  auto numbers = x.numbers.view();
  return XXH3_64bits_withSeed(numbers.data(), numbers.size_bytes(), losses);
}

msg<wire::Block> write(block given) {
  auto kept = std::make_shared<const block>(std::move(given));
  const auto& x = *kept;
  const auto chunks = static_cast<unsigned>(chunks_of(x.numbers.size()));
  const auto refers = may_refer(x.numbers);
  auto others = x.rows.size() + x.rungs.size() + x.losses.size() + x.health.rows.size() + x.health.input_rows.size();
  return msg<wire::Block>::make([&](wire::Block::Builder to) {
    to.setTask(x.task);
    to.setKind(put_kind(x.kind));
    to.setStep(x.step);
    to.setFirst(x.first);
    to.setCount(x.count);
    auto rungs = to.initRungs(static_cast<unsigned>(x.rungs.size()));
    std::transform(x.rungs.begin(), x.rungs.end(), rungs.begin(), [](model::rung r) { return static_cast<capnp::byte>(r); });
    put_list(to.initLosses(static_cast<unsigned>(x.losses.size())), x.losses);
    put_health(to.initHealth(), x.health);
    to.setSize(x.numbers.size());
    put(to.initChunks(chunks), x.numbers, refers);
    put_list(to.initRows(static_cast<unsigned>(x.rows.size())), x.rows);
    to.setChecked(x.checked);
    to.setMended(x.mended);
    to.setHash(hash_of(x));
  }, hint(x.numbers.size(), others, refers), kept);
}

namespace {

block get_head(wire::Block::Reader from, const bounds& limits) {
  block x;
  x.task = from.getTask();
  x.kind = get_kind(from.getKind());
  x.step = from.getStep();
  x.first = from.getFirst();
  x.count = from.getCount();
  check_range(x.first, x.count);
  exactly("rungs", from.getRungs().size(), x.count);
  for (auto rung : from.getRungs())
    x.rungs.push_back(get_rung(rung));
  exactly("losses", from.getLosses().size(), x.kind == model::lease_kind::predict ? 0 : limits.losses);
  x.losses = get_list<double>(from.getLosses());
  x.health = get_health(from.getHealth(), limits);
  x.rows = get_rows(from.getRows(), limits.lease_rows);
  x.checked = from.getChecked();
  x.mended = from.getMended();
  expect(x.mended <= x.checked && x.checked <= x.count, "checked, mended", "at most " + std::to_string(x.count) + ", at most that",
         std::to_string(x.checked) + ", " + std::to_string(x.mended));
  exactly("size", from.getSize(), numbers_expected(x.kind, x.rows.size(), limits));
  x.hash = from.getHash();
  return x;
}

} // namespace

caf::expected<block> read(const msg<wire::Block>& m, const bounds& limits) {
  return guarded("block", m, [&](wire::Block::Reader from) {
    auto x = get_head(from, limits);
    x.numbers = get_all("chunks", m.data(), from.getChunks(), from.getSize());
    if (m.data().arrived())
      exactly("hash", hash_of(x), x.hash);
    return x;
  });
}

bool is_bulky(const msg<wire::Block>& m, std::uint64_t most_bytes) {
  return m.data().size_words() * sizeof(capnp::word) > most_bytes;
}

msg<wire::Block> head_of(const msg<wire::Block>& m) {
  auto reader = m.data().reader();
  auto from = reader.getRoot<wire::Block>();
  return msg<wire::Block>::make([&](wire::Block::Builder to) {
    to.setTask(from.getTask());
    to.setKind(from.getKind());
    to.setStep(from.getStep());
    to.setFirst(from.getFirst());
    to.setCount(from.getCount());
    to.setRungs(from.getRungs());
    to.setLosses(from.getLosses());
    to.setHealth(from.getHealth());
    to.setSize(from.getSize());
    to.setRows(from.getRows());
    to.setHash(from.getHash());
  });
}

caf::expected<block> read_head(const msg<wire::Block>& m, const bounds& limits) {
  return guarded("block", m, [&](wire::Block::Reader from) {
    auto x = get_head(from, limits);
    exactly("chunks", from.getChunks().size(), 0);
    x.numbers.edit().resize(from.getSize(), 0.0f); // until its pieces arrive
    return x;
  });
}

caf::expected<msg<wire::Piece>> piece_of(const msg<wire::Block>& m, std::uint32_t first) {
  return guarded("block", m, [&](wire::Block::Reader from) {
    auto chunks = from.getChunks();
    expect(first < chunks.size(), "first chunk", "less than " + std::to_string(chunks.size()), std::to_string(first));
    auto count = std::min<unsigned>(bulk_chunks, chunks.size() - first);
    return msg<wire::Piece>::make([&](wire::Piece::Builder to) {
      to.setSize(from.getSize());
      to.setFirstChunk(first);
      auto list = to.initChunks(count);
      for (unsigned i = 0; i < count; ++i)
        list.set(i, chunks[first + i]);
    }, hint(count * chunk_floats));
  });
}

caf::expected<std::uint32_t> read_piece(const msg<wire::Piece>& m, block& into) {
  return guarded("piece", m, [&](wire::Piece::Reader from) -> std::uint32_t {
    exactly("size", from.getSize(), into.numbers.size());
    expect(from.getChunks().size() > 0, "chunks", "at least one", "none");
    get("chunks", from.getChunks(), into.numbers.edit(), from.getFirstChunk());
    auto next = from.getFirstChunk() + from.getChunks().size();
    return next == chunks_of(into.numbers.size()) ? 0 : next;
  });
}

caf::expected<void> check_hash(const block& x) {
  if (auto found = hash_of(x); found != x.hash)
    return fail(ec::protocol, "block: hash: expected " + std::to_string(x.hash) + ", found " + std::to_string(found));
  return caf::unit;
}

msg<wire::Failure> write(const failure& x) {
  return msg<wire::Failure>::make([&](wire::Failure::Builder to) {
    to.setTask(x.task);
    to.setIndex(x.index);
    to.setAttempt(x.attempt);
    to.setCause(x.cause);
  });
}

caf::expected<failure> read(const msg<wire::Failure>& m) {
  return guarded("failure", m, [](wire::Failure::Reader from) {
    return failure{from.getTask(), from.getIndex(), from.getAttempt(), from.getCause()};
  });
}

// -- nodes and weights --------------------------------------------------------------------------------------------------------

std::string machine_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

enlistment enlist(std::string cluster, std::string name, std::uint32_t workers, std::string kernels) {
  return {std::move(cluster), "enn " + std::string{program_version()}, wire::SCHEMA_VERSION, machine_name(), workers,
          std::move(kernels), std::move(name)};
}

msg<wire::Enlistment> write(const enlistment& x) {
  return msg<wire::Enlistment>::make([&](wire::Enlistment::Builder to) {
    to.setCluster(x.cluster);
    to.setBuild(x.build);
    to.setSchema(x.schema);
    to.setMachine(x.machine);
    to.setWorkers(x.workers);
    to.setKernels(x.kernels);
    to.setName(x.name);
  });
}

caf::expected<enlistment> read(const msg<wire::Enlistment>& m) {
  return guarded("enlistment", m, [](wire::Enlistment::Reader from) {
    at_most("workers", from.getWorkers(), 1024);
    return enlistment{from.getCluster(), from.getBuild(), from.getSchema(), from.getMachine(), from.getWorkers(), from.getKernels(),
                      from.getName()};
  });
}

msg<wire::Members> write(const member_list& x) {
  return msg<wire::Members>::make([&](wire::Members::Builder to) {
    to.setStep(x.step);
    to.setTotalSteps(x.total_steps);
    auto list = to.initMembers(static_cast<unsigned>(x.members.size()));
    for (unsigned i = 0; i < list.size(); ++i) {
      const auto& m = x.members[i];
      list[i].setName(m.name);
      list[i].setMachine(m.machine);
      list[i].setWorkers(m.workers);
      list[i].setEpoch(m.epoch);
      list[i].setLeasesOut(m.leases_out);
      list[i].setLeasesDone(m.leases_done);
      list[i].setSilentTicks(m.silent_ticks);
      list[i].setDraining(m.draining);
    }
  });
}

caf::expected<member_list> read(const msg<wire::Members>& m) {
  return guarded("members", m, [](wire::Members::Reader from) {
    member_list x{from.getStep(), from.getTotalSteps(), {}};
    for (auto each : get_structs("members", from.getMembers(), 65536))
      x.members.push_back({each.getName(), each.getMachine(), each.getWorkers(), each.getEpoch(), each.getLeasesOut(),
                           each.getLeasesDone(), each.getSilentTicks(), each.getDraining()});
    return x;
  });
}

caf::expected<void> check_same(const enlistment& ours, const enlistment& theirs) {
  auto differ = [](const char* field, const std::string& expected, const std::string& found) {
    return fail(ec::protocol, std::string{"enlistment refused: "} + field + " is " + found + " there, " + expected + " here");
  };
  if (ours.cluster != theirs.cluster)
    return differ("cluster", ours.cluster, theirs.cluster);
  if (ours.build != theirs.build)
    return differ("build", ours.build, theirs.build);
  if (ours.schema != theirs.schema)
    return differ("schema version", std::to_string(ours.schema), std::to_string(theirs.schema));
  if (ours.kernels != theirs.kernels)
    return differ("kernel set", ours.kernels, theirs.kernels);
  return caf::unit;
}

msg<wire::Weights> write_weights(weights_id id, std::span<const float> values, std::uint32_t first_chunk, std::uint32_t chunks,
                                 std::shared_ptr<const void> owner) {
  auto count = chunks_of(values.size()) - first_chunk;
  if (chunks != all_chunks)
    count = std::min<std::uint64_t>(count, chunks);
  auto part = values.subspan(first_chunk * chunk_floats, std::min(count * chunk_floats, values.size() - first_chunk * chunk_floats));
  auto refers = owner && may_refer(part);
  return msg<wire::Weights>::make([&](wire::Weights::Builder to) {
    put_id(to.initId(), id);
    to.setSize(values.size());
    to.setFirstChunk(first_chunk);
    put(to.initChunks(static_cast<unsigned>(count)), part, refers);
  }, hint(part.size(), 0, refers), std::move(owner));
}

caf::expected<std::uint32_t> read_weights(const msg<wire::Weights>& m, weights_id id, std::uint64_t size, flat_vector& into) {
  return guarded("weights", m, [&](wire::Weights::Reader from) -> std::uint32_t {
    auto found = get_id(from.getId());
    expect(found == id, "id", "step " + std::to_string(id.step), "step " + std::to_string(found.step));
    exactly("size", from.getSize(), size);
    auto chunks = from.getChunks();
    if (chunks.size() == chunks_of(size) && from.getFirstChunk() == 0) {
      into = get_all("chunks", m.data(), chunks, size);
      return 0;
    }
    expect(chunks.size() > 0, "chunks", "at least one", "none"); // or the next would be asked for for ever
    into.edit().resize(size, 0.0f);
    get("chunks", chunks, into.edit(), from.getFirstChunk());
    auto next = from.getFirstChunk() + chunks.size();
    return next == chunks_of(size) ? 0 : next;
  });
}

// -- rows ---------------------------------------------------------------------------------------------------------------------

msg<wire::Rows> write(const row_list& x) {
  return msg<wire::Rows>::make([&](wire::Rows::Builder to) {
    to.setStep(x.step);
    put_list(to.initRows(static_cast<unsigned>(x.rows.size())), x.rows);
    to.setDenominator(x.denominator);
  }, 32 + x.rows.size());
}

caf::expected<row_list> read(const msg<wire::Rows>& m, const bounds& limits) {
  return guarded("rows", m, [&](wire::Rows::Reader from) {
    return row_list{from.getStep(), get_rows(from.getRows(), limits.rows), get_denominator(from.getDenominator())};
  });
}

namespace {

template <class Value>
void put_values(capnp::List<capnp::Data>::Builder to, unsigned row, const std::vector<Value>& values) {
  auto size = values.size() * sizeof(Value);
  auto bytes = to.init(row, static_cast<unsigned>(size));
  std::copy_n(reinterpret_cast<const capnp::byte*>(values.data()), size, bytes.begin()); // perhaps none, as of no calendar
}

template <class Value>
std::vector<Value> get_values(const char* field, capnp::Data::Reader from, std::uint64_t size) {
  exactly(field, from.size(), size * sizeof(Value));
  std::vector<Value> values(size);
  std::copy_n(from.begin(), from.size(), reinterpret_cast<capnp::byte*>(values.data()));
  return values;
}

} // namespace

msg<wire::RawRows> write(const raw_rows& x) {
  auto count = static_cast<unsigned>(x.rows.size());
  std::uint64_t numbers = 0;
  for (const auto& v : x.values)
    numbers += v.features.size() + v.targets.size() + v.mask.size() + 2 * v.calendar.size() + 16;
  return msg<wire::RawRows>::make([&](wire::RawRows::Builder to) {
    put_list(to.initRows(count), x.rows);
    auto features = to.initFeatures(count), calendar = to.initCalendar(count), targets = to.initTargets(count),
         masks = to.initMasks(count);
    for (unsigned i = 0; i < count; ++i) {
      put_values(features, i, x.values[i].features);
      put_values(calendar, i, x.values[i].calendar);
      put_values(targets, i, x.values[i].targets);
      put_values(masks, i, x.values[i].mask);
    }
  }, hint(numbers, x.rows.size()));
}

caf::expected<raw_rows> read(const msg<wire::RawRows>& m, const bounds& limits) {
  return guarded("raw rows", m, [&](wire::RawRows::Reader from) {
    raw_rows x;
    x.rows = get_rows(from.getRows(), limits.rows);
    exactly("features", from.getFeatures().size(), x.rows.size());
    exactly("calendar", from.getCalendar().size(), x.rows.size());
    exactly("targets", from.getTargets().size(), x.rows.size());
    exactly("masks", from.getMasks().size(), x.rows.size());
    for (unsigned i = 0; i < x.rows.size(); ++i)
      x.values.push_back({get_values<float>("features", from.getFeatures()[i], limits.feature_size),
                          get_values<float>("targets", from.getTargets()[i], limits.target_size),
                          get_values<float>("masks", from.getMasks()[i], limits.target_size),
                          get_values<double>("calendar", from.getCalendar()[i], limits.calendar_size)});
    return x;
  });
}

// -- progress -----------------------------------------------------------------------------------------------------------------

msg<wire::Progress> write(const progress& x) {
  return msg<wire::Progress>::make([&](wire::Progress::Builder to) {
    to.setStep(x.step);
    to.setTotalSteps(x.total_steps);
    to.setStepsPerEpoch(x.steps_per_epoch);
    auto terms = to.initTerms(static_cast<unsigned>(x.terms.size()));
    for (unsigned i = 0; i < terms.size(); ++i) {
      terms[i].setPath(x.terms[i].first);
      terms[i].setValue(x.terms[i].second);
    }
    to.setNorm(x.norm);
    to.setApplied(x.applied);
    to.setLearningRate(x.learning_rate);
    to.setValidated(x.validated);
    to.setValidationLoss(x.validation_loss);
    to.setBest(x.best);
    to.setRows(x.rows);
    to.setSeconds(x.seconds);
    to.setMasterLeases(x.master_leases);
    to.setReissues(x.reissues);
    to.setCheckedLeases(x.checked_leases);
    to.setMendedLeases(x.mended_leases);
    to.setFirstNonfinite(x.first_nonfinite);
  });
}

caf::expected<progress> read(const msg<wire::Progress>& m) {
  return guarded("progress", m, [](wire::Progress::Reader from) {
    progress x;
    x.step = from.getStep();
    x.total_steps = from.getTotalSteps();
    x.steps_per_epoch = from.getStepsPerEpoch();
    for (auto term : get_structs("terms", from.getTerms(), 1024))
      x.terms.emplace_back(term.getPath(), term.getValue());
    x.norm = from.getNorm();
    x.applied = from.getApplied();
    x.learning_rate = from.getLearningRate();
    x.validated = from.getValidated();
    x.validation_loss = from.getValidationLoss();
    x.best = from.getBest();
    x.rows = from.getRows();
    x.seconds = from.getSeconds();
    x.master_leases = from.getMasterLeases();
    x.reissues = from.getReissues();
    x.checked_leases = from.getCheckedLeases();
    x.mended_leases = from.getMendedLeases();
    x.first_nonfinite = from.getFirstNonfinite();
    return x;
  });
}

// -- run_state ----------------------------------------------------------------------------------------------------------------

name_values values_of(const model::run_state& state) {
  name_values result;
  model::for_each_field(state, [&](const auto& field, const auto& value) { result.emplace_back(field.name, model::to_text(value)); });
  return result;
}

caf::expected<model::run_state> state_from(const name_values& values) {
  model::run_state state;
  std::size_t known = 0;
  std::string wrong;
  model::for_each_field(state, [&](const auto& field, auto& value) {
    auto it = std::find_if(values.begin(), values.end(), [&](const auto& v) { return v.first == field.name; });
    if (it == values.end() || !model::from_text(it->second, value))
      wrong = field.name;
    else
      ++known;
  });
  if (!wrong.empty())
    return fail(ec::bad_checkpoint, "run state: '" + wrong + "' is missing or no value of its type");
  if (known != values.size())
    return fail(ec::bad_checkpoint, "run state: " + std::to_string(values.size()) + " values, " + std::to_string(known) + " known");
  return state;
}

} // namespace enn::serialization
