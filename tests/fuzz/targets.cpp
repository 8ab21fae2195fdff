#include "targets.hpp"

#include "allocations.hpp"
#include "../serialization/example_graph.hpp"

#include <enn/serialization/graph_wire.hpp>
#include <enn/serialization/wire.hpp>

#include <caf/all.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace enn::fuzz {
namespace {

using namespace serialization;
using input = std::span<const std::byte>;

void promise(bool kept, const std::string& what) {
  if (!kept)
    throw std::logic_error(what);
}

// -- bytes in and out, as CAF does it -------------------------------------------------------------------------------------

template <class Message>
caf::expected<Message> received(input sent) {
  Message m;
  caf::binary_deserializer source{nullptr, reinterpret_cast<const char*>(sent.data()), sent.size()};
  if (auto e = source(m))
    return e;
  return m;
}

template <class Message>
bytes sent(Message m) {
  std::vector<char> buffer;
  caf::binary_serializer sink{nullptr, buffer};
  promise(!sink(m), "a message that was read cannot be sent");
  bytes result(buffer.size());
  std::memcpy(result.data(), buffer.data(), buffer.size());
  return result;
}

/// An input in words has no count of words in front, so that no mutation makes it wrong: frame is fuzzed by itself.
template <class Schema>
msg<Schema> from_words(input words) {
  bytes all(sizeof(std::uint64_t));
  std::uint64_t count = words.size() / sizeof(capnp::word);
  for (int i = 0; i < 8; ++i)
    all[i] = static_cast<std::byte>(count >> (56 - 8 * i));
  all.insert(all.end(), words.begin(), words.begin() + static_cast<std::ptrdiff_t>(count * sizeof(capnp::word)));
  auto m = received<msg<Schema>>(all);
  return m ? *m : msg<Schema>{};
}

template <class Schema>
bytes words_of(const msg<Schema>& m) {
  auto all = sent(m);
  return {all.begin() + sizeof(std::uint64_t), all.end()};
}

// -- what must hold -------------------------------------------------------------------------------------------------------

/// read(bytes) and write(value), whatever they are. The second writing must give the first one's bytes: it stands for all fields,
/// NaN included.
template <class Read, class Write>
std::optional<bytes> survives(input words, ec refusal, Read&& read_it, Write&& write_it) {
  auto value = read_it(words);
  if (!value) {
    promise(code_of(value.error()) == refusal, "refused with another code: " + text_of(value.error()));
    return {};
  }
  auto written = write_it(*value);
  auto again = read_it(input{written});
  promise(static_cast<bool>(again), again ? "" : "accepted, but refused when written again: " + text_of(again.error()));
  promise(write_it(*again) == written, "changes when it is written and read");
  return written;
}

template <class Schema, class Read>
std::optional<bytes> message_survives(input words, Read&& read_it) {
  return survives(words, ec::protocol, [&](input w) { return read_it(from_words<Schema>(w)); },
                  [](const auto& value) { return words_of(write(value)); });
}

bounds limits() {
  bounds b;
  b.parameters = 40;
  b.feature_size = 4;
  b.calendar_size = 2;
  b.target_size = 3;
  b.losses = 2;
  b.lease_rows = 64;
  return b;
}

std::vector<float> floats(std::size_t size) {
  std::vector<float> result(size);
  for (std::size_t i = 0; i < size; ++i)
    result[i] = static_cast<float>(i) / 7;
  return result;
}

template <class... Values>
std::vector<bytes> written(const Values&... values) {
  return {words_of(write(values))...};
}

// -- frame ----------------------------------------------------------------------------------------------------------------

std::optional<bytes> frame_arrives(input all) {
  auto f = received<frame>(all);
  if (!f)
    return {};
  promise(f->arrived() != f->empty(), "neither empty nor arrived");
  if (!f->empty())
    promise(f->size_words() <= all.size() / sizeof(capnp::word), "larger than what was sent");
  auto again = received<frame>(sent(*f));
  promise(static_cast<bool>(again), "cannot be received again");
  auto before = f->segments(), after = again->segments();
  promise(std::equal(before.begin(), before.end(), after.begin(), after.end(),
                     [](auto a, auto b) { return a.asBytes() == b.asBytes(); }), "changes when it is sent again");
  auto m = received<msg<wire::Failure>>(all);
  promise(static_cast<bool>(m), "a frame is no message");
  read(*m); // of whatever segments, it does not crash
  return sent(*f);
}

std::vector<bytes> frame_seeds() {
  auto words = std::make_unique<capnp::MallocMessageBuilder>(8u, capnp::AllocationStrategy::FIXED_SIZE);
  words->initRoot<wire::Failure>().setCause(std::string(100, 'x')); // two segments
  return {sent(frame{}), sent(write(failure{7, 2, 1, "bang"})), sent(frame::freeze(std::move(words)))};
}

// -- leases and blocks ----------------------------------------------------------------------------------------------------

std::optional<bytes> lease_arrives(input words) {
  return message_survives<wire::Lease>(words, [](const auto& m) { return read(m, limits()); });
}

std::vector<bytes> lease_seeds() {
  lease train;
  train.task = 3;
  train.step = 12;
  train.index = 5;
  train.weights = {12, false};
  train.rows = {5, 9, 1, 77};
  train.denominator = 828;
  lease predict;
  predict.kind = model::lease_kind::predict;
  predict.index = 2;
  predict.attempt = 1;
  predict.weights = {40, true};
  predict.start = model::rung::master;
  predict.rows.resize(64, 3);
  return written(train, predict, lease{});
}

block block_of(model::lease_kind kind) {
  block b;
  b.task = 7;
  b.kind = kind;
  b.step = 12;
  b.first = 4;
  b.count = 2;
  b.rungs = {model::rung::fast, model::rung::master};
  b.health = {3, "head.base", true, false, 1e30, false, {5}, {5, 6}};
  if (kind != model::lease_kind::predict)
    b.losses = {0.5, std::numeric_limits<double>::quiet_NaN()};
  if (kind == model::lease_kind::train)
    b.numbers = flat_vector{floats(limits().parameters)};
  if (kind == model::lease_kind::predict) {
    b.rows = {8, 9};
    b.numbers = flat_vector{floats(2 * limits().target_size)};
  }
  return b;
}

constexpr model::lease_kind kinds[] = {model::lease_kind::train, model::lease_kind::evaluate, model::lease_kind::predict};

/// The number after `before` in a text.
std::uint64_t number_after(const std::string& text, std::string_view before) {
  return std::stoull(text.substr(text.find(before) + before.size()));
}

/// Nobody who means harm sends a wrong hash, and no fuzzer finds the right one: it is put in where it is all that is wrong.
std::optional<bytes> block_arrives(input words) {
  auto read_it = [](const auto& m) { return read(m, limits()); };
  auto m = from_words<wire::Block>(words);
  promise(!is_bulky(m, bulk_chunks * chunk_bytes), "too large for one message");
  auto x = read_it(m);
  if (x || text_of(x.error()).find("block: hash: ") != 0)
    return message_survives<wire::Block>(words, read_it);
  auto right = number_after(text_of(x.error()), "expected "), wrong = number_after(text_of(x.error()), "found ");
  bytes mended{words.begin(), words.end()};
  for (std::size_t at = 0; at + sizeof wrong <= mended.size(); at += sizeof wrong)
    if (std::memcmp(&mended[at], &wrong, sizeof wrong) == 0)
      std::memcpy(&mended[at], &right, sizeof right);
  return message_survives<wire::Block>(mended, read_it);
}

std::vector<bytes> block_seeds() {
  std::vector<bytes> result;
  for (auto kind : kinds)
    result.push_back(words_of(write(block_of(kind))));
  return result;
}

/// The head of a block, whose numbers follow in pieces.
std::optional<bytes> head_arrives(input words) {
  return survives(words, ec::protocol, [](input w) { return read_head(from_words<wire::Block>(w), limits()); },
                  [](const block& b) { return words_of(head_of(write(b))); });
}

std::vector<bytes> head_seeds() {
  std::vector<bytes> result;
  for (auto kind : kinds) {
    auto b = block_of(kind);
    std::ranges::fill(b.numbers.edit(), 0.f); // as long as no piece has arrived
    result.push_back(words_of(head_of(write(b))));
  }
  return result;
}

std::optional<bytes> piece_arrives(input words) {
  auto b = block_of(model::lease_kind::train);
  b.hash = hash_of(b);
  auto next = read_piece(from_words<wire::Piece>(words), b);
  if (!next) {
    promise(code_of(next.error()) == ec::protocol, "refused with another code: " + text_of(next.error()));
    return {};
  }
  promise(*next == 0, "more than one chunk");
  check_hash(b); // a liar's fails
  b.hash = hash_of(b);
  auto again = b;
  auto p = piece_of(write(b), 0);
  promise(p && read_piece(*p, again) && check_hash(again), "changes when it is written and read");
  return words_of(*p);
}

std::vector<bytes> piece_seeds() {
  return {words_of(*piece_of(write(block_of(model::lease_kind::train)), 0))};
}

std::optional<bytes> failure_arrives(input words) {
  return message_survives<wire::Failure>(words, [](const auto& m) { return read(m); });
}

std::vector<bytes> failure_seeds() {
  return written(failure{7, 2, 1, "bang"}, failure{});
}

// -- weights and rows -----------------------------------------------------------------------------------------------------

std::optional<bytes> weights_arrive(input words) {
  constexpr weights_id id{5, true};
  flat_vector values, again;
  auto next = read_weights(from_words<wire::Weights>(words), id, limits().parameters, values);
  if (!next) {
    promise(code_of(next.error()) == ec::protocol, "refused with another code: " + text_of(next.error()));
    return {};
  }
  promise(*next == 0, "more than one chunk");
  auto written = write_weights(id, values.view(), 0, bulk_chunks);
  promise(static_cast<bool>(read_weights(written, id, limits().parameters, again)), "accepted, but refused when written again");
  promise(std::memcmp(values.view().data(), again.view().data(), values.view().size_bytes()) == 0, "changes when it is written and read");
  return words_of(written);
}

std::vector<bytes> weights_seeds() {
  return {words_of(write_weights({5, true}, floats(limits().parameters)))};
}

std::optional<bytes> rows_arrive(input words) {
  return message_survives<wire::Rows>(words, [](const auto& m) { return read(m, limits()); });
}

std::vector<bytes> rows_seeds() {
  return written(row_list{12, {4, 1, 3}, 36}, row_list{-1, std::vector<std::uint64_t>(100, 1), 0});
}

std::optional<bytes> raw_rows_arrive(input words) {
  return message_survives<wire::RawRows>(words, [](const auto& m) { return read(m, limits()); });
}

std::vector<bytes> raw_rows_seeds() {
  model::row_values row{{1, 2, 3, 4}, {5, 6, 7}, {1, 0, 1}, {0.25, 3}};
  return written(raw_rows{{4, 9}, {row, row}}, raw_rows{});
}

// -- people and progress --------------------------------------------------------------------------------------------------

std::optional<bytes> progress_arrives(input words) {
  return message_survives<wire::Progress>(words, [](const auto& m) { return read(m); });
}

std::vector<bytes> progress_seeds() {
  progress p;
  p.step = 3;
  p.total_steps = 30;
  p.steps_per_epoch = 10;
  p.terms = {{"loss.final", 0.25}, {"loss.base", 0.5}};
  p.norm = 1.5;
  p.learning_rate = 0.01;
  p.applied = false;
  p.validated = p.best = true;
  p.validation_loss = 0.125;
  p.rows = 64;
  p.seconds = 0.75;
  p.master_leases = 1;
  p.reissues = 2;
  p.first_nonfinite = "fuser";
  return written(p, progress{});
}

std::optional<bytes> enlistment_arrives(input words) {
  return message_survives<wire::Enlistment>(words, [](const auto& m) {
    auto theirs = read(m);
    if (theirs)
      check_same(enlist("run", "local", 1, "portable"), *theirs);
    return theirs;
  });
}

std::vector<bytes> enlistment_seeds() {
  auto same = enlist("run", "node", 2, "portable"), build = same, schema = same, kernels = same;
  build.build = "enn 0";
  ++schema.schema;
  kernels.kernels = "avx2";
  return written(same, build, schema, kernels, enlistment{});
}

std::optional<bytes> members_arrive(input words) {
  return message_survives<wire::Members>(words, [](const auto& m) { return read(m); });
}

std::vector<bytes> members_seeds() {
  member m{"local", "host", 2, 1, 3, 17, 0, false}, other{"b", "host", 1, 2, 0, 0, 4, true};
  return written(member_list{3, 100, {m, other}}, member_list{});
}

// -- what a run is --------------------------------------------------------------------------------------------------------

model::data_facts facts() {
  model::data_facts f;
  f.kind = "window";
  f.features = f.outputs = {"a", "b"};
  f.categories = {{1, 5, 3, 1}};
  f.history = 12;
  f.horizon = 3;
  f.lines_per_day = 288;
  f.interval_seconds = 300;
  f.mean = {1.5, -0.1};
  f.deviation = {1, 2};
  f.target_mean = {3, 4};
  f.target_deviation = {5, 6};
  f.target_least = {7, 8};
  f.target_greatest = {9, 10};
  f.mean_all = 0.7;
  f.deviation_all = 1.25;
  f.fingerprint = "abc";
  return f;
}

std::optional<bytes> graph_arrives(input words) {
  return survives(words, ec::bad_checkpoint, decode_graph, [](const model::graph& g) { return encode(g); });
}

std::vector<bytes> graph_seeds() {
  return {encode(example()), encode(model::graph{})};
}

std::optional<bytes> facts_arrive(input words) {
  return survives(words, ec::bad_checkpoint, decode_facts, [](const model::data_facts& f) { return encode(f); });
}

std::vector<bytes> facts_seeds() {
  model::data_facts rows;
  rows.kind = "row";
  return {encode(facts()), encode(rows)};
}

std::optional<bytes> run_arrives(input words) {
  return message_survives<wire::RunDefinition>(words, [](const auto& m) {
    auto run = read(m);
    if (run)
      bounds_of(*run);
    return run;
  });
}

std::vector<bytes> run_seeds() {
  model::run_definition run;
  run.settings.data.missing = {"", "a,b", "\""};
  run.facts = facts();
  run.network = example();
  run.total_steps = 99;
  run.steps_per_epoch = 11;
  run.kernels = "portable";
  return written(run);
}

} // namespace

