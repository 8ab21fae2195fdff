#include <enn/serialization/predictions.hpp>

#include <enn/serialization/hdf5_file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>
#include <limits>
#include <string_view>

namespace enn::serialization {
namespace fs = std::filesystem;
namespace {

using number = hdf5_file::number;
using json = nlohmann::ordered_json;

constexpr std::string_view format = "enn.predictions";
constexpr std::int64_t format_version = 1;
constexpr std::int64_t block_bytes = std::int64_t{1} << 20;
const std::string hash_name = "xxh3-128";

/// Of a row in memory: compared with the row on disk before the file is called complete.
using row_hash = std::uint64_t;

row_hash hash_of(std::span<const std::byte> row) {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(row.data()), row.size()});
}

std::int64_t product(const std::vector<std::int64_t>& extent) {
  std::int64_t result = 1;
  for (auto length : extent)
    result *= length;
  return result;
}

std::string check(const predictions_header& header) {
  std::int64_t left = std::numeric_limits<std::int64_t>::max() / 8;
  for (auto length : header.shape) {
    if (length < 1 || length > left)
      return "a row's shape is empty or too large";
    left /= length;
  }
  if (header.shape.empty())
    return "a row has no shape";
  if (static_cast<std::int64_t>(header.rows.size()) > left)
    return "there are too many rows";
  if (header.columns.size() != static_cast<std::size_t>(header.shape.back()))
    return std::to_string(header.columns.size()) + " columns are named, a row has " + std::to_string(header.shape.back());
  if (!header.times.empty() && header.times.size() != header.rows.size())
    return std::to_string(header.times.size()) + " times are given for " + std::to_string(header.rows.size()) + " rows";
  return {};
}

/// Visits a dataset of rows in blocks: visit(first row, bytes).
template <class Visit>
void for_each_block(hdf5_file& in, const std::string& name, number type, std::int64_t rows, std::int64_t row_bytes,
                    Visit&& visit) {
  auto block_rows = std::max<std::int64_t>(block_bytes / row_bytes, 1);
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min(block_rows, rows) * row_bytes));
  for (std::int64_t first = 0; first < rows && !in.error(); first += block_rows) {
    auto block = std::span{buffer}.first(static_cast<std::size_t>(std::min(block_rows, rows - first) * row_bytes));
    in.read_rows(name, type, first, block);
    visit(first, std::span<const std::byte>{block});
  }
}

} // namespace

struct predictions_writer::parts {
  parts(draft a_place, draft a_manifest, hdf5_file an_out, predictions_header a_header, fs::path a_path);

  draft place, manifest;
  hdf5_file out;
  predictions_header header;
  fs::path path;
  std::int64_t row_numbers = 0, rows = 0;
  std::vector<std::uint8_t> status, rungs;
  std::vector<row_hash> values, targets, masks; // targets and masks: empty until the first put_target
  std::vector<bool> put, put_target;
  json datasets = json::object();

  std::vector<std::int64_t> extent() const {
    auto result = header.shape;
    result.insert(result.begin(), rows);
    return result;
  }
  void write_row(const std::string& name, std::uint64_t index, std::span<const float> numbers, std::vector<row_hash>& hashes) {
    out.write_rows(name, static_cast<std::int64_t>(index), std::as_bytes(numbers));
    hashes[index] = hash_of(std::as_bytes(numbers));
  }
  template <class T>
  void write_column(const std::string& name, number type, const std::vector<T>& numbers) {
    out.add_dataset(name, type, {rows});
    out.write_rows(name, 0, std::as_bytes(std::span{numbers}));
    seal(name, type, sizeof(T), nullptr);
  }
  caf::expected<void> refuse_index(std::uint64_t index, std::size_t numbers);
  void seal(const std::string& name, number type, std::int64_t row_bytes, const std::vector<row_hash>* hashes);
  std::string manifest_text(const std::string& hash) const;
};

predictions_writer::parts::parts(draft a_place, draft a_manifest, hdf5_file an_out, predictions_header a_header, fs::path a_path)
  : place(std::move(a_place)), manifest(std::move(a_manifest)), out(std::move(an_out)), header(std::move(a_header)),
    path(std::move(a_path)), row_numbers(product(header.shape)), rows(static_cast<std::int64_t>(header.rows.size())),
    status(header.rows.size()), rungs(header.rows.size()), values(header.rows.size()), put(header.rows.size()) {}

caf::expected<void> predictions_writer::parts::refuse_index(std::uint64_t index, std::size_t numbers) {
  if (index >= static_cast<std::uint64_t>(rows))
    return fail(ec::bad_data, path.string() + ": no row " + std::to_string(index) + ", there are " + std::to_string(rows));
  if (numbers != static_cast<std::size_t>(row_numbers))
    return fail(ec::bad_data, path.string() + ": row " + std::to_string(index) + ": expected " + std::to_string(row_numbers)
                                + " numbers, found " + std::to_string(numbers));
  return {};
}

