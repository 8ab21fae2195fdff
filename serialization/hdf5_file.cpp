#include <enn/serialization/hdf5_file.hpp>

#include <enn/serialization/hdf5_sink.hpp>
#include <enn/serialization/posix.hpp>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

namespace enn::serialization {

// -- HDF5: the seal ---------------------------------------------------------------------------------------------------------

namespace {

constexpr std::size_t seal_bytes = 512; // the smallest user block that HDF5 knows

/// What stands in the user block of a file of `size` bytes.
std::string seal_text(std::uint64_t size, const std::string& hash) {
  auto result = "ENN sealed HDF5 file, version 1\nxxh3-128 of bytes 512 to " + std::to_string(size) + ": " + hash + "\n";
  result.resize(seal_bytes, ' ');
  result.back() = '\n';
  return result;
}

/// The seal that the file should have; errno if it cannot be read.
std::optional<std::string> make_seal(int file) {
  fingerprinter hash;
  std::uint64_t size = seal_bytes;
  auto code = for_each_piece(file, seal_bytes, [&](auto piece) {
    size += piece.size();
    hash.add(piece);
    return true;
  });
  errno = code;
  return code != 0 ? std::nullopt : std::optional{seal_text(size, hash.text())};
}

/// The second line of a seal, the one with the hash, if it looks like one.
std::string hash_line(const std::string& seal) {
  auto begin = seal.find('\n') + 1, end = seal.find('\n', begin);
  auto line = seal.substr(begin, end - begin);
  return std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; }) ? line : "(unreadable)";
}

caf::expected<void> check_seal(const fs::path& path, ec damaged) {
  auto file = open_file(path, O_RDONLY);
  if (!file)
    return os_error(path, "open", errno);
  std::string found(seal_bytes, '\0');
  auto count = read_at(file.get(), std::as_writable_bytes(std::span{found}), 0);
  if (count < 0)
    return os_error(path, "read", errno);
  auto expected = make_seal(file.get());
  if (!expected)
    return os_error(path, "read", errno);
  if (static_cast<std::size_t>(count) < seal_bytes)
    return fail(damaged, path.string() + ": truncated: " + std::to_string(count) + " bytes, its seal alone has 512");
  const std::string sealed = "ENN sealed HDF5 file, version ";
  if (!found.starts_with(sealed))
    return fail(damaged, path.string() + ": not a file of this program: it does not begin with \"" + sealed + "1\"");
  if (found.substr(0, found.find('\n')) != sealed + "1")
    return fail(damaged, path.string() + ": its seal is damaged or of a newer version than 1, which this program knows");
  if (found != *expected && hash_line(found) == hash_line(*expected))
    return fail(damaged, path.string() + ": damaged: its content is right, but what fills up its seal of 512 bytes is not");
  if (found != *expected)
    return fail(damaged, path.string() + ": damaged: its seal says \"" + hash_line(found) + "\", its content is \""
                           + hash_line(*expected) + "\"");
  return {};
}

// -- HDF5: handles and words ------------------------------------------------------------------------------------------------

