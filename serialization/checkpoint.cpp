#include <enn/serialization/checkpoint.hpp>

#include <enn/serialization/hdf5_file.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <functional>
#include <optional>
#include <system_error>

namespace enn::serialization {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view format = "enn.checkpoint";
constexpr std::int64_t format_version = 1;
constexpr std::int64_t chunk_bytes = std::int64_t{1} << 20;
const std::string hash_name = "xxh3-128";

using number = hdf5_file::number;

// -- writing ----------------------------------------------------------------------------------------------------------------

void add_names(hdf5_file& out, const std::string& group, const name_values& values) {
  out.add_group(group);
  for (const auto& [name, value] : values)
    out.add_text(group, name, value);
}

template <class T>
void add_array(hdf5_file& out, const std::string& name, number type, const std::vector<T>& values) {
  auto bytes = std::as_bytes(std::span{values});
  out.add_dataset(name, type, {static_cast<std::int64_t>(values.size())}, chunk_bytes / std::int64_t{sizeof(T)});
  out.write_rows(name, 0, bytes);
  fingerprinter hash;
  hash.add(bytes);
  out.add_text(name, hash_name, hash.text());
}

/// Parallel datasets, row i the i-th entry; extents are filled up with -1.
void add_layout(hdf5_file& out, const std::vector<checkpoint::entry>& layout) {
  std::size_t rank = 1;
  for (const auto& entry : layout)
    rank = std::max(rank, entry.extent.size());
  std::vector<std::string> paths;
  std::vector<std::int64_t> offsets, extents;
  for (const auto& entry : layout) {
    paths.push_back(entry.path);
    offsets.push_back(entry.offset);
    extents.insert(extents.end(), entry.extent.begin(), entry.extent.end());
    extents.resize(offsets.size() * rank, -1);
  }
  auto count = static_cast<std::int64_t>(layout.size());
  out.add_group("layout");
  out.add_texts("layout/path", paths);
  out.add_dataset("layout/extent", number::int64, {count, static_cast<std::int64_t>(rank)});
  out.write_rows("layout/extent", 0, std::as_bytes(std::span{extents}));
  out.add_dataset("layout/offset", number::int64, {count});
  out.write_rows("layout/offset", 0, std::as_bytes(std::span{offsets}));
}

caf::expected<void> write_content(const fs::path& path, const checkpoint& value, const std::string& hash) {
  auto out = hdf5_file::create(path);
  if (!out)
    return out.error();
  out->add_text("", "format", format);
  out->add_integer("", "format-version", format_version);
  out->add_integer("", "step", value.step);
  out->add_text("", "content-" + hash_name, hash);
  add_names(*out, "configuration", value.configuration);
  add_names(*out, "state", value.state);
  add_names(*out, "facts", value.facts);
  add_array(*out, "graph", number::uint8, value.graph);
  add_array(*out, "data_facts", number::uint8, value.data_facts);
  out->add_group("tensors");
  for (const auto& [name, numbers] : value.tensors)
    if (name.empty() || name == "." || name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
      out->refuse("a tensor cannot be called \"" + name + "\"");
    else
      add_array(*out, "tensors/" + name, number::float32, numbers);
  add_layout(*out, value.layout);
  return out->close();
}

// -- reading ----------------------------------------------------------------------------------------------------------------

template <class T>
std::vector<T> read_array(hdf5_file& in, const std::string& name, number type) {
  auto extent = in.extent(name);
  if (extent.size() != 1) {
    in.refuse("dataset \"" + name + "\" is not a list of numbers");
    return {};
  }
  std::vector<T> result(static_cast<std::size_t>(extent[0]));
  in.read_rows(name, type, 0, std::as_writable_bytes(std::span{result}));
  fingerprinter found;
  found.add(std::as_bytes(std::span{result}));
  if (auto expected = in.text(name, hash_name); expected != found.text())
    in.refuse("dataset \"" + name + "\" is damaged: XXH3-128 expected " + expected + ", found " + found.text());
  return result;
}

std::vector<checkpoint::entry> read_layout(hdf5_file& in) {
  auto paths = in.texts("layout/path");
  auto extent = in.extent("layout/extent");
  auto count = static_cast<std::int64_t>(paths.size());
  if (extent.size() != 2 || extent[0] != count || extent[1] < 1 || in.extent("layout/offset") != std::vector{count}) {
    in.refuse("the datasets of \"layout\" do not fit together");
    return {};
  }
  std::vector<std::int64_t> extents(static_cast<std::size_t>(extent[0] * extent[1])), offsets(paths.size());
  in.read_rows("layout/extent", number::int64, 0, std::as_writable_bytes(std::span{extents}));
  in.read_rows("layout/offset", number::int64, 0, std::as_writable_bytes(std::span{offsets}));
  std::vector<checkpoint::entry> result;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    auto begin = extents.begin() + static_cast<std::ptrdiff_t>(i) * extent[1];
    result.push_back({std::move(paths[i]), {begin, std::find(begin, begin + extent[1], -1)}, offsets[i]});
  }
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

// -- names in a folder ------------------------------------------------------------------------------------------------------

std::string file_name(std::int64_t step) {
  char text[48];
  std::snprintf(text, sizeof text, "step-%08lld.h5", static_cast<long long>(step));
  return text;
}

/// The step in a name that file_name() made; no other name leads to a file.
std::optional<std::int64_t> step_in(std::string_view name) {
  std::int64_t step = -1;
  if (!name.starts_with("step-"))
    return std::nullopt;
  std::from_chars(name.data() + 5, name.data() + name.size(), step);
  return step >= 0 && name == file_name(step) ? std::optional{step} : std::nullopt;
}

/// What a pointer says: a name, and under it what shows that it is the one that was written.
std::string pointer_text(std::int64_t step) {
  auto name = file_name(step);
  return name + "\n" + hash_name + " " + fingerprint(name) + "\n";
}

/// The steps that are there, newest first.
caf::expected<std::vector<std::int64_t>> steps_in(const fs::path& folder) {
  std::error_code code;
  std::vector<std::int64_t> result;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code))
    if (auto step = step_in(it->path().filename().string()))
      result.push_back(*step);
  if (code)
    return fail(ec::io_failed, folder.string() + ": cannot list the folder: " + code.message());
  std::sort(result.begin(), result.end(), std::greater{});
  return result;
}

