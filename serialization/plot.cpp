#include <enn/serialization/plot.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <utility>

namespace enn::serialization {
namespace {

// Told apart by most colour-blind readers, and legible on white.
constexpr std::array palette{"#1f2937", "#2563eb", "#d9480f", "#0f9d76", "#9333ea", "#b8860b"};
constexpr double left = 76, right = 24, header = 62, gap = 46, footer = 58, legend_width_a_letter = 7.2;

struct range {
  double low = HUGE_VAL, high = -HUGE_VAL;
  void add(double x) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
};

std::string print(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
std::string print(const char* pattern, ...) {
  char text[512];
  va_list values;
  va_start(values, pattern);
  std::vsnprintf(text, sizeof text, pattern, values);
  va_end(values);
  return text;
}

std::string escaped(const std::string& text) {
  std::string result;
  for (char c : text)
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      default: result += static_cast<unsigned char>(c) < 32 ? ' ' : c;
    }
  return result;
}

/// Whether a number has a place on an axis; the largest would overflow its arithmetic.
bool plottable(double x) {
  return std::abs(x) <= 1e300;
}

/// An axis with 1, 2 or 5 times a power of ten between ticks, which may widen it to begin and end at one.
struct axis {
  double low, high, step;

  axis(range numbers, int ticks, bool widen) {
    if (numbers.low > numbers.high)
      numbers = {0, 1};
    auto pad = std::max(std::abs(numbers.low), std::abs(numbers.high)) * 1e-9;
    if (auto width = numbers.high - numbers.low; width <= pad || width < 1e-290)
      numbers = {numbers.low - (pad > 1e-290 ? pad * 1e8 : 1), numbers.high + (pad > 1e-290 ? pad * 1e8 : 1)};
    auto raw = (numbers.high - numbers.low) / ticks;
    auto power = std::pow(10, std::floor(std::log10(raw)));
    step = power * (raw <= power ? 1 : raw <= 2 * power ? 2 : raw <= 5 * power ? 5 : 10);
    low = widen ? std::floor(numbers.low / step) * step : numbers.low;
    high = widen ? std::ceil(numbers.high / step) * step : numbers.high;
  }
  double place(double x) const { return (x - low) / (high - low); }

