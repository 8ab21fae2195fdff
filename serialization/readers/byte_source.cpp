#include <enn/serialization/readers/byte_source.hpp>

#include <enn/serialization/file.hpp>

#include <zlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <vector>

namespace enn::serialization {
namespace {

constexpr std::size_t piece_bytes = std::size_t{1} << 18;
constexpr std::string_view gzip_magic = "\x1F\x8B";

/// Undoes gzip of a stream that comes in pieces.
class inflater {
public:
  inflater() : out_(piece_bytes) { check(inflateInit2(&stream_, 15 + 16)); } // 15: largest window; 16: gzip, not zlib
  ~inflater() { inflateEnd(&stream_); }
  inflater(const inflater&) = delete;
  inflater& operator=(const inflater&) = delete;

  /// Returns what is wrong with the bytes, or nothing. `go_on` is what take last returned.
  std::string add(std::string_view bytes, const std::function<bool(std::string_view)>& take, bool& go_on) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data())); // zlib does not write to it
    stream_.avail_in = static_cast<uInt>(bytes.size());
    do {
      if (member_ended_) {
        inflateReset(&stream_);
        member_ended_ = false;
      }
      stream_.next_out = reinterpret_cast<Bytef*>(out_.data());
      stream_.avail_out = static_cast<uInt>(out_.size());
      const int status = check(inflate(&stream_, Z_NO_FLUSH));
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
        return stream_.msg != nullptr ? stream_.msg : "unknown error of zlib";
      member_ended_ = status == Z_STREAM_END;
      go_on = take({out_.data(), out_.size() - stream_.avail_out});
    } while (go_on && (stream_.avail_in > 0 || stream_.avail_out == 0));
    return {};
  }
  bool complete() const { return member_ended_; }

private:
  /// That there is no memory says nothing of the bytes.
  static int check(int status) {
    if (status == Z_MEM_ERROR)
      throw std::bad_alloc{};
    return status;
  }

  z_stream stream_{};
  std::vector<char> out_;
  bool member_ended_ = false;
};

caf::error io_error(const std::filesystem::path& path, const char* what) {
  return fail(ec::bad_data, path.string() + ": " + what + ": " + std::strerror(errno));
}

} // namespace

caf::expected<std::string> read_bytes(const std::filesystem::path& path, const std::function<bool(std::string_view)>& take) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::fopen(path.c_str(), "rb"), std::fclose};
  if (!file)
    return io_error(path, "cannot open");
  fingerprinter hash;
  std::unique_ptr<inflater> gzip;
  std::vector<char> buffer(piece_bytes);
  bool first = true, go_on = true;
  while (go_on) {
    const std::string_view piece{buffer.data(), std::fread(buffer.data(), 1, buffer.size(), file.get())};
    if (std::ferror(file.get()))
      return io_error(path, "cannot read");
    if (piece.empty())
      break;
    hash.add(std::as_bytes(std::span{piece}));
    if (first && piece.starts_with(gzip_magic))
      gzip = std::make_unique<inflater>();
    first = false;
    if (!gzip) {
      go_on = take(piece);
    } else if (const auto error = gzip->add(piece, take, go_on); !error.empty()) {
      return fail(ec::bad_data, path.string() + ": the gzip stream is damaged: " + error);
    }
  }
  if (go_on && gzip && !gzip->complete())
    return fail(ec::bad_data, path.string() + ": the gzip stream is cut off; is the file complete?");
  return hash.text();
}

} // namespace enn::serialization
