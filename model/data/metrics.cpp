#include <enn/model/data/metrics.hpp>

#include <algorithm>
#include <cassert>
#include <cmath>

namespace enn::model {

using i64 = std::int64_t;

scorer::scorer(const dataset& data, part p, std::span<const i64> horizons, error_unit unit)
  : data_(data), part_(p), horizons_(horizons.begin(), horizons.end()) {
  const auto& facts = data.facts();
  if (facts.kind == "row")
    horizons_.assign(1, 0);
  for (const i64 h : horizons_)
    rows_ = std::max(rows_, data.rows(p, h));
  unit_ = unit == error_unit::raw ? std::vector<double>(facts.outputs.size(), 1.0) : facts.target_deviation;
  totals_.resize(horizons_.size());
  target_.resize(static_cast<std::size_t>(data.target_size()));
  mask_.resize(target_.size());
}

void scorer::add(std::span<const float> prediction) {
  assert(next_ < rows_ && prediction.size() == target_.size());
  const auto index = next_++;
  data_.copy_targets(data_.row(part_, index), std::span{target_}, std::span{mask_});
  const auto outputs = unit_.size(), steps = target_.size() / outputs;
  std::vector<sums> upto(steps + 1); // [h]: sums over steps 1..h of this row
  for (std::size_t cell = 0; cell < target_.size(); ++cell) {
    auto& s = upto[cell / outputs + 1];
    if (cell % outputs == 0)
      s = upto[cell / outputs];
    if (mask_[cell] == 0)
      continue;
    const double error = (static_cast<double>(prediction[cell]) - static_cast<double>(target_[cell])) / unit_[cell % outputs];
    s.squares += error * error;
    s.absolutes += std::abs(error);
    ++s.cells;
  }
  for (std::size_t k = 0; k < horizons_.size(); ++k) {
    if (index >= data_.rows(part_, horizons_[k]))
      continue;
    const auto& s = horizons_[k] == 0 ? upto.back() : upto[static_cast<std::size_t>(horizons_[k])];
    totals_[k].squares += s.squares;
    totals_[k].absolutes += s.absolutes;
    totals_[k].cells += s.cells;
  }
}

std::vector<score> scorer::scores() const {
  std::vector<score> result;
  for (std::size_t k = 0; k < horizons_.size(); ++k) {
    const auto& s = totals_[k];
    const auto cells = static_cast<double>(std::max<i64>(s.cells, 1));
    result.push_back({horizons_[k], std::sqrt(s.squares / cells), s.absolutes / cells, s.cells});
  }
  return result;
}

std::vector<score> evaluate(const dataset& data, part p, std::span<const i64> horizons, const predictor& f, error_unit unit) {
  scorer s{data, p, horizons, unit};
  std::vector<float> prediction(static_cast<std::size_t>(data.target_size()));
  for (std::uint64_t i = 0; i < s.rows(); ++i) {
    f(data.row(p, i), prediction);
    s.add(prediction);
  }
  return s.scores();
}

} // namespace enn::model