/// Owns any HDF5 identifier.
class handle {
public:
  handle(hid_t number = -1) : number_(number) {}
  handle(handle&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  handle& operator=(handle&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~handle() { reset(); }
  operator hid_t() const { return number_; }
  bool reset() { return number_ < 0 || H5Idec_ref(std::exchange(number_, -1)) >= 0; }

private:
  hid_t number_;
};

/// HDF5 prints its errors to stderr unless told not to; told so for as long as this lives.
class silence {
public:
  silence() {
    H5Eget_auto2(H5E_DEFAULT, &print_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~silence() { H5Eset_auto2(H5E_DEFAULT, print_, data_); }

private:
  H5E_auto2_t print_ = nullptr;
  void* data_ = nullptr;
};

/// The innermost description on HDF5's error stack: of system errors only the system's words.
std::string hdf5_error() {
  std::string result = "no description";
  H5Ewalk2(
    H5E_DEFAULT, H5E_WALK_UPWARD,
    [](unsigned index, const H5E_error2_t* entry, void* out) -> herr_t {
      if (index == 0)
        *static_cast<std::string*>(out) = std::string{entry->func_name} + ": " + entry->desc;
      return 0;
    },
    &result);
  const std::string mark = "error message = '";
  if (auto begin = result.find(mark); begin != std::string::npos)
    result = result.substr(begin + mark.size(), result.find('\'', begin + mark.size()) - begin - mark.size());
  return result;
}

hid_t stored_type(hdf5_file::number type) {
  switch (type) {
    case hdf5_file::number::float32: return H5T_IEEE_F32LE;
    case hdf5_file::number::uint8: return H5T_STD_U8LE;
    case hdf5_file::number::int64: return H5T_STD_I64LE;
    case hdf5_file::number::uint64: return H5T_STD_U64LE;
  }
  return -1;
}

/// UTF-8 of up to `length` bytes and a NUL.
handle text_type(std::size_t length) {
  handle result{H5Tcopy(H5T_C_S1)};
  H5Tset_size(result, length + 1);
  H5Tset_cset(result, H5T_CSET_UTF8);
  return result;
}

/// No times, so that equal content gives equal bytes; names in the order in which they were added.
handle object_properties(hid_t kind) {
  constexpr unsigned ordered = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
  handle result{H5Pcreate(kind)};
  H5Pset_obj_track_times(result, false);
  H5Pset_attr_creation_order(result, ordered);
  if (kind != H5P_DATASET_CREATE)
    H5Pset_link_creation_order(result, ordered);
  return result;
}

const char* or_root(const std::string& name) {
  return name.empty() ? "/" : name.c_str();
}

} // namespace

// -- HDF5: the file ---------------------------------------------------------------------------------------------------------

struct hdf5_file::parts {
  fs::path path;
  ec code = ec::io_failed;
  std::uint64_t bytes = 0; // size of a file that is read
  descriptor written;      // file that is written
  sink out;
  handle file;
  std::map<std::string, handle> datasets; // stay open: a row costs no lookup
  caf::error error;

  ~parts() {
    silence quiet;
    close();
  }
  bool close() {
    datasets.clear();
    return file.reset();
  }
  bool good() {
    if (!error && out.code != 0)
      error = os_error(path, "write", out.code);
    return !error;
  }
  void refuse(const std::string& text) {
    if (good())
      error = fail(code, path.string() + ": " + text);
  }
  /// The one place where HDF5's answers are looked at.
  bool check(hid_t answer, const std::string& what) {
    if (answer < 0)
      refuse("cannot " + what + ": " + hdf5_error());
    return good();
  }

  bool plain(const std::string& name);
  handle object(const std::string& name);
  hid_t dataset(const std::string& name);
  std::vector<hsize_t> shape(const std::string& name);
  void add_attribute(const std::string& object_name, const std::string& name, hid_t type, const void* value);
  handle rows(const std::string& name, std::int64_t first, std::uint64_t elements);
  std::string read_text(hid_t attribute, const std::string& name);
};

/// Whether a name and the groups that it is in are linked within this very file: others are not ours to open.
bool hdf5_file::parts::plain(const std::string& name) {
  for (std::size_t end = 0; good() && end != std::string::npos;) {
    end = name.find('/', end + 1);
    H5L_info_t link;
    auto prefix = name.substr(0, end);
    if (check(H5Lget_info(file, prefix.c_str(), &link, H5P_DEFAULT), "find \"" + prefix + "\"") && link.type != H5L_TYPE_HARD)
      refuse("\"" + prefix + "\" is a link out of the file");
  }
  return good();
}

handle hdf5_file::parts::object(const std::string& name) {
  if (!good() || (!name.empty() && !plain(name)))
    return {};
  handle result{H5Oopen(file, or_root(name), H5P_DEFAULT)};
  check(result, "open \"" + name + "\"");
  return result;
}

/// An open dataset. A file may name a filter or another file to read from: those are not opened.
hid_t hdf5_file::parts::dataset(const std::string& name) {
  if (auto found = datasets.find(name); found != datasets.end())
    return found->second;
  if (!good() || !plain(name))
    return -1;
  handle result{H5Dopen2(file, name.c_str(), H5P_DEFAULT)};
  if (!check(result, "open dataset \"" + name + "\""))
    return -1;
  handle properties{H5Dget_create_plist(result)};
  if (!check(properties, "describe dataset \"" + name + "\""))
    return -1;
  if (H5Pget_nfilters(properties) != 0 || H5Pget_external_count(properties) != 0 || H5Pget_layout(properties) == H5D_VIRTUAL)
    refuse("dataset \"" + name + "\" is filtered, external or virtual");
  if (!good())
    return -1;
  return datasets[name] = std::move(result);
}

std::vector<hsize_t> hdf5_file::parts::shape(const std::string& name) {
  auto data = dataset(name);
  if (!good())
    return {};
  handle space{H5Dget_space(data)}, type{H5Dget_type(data)};
  auto rank = H5Sget_simple_extent_ndims(space);
  if (rank < 1) {
    refuse("dataset \"" + name + "\" has no rows");
    return {};
  }
  std::vector<hsize_t> result(static_cast<std::size_t>(rank));
  check(H5Sget_simple_extent_dims(space, result.data(), nullptr), "measure dataset \"" + name + "\"");
  auto room = written ? std::numeric_limits<std::int64_t>::max() : static_cast<std::int64_t>(bytes);
  auto left = static_cast<hsize_t>(room) / std::max<std::size_t>(H5Tget_size(type), 1);
  for (auto length : result) { // divides rather than multiplies: no overflow
    if (length > left)
      refuse("dataset \"" + name + "\" claims more numbers than the file has bytes");
    left /= std::max<hsize_t>(length, 1);
  }
  return good() ? result : std::vector<hsize_t>{};
}

void hdf5_file::parts::add_attribute(const std::string& object_name, const std::string& name, hid_t type, const void* value) {
  silence quiet;
  auto owner = object(object_name);
  if (!good())
    return;
  const auto what = "write attribute \"" + name + "\" of \"/" + object_name + "\"";
  handle space{H5Screate(H5S_SCALAR)};
  handle properties{H5Pcreate(H5P_ATTRIBUTE_CREATE)};
  H5Pset_char_encoding(properties, H5T_CSET_UTF8);
  handle attribute{H5Acreate2(owner, name.c_str(), type, space, properties, H5P_DEFAULT)};
  if (check(attribute, what))
    check(H5Awrite(attribute, type, value), what);
}

/// The dataset's space with `elements` numbers selected: whole rows, from row `first` on.
handle hdf5_file::parts::rows(const std::string& name, std::int64_t first, std::uint64_t elements) {
  auto count = shape(name);
  if (!good())
    return {};
  hsize_t in_row = 1;
  for (std::size_t axis = 1; axis < count.size(); ++axis)
    in_row *= count[axis];
  auto total = count[0];
  count[0] = in_row == 0 ? 0 : elements / in_row;
  if (in_row == 0 || elements % in_row != 0 || first < 0 || count[0] > total || static_cast<hsize_t>(first) > total - count[0]) {
    refuse("dataset \"" + name + "\" has no such rows");
    return {};
  }
  std::vector<hsize_t> start(count.size());
  start[0] = static_cast<hsize_t>(first);
  handle space{H5Dget_space(dataset(name))};
  check(H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr), "select rows of " + name);
  return space;
}

std::string hdf5_file::parts::read_text(hid_t attribute, const std::string& name) {
  const auto what = "read attribute \"" + name + "\"";
  if (!check(attribute, what))
    return {};
  handle type{H5Aget_type(attribute)}, space{H5Aget_space(attribute)};
  auto length = H5Tget_size(type);
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 || H5Sget_simple_extent_npoints(space) != 1
      || length > std::max<std::uint64_t>(bytes, 1)) {
    refuse("attribute \"" + name + "\" is not a text of fixed length");
    return {};
  }
  std::string result(length, '\0');
  if (!check(H5Aread(attribute, type, result.data()), what))
    return {};
  return result.substr(0, result.find('\0'));
}

hdf5_file::hdf5_file() : parts_(std::make_unique<parts>()) {}
hdf5_file::hdf5_file(hdf5_file&&) noexcept = default;
hdf5_file& hdf5_file::operator=(hdf5_file&&) noexcept = default;
hdf5_file::~hdf5_file() = default;

caf::expected<hdf5_file> hdf5_file::create(const fs::path& path) {
  silence quiet;
  hdf5_file result;
  auto& it = *result.parts_;
  it.path = path;
  it.written = open_file(path, O_RDWR | O_CREAT | O_EXCL);
  if (!it.written)
    return os_error(path, "create", errno);
  it.out.file = it.written.get();
  auto properties = object_properties(H5P_FILE_CREATE);
  handle access{H5Pcreate(H5P_FILE_ACCESS)};
  auto out = &it.out;
  if (it.check(H5Pset_userblock(properties, seal_bytes), "set up the seal")
      && it.check(H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18), "fix the version")
      && it.check(H5Pset_driver(access, sink_driver(), &out), "set up the driver")) {
    it.file = handle{H5Fcreate(path.c_str(), H5F_ACC_EXCL, properties, access)};
    it.check(it.file, "create");
  }
  if (!it.good())
    return it.error;
  return result;
}

