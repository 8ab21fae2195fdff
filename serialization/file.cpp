#include <enn/serialization/file.hpp>

#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <system_error>

static_assert(std::endian::native == std::endian::little, "files are little-endian and written without conversion");

namespace enn::serialization {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t piece_bytes = std::size_t{1} << 20;

caf::error os_error(const fs::path& path, std::string_view what, int code) {
  return fail(ec::io_failed, path.string() + ": cannot " + std::string{what} + ": " + std::generic_category().message(code));
}

/// A file descriptor that closes itself.
class descriptor {
public:
  explicit descriptor(int number = -1) : number_(number) {}
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~descriptor() {
    if (number_ >= 0)
      ::close(number_);
  }
  explicit operator bool() const { return number_ >= 0; }
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }

private:
  int number_;
};

descriptor open_file(const fs::path& path, int flags) {
  return descriptor{::open(path.c_str(), flags | O_CLOEXEC, 0666)};
}

/// All of `bytes` at `offset`; 0 or errno.
int write_at(int file, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    auto count = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return count < 0 ? errno : ENOSPC;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return 0;
}

/// Bytes from `offset` on until `bytes` is full or the file ends; the count, or -1 with errno.
std::ptrdiff_t read_at(int file, std::span<std::byte> bytes, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    auto count = ::pread(file, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return -1;
    if (count == 0)
      break;
    done += static_cast<std::size_t>(count);
  }
  return static_cast<std::ptrdiff_t>(done);
}

/// Calls visit(bytes) for each piece of the file from `offset` on, until it says false; 0 or errno.
template <class Visit>
int for_each_piece(int file, std::uint64_t offset, Visit&& visit) {
  std::vector<std::byte> buffer(piece_bytes);
  for (;;) {
    auto count = read_at(file, buffer, offset);
    if (count < 0)
      return errno;
    if (count == 0 || !visit(std::span{buffer}.first(static_cast<std::size_t>(count))))
      return 0;
    offset += static_cast<std::uint64_t>(count);
  }
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path{"."};
}

/// A new name in a folder lasts through a power cut only once the folder is synced.
caf::expected<void> sync_folder(const fs::path& folder) {
  auto file = open_file(folder, O_RDONLY | O_DIRECTORY);
  if (!file || ::fsync(file.get()) != 0)
    return os_error(folder, "sync the folder", errno);
  return {};
}

caf::expected<void> make_folder(const fs::path& folder) {
  std::error_code code;
  if (fs::is_directory(folder, code))
    return {};
  if (auto parent = make_folder(folder_of(folder)); !parent)
    return parent;
  if (::mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST)
    return os_error(folder, "make the folder", errno);
  return sync_folder(folder_of(folder));
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

} // namespace

// -- whole files ------------------------------------------------------------------------------------------------------------

caf::expected<draft> draft::create(fs::path target) {
  static std::atomic<unsigned> drafts{0};
  if (auto made = make_folder(folder_of(target)); !made)
    return made.error();
  draft result;
  result.path_ = target;
  result.path_ += "." + std::to_string(::getpid()) + "-" + std::to_string(++drafts) + ".tmp";
  result.target_ = std::move(target);
  // A file of this name is a crash's, of a process that had our number.
  if (::unlink(result.path_.c_str()) != 0 && errno != ENOENT)
    return os_error(result.path_, "remove", errno);
  return result;
}

draft::draft(draft&& other) noexcept : target_(std::move(other.target_)), path_(std::exchange(other.path_, {})) {}

draft& draft::operator=(draft&& other) noexcept {
  std::swap(target_, other.target_);
  std::swap(path_, other.path_);
  return *this;
}

draft::~draft() {
  if (!path_.empty())
    ::unlink(path_.c_str());
}

caf::expected<void> draft::write(std::string_view content) {
  auto file = open_file(path_, O_WRONLY | O_CREAT | O_EXCL);
  if (!file)
    return os_error(path_, "create", errno);
  if (auto code = write_at(file.get(), bytes_of(content), 0))
    return os_error(path_, "write", code);
  return {};
}

caf::expected<void> draft::commit() {
  auto file = open_file(path_, O_RDONLY);
  if (!file || ::fsync(file.get()) != 0)
    return os_error(path_, "sync", errno);
  if (::rename(path_.c_str(), target_.c_str()) != 0)
    return os_error(target_, "replace", errno);
  path_.clear();
  return sync_folder(folder_of(target_));
}

