// One lease: rows in, losses and gradient or predictions out.
#include <enn/kernels/machine.hpp>
#include <enn/model/graph/schedule.hpp>
#include <enn/model/training/trainer.hpp>

#include <algorithm>
#include <stdexcept>
#include <tuple>

namespace enn::model {
namespace {

/// What the schedules of one scalar type need.
template <class T>
struct engine {
  using key = std::tuple<lease_kind, std::int64_t>; // and rows
  const kernels::kernel_table<T>* kernels;
  std::map<key, schedule<T>> schedules;
  std::vector<T> weights, gradient; // where T is not the callers' float

  std::span<const T> as_weights(std::span<const float> w) {
    if constexpr (std::is_same_v<T, float>)
      return w;
    weights.assign(w.begin(), w.end());
    return weights;
  }
  std::span<T> as_gradient(std::span<float> g) {
    if constexpr (std::is_same_v<T, float>)
      return g;
    gradient.resize(g.size());
    return gradient;
  }
};

constexpr std::size_t most_schedules = 8; // of different numbers of rows; each has its own memory

} // namespace

struct lease_computer::parts {
  std::shared_ptr<const run_definition> run;
  std::shared_ptr<const graph> training, inference;
  std::vector<std::string> losses;
  engine<float> fast, reference;
  engine<double> master;

  explicit parts(std::shared_ptr<const run_definition> r) : run(std::move(r)) {
    training = std::shared_ptr<const graph>{run, &run->network};
    inference = std::make_shared<const graph>(without_training(run->network));
    for (const auto& o : run->network.outputs)
      if (o.role == output_role::loss)
        losses.push_back(o.path);
    std::string why_not;
    fast.kernels = kernels::find_kernels(run->kernels, why_not);
    if (!fast.kernels)
      throw std::runtime_error("kernel set " + run->kernels + ": " + why_not);
    reference.kernels = &kernels::reference_kernels<float>();
    master.kernels = &kernels::reference_kernels<double>();
  }

  template <class T>
  schedule<T>& schedule_for(engine<T>& e, lease_kind kind, std::int64_t rows) {
    auto known = e.schedules.find({kind, rows});
    if (known != e.schedules.end())
      return known->second;
    if (e.schedules.size() >= most_schedules)
      e.schedules.clear();
    bool train = kind == lease_kind::train;
    schedule_plan plan{rows, kind == lease_kind::predict ? std::vector<std::string>{"prediction"} : losses, train};
    return e.schedules.emplace(std::tuple{kind, rows}, schedule<T>{train ? training : inference, plan, *e.kernels}).first->second;
  }

  template <class T>
  void fill(schedule<T>& s, std::span<const std::uint64_t> rows, const row_source& data) {
    auto x = s.input("x"), calendar = s.input("calendar"), target = s.input("target"), mask = s.input("mask");
    auto piece = [&](std::span<T> all, std::size_t i) { return all.subspan(all.size() / rows.size() * i, all.size() / rows.size()); };
    auto& unused = std::get<std::vector<T>>(unread);
    unused.resize(static_cast<std::size_t>(run->facts.calendar_size()));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      data.copy_features(rows[i], piece(x, i), calendar.empty() ? std::span{unused} : piece(calendar, i));
      if (!target.empty())
        data.copy_targets(rows[i], piece(target, i), piece(mask, i));
    }
  }

  template <class T>
  lease_result compute(engine<T>& e, const lease_request& q, std::span<const float> weights, std::span<float> gradient,
                       std::span<float> predictions) {
    auto& s = schedule_for(e, q.kind, static_cast<std::int64_t>(q.rows.size()));
    fill(s, q.rows, *q.source);
    if (q.fault)
      weights = changed(*q.fault, weights);
    schedule_inputs<T> in{static_cast<std::uint64_t>(run->settings.train.seed), static_cast<std::uint64_t>(q.step), q.rows,
                          e.as_weights(weights), static_cast<T>(1 / q.denominator), q.fault, q.helpers};
    auto own = e.as_gradient(gradient);
    s.run(in, own);
    lease_result result;
    result.health = s.inspect(in, own);
    if (q.kind == lease_kind::predict) {
      auto values = s.output("prediction");
      std::transform(values.begin(), values.end(), predictions.begin(), [](T v) { return static_cast<float>(v); });
      count_overflow<T>(predictions, q.rows, result.health);
      return result;
    }
    for (const auto& path : losses) {
      double sum = 0;
      for (auto row : s.output(path))
        sum += static_cast<double>(row);
      result.losses.push_back(sum / q.denominator);
    }
    if constexpr (!std::is_same_v<T, float>)
      std::transform(own.begin(), own.end(), gradient.begin(), [](T v) { return static_cast<float>(v); });
    count_overflow<T>(gradient, {}, result.health);
    return result;
  }

  std::int64_t nonfinite(std::span<const float> values) const {
    return fast.kernels->count_nonfinite(static_cast<std::int64_t>(values.size()), values.data()).nonfinite;
  }

  /// A number of the master dtype may be finite and yet none of float. `rows`: of predictions.
  template <class T>
  void count_overflow(std::span<const float> values, std::span<const std::uint64_t> rows, numeric_health& health) const {
    if (std::is_same_v<T, float>)
      return;
    auto found = nonfinite(values);
    if (found == 0)
      return;
    health.nonfinite = std::max(health.nonfinite, found);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      auto size = values.size() / rows.size();
      bool known = std::find(health.rows.begin(), health.rows.end(), rows[i]) != health.rows.end();
      if (!known && nonfinite(values.subspan(i * size, size)) > 0)
        health.rows.push_back(rows[i]);
    }
  }

  /// Weights as a test has them.
  std::span<const float> changed(const number_fault& fault, std::span<const float> weights) {
    own_weights.assign(weights.begin(), weights.end());
    for (const auto& s : run->layout.spans)
      if (auto c = fault({number_place::kind::parameter, s.path, 0, s.size}))
        c->apply(own_weights.data() + s.offset);
    return own_weights;
  }

  std::vector<float> own_weights;
  std::tuple<std::vector<float>, std::vector<double>> unread; // calendar of models that have none
};

lease_computer::lease_computer(std::shared_ptr<const run_definition> run) : parts_(std::make_unique<parts>(std::move(run))) {}
lease_computer::~lease_computer() = default;

lease_result lease_computer::compute(const lease_request& request, std::span<const float> weights, std::span<float> gradient,
                                     std::span<float> predictions) {
  kernels::rounding_guard guard;
  if (request.start == rung::fast)
    return parts_->compute(request.by_reference ? parts_->reference : parts_->fast, request, weights, gradient, predictions);
  auto result = parts_->compute(parts_->master, request, weights, gradient, predictions);
  parts_->master.schedules.clear(); // rare, and large
  return result;
}

} // namespace enn::model
