#include <enn/serialization/build.hpp>

namespace enn::serialization {

std::string_view program_version() {
  return ENN_VERSION; // defined for this source alone, so that a new version compiles nothing else anew
}

} // namespace enn::serialization