caf::expected<hdf5_file> hdf5_file::open(const fs::path& path, ec damaged) {
  if (auto whole = check_seal(path, damaged); !whole)
    return whole.error();
  silence quiet;
  hdf5_file result;
  auto& it = *result.parts_;
  it.path = path;
  it.code = damaged;
  std::error_code code;
  it.bytes = fs::file_size(path, code);
  if (code)
    return os_error(path, "measure", code.value());
  handle access{H5Pcreate(H5P_FILE_ACCESS)};
  H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
  it.file = handle{H5Fopen(path.c_str(), H5F_ACC_RDONLY, access)};
  if (!it.check(it.file, "open"))
    return it.error;
  return result;
}

const caf::error& hdf5_file::error() const {
  parts_->good();
  return parts_->error;
}

void hdf5_file::refuse(const std::string& text) {
  parts_->refuse(text);
}

void hdf5_file::add_group(const std::string& name) {
  silence quiet;
  auto properties = object_properties(H5P_GROUP_CREATE);
  if (parts_->good())
    parts_->check(handle{H5Gcreate2(parts_->file, name.c_str(), H5P_DEFAULT, properties, H5P_DEFAULT)},
                  "make group \"" + name + "\"");
}

void hdf5_file::add_text(const std::string& object, const std::string& name, std::string_view value) {
  if ((name + std::string{value}).find('\0') != std::string::npos || name.empty())
    return refuse("attribute \"" + name + "\" of \"/" + object + "\" has no name or holds a NUL character");
  parts_->add_attribute(object, name, text_type(value.size()), std::string{value}.c_str());
}

