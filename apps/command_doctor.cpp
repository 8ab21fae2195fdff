#include "command.hpp"
#include "versions.hpp"

#include <enn/model/machine.hpp>

#include <CLI/CLI.hpp> // slow to compile

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sys/resource.h>
#include <unistd.h>

namespace enn::apps {
namespace {

std::string gigabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB", bytes / 1e9);
  return text;
}

std::string limit_text(int resource, bool bytes) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0)
    return "unknown";
  if (limit.rlim_cur == RLIM_INFINITY)
    return "unlimited";
  return bytes ? gigabytes(static_cast<double>(limit.rlim_cur)) : counted(limit.rlim_cur);
}

/// A set's rates on one core, or why it cannot run here.
std::string set_text(const std::string& name, const std::string& refusal) {
  if (!refusal.empty())
    return name + ": no, " + refusal;
  constexpr std::int64_t n = 512;
  char text[160];
  std::snprintf(text, sizeof text, "%s: %.1f GFLOP/s in a product of %lld x %lld matrices, on one core (peak %.1f)", name.c_str(),
                model::measure_gemm(name, n, n, n), static_cast<long long>(n), static_cast<long long>(n),
                model::measure_fma_peak(name));
  return text;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return std::string{name} + " = " + (value ? value : "(not set)");
}

caf::expected<void> examine() {
  for (const auto& [name, version] : versions())
    say(name, version);
  auto machine = model::describe_machine();
  say("processor", machine.processor + ", " + std::to_string(machine.cores) + " cores");
  say("blas", machine.blas + "\n" + environment("OPENBLAS_NUM_THREADS") + "\n" + environment("OPENBLAS_CORETYPE"));
  std::string sets;
  for (const auto& [name, refusal] : machine.kernel_sets)
    sets += (sets.empty() ? "" : "\n") + set_text(name, refusal);
  say("kernels", sets);
  auto free = static_cast<double>(::sysconf(_SC_PAGESIZE)) * static_cast<double>(::sysconf(_SC_AVPHYS_PAGES));
  say("memory", gigabytes(static_cast<double>(machine.memory)) + ", free " + gigabytes(free) + "; address space "
                  + limit_text(RLIMIT_AS, true));
  std::error_code problem;
  auto here = std::filesystem::space(".", problem);
  say("disk", problem ? problem.message() : gigabytes(static_cast<double>(here.available)) + " free here; files of at most "
                                              + limit_text(RLIMIT_FSIZE, true));
  say("open files", limit_text(RLIMIT_NOFILE, false));
  return {};
}

} // namespace

action declare_doctor(CLI::App&) {
  return examine;
}

} // namespace enn::apps
