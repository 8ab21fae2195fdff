#include <enn/model/config/text.hpp>
#include <enn/model/data/category.hpp>
#include <enn/model/data/date_time.hpp>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>

namespace enn::model {
namespace {

// A contradiction is told as "origins: key = value does not ...; what to do": named() writes the values, and
// contradiction() puts the origins of all keys concerned in front, those of defaults excepted.

std::string named(const config& c, std::string_view key) {
  std::string text{key};
  visit_value(c, key, [&](const auto&, const auto& value) { text += " = " + literal(value); });
  return text;
}

caf::error contradiction(const config& c, std::initializer_list<const char*> concerned, const std::string& text) {
  std::vector<std::string> origins;
  for (const char* key : concerned) {
    auto origin = c.origins.find(key);
    if (origin != c.origins.end() && std::find(origins.begin(), origins.end(), origin->second) == origins.end())
      origins.push_back(origin->second);
  }
  std::string result;
  for (const auto& origin : origins)
    result += (result.empty() ? "" : ", ") + origin;
  return fail(ec::bad_config, result + (result.empty() ? "" : ": ") + text);
}

bool contains(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

std::optional<std::string> repeated(const std::vector<std::string>& list) {
  for (auto i = list.begin(); i != list.end(); ++i)
    if (std::find(list.begin(), i, *i) != i)
      return *i;
  return {};
}

// -- [data] ----

caf::expected<void> check_columns(const config& c) {
  const auto& data = c.data;
  const bool tab = data.delimiter == "\\t"; // as a shell passes it
  if ((data.delimiter.size() != 1 && !tab) || data.delimiter.find_first_of("\"\r\n") != std::string::npos)
    return contradiction(c, {"data.delimiter"},
                         named(c, "data.delimiter") + " is not one character that can stand between fields; "
                                                      "choose \",\", \";\", \"\\t\" or the like");
  if (auto column = repeated(data.columns))
    return contradiction(c, {"data.columns"}, "data.columns names " + *column + " twice; remove one");
  if (auto column = repeated(data.targets))
    return contradiction(c, {"data.targets"}, "data.targets names " + *column + " twice; remove one");
  for (const auto& column : data.columns) {
    if (contains(data.targets, column))
      return contradiction(c, {"data.targets", "data.columns"},
                           "data.targets and data.columns both name " + column + "; an input cannot be predicted");
    if (column == data.time_column)
      return contradiction(c, {"data.time-column", "data.columns"},
                           named(c, "data.time-column") + " is also in data.columns; remove it there");
  }
  return {};
}

/// What can be said of them without the columns of the file.
caf::expected<void> check_categories(const config& c) {
  const auto& data = c.data;
  std::vector<std::string> names;
  for (const auto& text : data.categorical) {
    auto found = parse_category(text, 3), shorter = parse_category(text, 2);
    if (found && shorter && contains(data.columns, shorter->name))
      found = shorter; // a name that ends in a number
    if (!found)
      found = shorter;
    if (!found)
      return contradiction(c, {"data.categorical"}, "data.categorical: found " + literal(text) + ", expected " + std::string{category_form});
    if (contains(names, found->name))
      return contradiction(c, {"data.categorical"}, "data.categorical names " + found->name + " twice; remove one");
    if (contains(data.targets, found->name))
      return contradiction(c, {"data.categorical", "data.targets"},
                           "data.categorical and data.targets both name " + found->name + "; only inputs can be categories");
    names.push_back(found->name);
  }
  return {};
}

caf::expected<void> check_kind(const config& c) {
  const auto& data = c.data;
  if (data.kind == "row") {
    if (data.targets.empty())
      return contradiction(c, {"data.kind"},
                           named(c, "data.kind") + " needs data.targets; name the columns to predict");
    if (c.model.head == "grid")
      return contradiction(c, {"model.head", "data.kind"},
                           named(c, "model.head") + " needs " + "data.kind = \"window\"; set model.head = \"dense\"");
    if (!c.model.calendar.empty())
      return contradiction(c, {"model.calendar", "data.kind"},
                           "model.calendar needs data.kind = \"window\"; remove it");
    return {};
  }
  if (!data.targets.empty())
    return contradiction(c, {"data.targets", "data.kind"},
                         "data.targets needs data.kind = \"row\"; windows predict all their columns, so remove it");
  if (!data.categorical.empty())
    return contradiction(c, {"data.categorical", "data.kind"},
                         "data.categorical needs data.kind = \"row\"; remove it");
  if (c.model.preset != "spatial" && c.model.patch_size > data.history)
    return contradiction(c, {"model.patch-size", "data.history"},
                         named(c, "model.patch-size") + " is longer than " + named(c, "data.history")
                           + "; choose a patch of at most " + to_text(data.history));
  return {};
}

caf::expected<void> check_times(const config& c) {
  const auto& data = c.data;
  const auto& calendar = c.model.calendar;
  if (!data.time_column.empty() && !data.start.empty())
    return contradiction(c, {"data.time-column", "data.start"},
                         named(c, "data.time-column") + " and " + named(c, "data.start")
                           + " both tell the time of the first line; remove one");
  if (!data.start.empty() && !parse_date_time(data.start))
    return contradiction(c, {"data.start"},
                         "data.start: found " + literal(data.start) + ", expected a date and time such as 2012-03-01T00:00:00");
  if (!data.start.empty() && data.interval_seconds == 0)
    return contradiction(c, {"data.start", "data.interval-seconds"},
                         named(c, "data.start") + " needs data.interval-seconds: the times of the lines follow from both");
  if (auto word = repeated(calendar))
    return contradiction(c, {"model.calendar"}, "model.calendar names " + *word + " twice; remove one");
  if (calendar.empty() || !data.time_column.empty())
    return {};
  if (data.start.empty() || data.interval_seconds == 0)
    return contradiction(c, {"model.calendar", "data.start", "data.interval-seconds"},
                         "model.calendar needs the time of each line; set data.time-column, or data.start and "
                         "data.interval-seconds");
  if (contains(calendar, "time-of-day") && c.model.calendar_vectors == 0 && 86400 % data.interval_seconds != 0)
    return contradiction(c, {"data.interval-seconds", "model.calendar-vectors"},
                         named(c, "data.interval-seconds") + " does not divide a day of 86400 s, so "
                           + named(c, "model.calendar-vectors") + " cannot give each line of the day a vector; "
                           + "set model.calendar-vectors, for instance to 24");
  return {};
}

caf::expected<void> check_split(const config& c) {
  const auto& data = c.data;
  if (data.train_rows > 0 && data.train_fraction != data_config{}.train_fraction)
    return contradiction(c, {"data.train-rows", "data.train-fraction"},
                         named(c, "data.train-rows") + " and " + named(c, "data.train-fraction")
                           + " both tell where training ends; remove one");
  if (data.train_rows == 0 && data.train_fraction == 1 && data.test_rows > 0)
    return contradiction(c, {"data.test-rows", "data.train-fraction"},
                         named(c, "data.train-fraction") + " leaves nothing for " + named(c, "data.test-rows")
                           + "; lower the fraction or set data.test-rows = 0");
  auto share = data.validation_fraction;
  if (data.validation_rows > 0 && share > 0 && share != data_config{}.validation_fraction)
    return contradiction(c, {"data.validation-rows", "data.validation-fraction"},
                         named(c, "data.validation-rows") + " and " + named(c, "data.validation-fraction")
                           + " both tell what validation is; remove one");
  if (data.kind != "window")
    return {};
  auto window = data.history + data.horizon;
  if (data.train_rows > 0 && data.train_rows < window)
    return contradiction(c, {"data.train-rows", "data.history", "data.horizon"},
                         named(c, "data.train-rows") + " cannot hold one window of " + named(c, "data.history")
                           + " and " + named(c, "data.horizon") + "; use " + to_text(window) + " or more");
  auto tested = data.horizon + (data.test_inputs_in_test ? data.history : 0);
  if (data.test_rows > 0 && data.test_rows < tested)
    return contradiction(c, {"data.test-rows", "data.history", "data.horizon", "data.test-inputs-in-test"},
                         named(c, "data.test-rows") + " cannot hold one test window of " + to_text(tested)
                           + " lines; use " + to_text(tested) + " or more");
  return {};
}

// -- [model] ----

/// The divisor of `width` that is nearest to `heads`; the smaller one of two.
std::int64_t nearest_divisor(std::int64_t width, std::int64_t heads) {
  std::int64_t best = 1;
  for (std::int64_t divisor = 1; divisor <= width; ++divisor)
    if (width % divisor == 0 && std::abs(divisor - heads) < std::abs(best - heads))
      best = divisor;
  return best;
}

caf::expected<void> check_widths(const config& c) {
  const auto& model = c.model;
  if (model.d_model % model.heads != 0)
    return contradiction(c, {"model.heads", "model.d-model"},
                         named(c, "model.heads") + " does not divide " + named(c, "model.d-model")
                           + "; choose a divisor such as " + to_text(nearest_divisor(model.d_model, model.heads)));
  auto width = static_cast<double>(model.d_model);
  if (std::floor(2.0 / 3 * model.mlp_ratio * width) < 1)
    return contradiction(c, {"model.mlp-ratio", "model.d-model"},
                         named(c, "model.mlp-ratio") + " leaves gated feed-forward layers of "
                           + named(c, "model.d-model") + " no hidden unit; use a ratio of at least "
                           + to_text(1.5 / width));
  return {};
}

caf::expected<void> check_composition(const config& c) {
  const auto& model = c.model;
  if (model.preset != "temporal" && model.spatial_depth == 0)
    return contradiction(c, {"model.preset", "model.spatial-depth"},
                         named(c, "model.preset") + " needs spatial blocks, but " + named(c, "model.spatial-depth")
                           + "; use 1 or more, or model.preset = \"temporal\"");
  if (model.preset != "spatial" && model.temporal_depth == 0)
    return contradiction(c, {"model.preset", "model.temporal-depth"},
                         named(c, "model.preset") + " needs temporal blocks, but " + named(c, "model.temporal-depth")
                           + "; use 1 or more, or model.preset = \"spatial\"");
  return {};
}

// -- [train] ----

std::int64_t power_below(std::int64_t n) {
  std::int64_t power = 1;
  while (power * 2 <= n)
    power *= 2;
  return power;
}

caf::expected<void> check_training(const config& c) {
  const auto& train = c.train;
  if (auto power = power_below(train.leases); power != train.leases)
    return contradiction(c, {"train.leases"}, named(c, "train.leases") + " is not a power of two; choose "
                                                + to_text(power) + " or " + to_text(power * 2));
  // Kingma and Ba 2015, theorem 4.1, asks for it: otherwise the mean outlives the variance that scales it.
  if (train.optimizer == "adamw" && train.momentum > 0 && train.momentum * train.momentum >= std::sqrt(train.beta2))
    return contradiction(c, {"train.momentum", "train.beta2"},
                         named(c, "train.momentum") + " is too large for " + named(c, "train.beta2")
                           + ": AdamW needs momentum^2 below the root of beta2; lower the one or raise the other");
  auto refined = c.model.refine ? train.refined_weight : 0;
  if (train.final_weight + train.base_weight + refined <= 0)
    return contradiction(c, {"train.final-weight", "train.base-weight", "train.refined-weight", "model.refine"},
                         std::string{"train.final-weight, train.base-weight"}
                           + (c.model.refine ? " and train.refined-weight" : "")
                           + " are all 0, so there is nothing to learn from; set one above 0");
  if (c.model.refine && train.detach_refinement && train.base_weight == 0)
    return contradiction(c, {"train.base-weight", "train.detach-refinement"},
                         named(c, "train.base-weight") + " leaves nothing to train the encoder when "
                           + named(c, "train.detach-refinement") + "; raise the one, or set the other to false");
  if (c.data.validation_fraction > 0 || c.data.validation_rows > 0)
    return {};
  for (const auto& [key, value] : {std::pair{"train.patience", train.patience},
                                   std::pair{"train.validate-every", train.validate_every}})
    if (value > 0)
      return contradiction(c, {key, "data.validation-fraction"},
                           named(c, key) + " needs a validation part, but " + named(c, "data.validation-fraction")
                             + "; set a fraction such as 0.1, or " + key + " = 0");
  return {};
}

} // namespace

caf::expected<void> check(const config& c) {
  for (auto rule : {check_limits, check_columns, check_categories, check_kind, check_times, check_split, check_widths, check_composition,
                    check_training})
    if (auto done = rule(c); !done)
      return done;
  return {};
}

} // namespace enn::model
