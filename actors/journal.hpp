/// journal.jsonl: what happened to a run, one event a line, each on disk before the run goes on.
#pragma once
#include <enn/serialization/file.hpp>

#include <initializer_list>
#include <optional>
#include <utility>

namespace enn::actors {

class journal {
public:
  /// Without open() nothing is written: verification and predictions leave no trace.
  caf::expected<void> open(const std::filesystem::path& folder);
  caf::expected<void> write(std::string_view event, std::int64_t step,
                            std::initializer_list<std::pair<std::string_view, std::string>> details = {});

private:
  std::optional<serialization::line_log> log_;
};

} // namespace enn::actors
