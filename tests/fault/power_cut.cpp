#include "power_cut.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fcntl.h>

namespace enn::fault {
namespace {

namespace fs = std::filesystem;

using names = std::map<std::string, std::size_t>; // of nodes
constexpr std::size_t none = ~std::size_t{0};

struct node {
  std::optional<std::string> content; // none: a folder
  names inside;                       // of a folder
};

struct change {
  enum sort { writing, extending, cutting, naming } what = writing;
  std::size_t of = 0;             // a file, or the folder of the names
  std::size_t call = 0;           // that made it
  std::size_t sync = none;        // after which it lasts
  std::uint64_t place = 0;        // where a write begins; the size of the others
  std::string bytes;
  names leads = {};               // to none: that is removed
};

/// What became of a change.
struct fate {
  bool done = true;
  std::size_t begin = 0, end = none; // the bytes of a write that are there; the file reaches as far as `end`
};
using fates = std::vector<fate>; // one for each change that is not synced

void apply(const change& c, const fate& f, std::string& content) {
  auto end = std::min(f.end, c.bytes.size());
  auto reach = static_cast<std::size_t>(c.place) + end;
  if (c.what == change::cutting || reach > content.size())
    content.resize(reach);
  if (c.what == change::writing && end > f.begin)
    content.replace(c.place + f.begin, end - f.begin, c.bytes, f.begin, end - f.begin);
}

void apply(const change& c, names& inside) {
  for (const auto& [name, node] : c.leads)
    if (node == none)
      inside.erase(name);
    else
      inside[name] = node;
}

std::vector<fate> losses_of(const change& c) {
  std::vector<fate> result{{false}};
  if (c.what != change::writing)
    return result;
  const auto size = c.bytes.size();
  result.push_back({true, size, size});
  std::set<std::size_t> borders;
  for (std::uint64_t block : {512, 4096})
    for (auto border : {(c.place / block + 1) * block, (c.place + size - 1) / block * block})
      if (border > c.place && border < c.place + size)
        borders.insert(border - c.place);
  for (auto border : borders) {
    result.push_back({true, 0, border});
    result.push_back({true, border, size});
  }
  return result;
}

std::uint64_t mixed(std::uint64_t key, std::uint64_t value) { // splitmix64
  key += value + 0x9e3779b97f4a7c15;
  key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9;
  key = (key ^ key >> 27) * 0x94d049bb133111eb;
  return key ^ key >> 31;
}

/// What lasts after some calls, and what does not yet.
struct moment {
  std::vector<node> nodes;
  std::vector<std::uint64_t> keys; // of the content of each node
  std::vector<const change*> pending;

  void add_to_key(std::vector<std::uint64_t>& to, const change& c, const fate& f) const {
    to[c.of] = mixed(mixed(mixed(to[c.of], c.call), f.begin), f.end);
  }

  void walk(const std::vector<names>& inside, std::size_t folder, const std::string& prefix,
            std::vector<std::pair<std::string, std::size_t>>& found) const {
    for (const auto& [name, node] : inside[folder]) {
      found.emplace_back(prefix + name, node);
      if (!nodes[node].content)
        walk(inside, node, prefix + name + '/', found);
    }
  }
  /// Every path, and the node that it leads to.
  std::vector<std::pair<std::string, std::size_t>> paths(const fates& f) const {
    std::vector<names> inside(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i)
      inside[i] = nodes[i].inside;
    for (std::size_t i = 0; i < pending.size(); ++i)
      if (pending[i]->what == change::naming && f[i].done)
        apply(*pending[i], inside[pending[i]->of]);
    std::vector<std::pair<std::string, std::size_t>> found;
    walk(inside, 0, "", found);
    return found;
  }
  /// Equal for equal states, but for the content of drafts.
  std::uint64_t key(const fates& f) const {
    auto contents = keys;
    for (std::size_t i = 0; i < pending.size(); ++i)
      if (pending[i]->what != change::naming && f[i].done)
        add_to_key(contents, *pending[i], f[i]);
    std::uint64_t result = 0;
    for (const auto& [path, node] : paths(f)) {
      result = mixed(mixed(result, std::hash<std::string>{}(path)), node);
      if (!path.ends_with(".tmp"))
        result = mixed(result, contents[node]);
    }
    return result;
  }
  tree state(const fates& f) const {
    tree result;
    for (const auto& [path, node] : paths(f)) {
      auto& content = result[path] = nodes[node].content;
      for (std::size_t i = 0; content && i < pending.size(); ++i)
        if (pending[i]->of == node && f[i].done)
          apply(*pending[i], f[i], *content);
    }
    return result;
  }
};

} // namespace

tree tree_in(const fs::path& folder) {
  tree result;
  if (fs::exists(folder))
    for (const auto& entry : fs::recursive_directory_iterator{folder}) {
      auto& content = result[entry.path().lexically_relative(folder).string()];
      if (entry.is_regular_file()) {
        std::ifstream in{entry.path(), std::ios::binary};
        content.emplace(std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{});
      }
    }
  return result;
}

void plant(const tree& files, const fs::path& folder) {
  fs::remove_all(folder);
  fs::create_directories(folder);
  for (const auto& [path, content] : files) // a folder stands before what is in it
    if (content)
      std::ofstream{folder / path, std::ios::binary} << *content;
    else
      fs::create_directory(folder / path);
}

// -- what was traced --------------------------------------------------------------------------------------------------------

struct power_cuts::parts {
  fs::path folder;
  std::vector<node> nodes; // as they were found, or made; the first is the folder
  std::vector<change> changes;
  std::vector<std::size_t> marks{0}; // by number of calls

