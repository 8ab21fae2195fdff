#include "command.hpp"

#include <enn/serialization/credentials.hpp>

#include <CLI/CLI.hpp> // slow to compile

#include <algorithm>

namespace enn::apps {
namespace {

struct cluster_options {
  std::string folder = "cluster";
  std::vector<std::string> nodes;
};

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words)
    text += (text.empty() ? "" : ", ") + word;
  return text;
}

caf::expected<void> init(const cluster_options& o) {
  auto names = o.nodes;
  if (names.empty())
    names = {"coordinator", "node"};
  auto done = serialization::make_cluster(o.folder, names);
  if (!done)
    return done.error();
  say("cluster", o.folder + (done->new_ca ? ": a new CA; ca.key makes more machines, so keep it where nobody else reads it" : ": the CA that was there"));
  if (!done->made.empty())
    say("made", joined(done->made));
  if (!done->kept.empty())
    say("kept", joined(done->kept));
  auto folder = shell_word(o.folder);
  say("next", "copy " + folder + "/NAME to its machine, readable by the user who runs enn there alone; then\nthere:  enn train CONFIG --nodes "
              "0.0.0.0:7411 --cluster " + folder + "/coordinator\nothers: enn node start --join HOST:7411 --cluster " + folder + "/node");
  return {};
}

} // namespace

action declare_cluster(CLI::App& app) {
  auto o = std::make_shared<cluster_options>();
  app.require_subcommand(1);
  auto* sub = app.add_subcommand("init", "Make a private CA, and certificates for machines.");
  sub->add_option("FOLDER", o->folder, "Where; a CA that is there is kept, and machines are added.")->capture_default_str();
  sub->add_option("--node", o->nodes, "Name of a machine; may be given several times. Default: coordinator, node.")->type_name("NAME");
  return [o] { return init(*o); };
}

} // namespace enn::apps
