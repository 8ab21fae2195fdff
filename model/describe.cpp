#include <enn/model/describe.hpp>

#include <enn/model/graph/schedule.hpp>

#include <algorithm>
#include <cstdio>

namespace enn::model {
namespace {

std::string grouped(std::int64_t n) {
  auto text = std::to_string(n);
  for (auto at = static_cast<std::int64_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

std::string in_units(double n, const char* unit) {
  const char* prefix = "";
  for (const char* next : {"k", "M", "G", "T"}) {
    if (n < 1000)
      break;
    n /= 1000;
    prefix = next;
  }
  char text[48];
  std::snprintf(text, sizeof text, "%.4g %s%s", n, prefix, unit);
  return text;
}

std::string part_of(const std::string& path) {
  return path.substr(0, path.find('.'));
}

struct part_facts {
  std::string name;
  std::int64_t parameters = 0, nodes = 0;
  double flops = 0;
};

double flops_of_node(const graph& g, const node& n) {
  const auto* d = standard_operators().find(n.op);
  node_facts f{&n.attrs, {}, {}};
  for (auto v : n.inputs)
    f.inputs.push_back(g.values[static_cast<std::size_t>(v)]);
  for (auto v : n.outputs)
    f.outputs.push_back(g.values[static_cast<std::size_t>(v)]);
  return d ? flops_of(*d, f) : 0;
}

/// In order of appearance: the first piece of each path; nodes without one are "other".
std::vector<part_facts> parts_of(const graph& g) {
  std::vector<part_facts> parts;
  auto part = [&](const std::string& path) -> part_facts& {
    auto name = path.find('.') == std::string::npos ? "other" : part_of(path);
    auto found = std::find_if(parts.begin(), parts.end(), [&](const auto& p) { return p.name == name; });
    return found != parts.end() ? *found : parts.emplace_back(part_facts{name});
  };
  for (const auto& n : g.nodes) {
    auto& p = part(n.path);
    ++p.nodes;
    p.flops += flops_of_node(g, n);
  }
  for (const auto& s : layout_of(g).spans)
    part(s.path).parameters += elements(s.extent);
  std::stable_sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.name != "other" && b.name == "other"; });
  return parts;
}

std::string shapes(const graph& g, const std::vector<value_id>& values) {
  std::string text;
  for (auto v : values)
    text += (text.empty() ? "" : " ") + to_string(g.values[static_cast<std::size_t>(v)]);
  return text;
}

std::string node_list(const graph& g) {
  std::string text = "\noperators\n";
  for (const auto& n : g.nodes) {
    char line[400];
    std::snprintf(line, sizeof line, "  %-44s %-13s %s -> %s\n", n.path.c_str(), n.op.c_str(), shapes(g, n.inputs).c_str(),
                  shapes(g, n.outputs).c_str());
    text += line;
  }
  return text;
}

std::string row(const char* format, auto... values) {
  char text[400];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

} // namespace

double forward_flops(const graph& g) {
  double sum = 0;
  for (const auto& n : g.nodes)
    sum += flops_of_node(g, n);
  return sum;
}

std::string describe(const run_definition& run, bool nodes) {
  const auto& g = run.network;
  auto inference = without_training(g);
  std::string text = "inputs\n";
  for (const auto& x : g.inputs)
    text += row("  %-28s %s\n", x.path.c_str(), to_string(g.values[static_cast<std::size_t>(x.value)]).c_str());
  text += "outputs\n";
  for (const auto& x : g.outputs)
    text += row("  %-28s %s\n", x.path.c_str(), to_string(g.values[static_cast<std::size_t>(x.value)]).c_str());
  text += row("\n%-18s %12s %10s %16s\n", "part", "parameters", "operators", "FLOP a row");
  auto flops = forward_flops(g);
  for (const auto& p : parts_of(g))
    text += row("%-18s %12s %10s %16s\n", p.name.c_str(), grouped(p.parameters).c_str(), grouped(p.nodes).c_str(), in_units(p.flops, "").c_str());
  text += row("%-18s %12s %10s %16s\n", "all", grouped(run.layout.size).c_str(), grouped(static_cast<std::int64_t>(g.nodes.size())).c_str(),
              in_units(flops, "").c_str());

  const auto& t = run.settings.train;
  auto rows = std::max<std::int64_t>(t.batch_rows / t.leases, 1);
  const auto& kernels = kernels::reference_kernels<float>(); // for sizes: no set needs more than a few KiB besides
  std::vector<std::string> losses;
  for (const auto& o : g.outputs)
    if (o.role == output_role::loss)
      losses.push_back(o.path);
  schedule<float> training{std::make_shared<const graph>(g), {rows, losses, true}, kernels};
  schedule<float> predicting{std::make_shared<const graph>(inference), {rows, {"prediction"}, false}, kernels};
  text += row("\nkernels             %s\n", run.kernels.c_str());
  text += row("steps               %s, of %s rows in %s leases\n", grouped(run.total_steps).c_str(), grouped(t.batch_rows).c_str(),
              grouped(t.leases).c_str());
  text += row("memory of a lease   %s to train, %s to predict %s rows\n", in_units(4.0 * static_cast<double>(training.arena_size()), "B").c_str(),
              in_units(4.0 * static_cast<double>(predicting.arena_size()), "B").c_str(), grouped(rows).c_str());
  text += row("memory of a run     %s: weights, moments, a gradient a worker\n",
              in_units(4.0 * static_cast<double>(run.layout.size) * (t.optimizer == "adamw" ? 4 : 3), "B").c_str());
  text += row("FLOP of a step      %s (backward counted as twice forward)\n", in_units(3 * flops * static_cast<double>(t.batch_rows), "").c_str());
  return nodes ? text + node_list(g) : text;
}

} // namespace enn::model