  // While the trace is read: what the program saw.
  names paths{{"", 0}};
  std::vector<std::uint64_t> sizes;
  std::map<int, std::size_t> open;

  std::size_t add(std::optional<std::string> content) {
    sizes.push_back(content ? content->size() : 0);
    nodes.push_back({std::move(content), {}});
    return nodes.size() - 1;
  }
  /// None: the folder itself, or not in it.
  std::optional<std::string> inside(const fs::path& path) const {
    auto result = path.lexically_normal().lexically_relative(folder).string();
    return result == "." ? "" : result.starts_with("..") ? std::nullopt : std::optional{result};
  }
  static std::pair<std::string, std::string> folder_and_name(const fs::path& path) { return {path.parent_path(), path.filename()}; }

  void find(const tree& before) {
    add(std::nullopt);
    for (const auto& [path, content] : before) {
      auto [in, name] = folder_and_name(path);
      nodes[paths.at(in)].inside[name] = paths[path] = add(content);
    }
  }
  change& note(change::sort what, std::size_t of, std::uint64_t place = 0) {
    auto& result = changes.emplace_back();
    result.what = what;
    result.of = of;
    result.call = marks.size();
    result.place = place;
    return result;
  }
  /// Both names are in one folder.
  void name(const std::string& path, std::size_t node, const std::string& no_longer = "") {
    auto [in, name] = folder_and_name(path);
    auto& made = note(change::naming, paths.at(in));
    for (const auto& [where, leads] : {std::pair{path, node}, {no_longer, none}})
      if (!where.empty()) {
        made.leads[fs::path{where}.filename()] = leads;
        leads == none ? void(paths.erase(where)) : void(paths[where] = leads);
      }
  }
  void resize(std::size_t file, change::sort what, std::uint64_t size) {
    note(what, file, size);
    sizes[file] = what == change::cutting ? size : std::max(sizes[file], size);
  }
  void write(std::size_t file, std::uint64_t place, std::string bytes) {
    if (place == at_the_end)
      place = sizes[file];
    sizes[file] = std::max<std::uint64_t>(sizes[file], place + bytes.size());
    note(change::writing, file, place).bytes = std::move(bytes);
  }
  void open_file(const std::string& path, int number, int flags) {
    if (!paths.contains(path))
      name(path, add(""));
    else if ((flags & O_TRUNC) != 0)
      resize(paths[path], change::cutting, 0);
    open[number] = paths[path];
  }
  void sync(std::size_t node) {
    for (auto& c : changes)
      if (c.of == node && c.sync == none)
        c.sync = marks.size();
  }
  void read(const traced& call, const std::string& first, const std::string& second) {
    auto path = inside(first), target = inside(second);
    switch (call.what) {
      case kind::open: return path ? open_file(*path, call.file, call.flags) : void(open.erase(call.file));
      case kind::write: return write(open.at(call.file), call.place, first);
      case kind::allocate: return resize(open.at(call.file), change::extending, call.place);
      case kind::truncate: return resize(open.at(call.file), change::cutting, call.place);
      case kind::sync: return sync(open.at(call.file));
      case kind::rename: return name(target.value(), paths.at(path.value()), path.value());
      case kind::unlink: return name(path.value(), none);
      case kind::mkdir: return path->empty() ? void() : name(*path, add(std::nullopt));
      case kind::close:
      case kind::read: return;
    }
  }