void hdf5_file::add_integer(const std::string& object, const std::string& name, std::int64_t value) {
  parts_->add_attribute(object, name, H5T_STD_I64LE, &value);
}

void hdf5_file::add_dataset(const std::string& name, number type, const std::vector<std::int64_t>& extent,
                            std::int64_t chunk_rows) {
  silence quiet;
  if (!parts_->good())
    return;
  std::vector<hsize_t> lengths(extent.begin(), extent.end());
  handle space{H5Screate_simple(static_cast<int>(lengths.size()), lengths.data(), nullptr)};
  if (!parts_->check(space, "shape dataset \"" + name + "\""))
    return;
  auto properties = object_properties(H5P_DATASET_CREATE);
  H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER); // every row is written, or the file is not used
  if (chunk_rows > 0 && extent[0] > 0) {
    lengths[0] = std::min<hsize_t>(lengths[0], static_cast<hsize_t>(chunk_rows));
    H5Pset_chunk(properties, static_cast<int>(lengths.size()), lengths.data());
  } else {
    H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
  }
  handle made{H5Dcreate2(parts_->file, name.c_str(), stored_type(type), space, H5P_DEFAULT, properties, H5P_DEFAULT)};
  if (!parts_->check(made, "make dataset \"" + name + "\""))
    return;
  auto offset = H5Dget_offset(made), size = static_cast<haddr_t>(H5Dget_storage_size(made));
  if (offset != HADDR_UNDEF && size > 0 && parts_->good())
    parts_->out.code = claim_space(parts_->out.file, offset, size);
  parts_->datasets[name] = std::move(made);
}

