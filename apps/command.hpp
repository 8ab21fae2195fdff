/// A subcommand of the program: command_NAME.cpp declares its options and says what it does. Commands answer errors; enn.cpp
/// renders them, and nobody else.
#pragma once
#include <enn/model/error.hpp>

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace enn::apps {

/// What a command does once the command line is read.
using action = std::function<caf::expected<void>()>;

struct command {
  const char *name, *meaning;
  /// Adds its options and positionals. The action keeps what they fill in.
  action (*declare)(CLI::App& app);
};

action declare_train(CLI::App& app);
action declare_node(CLI::App& app);
action declare_cluster(CLI::App& app);
action declare_evaluate(CLI::App& app);
action declare_predict(CLI::App& app);
action declare_describe(CLI::App& app);
action declare_inspect(CLI::App& app);
action declare_verify_run(CLI::App& app);
action declare_doctor(CLI::App& app);
action declare_config(CLI::App& app);

/// One labelled line on standard output; further lines of the text are indented alike.
void say(const std::string& label, const std::string& text);
/// As a word of a shell command, quoted only where it must be; never taken for an option.
std::string shell_word(const std::string& text);
/// 1234567 as "1,234,567".
std::string counted(std::uint64_t number);
/// "1 window", "1,234 windows"; the noun is given as of many, with an s.
std::string counted(std::uint64_t number, std::string noun);

} // namespace enn::apps