caf::expected<void> remove_file(const fs::path& path) {
  std::error_code code;
  fs::remove(path, code);
  if (code)
    return fail(ec::io_failed, path.string() + ": cannot remove: " + code.message());
  return {};
}

} // namespace

std::string content_fingerprint(const checkpoint& value) {
  fingerprinter hash;
  auto count = [&](const auto& list) { hash.add(static_cast<std::uint64_t>(list.size())); };
  hash.add_sized(format);
  hash.add(static_cast<std::uint64_t>(format_version));
  hash.add(static_cast<std::uint64_t>(value.step));
  for (auto names : {&value.configuration, &value.state, &value.facts}) {
    count(*names);
    for (const auto& [name, text] : *names) {
      hash.add_sized(name);
      hash.add_sized(text);
    }
  }
  hash.add_sized(value.graph);
  hash.add_sized(value.data_facts);
  count(value.tensors);
  for (const auto& [name, numbers] : value.tensors) {
    hash.add_sized(name);
    hash.add_sized(std::as_bytes(std::span{numbers}));
  }
  count(value.layout);
  for (const auto& entry : value.layout) {
    hash.add_sized(entry.path);
    hash.add_sized(std::as_bytes(std::span{entry.extent}));
    hash.add(static_cast<std::uint64_t>(entry.offset));
  }
  return hash.text();
}

caf::expected<void> write_checkpoint(const fs::path& path, const checkpoint& value) {
  auto file = draft::create(path);
  if (!file)
    return file.error();
  auto hash = content_fingerprint(value);
  if (auto written = write_content(file->path(), value, hash); !written)
    return written;
  auto copy = read_checkpoint(file->path());
  if (!copy)
    return fail(ec::io_failed, path.string() + ": cannot be read back: " + text_of(copy.error()));
  if (auto found = content_fingerprint(*copy); found != hash)
    return fail(ec::io_failed, path.string() + ": reads back as other content: expected " + hash + ", found " + found);
  return file->commit();
}

caf::expected<checkpoint> read_checkpoint(const fs::path& path) {
  auto in = hdf5_file::open(path, ec::bad_checkpoint);
  if (!in)
    return in.error();
  checkpoint result;
  check_format(*in);
  result.step = in->integer("", "step");
  result.configuration = in->all_texts("configuration");
  result.state = in->all_texts("state");
  result.facts = in->all_texts("facts");
  result.graph = read_array<std::byte>(*in, "graph", number::uint8);
  result.data_facts = read_array<std::byte>(*in, "data_facts", number::uint8);
  for (auto& name : in->children("tensors")) {
    auto numbers = read_array<float>(*in, "tensors/" + name, number::float32);
    result.tensors.emplace_back(std::move(name), std::move(numbers));
  }
  result.layout = read_layout(*in);
  auto expected = in->text("", "content-" + hash_name);
  if (auto found = content_fingerprint(result); found != expected)
    in->refuse("damaged: XXH3-128 of the content expected " + expected + ", found " + found);
  if (in->error())
    return in->error();
  return result;
}