void hdf5_file::add_texts(const std::string& name, const std::vector<std::string>& values) {
  silence quiet;
  std::size_t length = 0;
  for (const auto& value : values) {
    if (value.find('\0') != std::string::npos)
      refuse("a text of dataset \"" + name + "\" holds a NUL character");
    length = std::max(length, value.size());
  }
  if (!parts_->good())
    return;
  std::string cells;
  for (auto value : values) {
    value.resize(length + 1);
    cells += value;
  }
  hsize_t count = values.size();
  handle space{H5Screate_simple(1, &count, nullptr)};
  auto properties = object_properties(H5P_DATASET_CREATE);
  auto type = text_type(length);
  handle made{H5Dcreate2(parts_->file, name.c_str(), type, space, H5P_DEFAULT, properties, H5P_DEFAULT)};
  if (parts_->check(made, "make dataset \"" + name + "\"") && count > 0)
    parts_->check(H5Dwrite(made, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, cells.data()), "write dataset \"" + name + "\"");
}

void hdf5_file::write_rows(const std::string& name, std::int64_t first, std::span<const std::byte> rows) {
  silence quiet;
  handle type{parts_->good() ? H5Dget_type(parts_->dataset(name)) : -1};
  if (!parts_->good() || rows.empty())
    return;
  hsize_t elements = rows.size() / H5Tget_size(type);
  auto place = parts_->rows(name, first, elements);
  handle memory{H5Screate_simple(1, &elements, nullptr)};
  if (parts_->good())
    parts_->check(H5Dwrite(parts_->dataset(name), type, memory, place, H5P_DEFAULT, rows.data()), "write \"" + name + "\"");
}

caf::expected<void> hdf5_file::close() {
  silence quiet;
  auto& it = *parts_;
  auto closed = it.close();
  if (!closed)
    it.refuse("cannot close: " + hdf5_error());
  if (!it.written || !it.good())
    return it.error ? caf::expected<void>{it.error} : caf::expected<void>{};
  auto seal = make_seal(it.written.get());
  if (!seal)
    return os_error(it.path, "read", errno);
  if (auto code = write_at(it.written.get(), bytes_of(*seal), 0))
    return os_error(it.path, "write", code);
  if (auto code = sync_file(it.written.get()))
    return os_error(it.path, "sync", code);
  return {};
}

std::string hdf5_file::text(const std::string& object, const std::string& name) {
  silence quiet;
  auto owner = parts_->object(object);
  if (!parts_->good())
    return {};
  return parts_->read_text(handle{H5Aopen(owner, name.c_str(), H5P_DEFAULT)}, name);
}

std::int64_t hdf5_file::integer(const std::string& object, const std::string& name) {
  silence quiet;
  auto owner = parts_->object(object);
  if (!parts_->good())
    return 0;
  handle attribute{H5Aopen(owner, name.c_str(), H5P_DEFAULT)};
  if (!parts_->check(attribute, "read attribute \"" + name + "\""))
    return 0;
  handle type{H5Aget_type(attribute)}, space{H5Aget_space(attribute)};
  std::int64_t result = 0;
  if (H5Tequal(type, H5T_STD_I64LE) <= 0 || H5Sget_simple_extent_npoints(space) != 1)
    parts_->refuse("attribute \"" + name + "\" is not one int64");
  else
    parts_->check(H5Aread(attribute, H5T_STD_I64LE, &result), "read attribute \"" + name + "\"");
  return result;
}