caf::expected<void> write_file(const fs::path& path, std::string_view content) {
  auto file = draft::create(path);
  if (!file)
    return file.error();
  if (auto written = file->write(content); !written)
    return written;
  return file->commit();
}

caf::expected<std::string> read_file(const fs::path& path) {
  auto file = open_file(path, O_RDONLY);
  if (!file)
    return os_error(path, "open", errno);
  std::string result;
  auto code = for_each_piece(file.get(), 0, [&](auto piece) {
    result.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    return true;
  });
  if (code != 0)
    return os_error(path, "read", code);
  return result;
}

// -- logs -------------------------------------------------------------------------------------------------------------------

namespace {

/// Cuts the file after its first `count` lines, or after its last whole line if it has fewer; 0 or errno.
int cut_after_lines(int file, std::size_t count) {
  std::uint64_t begin = 0, end = 0;
  auto code = for_each_piece(file, 0, [&](auto piece) {
    for (std::size_t i = 0; i < piece.size() && count > 0; ++i)
      if (piece[i] == std::byte{'\n'}) {
        end = begin + i + 1;
        --count;
      }
    begin += piece.size();
    return count > 0;
  });
  struct stat facts {};
  if (code != 0)
    return code;
  if (::fstat(file, &facts) != 0)
    return errno;
  if (static_cast<std::uint64_t>(facts.st_size) == end)
    return 0;
  return ::ftruncate(file, static_cast<off_t>(end)) == 0 && ::fsync(file) == 0 ? 0 : errno;
}

} // namespace

caf::expected<line_log> line_log::open(const fs::path& path) {
  if (auto made = make_folder(folder_of(path)); !made)
    return made.error();
  auto file = open_file(path, O_RDWR | O_APPEND | O_CREAT);
  if (!file)
    return os_error(path, "open", errno);
  if (auto code = cut_after_lines(file.get(), std::numeric_limits<std::size_t>::max()))
    return os_error(path, "cut the torn last line of", code);
  if (auto synced = sync_folder(folder_of(path)); !synced)
    return synced.error();
  line_log result;
  result.descriptor_ = file.release();
  result.path_ = path;
  return result;
}

line_log::line_log(line_log&& other) noexcept
  : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

line_log& line_log::operator=(line_log&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  return *this;
}

line_log::~line_log() {
  if (descriptor_ >= 0)
    ::close(descriptor_);
}

caf::expected<void> line_log::append(std::string_view line, bool durable) {
  if (line.find('\n') != std::string_view::npos)
    return fail(ec::io_failed, path_.string() + ": cannot append: the line holds a newline");
  auto text = std::string{line} + '\n';
  struct stat before {};
  if (::fstat(descriptor_, &before) != 0)
    return os_error(path_, "append", errno);
  ssize_t count;
  do
    count = ::write(descriptor_, text.data(), text.size());
  while (count < 0 && errno == EINTR);
  if (count != static_cast<ssize_t>(text.size())) {
    auto code = count < 0 ? errno : ENOSPC;
    if (count > 0 && ::ftruncate(descriptor_, before.st_size) != 0)
      return os_error(path_, "take back a torn line", errno);
    return os_error(path_, "append", code);
  }
  if (durable && ::fdatasync(descriptor_) != 0)
    return os_error(path_, "sync", errno);
  return {};
}

caf::expected<std::vector<std::string>> line_log::lines(const fs::path& path) {
  auto content = read_file(path);
  if (!content)
    return content.error();
  std::vector<std::string> result;
  for (std::size_t begin = 0, end; (end = content->find('\n', begin)) != std::string::npos; begin = end + 1)
    result.push_back(content->substr(begin, end - begin));
  return result;
}

caf::expected<void> line_log::keep_first(std::size_t count) {
  if (auto code = cut_after_lines(descriptor_, count))
    return os_error(path_, "cut", code);
  return {};
}

// -- fingerprints -----------------------------------------------------------------------------------------------------------

fingerprinter::fingerprinter() : state_(XXH3_createState()) {
  XXH3_128bits_reset(state_.get());
}

void fingerprinter::release::operator()(XXH3_state_s* state) const {
  XXH3_freeState(state);
}

void fingerprinter::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
}

void fingerprinter::add(std::uint64_t number) {
  add(std::as_bytes(std::span{&number, 1}));
}

void fingerprinter::add_sized(std::span<const std::byte> bytes) {
  add(static_cast<std::uint64_t>(bytes.size()));
  add(bytes);
}

void fingerprinter::add_sized(std::string_view text) {
  add_sized(bytes_of(text));
}

