/// One Cap'n Proto message as one CAF value. Copying it copies a pointer: within a process everybody reads the same immutable
/// words; between processes the words are sent. `msg<wire::Lease>` is a frame whose schema stands in the type, so that the
/// signature of an actor says what it takes. Contents are not checked here: wire.hpp reads them.
#pragma once
#include <caf/error.hpp>
#include <caf/fwd.hpp>
#include <capnp/any.h>
#include <capnp/message.h>
#include <capnp/serialize.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>

namespace enn::serialization {

class frame {
public:
  using words = kj::ArrayPtr<const capnp::word>;
  /// Of one message between processes: 64 MiB. Within a process nothing is copied and the limit does not act.
  static constexpr std::uint64_t max_words = (std::uint64_t{64} << 20) / sizeof(capnp::word);
  /// As Cap'n Proto's own readers of streams. A builder that grows needs some thirty.
  static constexpr std::uint32_t max_segments = 512;

  frame() = default;
  /// Takes the builder's memory; no byte is copied. `kept` owns what the message refers to and did not copy.
  static frame freeze(std::unique_ptr<capnp::MallocMessageBuilder> built, std::shared_ptr<const void> kept = nullptr);

  bool empty() const { return !store_; }
  /// Whether its words came from another process.
  bool arrived() const;
  kj::ArrayPtr<const words> segments() const;
  std::uint64_t size_words() const;
  /// One reader per use: it counts what it traverses, up to eight times the size. Valid while this frame lives.
  capnp::SegmentArrayMessageReader reader() const;

  friend caf::error inspect(caf::serializer& out, frame& x);
  friend caf::error inspect(caf::deserializer& in, frame& x);

private:
  struct store;
  explicit frame(std::shared_ptr<const store> p) : store_(std::move(p)) {}
  std::shared_ptr<const store> store_;
};
// An exception here would end all networking of the process, so these catch everything.
caf::error inspect(caf::serializer& out, frame& x);
caf::error inspect(caf::deserializer& in, frame& x);

template <class Schema>
class msg {
public:
  msg() = default;

  /// `fill` gets the root's builder. `hint_words`: expected size, so that the message is one segment. `kept`: see frame::freeze().
  template <std::invocable<typename Schema::Builder> Fill>
  static msg make(Fill&& fill, std::uint64_t hint_words = 128, std::shared_ptr<const void> kept = nullptr) {
    auto built = std::make_unique<capnp::MallocMessageBuilder>(static_cast<unsigned>(hint_words));
    fill(built->template initRoot<Schema>());
    msg result;
    result.frame_ = frame::freeze(std::move(built), std::move(kept));
    return result;
  }

  const frame& data() const { return frame_; }

  template <class Inspector>
  friend caf::error inspect(Inspector& f, msg& x) {
    return inspect(f, x.frame_);
  }
  friend std::string to_string(const msg& x) { return "message of " + std::to_string(8 * x.frame_.size_words()) + " bytes"; }

private:
  frame frame_;
};

/// Whether every struct of a list takes a word at least, as all that a builder makes do. Structs of nothing, or of single bytes,
/// would let a short message announce a list of any length.
template <class Structs>
bool takes_room(Structs list) {
  if (list.size() == 0)
    return true;
  capnp::AnyStruct::Reader first{list[0]};
  return first.getDataSection().size() >= sizeof(capnp::word) || first.getPointerSection().size() > 0;
}

} // namespace enn::serialization