hdf5_file::named_texts hdf5_file::all_texts(const std::string& object) {
  silence quiet;
  named_texts result;
  auto owner = parts_->object(object);
  H5O_info_t facts;
  if (!parts_->good() || !parts_->check(H5Oget_info(owner, &facts), "describe \"" + object + "\""))
    return {};
  for (hsize_t i = 0; i < facts.num_attrs && parts_->good(); ++i) {
    handle attribute{H5Aopen_by_idx(owner, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT)};
    if (!parts_->check(attribute, "list the attributes of \"" + object + "\""))
      break;
    std::string name(static_cast<std::size_t>(std::max<ssize_t>(H5Aget_name(attribute, 0, nullptr), 0)), '\0');
    H5Aget_name(attribute, name.size() + 1, name.data());
    auto value = parts_->read_text(attribute, name);
    result.emplace_back(std::move(name), std::move(value));
  }
  return result;
}

std::vector<std::string> hdf5_file::children(const std::string& group) {
  silence quiet;
  std::vector<std::string> result;
  auto owner = parts_->object(group);
  H5G_info_t facts;
  if (!parts_->good() || !parts_->check(H5Gget_info(owner, &facts), "list \"" + group + "\""))
    return {};
  for (hsize_t i = 0; i < facts.nlinks && parts_->good(); ++i) {
    auto read_name = [&](char* out, std::size_t size) {
      return H5Lget_name_by_idx(owner, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, i, out, size, H5P_DEFAULT);
    };
    auto length = read_name(nullptr, 0);
    if (!parts_->check(length, "list \"" + group + "\""))
      break;
    result.emplace_back(static_cast<std::size_t>(length), '\0');
    read_name(result.back().data(), result.back().size() + 1);
  }
  return result;
}

bool hdf5_file::has(const std::string& name) {
  silence quiet;
  return parts_->good() && H5Lexists(parts_->file, name.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::int64_t> hdf5_file::extent(const std::string& dataset) {
  silence quiet;
  auto result = parts_->shape(dataset);
  return {result.begin(), result.end()};
}

std::vector<std::string> hdf5_file::texts(const std::string& dataset) {
  silence quiet;
  auto lengths = parts_->shape(dataset);
  if (!parts_->good())
    return {};
  auto data = parts_->dataset(dataset);
  handle type{H5Dget_type(data)};
  if (lengths.size() != 1 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0) {
    parts_->refuse("dataset \"" + dataset + "\" is not a list of texts of fixed length");
    return {};
  }
  auto length = H5Tget_size(type);
  std::string cells(lengths[0] * length, '\0');
  if (lengths[0] > 0)
    parts_->check(H5Dread(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, cells.data()), "read dataset \"" + dataset + "\"");
  std::vector<std::string> result;
  for (std::size_t begin = 0; begin < cells.size() && parts_->good(); begin += length) {
    auto cell = cells.substr(begin, length);
    result.push_back(cell.substr(0, cell.find('\0')));
  }
  return result;
}

void hdf5_file::read_rows(const std::string& name, number type, std::int64_t first, std::span<std::byte> rows) {
  silence quiet;
  handle stored{parts_->good() ? H5Dget_type(parts_->dataset(name)) : -1};
  if (!parts_->good() || rows.empty())
    return;
  if (H5Tequal(stored, stored_type(type)) <= 0)
    return parts_->refuse("dataset \"" + name + "\" holds numbers of another type than expected");
  hsize_t elements = rows.size() / H5Tget_size(stored);
  auto place = parts_->rows(name, first, elements);
  handle memory{H5Screate_simple(1, &elements, nullptr)};
  if (parts_->good())
    parts_->check(H5Dread(parts_->dataset(name), stored, memory, place, H5P_DEFAULT, rows.data()), "read \"" + name + "\"");
}

} // namespace enn::serialization
