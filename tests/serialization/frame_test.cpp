// Frames and the values of the lease path: round trips, limits, damaged bytes.
#include <enn/kernels/random.hpp>
#include <enn/serialization/wire.hpp>

#include <caf/all.hpp>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

namespace enn::serialization {
namespace {

bounds limits() {
  bounds b;
  b.parameters = 300'000; // more than a chunk
  b.target_size = 3;
  b.losses = 2;
  return b;
}

block example() {
  block b;
  b.task = 7;
  b.step = 12;
  b.first = 4;
  b.count = 2;
  b.rungs = {model::rung::fast, model::rung::master};
  b.losses = {0.5, std::numeric_limits<double>::infinity()};
  b.health = {3, "head.base", true, false, 1e30, false, {7}, {7, 9}};
  b.checked = 2;
  b.mended = 1;
  auto& numbers = b.numbers.edit();
  numbers.resize(limits().parameters);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = static_cast<float>(i) / 7;
  return b;
}

template <class Schema>
std::vector<char> bytes_of(msg<Schema> m) {
  caf::actor_system_config config;
  caf::actor_system system{config};
  std::vector<char> buffer;
  caf::binary_serializer sink{system, buffer};
  EXPECT_FALSE(sink(m));
  return buffer;
}

template <class Schema>
caf::expected<msg<Schema>> from_bytes(caf::actor_system& system, const std::vector<char>& buffer) {
  msg<Schema> m;
  caf::binary_deserializer source{system, buffer};
  if (auto e = source(m))
    return e;
  return m;
}

TEST(frame, a_block_survives_the_wire) {
  caf::actor_system_config config;
  caf::actor_system system{config};
  auto b = example();
  auto m = from_bytes<wire::Block>(system, bytes_of(write(b)));
  ASSERT_TRUE(m);
  auto read_back = read(*m, limits());
  ASSERT_TRUE(read_back) << text_of(read_back.error());
  EXPECT_EQ(read_back->numbers, b.numbers);
  EXPECT_EQ(read_back->losses, b.losses);
  EXPECT_EQ(read_back->rungs, b.rungs);
  EXPECT_EQ(read_back->health.first_node, "head.base");
  EXPECT_FALSE(read_back->health.parameters_finite);
  EXPECT_FALSE(read_back->health.in_range);
  EXPECT_EQ(read_back->health.input_rows, b.health.input_rows);
  EXPECT_EQ(read_back->health.rows, b.health.rows);
  EXPECT_EQ(read_back->checked, 2u);
  EXPECT_EQ(read_back->mended, 1u);
}

TEST(frame, copies_share_their_words) {
  auto m = write(example());
  auto copy = m;
  EXPECT_EQ(m.data().segments()[0].begin(), copy.data().segments()[0].begin());
}

TEST(frame, damaged_or_cut_bytes_are_refused_and_never_crash) {
  caf::actor_system_config config;
  caf::actor_system system{config};
  lease l;
  l.task = 1;
  l.rows = {1, 2, 3, 4};
  bounds small;
  small.parameters = 40;
  small.losses = 2;
  block b;
  b.rungs = {model::rung::fast};
  b.losses = {1, 2};
  b.numbers.edit().resize(40, 1.5f);
  auto leases = bytes_of(write(l)), blocks = bytes_of(write(b));
  int refused = 0;
  for (std::uint64_t round = 0; round < 4000; ++round) {
    for (auto* original : {&leases, &blocks}) {
      auto bytes = *original;
      for (std::uint64_t flip = 0; flip < 1 + round % 3; ++flip) {
        auto at = kernels::random_bits({.seed = round, .step = flip}, 0) % bytes.size();
        bytes[at] = static_cast<char>(kernels::random_bits({.seed = round, .step = flip}, 1));
      }
      if (round % 5 == 0)
        bytes.resize(bytes.size() / 2);
      if (original == &leases) {
        auto m = from_bytes<wire::Lease>(system, bytes);
        refused += !m || !read(*m, small);
      } else {
        auto m = from_bytes<wire::Block>(system, bytes);
        refused += !m || !read(*m, small);
      }
    }
  }
  EXPECT_GT(refused, 3000);
}

TEST(frame, a_changed_number_is_found_on_arrival) {
  caf::actor_system_config config;
  caf::actor_system system{config};
  auto bytes = bytes_of(write(example()));
  bytes[bytes.size() / 2] ^= 1; // far inside the numbers
  auto m = from_bytes<wire::Block>(system, bytes);
  ASSERT_TRUE(m);
  auto b = read(*m, limits());
  ASSERT_FALSE(b);
  EXPECT_NE(text_of(b.error()).find("block: hash"), std::string::npos) << text_of(b.error());
}

TEST(frame, what_breaks_a_limit_is_named) {
  auto b = example();
  b.numbers.edit().pop_back();
  auto wrong = read(write(b), limits());
  ASSERT_FALSE(wrong);
  EXPECT_EQ(code_of(wrong.error()), ec::protocol);
  EXPECT_EQ(text_of(wrong.error()), "block: size: expected 300000, found 299999");
  b = example();
  b.first = 3;
  EXPECT_EQ(text_of(read(write(b), limits()).error()), "block: range: expected a power of two of leases at a multiple of it, found 3+2");
  for (auto [checked, mended] : {std::pair{3u, 0u}, {1u, 2u}}) {
    b = example();
    b.checked = checked;
    b.mended = mended;
    EXPECT_EQ(text_of(read(write(b), limits()).error()), "block: checked, mended: expected at most 2, at most that, found "
                                                           + std::to_string(checked) + ", " + std::to_string(mended));
  }
  EXPECT_FALSE(read(msg<wire::Block>{}, limits()));
  for (std::uint8_t number : {1, 2, 3, 5, 255}) {
    b = example();
    b.rungs[1] = static_cast<model::rung>(number);
    EXPECT_EQ(text_of(read(write(b), limits()).error()), "block: rung: expected 0 or 4, found " + std::to_string(number));
    lease other;
    other.start = static_cast<model::rung>(number);
    EXPECT_EQ(text_of(read(write(other), limits()).error()), "lease: rung: expected 0 or 4, found " + std::to_string(number));
  }
  lease l;
  l.denominator = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(read(write(l), limits()));
  auto few = limits();
  few.lease_rows = 3;
  l.denominator = 1;
  l.rows = {1, 2, 3, 4};
  EXPECT_EQ(text_of(read(write(l), few).error()), "lease: rows: expected at most 3, found 4");
}

TEST(frame, weights_come_in_chunks) {
  std::vector<float> values(700'000);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i);
  flat_vector found;
  auto next = read_weights(write_weights({5, true}, values), {5, true}, values.size(), found);
  ASSERT_TRUE(next);
  EXPECT_EQ(*next, 0u);
  EXPECT_EQ(found, values);
  EXPECT_FALSE(read_weights(write_weights({5, true}, values), {6, true}, values.size(), found));
  EXPECT_FALSE(read_weights(write_weights({5, true}, values), {5, true}, 10, found));
  std::ranges::fill(found.edit(), -1.f);
  next = read_weights(write_weights({5, true}, values, 0, 2), {5, true}, values.size(), found);
  ASSERT_TRUE(next);
  EXPECT_EQ(*next, 2u);
  EXPECT_EQ(found.view().back(), -1.f);
  next = read_weights(write_weights({5, true}, values, *next), {5, true}, values.size(), found);
  ASSERT_TRUE(next);
  EXPECT_EQ(*next, 0u);
  EXPECT_EQ(found, values);
}

TEST(frame, weights_with_an_owner_are_not_copied) {
  for (std::size_t size : {40u, 699'999u, 700'000u}) {
    auto values = std::make_shared<std::vector<float>>(size, 2.5f);
    auto* place = values->data();
    auto m = write_weights({5, false}, *values, 0, all_chunks, values);
    std::weak_ptr watched = values;
    values.reset();
    EXPECT_FALSE(watched.expired());
    flat_vector found;
    ASSERT_TRUE(read_weights(m, {5, false}, size, found));
    EXPECT_EQ(found, std::vector<float>(size, 2.5f));
    EXPECT_EQ(found.view().data() == place, size == 700'000) << size;
    m = {};
    EXPECT_FALSE(watched.expired()); // by who reads it
    found = {};
    EXPECT_TRUE(watched.expired());
  }
}

TEST(frame, a_block_of_many_numbers_is_not_copied_into_its_message) {
  for (std::size_t size : {0u, 40u, 299'999u, 300'000u}) { // none, few, no whole number of words, and what is referred to
    auto sized = limits();
    sized.parameters = size;
    auto b = example();
    b.numbers.edit().resize(size);
    auto same = b;
    auto* place = b.numbers.view().data();
    auto m = write(std::move(b));
    auto seen = read(m, sized);
    ASSERT_TRUE(seen) << text_of(seen.error());
    EXPECT_EQ(seen->numbers, same.numbers);
    EXPECT_EQ(seen->numbers.view().data() == place && size > 0, size == 300'000) << size;
    EXPECT_EQ(m.data().segments().size(), size == 300'000 ? 3 : 1) << size; // its own words, and two chunks
    caf::actor_system_config config;
    caf::actor_system system{config};
    auto arrived = from_bytes<wire::Block>(system, bytes_of(m));
    ASSERT_TRUE(arrived);
    auto far = read(*arrived, sized);
    ASSERT_TRUE(far) << text_of(far.error());
    EXPECT_EQ(far->numbers, same.numbers);
    auto again = read(write(std::move(*seen)), sized); // numbers seen in another message, which must stay
    m = {};
    seen = block{};
    ASSERT_TRUE(again);
    EXPECT_EQ(again->numbers, same.numbers);
  }
}

TEST(frame, numbers_are_seen_in_the_message_until_somebody_changes_them) {
  auto written = write(example());
  auto b = read(written, limits());
  ASSERT_TRUE(b);
  EXPECT_TRUE(b->numbers.is_seen());
  auto other = *b;
  EXPECT_EQ(other.numbers.view().data(), b->numbers.view().data());
  other.numbers.edit()[0] = 8;
  EXPECT_FALSE(other.numbers.is_seen());
  EXPECT_EQ(b->numbers, example().numbers);
  auto apart = msg<wire::Block>::make([&](wire::Block::Builder to) { // chunks that do not follow each other
    auto reader = written.data().reader();
    auto from = reader.getRoot<wire::Block>();
    to.setTask(from.getTask());
    to.setStep(from.getStep());
    to.setFirst(from.getFirst());
    to.setCount(from.getCount());
    to.setRungs(from.getRungs());
    to.setLosses(from.getLosses());
    to.setSize(from.getSize());
    auto chunks = to.initChunks(from.getChunks().size());
    for (unsigned i = chunks.size(); i-- > 0;)
      chunks.set(i, from.getChunks()[i]);
  });
  b = read(apart, limits());
  ASSERT_TRUE(b) << text_of(b.error());
  EXPECT_FALSE(b->numbers.is_seen());
  EXPECT_EQ(b->numbers, example().numbers);
}

TEST(frame, run_state_keeps_its_bits_and_its_names) {
  model::run_state state;
  state.step = 41;
  state.best_loss = 0.1 + 0.2;
  state.finished = true;
  auto values = values_of(state);
  auto found = state_from(values);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->best_loss, state.best_loss);
  EXPECT_EQ(found->step, 41);
  EXPECT_TRUE(found->finished);
  values.emplace_back("unheard-of", "1");
  EXPECT_EQ(code_of(state_from(values).error()), ec::bad_checkpoint);
  values.pop_back();
  values.pop_back();
  EXPECT_EQ(code_of(state_from(values).error()), ec::bad_checkpoint);
}

TEST(frame, the_other_messages_keep_their_values) {
  progress p;
  p.step = 3;
  p.terms = {{"loss.final", 0.25}, {"loss.base", 0.5}};
  p.validated = p.best = true;
  p.validation_loss = 0.125;
  p.first_nonfinite = "fuser";
  auto q = read(write(p));
  ASSERT_TRUE(q);
  EXPECT_EQ(q->terms, p.terms);
  EXPECT_EQ(q->validation_loss, 0.125);
  EXPECT_EQ(q->first_nonfinite, "fuser");
  auto with_rows = limits();
  with_rows.feature_size = 2;
  with_rows.calendar_size = 1;
  raw_rows raw{{4, 5}, {{{1, 2}, {1, 2, 3}, {1, 1, 0}, {0.1}}, {{3, 4}, {4, 5, 6}, {1, 0, 1}, {0.2}}}};
  auto r = read(write(raw), with_rows);
  ASSERT_TRUE(r) << text_of(r.error());
  EXPECT_EQ(r->values[1].features, raw.values[1].features);
  EXPECT_EQ(r->values[1].mask, raw.values[1].mask);
  EXPECT_EQ(r->values[1].calendar, raw.values[1].calendar);
  auto f = read(write(failure{1, 2, 3, "why"}));
  ASSERT_TRUE(f);
  EXPECT_EQ(f->cause, "why");
}

} // namespace
} // namespace enn::serialization
