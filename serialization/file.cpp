#include <enn/serialization/file.hpp>

#include <enn/serialization/posix.hpp>
#include <enn/serialization/xxh3.hpp>

#include <atomic>
#include <bit>
#include <charconv>
#include <csignal>
#include <new>
#include <optional>

static_assert(std::endian::native == std::endian::little, "files are little-endian and written without conversion");

namespace enn::serialization {

// -- whole files ------------------------------------------------------------------------------------------------------------

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
  if (auto code = file ? sync_file(file.get()) : errno)
    return os_error(path_, "sync", code);
  if (::rename(path_.c_str(), target_.c_str()) != 0)
    return os_error(target_, "replace", errno);
  path_.clear();
  return sync_folder(folder_of(target_));
}

namespace {

/// The process in the name NAME.PID-N.tmp of a draft.
std::optional<pid_t> owner_of_draft(std::string_view name) {
  if (!name.ends_with(".tmp"))
    return std::nullopt;
  name.remove_suffix(4);
  name = name.substr(name.rfind('.') + 1);
  pid_t owner = 0;
  unsigned number = 0;
  auto end = name.data() + name.size();
  auto dash = std::from_chars(name.data(), end, owner);
  if (dash.ec != std::errc{} || dash.ptr == end || *dash.ptr != '-' || owner <= 0)
    return std::nullopt;
  auto rest = std::from_chars(dash.ptr + 1, end, number);
  return rest.ec == std::errc{} && rest.ptr == end ? std::optional{owner} : std::nullopt;
}

/// A process that is killed or ends closes its files, and so lets go of what it locked, while its number still answers; until
/// its parent asks for it, for ever if need be. What no longer has a program writes nothing.
bool is_gone(pid_t process) {
  auto program_of = [](const std::string& who) {
    std::error_code code;
    (void)fs::read_symlink("/proc/" + who + "/exe", code); // the code alone says it
    return code;
  };
  if (::kill(process, 0) != 0 && errno == ESRCH)
    return true;
  return program_of(std::to_string(process)) == std::errc::no_such_file_or_directory && !program_of("self");
}

} // namespace

caf::expected<void> sweep_drafts(const fs::path& folder) {
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code))
    if (auto owner = owner_of_draft(it->path().filename().string()); owner && is_gone(*owner))
      if (::unlink(it->path().c_str()) != 0 && errno != ENOENT)
        return os_error(it->path(), "remove", errno);
  if (code && code != std::errc::no_such_file_or_directory)
    return os_error(folder, "list", code.value());
  return {};
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

/// Cuts the file after its last whole line; 0 or errno.
int cut_torn_lines(int file) {
  std::uint64_t begin = 0, end = 0;
  auto code = for_each_piece(file, 0, [&](auto piece) {
    std::string_view text{reinterpret_cast<const char*>(piece.data()), piece.size()};
    if (auto lines = line_log::whole(text); lines > 0)
      end = begin + lines;
    begin += text.size();
    return text.find('\0') == text.npos;
  });
  struct stat facts {};
  if (code != 0)
    return code;
  if (::fstat(file, &facts) != 0)
    return errno;
  if (static_cast<std::uint64_t>(facts.st_size) == end)
    return 0;
  code = cut_file(file, end);
  return code != 0 ? code : sync_file(file);
}

} // namespace

caf::expected<line_log> line_log::open(const fs::path& path) {
  if (auto made = make_folder(folder_of(path)); !made)
    return made.error();
  auto file = open_file(path, O_RDWR | O_APPEND | O_CREAT);
  if (!file)
    return os_error(path, "open", errno);
  if (auto code = cut_torn_lines(file.get()))
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
  if (line.find_first_of(std::string_view{"\n\0", 2}) != line.npos)
    return fail(ec::io_failed, path_.string() + ": cannot append: the line holds a newline or NUL character");
  auto text = std::string{line} + '\n';
  struct stat before {};
  if (::fstat(descriptor_, &before) != 0)
    return os_error(path_, "append", errno);
  std::size_t done = 0;
  int code = 0;
  while (done < text.size() && code == 0) { // a second time only to learn why not all of it fitted
    auto count = ::write(descriptor_, text.data() + done, text.size() - done);
    if (count > 0)
      done += static_cast<std::size_t>(count);
    else if (count == 0 || errno != EINTR)
      code = count == 0 ? ENOSPC : errno;
  }
  if (code != 0) {
    if (auto again = done > 0 ? cut_file(descriptor_, static_cast<std::uint64_t>(before.st_size)) : 0)
      return os_error(path_, "take back a torn line", again);
    return os_error(path_, "append", code);
  }
  return durable ? sync() : caf::expected<void>{caf::unit};
}

caf::expected<void> line_log::sync() const {
  if (uninterrupted([&] { return ::fdatasync(descriptor_); }) != 0) // with the file's size, which is all that appending changes
    return os_error(path_, "sync", errno);
  return {};
}

caf::expected<std::vector<std::string>> line_log::lines(const fs::path& path) {
  auto content = read_file(path);
  if (!content)
    return content.error();
  content->resize(whole(*content));
  std::vector<std::string> result;
  for (std::size_t begin = 0, end; (end = content->find('\n', begin)) != std::string::npos; begin = end + 1)
    result.push_back(content->substr(begin, end - begin));
  return result;
}

std::size_t line_log::whole(std::string_view content) {
  return content.substr(0, content.find('\0')).rfind('\n') + 1; // 0 if there is none
}

// -- fingerprints -----------------------------------------------------------------------------------------------------------

fingerprinter::fingerprinter() : state_(XXH3_createState()) {
  if (!state_)
    throw std::bad_alloc{};
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

caf::expected<std::string> lines_fingerprint::of(std::uint64_t count) {
  auto file = open_file(log_, O_RDONLY);
  if (!file)
    return os_error(log_, "open", errno);
  auto code = for_each_piece(file.get(), bytes_, [&](auto piece) {
    auto end = piece.begin();
    while (lines_ < count && end != piece.end())
      lines_ += *end++ == std::byte{'\n'} ? 1 : 0;
    bytes_ += static_cast<std::uint64_t>(end - piece.begin());
    hash_.add(piece.first(static_cast<std::size_t>(end - piece.begin())));
    return lines_ < count;
  });
  if (code != 0)
    return os_error(log_, "read", code);
  if (lines_ < count)
    return fail(ec::io_failed, log_.string() + ": has " + std::to_string(lines_) + " lines, not " + std::to_string(count));
  return hash_.text();
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

} // namespace enn::serialization
