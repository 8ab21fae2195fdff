/// Line charts as self-contained SVG text, for run folders, reports and the README.
#pragma once
#include <string>
#include <vector>

namespace enn::serialization {

enum class stroke { solid, dashed, dots };

struct series {
  std::string name;               // in the legend, once a chart; empty: not in it
  std::vector<double> xs, ys;     // of one length; a line is broken at NaN and beyond 1e300
  std::string color = {};         // as in CSS; empty: the next of the palette, one a name
  stroke style = stroke::solid;
};

struct panel {
  std::string title;
  std::vector<series> lines;
};

struct chart {
  std::string title, x_label, y_label;
  std::vector<panel> panels;      // below each other, each with its own axes
  int width = 960, panel_height = 230;
};

/// Equal charts give equal text. Without a finite point a panel shows empty axes from 0 to 1.
std::string line_chart(const chart& chart);

} // namespace enn::serialization