std::vector<std::int64_t> superfluous(const std::vector<std::int64_t>& steps, std::int64_t last, std::int64_t best,
                                      std::size_t keep) {
  std::vector<std::int64_t> result;
  std::size_t kept = 0;
  for (auto step : steps)
    if (step <= last && ++kept > keep && step != best)
      result.push_back(step);
  return result;
}

caf::expected<checkpoint_folder> checkpoint_folder::open(fs::path folder, std::size_t keep) {
  if (auto made = make_folder(folder); !made)
    return made.error();
  if (auto swept = sweep_drafts(folder); !swept)
    return swept.error();
  checkpoint_folder result;
  result.folder_ = std::move(folder);
  result.keep_ = std::max<std::size_t>(keep, 1);
  return result;
}

caf::expected<void> checkpoint_folder::save(const checkpoint& value, bool best) {
  const auto name = file_name(value.step);
  if (value.step < 0)
    return fail(ec::io_failed, (folder_ / name).string() + ": a step is not negative");
  if (auto written = write_checkpoint(folder_ / name, value); !written)
    return written;
  // First `best`: once `last` names this step, nobody goes through it again to say that it is the best.
  for (auto pointer : {"best", "last"})
    if (pointer == std::string_view{"last"} || best)
      if (auto written = write_file(folder_ / pointer, pointer_text(value.step)); !written)
        return written;
  auto steps = steps_in(folder_);
  if (!steps)
    return steps.error();
  auto best_step = named("best");
  if (std::error_code code; !best_step && fs::exists(folder_ / "best", code))
    return {}; // unreadable: what it protects is unknown
  for (auto step : superfluous(*steps, value.step, best_step ? *best_step : -1, keep_))
    if (auto removed = remove_file(folder_ / file_name(step)); !removed)
      return removed;
  return {};
}

checkpoint_folder checkpoint_folder::view(fs::path folder) {
  checkpoint_folder result;
  result.folder_ = std::move(folder);
  return result;
}

fs::path checkpoint_folder::file_of(std::int64_t step) const {
  return folder_ / file_name(step);
}

caf::expected<std::int64_t> checkpoint_folder::named(const std::string& pointer) const {
  auto path = folder_ / pointer;
  auto text = read_file(path);
  if (!text)
    return text.error();
  auto step = step_in(std::string_view{*text}.substr(0, text->find('\n')));
  if (!step || (*text != pointer_text(*step) && *text != file_name(*step) + "\n"))
    return fail(ec::bad_checkpoint, path.string() + ": damaged: it is not the name of a checkpoint with the XXH3-128 of that name");
  return *step;
}

caf::expected<std::vector<std::int64_t>> checkpoint_folder::steps() const {
  auto found = steps_in(folder_);
  auto newest = named("last");
  if (!found || !newest)
    return found;
  std::erase_if(*found, [&](auto step) { return step >= *newest; });
  found->insert(found->begin(), *newest);
  return found;
}

caf::expected<checkpoint> checkpoint_folder::load(std::int64_t step) const {
  auto result = read_checkpoint(file_of(step));
  if (result && result->step != step)
    return fail(ec::bad_checkpoint, file_of(step).string() + ": holds step " + std::to_string(result->step)
                                      + ", not the one in its name; rename it, or remove it");
  return result;
}

caf::expected<checkpoint> checkpoint_folder::load_last(std::vector<std::string>& skipped) const {
  auto found = steps();
  if (!found)
    return found.error();
  if (found->empty())
    return fail(ec::io_failed, folder_.string() + ": holds no checkpoint");
  std::error_code ignored;
  if (auto last = named("last"); !last && fs::exists(folder_ / "last", ignored)) // else a crash came before the first one
    skipped.push_back(text_of(last.error()) + "; the newest checkpoint is the last");
  for (auto step : *found) {
    if (!fs::exists(file_of(step), ignored)) {
      skipped.push_back(file_of(step).string() + ": missing, though \"last\" names it");
      continue;
    }
    auto result = load(step);
    if (result)
      return result;
    skipped.push_back(text_of(result.error()));
  }
  return fail(ec::bad_checkpoint, folder_.string() + ": holds no checkpoint that verifies"
                                    + (skipped.empty() ? "" : "; the last of them: " + skipped.back()));
}

} // namespace enn::serialization
