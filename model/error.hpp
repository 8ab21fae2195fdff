/// The only error enum. Errors are caf::error values made by fail(); their text says what was wrong, where, what was
/// expected and found, and what to do. `apps` renders them and picks the exit status by the code.
#pragma once
#include <caf/error.hpp>
#include <caf/expected.hpp>

#include <cstdint>
#include <string>

namespace enn {

enum class ec : std::uint8_t {
  none = 0,
  // -- usage: exit status 2 --
  bad_config = 1,        // a key is unknown, of the wrong type, out of range, or values contradict each other
  bad_usage = 2,         // the command line makes no sense
  // -- data: exit status 3 --
  bad_data = 5,          // a data file cannot be parsed: ragged row, text in a number, unknown column
  data_mismatch = 6,     // the data is fine but not the data that this model or run was made for
  // -- run: exit status 4 --
  io_failed = 10,        // the operating system refused: no such file, no permission, disk full
  nonfinite = 11,        // numbers overflowed and the master dtype could not recover them
  not_reproducible = 12, // a recomputed result differs from the recorded one
  kernel_unavailable = 13, // a kernel of the run's table cannot run on this machine
  gave_up = 14,          // restarts were used up; the text names the cause
  bad_graph = 15,        // a graph breaks its rules: shapes, unknown operator, coupled rows
  protocol = 16,         // a message breaks the schema's limits
  interrupted = 17,      // stopped by a signal or a command, in good order
  unavailable = 18,      // what was asked for is not there now, and may be later
  // -- checkpoints: exit status 5 --
  bad_checkpoint = 20,   // truncated, wrong checksum, unknown version
};

std::string to_string(ec code);

/// An error with a text for people.
caf::error fail(ec code, std::string text);

/// The code of an error made by fail(); ec::none for anything else, success included.
ec code_of(const caf::error& error);

/// The text of an error made by fail(), nothing for success; CAF's own errors are named by category and number.
std::string text_of(const caf::error& error);

} // namespace enn
