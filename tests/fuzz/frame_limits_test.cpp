// What a frame announces takes no memory before it is there: sizes of 0 to 2^64-1 words, 0 to 2^32-1 segments of any size.
#include "allocations.hpp"

#include <enn/serialization/frame.hpp>
#include <enn/serialization/schema/lease.capnp.h>

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

TEST(frame_limits, an_announced_size_takes_no_memory_before_it_has_arrived) {
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

TEST(frame_limits, an_empty_frame_is_received_as_such) {
  std::vector<char> message(word);
  auto found = receive(message);
  EXPECT_TRUE(found.accepted);
  EXPECT_EQ(found.memory, 0u);
}

TEST(frame_limits, a_frame_may_have_64_mib_and_no_word_more) {
  for (auto words : {frame::max_words - 1, frame::max_words}) {
    auto found = receive(message_of(words));
    EXPECT_TRUE(found.accepted) << words;
    EXPECT_LE(found.memory, words * word + 8192) << words;
  }
  auto found = receive(message_of(frame::max_words + 1));
  EXPECT_FALSE(found.accepted);
  EXPECT_LE(found.memory, 4096u);
}

TEST(frame_limits, no_frame_is_sent_that_would_be_refused) {
  for (auto words : {frame::max_words - 1, frame::max_words, frame::max_words + 1}) {
    auto text = (words - 5) * word - 1; // a table, a pointer, three words of Failure, and room for a NUL
    auto large = msg<wire::Failure>::make([&](wire::Failure::Builder to) { to.initCause(static_cast<unsigned>(text)); }, words);
    ASSERT_EQ(large.data().size_words(), words);
    std::vector<char> message;
    caf::binary_serializer sink{nullptr, message};
    EXPECT_EQ(!sink(large), words <= frame::max_words) << words;
  }
}

TEST(frame_limits, a_frame_may_have_512_segments_and_none_more) {
  for (std::uint32_t segments : {1u, 2u, frame::max_segments - 1, frame::max_segments, frame::max_segments + 1, 1u << 16, 1u << 31,
                                 0xfffffffeu, 0xffffffffu}) {
    auto message = message_of(1u << 15);
    set_table(message, {segments - 1, 1}); // the others are empty
    auto found = receive(message);
    EXPECT_EQ(found.accepted, segments <= frame::max_segments) << segments;
    EXPECT_LE(found.memory, 2 * message.size()) << segments;
  }
}

TEST(frame_limits, a_segment_that_is_larger_than_its_frame_is_refused) {
  constexpr std::uint32_t room = 511;
  for (std::uint32_t size : {0u, room - 1, room, room + 1, 1u << 29, 1u << 31, 0xffffffffu}) {
    auto message = message_of(room + 1);
    set_table(message, {0, size});
    auto found = receive(message);
    EXPECT_EQ(found.accepted, size <= room) << size;
    EXPECT_LE(found.memory, 2 * message.size()) << size;
  }
}

} // namespace
} // namespace enn::serialization
