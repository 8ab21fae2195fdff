/// Where a lease reads its rows: a data set, or the few rows that a node without data has fetched.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

namespace enn::model {

class row_source {
public:
  virtual ~row_source() = default;
  /// Pre: the row is there; spans have the sizes that data_facts says.
  virtual void copy_features(std::uint64_t row, std::span<float> x, std::span<float> calendar) const = 0;
  virtual void copy_features(std::uint64_t row, std::span<double> x, std::span<double> calendar) const = 0;
  virtual void copy_targets(std::uint64_t row, std::span<float> target, std::span<float> mask) const = 0;
  virtual void copy_targets(std::uint64_t row, std::span<double> target, std::span<double> mask) const = 0;
};

/// One row, with the bits that a data set copies: all but the calendar is float there too.
struct row_values {
  std::vector<float> features, targets, mask;
  std::vector<double> calendar;
};

/// Rows that came from elsewhere. Immutable once shared.
class fetched_rows final : public row_source {
public:
  void add(std::uint64_t row, std::shared_ptr<const row_values> values) { rows_[row] = std::move(values); }
  bool has(std::uint64_t row) const { return rows_.contains(row); }

  void copy_features(std::uint64_t row, std::span<float> x, std::span<float> calendar) const override { features(row, x, calendar); }
  void copy_features(std::uint64_t row, std::span<double> x, std::span<double> calendar) const override { features(row, x, calendar); }
  void copy_targets(std::uint64_t row, std::span<float> target, std::span<float> mask) const override { targets(row, target, mask); }
  void copy_targets(std::uint64_t row, std::span<double> target, std::span<double> mask) const override { targets(row, target, mask); }

private:
  template <class Value, class T>
  static void copy(const std::vector<Value>& from, std::span<T> to) {
    for (std::size_t i = 0; i < from.size(); ++i)
      to[i] = static_cast<T>(from[i]);
  }
  template <class T>
  void features(std::uint64_t row, std::span<T> x, std::span<T> calendar) const {
    const auto& values = *rows_.at(row);
    copy(values.features, x);
    copy(values.calendar, calendar);
  }
  template <class T>
  void targets(std::uint64_t row, std::span<T> target, std::span<T> mask) const {
    const auto& values = *rows_.at(row);
    copy(values.targets, target);
    copy(values.mask, mask);
  }

  std::map<std::uint64_t, std::shared_ptr<const row_values>> rows_;
};

} // namespace enn::model
