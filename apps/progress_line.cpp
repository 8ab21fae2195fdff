#include "progress_line.hpp"

#include <enn/model/graph/graph.hpp>

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <sys/ioctl.h>
#include <unistd.h>

namespace enn::apps {
namespace {

std::string print(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
std::string print(const char* pattern, ...) {
  char text[256];
  va_list values;
  va_start(values, pattern);
  std::vsnprintf(text, sizeof text, pattern, values);
  va_end(values);
  return text;
}

/// "1:05", "2:00:05".
std::string duration(double seconds) {
  auto s = static_cast<long long>(std::ceil(seconds));
  return s < 3600 ? print("%lld:%02lld", s / 60, s % 60) : print("%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}

/// What training minimises: the terms by their weights.
double total_loss(const model::graph& network, const serialization::progress& p) {
  double total = 0;
  for (const auto& [path, value] : p.terms)
    if (const auto* term = model::find_output(network, path))
      total += term->weight * value;
  return total;
}

std::size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79u;
}

} // namespace

std::string samples_name(const model::data_facts& facts) {
  return facts.kind == "window" ? "windows" : "rows";
}

progress_line::progress_line(std::shared_ptr<const model::run_definition> run)
  : run_{std::move(run)}, terminal_{::isatty(STDOUT_FILENO) != 0}, begun_{clock::now()}, shown_{begun_} {}

/// The most wanted first: a narrow terminal shows only the beginning.
std::string progress_line::text(const serialization::progress& p, double seconds) const {
  auto epochs = (p.total_steps + p.steps_per_epoch - 1) / std::max<std::int64_t>(p.steps_per_epoch, 1);
  auto epoch = (p.step - 1) / std::max<std::int64_t>(p.steps_per_epoch, 1) + 1;
  auto left = seconds / static_cast<double>(steps_) * static_cast<double>(p.total_steps - p.step);
  auto line = print("step %lld/%lld  ", static_cast<long long>(p.step), static_cast<long long>(p.total_steps)) + duration(left)
              + print(" left  loss %.5g", total_loss(run_->network, p));
  if (validation_loss_)
    line += print("  validation %.5g", *validation_loss_);
  auto rate = static_cast<double>(samples_) / seconds;
  return line + print(rate < 100 ? "  %.3g %s/s" : "  %.0f %s/s", rate, samples_name(run_->facts).c_str())
         + print("  epoch %lld/%lld", static_cast<long long>(epoch), static_cast<long long>(epochs));
}

std::string progress_line::brief(const serialization::progress& p) const {
  return print("step %lld of %lld, loss %.5g", static_cast<long long>(p.step), static_cast<long long>(p.total_steps),
               total_loss(run_->network, p));
}

void progress_line::show(const serialization::progress& p) {
  using namespace std::chrono_literals;
  ++steps_;
  samples_ += p.rows;
  if (p.validated)
    validation_loss_ = p.validation_loss;
  auto now = clock::now();
  if (now - shown_ < (terminal_ ? clock::duration{100ms} : clock::duration{5s}) && p.step < p.total_steps)
    return;
  shown_ = now;
  auto line = text(p, std::max(1e-6, std::chrono::duration<double>(now - begun_).count()));
  if (terminal_)
    std::printf("\r%s\033[K", line.substr(0, terminal_width()).c_str());
  else
    std::printf("%s\n", line.c_str());
  open_ = terminal_;
  std::fflush(stdout);
}

void progress_line::end() {
  if (open_)
    std::printf("\n");
  open_ = false;
  std::fflush(stdout);
}

} // namespace enn::apps
