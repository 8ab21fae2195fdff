#include <enn/serialization/frame.hpp>

#include <caf/all.hpp>

#include <optional>
#include <vector>

namespace enn::serialization {
namespace {

capnp::ReaderOptions limits(std::uint64_t words) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 8 * words + 1024; // the default of 64 MiB is too little; every get() counts again
  return options;
}

} // namespace

struct frame::store {
  kj::ArrayPtr<const words> view;
  std::shared_ptr<const void> kept;                   // outlives the builder that refers to it
  std::unique_ptr<capnp::MallocMessageBuilder> built; // either this, or the next three
  std::unique_ptr<capnp::word[]> memory;
  std::optional<capnp::FlatArrayMessageReader> flat;
  std::vector<words> list;
};

frame frame::freeze(std::unique_ptr<capnp::MallocMessageBuilder> built, std::shared_ptr<const void> kept) {
  auto p = std::make_shared<store>();
  p->kept = std::move(kept);
  p->view = built->getSegmentsForOutput();
  p->built = std::move(built);
  return frame{std::move(p)};
}

kj::ArrayPtr<const frame::words> frame::segments() const {
  return store_ ? store_->view : nullptr;
}

bool frame::arrived() const {
  return store_ && store_->memory;
}

std::uint64_t frame::size_words() const {
  return store_ ? capnp::computeSerializedSizeInWords(segments()) : 0;
}

capnp::SegmentArrayMessageReader frame::reader() const {
  return capnp::SegmentArrayMessageReader{segments(), limits(size_words())};
}

caf::error inspect(caf::serializer& out, frame& x) try {
  auto size = x.size_words();
  if (size > frame::max_words)
    return caf::sec::invalid_argument;
  if (auto e = out(size))
    return e;
  if (size == 0)
    return caf::none;
  auto count = static_cast<std::uint32_t>(x.segments().size()); // Cap'n Proto's standard framing
  std::vector<std::uint32_t> table(count % 2 ? count + 1 : count + 2);
  table[0] = count - 1;
  for (std::uint32_t i = 0; i < count; ++i)
    table[i + 1] = static_cast<std::uint32_t>(x.segments()[i].size());
  if (auto e = out.apply_raw(table.size() * sizeof(std::uint32_t), table.data()))
    return e;
  for (auto segment : x.segments())
    if (auto e = out.apply_raw(segment.size() * sizeof(capnp::word), const_cast<capnp::word*>(segment.begin())))
      return e;
  return caf::none;
} catch (...) {
  return caf::sec::runtime_error;
}

caf::error inspect(caf::deserializer& in, frame& x) try {
  std::uint64_t size = 0;
  if (auto e = in(size))
    return e;
  x = frame{};
  if (size == 0)
    return caf::none;
  auto* binary = dynamic_cast<caf::binary_deserializer*>(&in);
  if (size > frame::max_words || (binary && binary->remaining() / sizeof(capnp::word) < size))
    return caf::sec::end_of_stream;
  auto p = std::make_shared<frame::store>();
  p->memory.reset(new capnp::word[size]); // aligned, not zero-filled
  if (auto e = in.apply_raw(size * sizeof(capnp::word), p->memory.get()))
    return e;
  if (reinterpret_cast<const std::uint32_t*>(p->memory.get())[0] >= frame::max_segments) // one less than their number
    return caf::sec::invalid_argument;
  p->flat.emplace(frame::words{p->memory.get(), size}, limits(size)); // throws on a bad segment table
  for (unsigned i = 0; p->flat->getSegment(i).begin(); ++i)
    p->list.push_back(p->flat->getSegment(i));
  p->view = kj::arrayPtr(p->list.data(), p->list.size());
  x = frame{std::move(p)};
  return caf::none;
} catch (...) {
  return caf::sec::invalid_argument;
}

} // namespace enn::serialization
