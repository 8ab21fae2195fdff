#include "command.hpp"

#include <enn/serialization/credentials.hpp>

#include <CLI/CLI.hpp> // slow to compile

#include <algorithm>
#include <filesystem>

namespace enn::apps {
namespace {

namespace fs = std::filesystem;

struct cluster_options {
  std::string folder = "cluster";
  std::vector<std::string> nodes;
};

std::string joined(const fs::path& folder, const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names)
    text += (text.empty() ? "" : "\n") + (folder / name).string();
  return text;
}

caf::expected<void> init(const cluster_options& o) {
  auto names = o.nodes.empty() ? std::vector<std::string>{"coordinator", "node"} : o.nodes;
  auto done = serialization::init_cluster(o.folder, names);
  if (!done)
    return done.error();
  fs::path folder = o.folder;
  say("cluster", done->cluster + "\n" + (done->new_authority ? "a new CA; " : "the CA that was there; ") + (folder / "ca.key").string()
                   + " makes more machines, so keep it where nobody else reads it");
  if (!done->made.empty())
    say("made", joined(folder, done->made));
  if (!done->kept.empty())
    say("kept", joined(folder, done->kept));
  auto word = [&](const std::string& name) { return shell_word((folder / name).string()); };
  say("next", "copy each machine its folder and nothing else, such as: scp -rp " + word(names.back()) + " HOST:\n"
                "on one:        enn train CONFIG.toml --nodes 0.0.0.0 --cluster " + word(names.front()) + "\n"
                "on the others: enn node start --join HOST --cluster " + shell_word(names.back()));
  return {};
}

std::string state_of(const caf::expected<serialization::credentials>& c) {
  return c ? "good for " + counted(static_cast<std::uint64_t>(c->days_left), "days") : text_of(c.error());
}

/// The CA, and a line for each machine.
caf::expected<void> show_cluster(const fs::path& folder) {
  auto cluster = serialization::init_cluster(folder, {}); // there is a CA, so this makes nothing
  if (!cluster)
    return cluster.error();
  say("cluster", cluster->cluster);
  std::vector<fs::path> machines;
  std::error_code ignored;
  for (fs::directory_iterator it{folder, ignored}, end; it != end; it.increment(ignored))
    if (it->is_directory(ignored))
      machines.push_back(it->path());
  std::sort(machines.begin(), machines.end());
  std::size_t bad = 0;
  for (const auto& machine : machines) {
    auto c = serialization::load_credentials(machine);
    bool another = c && c->cluster != cluster->cluster;
    bad += !c || another;
    say(machine.filename().string(), another ? "of another cluster" : state_of(c));
  }
  if (bad > 0)
    return fail(ec::bad_usage, folder.string() + ": " + counted(bad, "machines") + " of " + std::to_string(machines.size())
                                 + " cannot take part; to have one made anew, remove its folder and run enn cluster init");
  return {};
}

caf::expected<void> show(const cluster_options& o) {
  fs::path folder = o.folder;
  std::error_code ignored;
  if (fs::exists(folder / "ca.key", ignored))
    return show_cluster(folder);
  auto c = serialization::load_credentials(folder);
  if (!c)
    return c.error();
  say("cluster", c->cluster);
  say("machine", state_of(c));
  return {};
}

} // namespace

action declare_cluster(CLI::App& app) {
  auto o = std::make_shared<cluster_options>();
  app.require_subcommand(1);
  auto chosen = std::make_shared<caf::expected<void> (*)(const cluster_options&)>();
  auto* make = app.add_subcommand("init", "Make a private CA, and a folder with certificate and key for each machine.");
  make->add_option("FOLDER", o->folder, "Where; a CA that is there is kept, and machines are added.")->capture_default_str();
  make->add_option("--node", o->nodes, "Name of a machine; may be given several times. Default: coordinator, node.")->type_name("NAME");
  make->callback([chosen] { *chosen = init; });
  auto* look = app.add_subcommand("show", "Show which cluster it is, and whether its files are good.");
  look->add_option("FOLDER", o->folder, "Of a cluster or of one machine.")->capture_default_str();
  look->callback([chosen] { *chosen = show; });
  app.footer("Whoever has a machine's folder is fully trusted by the others: it can make them run what it likes.");
  return [o, chosen] { return (*chosen)(*o); };
}

} // namespace enn::apps
