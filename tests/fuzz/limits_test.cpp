// What a message announces takes no memory before it is there: a frame of 0 to 2^64-1 words, 0 to 2^32-1 segments of any size, lists
// and vectors of any length.
#include "allocations.hpp"

#include <enn/serialization/wire.hpp>

#include <caf/all.hpp>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

namespace enn::serialization {
namespace {

constexpr std::uint64_t word = sizeof(capnp::word);

void set_size(std::vector<char>& message, std::uint64_t words) {
  for (int i = 0; i < 8; ++i)
    message[static_cast<std::size_t>(i)] = static_cast<char>(words >> (56 - 8 * i));
}

void set_table(std::vector<char>& message, std::initializer_list<std::uint32_t> table) {
  std::memcpy(message.data() + word, std::data(table), table.size() * sizeof(std::uint32_t));
}

/// One segment that fills the frame of so many words, in bytes for so many.
std::vector<char> message_of(std::uint64_t words) {
  std::vector<char> message(word + words * word);
  set_size(message, words);
  set_table(message, {0, static_cast<std::uint32_t>(words - 1)});
  return message;
}

struct outcome {
  bool accepted;
  std::size_t memory;
};

outcome receive(const std::vector<char>& message) {
  frame f;
  fuzz::peak_memory used;
  caf::binary_deserializer source{nullptr, message};
  auto error = source(f);
  auto memory = used.bytes();
  EXPECT_TRUE(!error || f.empty());
  return {!error, memory};
}

TEST(limits, an_announced_size_takes_no_memory_before_it_has_arrived) {
  constexpr std::uint64_t there = 512, most = std::numeric_limits<std::uint64_t>::max();
  auto message = message_of(there);
  for (std::uint64_t announced : {there - 1, there, there + 1, std::uint64_t{1} << 13, frame::max_words - 1, frame::max_words,
                                  frame::max_words + 1, std::uint64_t{1} << 32, most / word, most / word + 1, most / word + 2, most / 2,
                                  most / 2 + 1, most - 1, most}) {
    set_size(message, announced);
    set_table(message, {0, static_cast<std::uint32_t>(announced - 1)}); // consistent, where it can be
    auto found = receive(message);
    EXPECT_EQ(found.accepted, announced <= there) << announced;
    EXPECT_LE(found.memory, 2 * message.size()) << announced;
  }
}

TEST(limits, an_empty_frame_is_received_as_such) {
  std::vector<char> message(word);
  auto found = receive(message);
  EXPECT_TRUE(found.accepted);
  EXPECT_EQ(found.memory, 0u);
}

TEST(limits, a_frame_may_have_64_mib_and_no_word_more) {
  for (auto words : {frame::max_words - 1, frame::max_words}) {
    auto found = receive(message_of(words));
    EXPECT_TRUE(found.accepted) << words;
    EXPECT_LE(found.memory, words * word + 8192) << words;
  }
  auto found = receive(message_of(frame::max_words + 1));
  EXPECT_FALSE(found.accepted);
  EXPECT_LE(found.memory, 4096u);
}

TEST(limits, no_frame_is_sent_that_would_be_refused) {
  for (auto words : {frame::max_words - 1, frame::max_words, frame::max_words + 1}) {
    auto text = (words - 5) * word - 1; // a table, a pointer, three words of Failure, and room for a NUL
    auto large = msg<wire::Failure>::make([&](wire::Failure::Builder to) { to.initCause(static_cast<unsigned>(text)); }, words);
    ASSERT_EQ(large.data().size_words(), words);
    std::vector<char> message;
    caf::binary_serializer sink{nullptr, message};
    EXPECT_EQ(!sink(large), words <= frame::max_words) << words;
  }
}

TEST(limits, a_frame_may_have_512_segments_and_none_more) {
  for (std::uint32_t segments : {1u, 2u, frame::max_segments - 1, frame::max_segments, frame::max_segments + 1, 1u << 16, 1u << 31,
                                 0xfffffffeu, 0xffffffffu}) {
    auto message = message_of(1u << 15);
    set_table(message, {segments - 1, 1}); // the others are empty
    auto found = receive(message);
    EXPECT_EQ(found.accepted, segments <= frame::max_segments) << segments;
    EXPECT_LE(found.memory, 2 * message.size()) << segments;
  }
}

TEST(limits, a_segment_that_is_larger_than_its_frame_is_refused) {
  constexpr std::uint32_t room = 511;
  for (std::uint32_t size : {0u, room - 1, room, room + 1, 1u << 29, 1u << 31, 0xffffffffu}) {
    auto message = message_of(room + 1);
    set_table(message, {0, size});
    auto found = receive(message);
    EXPECT_EQ(found.accepted, size <= room) << size;
    EXPECT_LE(found.memory, 2 * message.size()) << size;
  }
}

TEST(limits, numbers_take_no_memory_before_their_chunks_are_there) {
  bounds b;
  b.parameters = std::uint64_t{1} << 28; // 1 GiB, in 1024 chunks
  b.losses = 1;
  auto announced = msg<wire::Block>::make([&](wire::Block::Builder to) {
    to.setCount(1);
    to.initRungs(1);
    to.initLosses(1);
    to.setSize(b.parameters);
    to.initChunks(1024);
  });
  fuzz::peak_memory used;
  auto found = read(announced, b);
  auto memory = used.bytes();
  ASSERT_FALSE(found);
  EXPECT_EQ(text_of(found.error()), "block: chunks: expected 1048576, found 0");
  EXPECT_LE(memory, 65536u);
}

TEST(limits, a_list_of_structs_without_room_for_them_is_refused) {
  std::vector<char> message(6 * word);
  set_size(message, 5);
  set_table(message, {0, 4, 0, 0x00010000 /* struct of a pointer */, 1, 7 /* list of structs of no words, by tag */, 1000 << 2, 0});
  msg<wire::Members> m;
  caf::binary_deserializer source{nullptr, message};
  ASSERT_FALSE(source(m));
  EXPECT_EQ(text_of(read(m).error()), "members: members: expected structs of a word or more, found shorter ones");
}

TEST(limits, a_lease_has_as_many_rows_as_its_run_allows) {
  bounds b;
  b.lease_rows = 64;
  b.target_size = 1;
  for (std::size_t rows : {63u, 64u, 65u}) {
    lease l;
    l.rows.resize(rows);
    EXPECT_EQ(static_cast<bool>(read(write(l), b)), rows <= 64) << rows;
    block predicted;
    predicted.kind = model::lease_kind::predict;
    predicted.rungs = {model::rung::fast};
    predicted.rows.resize(rows);
    predicted.numbers.edit().resize(rows);
    EXPECT_EQ(static_cast<bool>(read_head(head_of(write(predicted)), b)), rows <= 64) << rows;
    row_list others{-1, l.rows, 1};
    EXPECT_TRUE(read(write(others), b)) << rows;
  }
}

TEST(limits, a_block_has_a_rung_for_each_of_its_leases) {
  bounds b;
  for (std::size_t rungs : {0u, 1u, 2u, 3u}) {
    block sum;
    sum.kind = model::lease_kind::evaluate;
    sum.count = 2;
    sum.rungs.resize(rungs);
    EXPECT_EQ(static_cast<bool>(read(write(sum), b)), rungs == 2) << rungs;
  }
}

TEST(limits, a_run_s_leases_have_no_more_rows_than_its_batches) {
  model::run_definition run;
  run.settings.train.batch_rows = 48;
  EXPECT_EQ(bounds_of(run).lease_rows, 48u);
}

TEST(limits, an_answer_without_weights_is_refused) {
  flat_vector values;
  auto empty = msg<wire::Weights>::make([](wire::Weights::Builder to) { to.setSize(3); });
  EXPECT_EQ(text_of(read_weights(empty, {0, false}, 3, values).error()), "weights: chunks: expected at least one, found none");
}

} // namespace
} // namespace enn::serialization