  template <class Visit>
  void for_each_tick(Visit&& visit) const {
    auto first = std::ceil(low / step - 1e-9);
    for (int i = 0; i < 50 && (first + i) * step <= high + 1e-9 * step; ++i)
      visit((first + i) * step, label((first + i) * step));
  }
  std::string label(double x) const {
    auto largest = std::max(std::abs(low), std::abs(high));
    if (largest >= 1e7 || largest < 1e-4)
      return print("%.4g", std::abs(x) < step / 2 ? 0 : x);
    auto decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
    return print("%.*f", decimals, std::abs(x) < step / 2 ? 0 : x);
  }
};

std::string text(double x, double y, const char* style, const std::string& words) {
  return print("<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, style) + escaped(words) + "</text>\n";
}

/// Where a panel's numbers go on the page.
struct frame {
  double x, y, width, height;
  axis across, up;

  double to_x(double value) const { return x + across.place(value) * width; }
  double to_y(double value) const { return y + height - up.place(value) * height; }
};

std::string draw_axes(const frame& at) {
  std::string result;
  at.up.for_each_tick([&](double value, const std::string& label) {
    auto y = at.to_y(value);
    result += print("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"grid\"/>\n", at.x, y, at.x + at.width, y);
    result += text(at.x - 8, y + 4, "tick end", label);
  });
  auto bottom = at.y + at.height;
  at.across.for_each_tick([&](double value, const std::string& label) {
    auto x = at.to_x(value);
    result += print("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"axis\"/>\n", x, bottom, x, bottom + 5);
    result += text(x, bottom + 19, "tick middle", label);
  });
  return result + print("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"axis\"/>\n", at.x, bottom,
                        at.x + at.width, bottom);
}

std::string draw_line(const series& line, const std::string& color, const frame& at) {
  std::string path, dots, last;
  bool pen_down = false;
  for (std::size_t i = 0; i < std::min(line.xs.size(), line.ys.size()); ++i) {
    if (!plottable(line.xs[i]) || !plottable(line.ys[i])) {
      pen_down = false;
      last.clear();
      continue;
    }
    auto x = at.to_x(line.xs[i]), y = at.to_y(line.ys[i]);
    auto point = print("%.1f %.1f", x, y);
    if (point != last) {
      path.append(pen_down ? "L" : "M").append(point).append(pen_down ? "" : "h0"); // h0: a point alone shows as a round cap
      dots += print("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.2\"/>", x, y);
    }
    pen_down = true;
    last = point;
  }
  if (line.style == stroke::dots)
    return "<g fill=\"" + color + "\" fill-opacity=\"0.75\">" + dots + "</g>\n";
  const char* dashes = line.style == stroke::dashed ? " stroke-dasharray=\"6 4\"" : "";
  return "<path class=\"line\" stroke=\"" + color + "\"" + dashes + " d=\"" + path + "\"/>\n";
}

std::string draw_key(double x, double y, const series& line, const std::string& color) {
  auto mark = line;
  mark.xs = line.style == stroke::dots ? std::vector<double>{0.5} : std::vector<double>{0, 1};
  mark.ys.assign(mark.xs.size(), 0);
  const frame at{x, y - 4, 24, 0, axis{{0, 1}, 1, false}, axis{{0, 1}, 1, false}};
  return draw_line(mark, color, at) + text(x + 31, y, "key", line.name);
}

} // namespace

std::string line_chart(const chart& chart) {
  std::map<std::string, std::string> colors; // by name, so that a name looks the same in all panels
  std::string legend, body;
  double key_x = left;
  std::size_t used = 0;
  double y = header + (chart.title.empty() ? -24 : 0);
  const auto key_y = y - 10;
  for (const auto& panel : chart.panels) {
    range xs, ys;
    for (const auto& line : panel.lines)
      for (std::size_t i = 0; i < std::min(line.xs.size(), line.ys.size()); ++i)
        if (plottable(line.xs[i]) && plottable(line.ys[i])) {
          xs.add(line.xs[i]);
          ys.add(line.ys[i]);
        }
    y += panel.title.empty() ? 8 : 26;
    const frame at{left, y, chart.width - left - right, static_cast<double>(chart.panel_height),
                   axis{xs, 8, false}, axis{ys, 5, true}};
    body += text(left, y - 9, "panel", panel.title) + draw_axes(at);
    for (const auto& line : panel.lines) {
      auto [color, is_new] = colors.try_emplace(line.name, line.color);
      if (is_new && line.color.empty())
        color->second = palette[used++ % palette.size()];
      auto shown = escaped(line.color.empty() ? color->second : line.color);
      body += draw_line(line, shown, at);
      if (is_new && !line.name.empty()) {
        legend += draw_key(key_x, key_y, line, shown);
        key_x += 56 + legend_width_a_letter * static_cast<double>(line.name.size());
      }
    }
    y += chart.panel_height + gap;
  }
  const auto height = y - gap + footer;
  auto result = print("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\">\n",
                      chart.width, height, chart.width, height);
  result += "<style>text{font-family:Helvetica,Arial,sans-serif;fill:#374151}.title{font-size:18px;font-weight:600;fill:#111827}"
            ".panel{font-size:13px;font-weight:600}.tick{font-size:12px;fill:#6b7280}.key,.label{font-size:13px}"
            ".end{text-anchor:end}.middle{text-anchor:middle}.grid{stroke:#e5e7eb}.axis{stroke:#9ca3af}"
            ".line{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}</style>\n"
            "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
  result += chart.title.empty() ? "" : text(left, 28, "title", chart.title);
  result += legend + body + text(left + (chart.width - left - right) / 2, height - 14, "label middle", chart.x_label);
  const auto middle = (header + height - footer) / 2;
  result += print("<g transform=\"rotate(-90 20 %.1f)\">", middle) + text(20, middle, "label middle", chart.y_label);
  return result + "</g>\n</svg>\n";
}

} // namespace enn::serialization
