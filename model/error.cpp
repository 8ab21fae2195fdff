#include <enn/model/error.hpp>

#include <caf/atom.hpp>
#include <caf/make_message.hpp>
#include <caf/message.hpp>

namespace enn {
namespace {
constexpr auto category = caf::atom("enn");
}

std::string to_string(ec code) {
  switch (code) {
    case ec::none: return "none";
    case ec::bad_config: return "bad configuration";
    case ec::bad_usage: return "bad usage";
    case ec::bad_data: return "bad data";
    case ec::data_mismatch: return "data mismatch";
    case ec::io_failed: return "input/output failed";
    case ec::nonfinite: return "nonfinite numbers";
    case ec::not_reproducible: return "not reproducible";
    case ec::kernel_unavailable: return "kernel unavailable";
    case ec::gave_up: return "gave up";
    case ec::bad_graph: return "bad graph";
    case ec::protocol: return "protocol violation";
    case ec::interrupted: return "interrupted";
    case ec::unavailable: return "unavailable";
    case ec::bad_checkpoint: return "bad checkpoint";
  }
  return "unknown error";
}

caf::error fail(ec code, std::string text) {
  return caf::error{static_cast<std::uint8_t>(code), category, caf::make_message(std::move(text))};
}

ec code_of(const caf::error& error) {
  return error && error.category() == category ? static_cast<ec>(error.code()) : ec::none;
}

std::string text_of(const caf::error& error) {
  if (!error)
    return {};
  const auto& context = error.context();
  if (context.match_elements<std::string>())
    return context.get_as<std::string>(0);
  return caf::to_string(error.category()) + " error " + std::to_string(error.code());
}

} // namespace enn