std::span<const target> targets() {
  static constexpr target all[] = {
    {"frame", false, frame_arrives, frame_seeds},
    {"Lease", true, lease_arrives, lease_seeds},
    {"Block", true, block_arrives, block_seeds},
    {"BlockHead", true, head_arrives, head_seeds},
    {"Piece", true, piece_arrives, piece_seeds},
    {"Failure", true, failure_arrives, failure_seeds},
    {"Weights", true, weights_arrive, weights_seeds},
    {"Rows", true, rows_arrive, rows_seeds},
    {"RawRows", true, raw_rows_arrive, raw_rows_seeds},
    {"Progress", true, progress_arrives, progress_seeds},
    {"Enlistment", true, enlistment_arrives, enlistment_seeds},
    {"Members", true, members_arrive, members_seeds},
    {"Graph", true, graph_arrives, graph_seeds},
    {"DataFacts", true, facts_arrive, facts_seeds},
    {"RunDefinition", true, run_arrives, run_seeds},
  };
  return all;
}

std::optional<bytes> arrive(const target& t, input arrived) {
  peak_memory used;
  auto accepted = t.arrive(arrived);
  promise(used.bytes() <= (std::size_t{64} << 10) + 64 * arrived.size(),
          std::to_string(arrived.size()) + " bytes took " + std::to_string(used.bytes()) + " bytes of memory");
  return accepted;
}

} // namespace enn::fuzz
