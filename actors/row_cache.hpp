/// Rows that a node without data has fetched, kept for later epochs up to a limit. A value without actors.
#pragma once
#include <enn/serialization/wire.hpp>

#include <deque>
#include <set>
#include <unordered_map>

namespace enn::actors {

class row_cache {
public:
  explicit row_cache(std::uint64_t most_bytes) : most_bytes_(most_bytes) {}

  bool has(std::uint64_t row) const { return rows_.contains(row); }

  /// `wanted`: rows that stay even beyond the limit, because a lease waits for them.
  void put(serialization::raw_rows fresh, const std::set<std::uint64_t>& wanted) {
    for (std::size_t i = 0; i < fresh.rows.size(); ++i) {
      auto [place, added] = rows_.try_emplace(fresh.rows[i]);
      if (!added)
        continue;
      place->second = std::make_shared<const model::row_values>(std::move(fresh.values[i]));
      order_.push_back(fresh.rows[i]);
      bytes_ += bytes_of(*place->second);
    }
    for (auto left = order_.size(); bytes_ > most_bytes_ && left > 0; --left) {
      auto oldest = order_.front();
      order_.pop_front();
      if (wanted.contains(oldest)) {
        order_.push_back(oldest);
        continue;
      }
      auto place = rows_.find(oldest);
      bytes_ -= bytes_of(*place->second);
      rows_.erase(place);
    }
  }

  /// These rows together, which outlive their place here. Null if one is missing.
  std::shared_ptr<const model::row_source> view(std::span<const std::uint64_t> rows) const {
    auto result = std::make_shared<model::fetched_rows>();
    for (auto row : rows) {
      auto place = rows_.find(row);
      if (place == rows_.end())
        return nullptr;
      result->add(row, place->second);
    }
    return result;
  }

  std::uint64_t bytes() const { return bytes_; }

private:
  static std::uint64_t bytes_of(const model::row_values& v) {
    return sizeof(float) * (v.features.size() + v.targets.size() + v.mask.size()) + sizeof(double) * v.calendar.size();
  }

  std::uint64_t most_bytes_, bytes_ = 0;
  std::unordered_map<std::uint64_t, std::shared_ptr<const model::row_values>> rows_;
  std::deque<std::uint64_t> order_; // as they came
};

} // namespace enn::actors