  moment after(std::size_t calls) const {
    moment result{nodes, std::vector<std::uint64_t>(nodes.size()), {}};
    for (const auto& c : changes)
      if (c.call > calls)
        break;
      else if (c.sync > calls)
        result.pending.push_back(&c);
      else if (c.what == change::naming)
        apply(c, result.nodes[c.of].inside);
      else {
        apply(c, {}, *result.nodes[c.of].content);
        result.add_to_key(result.keys, c, {});
      }
    return result;
  }
};

power_cuts::power_cuts(const tree& before, const fs::path& folder, const fs::path& trace) : parts_(std::make_unique<parts>()) {
  auto& it = *parts_;
  it.folder = folder;
  it.find(before);
  std::ifstream in{trace, std::ios::binary};
  for (traced call; in.read(reinterpret_cast<char*>(&call), sizeof call);) {
    std::string first(call.first, '\0'), second(call.second, '\0');
    in.read(first.data(), call.first).read(second.data(), call.second);
    if (call.mark) {
      ++it.marks.back();
    } else {
      it.read(call, first, second);
      it.marks.push_back(it.marks.back());
    }
  }
}

power_cuts::~power_cuts() = default;

std::size_t power_cuts::calls() const {
  return parts_->marks.size() - 1;
}

std::size_t power_cuts::marks(std::size_t calls) const {
  return parts_->marks[calls];
}

// -- cuts -------------------------------------------------------------------------------------------------------------------

namespace {

/// Visits what became of changes that are not synced, until told to stop.
bool visit_fates(const std::vector<const change*>& pending, const std::function<bool(const fates&)>& visit) {
  fates f(pending.size());
  // With one more of the first `end` lost, and up to `more` besides.
  std::function<bool(std::size_t, int)> lose_some = [&](std::size_t end, int more) {
    for (std::size_t i = 0; i < end; ++i) {
      f[i] = {false};
      if (!visit(f) || (more > 0 && !lose_some(i, more - 1)))
        return false;
      f[i] = {};
    }
    return true;
  };
  auto lose_all = [&](auto which, std::size_t loss) {
    fates all(pending.size());
    for (std::size_t i = 0; i < pending.size(); ++i)
      if (which(*pending[i]))
        all[i] = losses_of(*pending[i])[loss];
    return visit(all);
  };
  auto is_name = [](const change& c) { return c.what == change::naming; };
  if (!visit(f) || !lose_some(f.size(), 2) || !lose_all([](const change&) { return true; }, 0) || !lose_all(is_name, 0)
      || !lose_all(std::not_fn(is_name), 0) || !lose_all([](const change& c) { return c.what == change::writing; }, 1))
    return false;
  for (std::size_t i = 0; i < f.size(); ++i) {
    for (const auto& loss : losses_of(*pending[i])) {
      f[i] = loss;
      if (!visit(f))
        return false;
    }
    f[i] = {};
  }
  return true;
}

} // namespace

std::size_t power_cuts::visit_all(const std::function<bool(const tree& files, std::size_t calls)>& visit) const {
  std::size_t count = 0;
  std::unordered_set<std::uint64_t> seen;
  bool go_on = true;
  for (std::size_t calls = 0; go_on && calls <= this->calls(); ++calls) {
    const auto now = parts_->after(calls);
    go_on = visit_fates(now.pending, [&](const fates& f) {
      ++count;
      return !seen.insert(mixed(now.key(f), marks(calls))).second || visit(now.state(f), calls);
    });
  }
  return count;
}

tree power_cuts::draw(std::size_t calls, std::mt19937& random) const {
  const auto now = parts_->after(calls);
  fates f(now.pending.size());
  for (std::size_t i = 0; i < f.size(); ++i)
    if (auto losses = losses_of(*now.pending[i]); random() % 2 == 0)
      f[i] = losses[random() % losses.size()];
  return now.state(f);
}

} // namespace enn::fault