std::string fingerprinter::text() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_.get()));
  std::string result;
  for (auto byte : canonical.digest)
    for (auto digit : {byte >> 4, byte & 15})
      result += "0123456789abcdef"[digit];
  return result;
}

std::string fingerprint(std::string_view bytes) {
  fingerprinter result;
  result.add(bytes_of(bytes));
  return result.text();
}

caf::expected<std::string> fingerprint_file(const fs::path& path) {
  auto file = open_file(path, O_RDONLY);
  if (!file)
    return os_error(path, "open", errno);
  fingerprinter result;
  auto code = for_each_piece(file.get(), 0, [&](auto piece) { return result.add(piece), true; });
  if (code != 0)
    return os_error(path, "read", code);
  return result.text();
}

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
  if (found != *expected)
    return fail(damaged, path.string() + ": damaged: its seal says \"" + hash_line(found) + "\", its content is \""
                           + hash_line(*expected) + "\"");
  return {};
}

// -- HDF5: a driver that keeps write failures to itself ---------------------------------------------------------------------

/// What a new file is written through. HDF5 1.10.8 never learns of a failed write: the failed close that follows one ends
/// in a segmentation fault at exit. The first errno is kept here, and what comes after it goes nowhere.
struct sink {
  int file = -1;
  int code = 0;
};

struct sink_file {
  H5FD_t head{}; // the library's part, first
  sink* out = nullptr;
  haddr_t allocated = 0, end = 0;
};

sink_file* self(H5FD_t* file) {
  return reinterpret_cast<sink_file*>(file);
}
const sink_file* self(const H5FD_t* file) {
  return reinterpret_cast<const sink_file*>(file);
}

H5FD_t* sink_open(const char*, unsigned, hid_t access, haddr_t) {
  auto result = new sink_file;
  result->out = *static_cast<sink* const*>(H5Pget_driver_info(access));
  return &result->head;
}

herr_t sink_close(H5FD_t* file) {
  delete self(file);
  return 0;
}

haddr_t sink_allocated(const H5FD_t* file, H5FD_mem_t) {
  return self(file)->allocated;
}

herr_t sink_set_allocated(H5FD_t* file, H5FD_mem_t, haddr_t end) {
  self(file)->allocated = end;
  return 0;
}

haddr_t sink_end(const H5FD_t* file, H5FD_mem_t) {
  return self(file)->end;
}

herr_t sink_read(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t offset, std::size_t size, void* buffer) {
  auto& out = *self(file)->out;
  std::memset(buffer, 0, size);
  if (out.code == 0 && read_at(out.file, {static_cast<std::byte*>(buffer), size}, offset) < 0)
    out.code = errno;
  return 0;
}

herr_t sink_write(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t offset, std::size_t size, const void* buffer) {
  auto& out = *self(file)->out;
  if (out.code == 0)
    out.code = write_at(out.file, {static_cast<const std::byte*>(buffer), size}, offset);
  self(file)->end = std::max<haddr_t>(self(file)->end, offset + size);
  return 0;
}

herr_t sink_truncate(H5FD_t* file, hid_t, hbool_t) {
  auto& out = *self(file)->out;
  if (out.code == 0 && ::ftruncate(out.file, static_cast<off_t>(self(file)->allocated)) != 0)
    out.code = errno;
  self(file)->end = self(file)->allocated;
  return 0;
}

hid_t sink_driver() {
  static const H5FD_class_t driver = [] {
    H5FD_class_t result{};
    result.name = "enn_sink";
    result.maxaddr = haddr_t{1} << 62;
    result.fc_degree = H5F_CLOSE_STRONG;
    result.fapl_size = sizeof(sink*);
    result.open = sink_open;
    result.close = sink_close;
    result.get_eoa = sink_allocated;
    result.set_eoa = sink_set_allocated;
    result.get_eof = sink_end;
    result.read = sink_read;
    result.write = sink_write;
    result.truncate = sink_truncate;
    const H5FD_mem_t places[] = H5FD_FLMAP_DICHOTOMY;
    std::copy(std::begin(places), std::end(places), std::begin(result.fl_map));
    return result;
  }();
  static const hid_t number = H5FDregister(&driver);
  return number;
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
    parts_->out.code = ::posix_fallocate(parts_->out.file, static_cast<off_t>(offset), static_cast<off_t>(size));
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
  if (::fsync(it.written.get()) != 0)
    return os_error(it.path, "sync", errno);
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