/// Reads a dataset back, compares its rows with what was put, and notes its fingerprint.
void predictions_writer::parts::seal(const std::string& name, number type, std::int64_t row_bytes,
                                     const std::vector<row_hash>* hashes) {
  fingerprinter hash;
  for_each_block(out, name, type, rows, row_bytes, [&](std::int64_t first, std::span<const std::byte> block) {
    hash.add(block);
    for (auto row = static_cast<std::size_t>(first); hashes && !block.empty(); ++row) {
      if (hash_of(block.first(static_cast<std::size_t>(row_bytes))) != (*hashes)[row])
        return out.refuse("row " + std::to_string(row) + " of \"" + name + "\" reads back as other numbers");
      block = block.subspan(static_cast<std::size_t>(row_bytes));
    }
  });
  out.add_text(name, hash_name, hash.text());
  datasets[name] = {{"extent", out.extent(name)}, {hash_name, hash.text()}};
}

std::string predictions_writer::parts::manifest_text(const std::string& hash) const {
  auto bad = std::count_if(status.begin(), status.end(), [](auto s) { return s != 0; });
  std::vector<std::int64_t> by_rung(rungs.empty() ? 0 : *std::max_element(rungs.begin(), rungs.end()) + 1u);
  for (auto rung : rungs)
    ++by_rung[rung];
  json result = {
    {"format", format},
    {"format-version", format_version},
    {"file", path.filename().string()},
    {"file-" + hash_name, hash},
    {"model", header.model},
    {"data-fingerprint", header.data_fingerprint},
    {"kernels", header.kernels},
    {"shape", header.shape},
    {"columns", header.columns},
    {"rows", rows},
    {"rows-not-computable", bad},
    {"rows-with-target", std::count(put_target.begin(), put_target.end(), true)},
    {"rows-by-rung", by_rung},
    {"datasets", datasets},
  };
  return result.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

predictions_writer::predictions_writer() = default;
predictions_writer::predictions_writer(predictions_writer&&) noexcept = default;
predictions_writer& predictions_writer::operator=(predictions_writer&&) noexcept = default;
predictions_writer::~predictions_writer() = default;

caf::expected<predictions_writer> predictions_writer::create(fs::path file, predictions_header header, fs::path manifest_file) {
  if (auto problem = check(header); !problem.empty())
    return fail(ec::bad_data, file.string() + ": " + problem);
  if (manifest_file.empty())
    manifest_file = file.parent_path() / "manifest.json";
  auto place = draft::create(file), manifest = draft::create(manifest_file);
  if (!place || !manifest)
    return place ? manifest.error() : place.error();
  auto out = hdf5_file::create(place->path());
  if (!out)
    return out.error();
  predictions_writer result;
  result.parts_ = std::make_unique<parts>(std::move(*place), std::move(*manifest), std::move(*out), std::move(header),
                                          std::move(file));
  auto& it = *result.parts_;
  it.out.add_text("", "format", format);
  it.out.add_integer("", "format-version", format_version);
  it.out.add_text("", "model", it.header.model);
  it.out.add_text("", "data-fingerprint", it.header.data_fingerprint);
  it.out.add_text("", "kernels", it.header.kernels);
  it.out.add_texts("columns", it.header.columns);
  it.out.add_dataset("prediction", number::float32, it.extent());
  if (it.out.error())
    return it.out.error();
  return result;
}

caf::expected<void> predictions_writer::put(std::uint64_t index, std::span<const float> values, std::uint8_t status,
                                            std::uint8_t rung) {
  auto& it = *parts_;
  std::vector<float> nothing;
  if (status != 0) {
    nothing.assign(static_cast<std::size_t>(it.row_numbers), std::numeric_limits<float>::quiet_NaN());
    values = nothing;
  }
  if (auto fits = it.refuse_index(index, values.size()); !fits)
    return fits;
  it.write_row("prediction", index, values, it.values);
  it.status[index] = status;
  it.rungs[index] = rung;
  it.put[index] = true;
  return it.out.error();
}

caf::expected<void> predictions_writer::put_target(std::uint64_t index, std::span<const float> target,
                                                   std::span<const float> mask) {
  auto& it = *parts_;
  for (auto numbers : {target, mask})
    if (auto fits = it.refuse_index(index, numbers.size()); !fits)
      return fits;
  if (it.targets.empty()) {
    it.out.add_dataset("target", number::float32, it.extent());
    it.out.add_dataset("mask", number::float32, it.extent());
    it.targets.resize(it.header.rows.size());
    it.masks.resize(it.header.rows.size());
    it.put_target.resize(it.header.rows.size());
  }
  it.write_row("target", index, target, it.targets);
  it.write_row("mask", index, mask, it.masks);
  it.put_target[index] = true;
  return it.out.error();
}

caf::expected<void> predictions_writer::finish() {
  auto& it = *parts_;
  if (auto missing = std::find(it.put.begin(), it.put.end(), false); missing != it.put.end()) {
    auto index = static_cast<std::size_t>(missing - it.put.begin());
    return fail(ec::bad_data, it.path.string() + ": row " + std::to_string(index) + " (row "
                                + std::to_string(it.header.rows[index]) + " of the data) was never put; "
                                + std::to_string(std::count(it.put.begin(), it.put.end(), false)) + " of "
                                + std::to_string(it.rows) + " are missing");
  }
  const auto row_bytes = it.row_numbers * std::int64_t{sizeof(float)};
  const auto numbers = static_cast<std::size_t>(it.row_numbers);
  it.seal("prediction", number::float32, row_bytes, &it.values);
  if (!it.targets.empty()) {
    const std::vector<float> unknown(numbers, std::numeric_limits<float>::quiet_NaN()), masked(numbers, 0.0f);
    for (std::size_t index = 0; index < it.put_target.size(); ++index)
      if (!it.put_target[index]) {
        it.write_row("target", index, unknown, it.targets);
        it.write_row("mask", index, masked, it.masks);
      }
    it.seal("target", number::float32, row_bytes, &it.targets);
    it.seal("mask", number::float32, row_bytes, &it.masks);
  }
  it.write_column("status", number::uint8, it.status);
  it.write_column("rung", number::uint8, it.rungs);
  it.write_column("row", number::uint64, it.header.rows);
  auto times = it.header.times;
  times.resize(it.header.rows.size(), -1);
  it.write_column("time", number::int64, times);
  if (auto closed = it.out.close(); !closed)
    return closed;
  // Opening checks the seal over all that was just written.
  if (auto whole = hdf5_file::open(it.place.path(), ec::io_failed); !whole)
    return whole.error();
  auto hash = fingerprint_file(it.place.path());
  if (!hash)
    return hash.error();
  if (auto written = it.manifest.write(it.manifest_text(*hash)); !written)
    return written;
  if (auto renamed = it.place.commit(); !renamed)
    return renamed;
  return it.manifest.commit();
}

namespace {

template <class T>
std::vector<T> read_numbers(hdf5_file& in, const std::string& name, number type, const std::vector<std::int64_t>& extent) {
  if (in.extent(name) != extent) {
    in.refuse("dataset \"" + name + "\" has another extent than the predictions");
    return {};
  }
  std::vector<T> result(static_cast<std::size_t>(product(extent)));
  in.read_rows(name, type, 0, std::as_writable_bytes(std::span{result}));
  fingerprinter found;
  found.add(std::as_bytes(std::span{result}));
  if (auto expected = in.text(name, hash_name); expected != found.text())
    in.refuse("dataset \"" + name + "\" is damaged: XXH3-128 expected " + expected + ", found " + found.text());
  return result;
}

void check_format(hdf5_file& in) {
  auto found = in.text("", "format");
  auto version = in.integer("", "format-version");
  if (found != format)
    in.refuse("holds \"" + found + "\", not \"" + std::string{format} + "\"");
  else if (version != format_version)
    in.refuse("format-version " + std::to_string(version) + " is unknown to this program, which reads "
              + std::to_string(format_version));
}

} // namespace

caf::expected<predictions> read_predictions(const fs::path& file) {
  auto in = hdf5_file::open(file, ec::bad_data);
  if (!in)
    return in.error();
  check_format(*in);
  predictions result;
  auto& header = result.header;
  header.model = in->text("", "model");
  header.data_fingerprint = in->text("", "data-fingerprint");
  header.kernels = in->text("", "kernels");
  header.columns = in->texts("columns");
  auto extent = in->extent("prediction");
  if (extent.size() < 2)
    in->refuse("dataset \"prediction\" has no rows of numbers");
  if (in->error())
    return in->error();
  header.shape.assign(extent.begin() + 1, extent.end());
  result.values = read_numbers<float>(*in, "prediction", number::float32, extent);
  if (in->has("target")) {
    result.targets = read_numbers<float>(*in, "target", number::float32, extent);
    result.masks = read_numbers<float>(*in, "mask", number::float32, extent);
  }
  result.status = read_numbers<std::uint8_t>(*in, "status", number::uint8, {extent[0]});
  result.rungs = read_numbers<std::uint8_t>(*in, "rung", number::uint8, {extent[0]});
  header.rows = read_numbers<std::uint64_t>(*in, "row", number::uint64, {extent[0]});
  header.times = read_numbers<std::int64_t>(*in, "time", number::int64, {extent[0]});
  if (auto problem = check(header); !problem.empty())
    in->refuse("its header is wrong: " + problem);
  if (in->error())
    return in->error();
  return result;
}

} // namespace enn::serialization
