/// What power cuts may leave of the files of a program that was traced; plan::trace. What was synced is there: the content of a
/// file by a sync of the file, names by a sync of their folder. Everything else is there or not, in any combination, which is
/// all that POSIX promises: new names of lost content, later writes without earlier ones, the size without the bytes, which are
/// zeros then, a write up to the border of a block or from there on.
#pragma once
#include "faults.hpp"

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>

namespace enn::fault {

/// What is in a folder, by path in it; without content: a folder.
using tree = std::map<std::string, std::optional<std::string>>;

tree tree_in(const std::filesystem::path& folder);
/// Instead of what is in the folder.
void plant(const tree& files, const std::filesystem::path& folder);

class power_cuts {
public:
  /// Of a program that found `before` in the folder, on the disk, and was traced there.
  power_cuts(const tree& before, const std::filesystem::path& folder, const std::filesystem::path& trace);
  ~power_cuts();

  std::size_t calls() const;
  /// How often mark() was called before the program went on to its next call.
  std::size_t marks(std::size_t calls) const;
  /// Cuts after each number of calls: of what is not synced each change is lost or torn, each two and three are lost, and all.
  /// Visits each different state once, until told to stop; drafts (*.tmp), which nobody reads, differ by name alone. Returns how
  /// many states it came by.
  std::size_t visit_all(const std::function<bool(const tree& files, std::size_t calls)>& visit) const;
  /// A cut after so many calls: each change that is not synced is there, lost or torn, as drawn.
  tree draw(std::size_t calls, std::mt19937& random) const;

private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

} // namespace enn::fault
