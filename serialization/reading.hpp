/// What all readers of messages share, for the .cpp files of this folder: checks throw, and guarded() makes an error of that.
#pragma once
#include <enn/model/error.hpp>
#include <enn/serialization/frame.hpp>

#include <kj/exception.h>

#include <new>
#include <stdexcept>
#include <string>

namespace enn::serialization {

inline void require(bool good, const std::string& text) {
  if (!good)
    throw std::invalid_argument(text);
}

/// What `body` answers, or whatever it throws as an error of this code; but what ran out of memory says nothing of what is read.
template <class Body>
auto guarded(ec code, const char* what, Body&& body) -> caf::expected<decltype(body())> {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const kj::Exception& e) {
    if (e.getType() == kj::Exception::Type::OVERLOADED) // Cap'n Proto found no memory
      throw std::bad_alloc{};
    return fail(code, std::string{what} + ": " + e.getDescription().cStr());
  } catch (const std::exception& e) {
    return fail(code, std::string{what} + ": " + e.what());
  }
}

/// Of a message that arrived: errors are ec::protocol.
template <class Schema, class Read>
auto guarded(const char* what, const msg<Schema>& m, Read&& body) {
  return guarded(ec::protocol, what, [&] {
    require(!m.data().empty(), "empty message");
    auto reader = m.data().reader();
    return body(reader.template getRoot<Schema>());
  });
}

} // namespace enn::serialization
