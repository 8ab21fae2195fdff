/// The program: finds the command, runs it, renders its error and sets the exit status.
#include "command.hpp"
#include "options.hpp"
#include "process.hpp"

#include <enn/model/data/nearest_name.hpp>
#include <enn/serialization/build.hpp>

#include <CLI/CLI.hpp> // slow to compile

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <new>
#include <unistd.h>

namespace enn::apps {
namespace {

constexpr command commands[] = {
  {"train", "Train a model, or go on with a run.", declare_train},
  {"node", "Compute for a run of another process; see and dismiss those who do.", declare_node},
  {"cluster", "Make certificates for the machines of a cluster.", declare_cluster},
  {"evaluate", "Compare a trained model with the baselines on the test part.", declare_evaluate},
  {"predict", "Predict from new data.", declare_predict},
  {"describe", "Show the network of a configuration: shapes, parameters, operations, memory.", declare_describe},
  {"inspect", "Show what is in a checkpoint, predictions or a graph, and verify its checksums.", declare_inspect},
  {"verify-run", "Compute a run again and compare it with what was recorded.", declare_verify_run},
  {"doctor", "Show what this machine can do, and with which libraries.", declare_doctor},
  {"config", "Print a configuration, or its documentation.", declare_config},
};

/// What CLI11 could not make sense of, in the words of this program.
caf::error usage_error(const CLI::App& app, const CLI::ParseError& problem) {
  auto chosen = app.get_subcommands();
  auto rest = app.remaining(true);
  if (chosen.empty() && (rest.empty() || rest.front().starts_with("-")))
    return fail(ec::bad_usage, "a command is needed" + (rest.empty() ? "" : " before " + rest.front()) + "; see enn --help");
  std::vector<std::string> names;
  for (const auto& c : commands)
    names.emplace_back(c.name);
  auto hint = rest.empty() ? "" : model::nearest_hint(rest.front(), names, "; the nearest is ");
  if (chosen.empty())
    return fail(ec::bad_usage, "unknown command " + rest.front()
                                 + (hint.empty() ? "; see enn --help" : hint));
  if (!rest.empty())
    return unknown_option(*chosen.front(), rest.front());
  return fail(ec::bad_usage, std::string{problem.what()} + "; see enn " + chosen.front()->get_name() + " --help");
}

// -- what commands read ---------------------------------------------------------------------------------------------------------

/// What is wrong with a file or folder that is to be read, or nothing.
std::string complaint_about(const std::string& path) {
  std::error_code problem;
  auto found = std::filesystem::status(path, problem);
  if (!std::filesystem::exists(found))
    return path + ": " + (problem && problem != std::errc::no_such_file_or_directory ? problem.message() : "there is no such file or folder");
  if (::access(path.c_str(), R_OK) != 0)
    return path + ": cannot be read: " + std::generic_category().message(errno);
  return {};
}

/// Said here for all commands alike: no configuration or run is a mistake in the command line, no checkpoint one of its own.
caf::expected<void> check_inputs(const CLI::App& chosen) {
  auto check = [&](const char* name, ec code) -> caf::expected<void> {
    const auto* option = chosen.get_option_no_throw(name);
    if (option == nullptr || option->count() == 0)
      return {};
    auto path = option->as<std::string>();
    if (path == "best" || path == "last")
      return {};
    if (std::filesystem::path{path}.extension() == ".h5")
      code = ec::bad_checkpoint;
    auto complaint = complaint_about(path);
    return complaint.empty() ? caf::expected<void>{caf::unit} : fail(code, complaint);
  };
  for (const char* name : {"CONFIG", "RUN", "--resume"})
    if (auto good = check(name, ec::bad_usage); !good)
      return good;
  for (const char* name : {"--checkpoint", "FILE"})
    if (auto good = check(name, ec::bad_checkpoint); !good)
      return good;
  return {};
}

int report(const caf::error& error) {
  std::fflush(stdout);
  std::fprintf(stderr, "enn: %s\n", text_of(error).c_str());
  return exit_status(error);
}

int run(int argc, char** argv) {
  CLI::App app{"ENN: Elastic Neural Networks, trained the same bit for bit whatever happens."};
  action chosen;
  app.set_version_flag("--version", "enn " + std::string{serialization::program_version()});
  app.require_subcommand(1);
  for (const auto& c : commands) {
    auto* sub = app.add_subcommand(c.name, c.meaning);
    sub->callback([&chosen, act = c.declare(*sub)] { chosen = act; });
  }
  app.footer("enn COMMAND --help tells more. Exit status: 0, 2 usage, 3 data, 4 run, 5 checkpoint, 129, 130 and 143 signals, "
             "137 killed again and again under --restart.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) { // --help, --version
    return app.exit(wanted);
  } catch (const CLI::ParseError& problem) {
    return report(usage_error(app, problem));
  }
  try {
    if (auto good = check_inputs(*app.get_subcommands().front()); !good)
      return report(good.error());
    if (auto done = chosen(); !done)
      return report(done.error());
  } catch (const std::bad_alloc&) {
    return report(fail(ec::io_failed, "out of memory; enn describe CONFIG tells what a model needs"));
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    return report(fail(ec::io_failed, "cannot write to standard output"));
  return 0;
}

} // namespace
} // namespace enn::apps

int main(int argc, char** argv) {
  enn::apps::prepare_blas(argv);
  enn::apps::ignore_file_size_signal();
  enn::apps::keep_large_buffers();
  enn::apps::log_to_stderr();
  return enn::apps::run(argc, argv);
}
