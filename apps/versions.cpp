#include "versions.hpp"

#include <enn/serialization/build.hpp>

#include <caf/config.hpp>
#include <capnp/common.h>

namespace enn::apps {
namespace {

/// Libraries number their versions as one integer.
std::string parts(int major, int minor, int patch) {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

} // namespace

std::vector<std::pair<std::string, std::string>> versions() {
  return {{"enn", std::string{serialization::program_version()}},
          {"CAF", parts(CAF_MAJOR_VERSION, CAF_MINOR_VERSION, CAF_PATCH_VERSION)},
          {"Cap'n Proto", parts(CAPNP_VERSION / 1000000, CAPNP_VERSION / 1000 % 1000, CAPNP_VERSION % 1000)},
          {"HDF5", ENN_HDF5_VERSION},
          {"compiler", __VERSION__}};
}

} // namespace enn::apps
