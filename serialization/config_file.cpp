#include <enn/model/config/text.hpp>
#include <enn/model/data/nearest_name.hpp>
#include <enn/serialization/config_file.hpp>
#include <enn/serialization/file.hpp>

#include <toml++/toml.h> // slow to compile: here only; with exceptions, as Debian's shared library has them

#include <algorithm>

namespace enn::serialization {
namespace {

namespace fs = std::filesystem;
using model::config;

template <class Value>
constexpr bool is_list = false;
template <class Element>
constexpr bool is_list<std::vector<Element>> = true;

std::string_view found_type(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string: return "text";
    case toml::node_type::integer: return "an integer";
    case toml::node_type::floating_point: return "a number";
    case toml::node_type::boolean: return "true or false";
    case toml::node_type::array: return "a list";
    case toml::node_type::table: return "a section";
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time: return "a date or time without quotes";
    case toml::node_type::none: break;
  }
  return "nothing";
}

/// The node's value if it has just this type; an integer is a number too.
template <class Value>
bool take(const toml::node& node, Value& value) {
  if constexpr (is_list<Value>) {
    const auto* array = node.as_array();
    if (array == nullptr)
      return false;
    value.resize(array->size());
    for (std::size_t i = 0; i < array->size(); ++i)
      if (!take((*array)[i], value[i]))
        return false;
    return true;
  } else {
    auto found = node.value_exact<Value>();
    if constexpr (std::is_same_v<Value, double>)
      if (const auto* integer = node.as_integer())
        found = static_cast<double>(integer->get());
    if (found)
      value = *found;
    return found.has_value();
  }
}

/// What stands where a Value was expected; of a list, also the first element that is wrong in it.
template <class Value>
std::string found_text(const toml::node& node) {
  if constexpr (is_list<Value>)
    if (const auto* array = node.as_array())
      for (const auto& element : *array)
        if (typename Value::value_type taken; !take(element, taken))
          return "a list with " + std::string{found_type(element)} + " in it";
  return std::string{found_type(node)};
}

/// Reads one file's tables into a configuration.
class reader {
public:
  explicit reader(std::string name) : name_{std::move(name)} {}

  caf::expected<config> read(const toml::table& root) const {
    config result;
    for (const auto& [section, node] : in_file_order(root)) {
      if (auto done = read_section(result, *section, *node); !done)
        return done.error();
    }
    return result;
  }

private:
  using entry = std::pair<const toml::key*, const toml::node*>;

  // A toml::table is sorted by name; the first error should be the first one in the file.
  static std::vector<entry> in_file_order(const toml::table& table) {
    std::vector<entry> entries;
    for (const auto& [key, node] : table)
      entries.emplace_back(&key, &node);
    std::sort(entries.begin(), entries.end(), [](const entry& a, const entry& b) {
      return a.first->source().begin < b.first->source().begin;
    });
    return entries;
  }

  std::string origin(const toml::key& key) const {
    return name_ + ":" + std::to_string(key.source().begin.line);
  }

  caf::expected<void> read_section(config& c, const toml::key& section, const toml::node& node) const {
    std::vector<std::string> sections;
    model::for_each_section(c, [&](std::string_view name, const auto&) { sections.emplace_back(name); });
    bool known = std::find(sections.begin(), sections.end(), section.str()) != sections.end();
    std::string name{section.str()};
    if (node.is_table() && !known)
      return fail(ec::bad_config, origin(section) + ": unknown section [" + name + "]; the nearest is ["
                                    + model::nearest_name(name, sections) + "]");
    if (known && !node.is_table())
      return fail(ec::bad_config, origin(section) + ": " + name + " is a section: expected [" + name + "], found "
                                    + std::string{found_type(node)});
    if (!known)
      return model::unknown_key(name, origin(section));
    for (const auto& [key, value] : in_file_order(*node.as_table()))
      if (auto done = read_value(c, name + "." + std::string{key->str()}, origin(*key), *value); !done)
        return done;
    return {};
  }

  static caf::expected<void> read_value(config& c, const std::string& key, const std::string& where,
                                        const toml::node& node) {
    caf::expected<std::string> text = model::unknown_key(key, where);
    model::visit_value(c, key, [&](const auto&, const auto& current) {
      auto value = current;
      if (take(node, value))
        text = model::to_text(value);
      else
        text = fail(ec::bad_config, where + ": " + key + ": expected " + std::string{model::type_name(current)}
                                      + ", found " + found_text<std::decay_t<decltype(current)>>(node));
    });
    return text ? model::set(c, key, *text, where) : caf::expected<void>{text.error()};
  }

  std::string name_;
};

/// The comment ends with its line, whatever the name of the file.
std::string comment(std::string origin) {
  std::replace_if(origin.begin(), origin.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return origin.empty() ? "" : "  # " + origin;
}

} // namespace

caf::expected<config> load_config(const fs::path& path) {
  auto text = read_file(path);
  return text ? parse_config(*text, path) : caf::expected<config>{text.error()};
}

caf::expected<config> parse_config(const std::string& text, const fs::path& name) {
  try {
    auto result = reader{name.string()}.read(toml::parse(text, name.string()));
    if (result)
      resolve_data_path(*result, name.parent_path());
    return result;
  } catch (const toml::parse_error& problem) {
    const auto& at = problem.source().begin;
    return fail(ec::bad_config, name.string() + ":" + std::to_string(at.line) + ":" + std::to_string(at.column)
                                  + ": not TOML: " + std::string{problem.description()});
  }
}

void resolve_data_path(config& c, const fs::path& folder) {
  std::error_code no_current_folder;
  auto path = fs::absolute(folder / c.data.path, no_current_folder).lexically_normal();
  if (!c.data.path.empty() && !no_current_folder)
    c.data.path = path.string();
}

std::string to_toml(const config& c, bool with_origins) {
  const config defaults;
  std::string result;
  model::for_each_section(c, [&](std::string_view section, const auto& values) {
    result += (result.empty() ? "[" : "\n[") + std::string{section} + "]\n";
    model::for_each_field(values, [&](const auto& field, const auto& value) {
      auto key = std::string{section} + "." + std::string{field.name};
      auto origin = c.origins.find(key);
      bool told = with_origins && origin != c.origins.end() && model::get(c, key) != model::get(defaults, key);
      result += std::string{field.name} + " = " + model::literal(value) + (told ? comment(origin->second) : "") + "\n";
    });
  });
  return result;
}

} // namespace enn::serialization
