#include <enn/serialization/hdf5_sink.hpp>

#include <enn/serialization/posix.hpp>

#include <algorithm>
#include <cstring>

namespace enn::serialization {
namespace {

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
  if (out.code == 0)
    out.code = cut_file(out.file, self(file)->allocated);
  self(file)->end = self(file)->allocated;
  return 0;
}

} // namespace

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

} // namespace enn::serialization
