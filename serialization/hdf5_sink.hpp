/// An HDF5 file driver that keeps write failures to itself.
#pragma once
#include <hdf5.h>

namespace enn::serialization {

/// What a new file is written through. HDF5 1.10.8 never learns of a failed write: the failed close that follows one ends
/// in a segmentation fault at exit. The first errno is kept here, and what comes after it goes nowhere.
struct sink {
  int file = -1;
  int code = 0;
};

/// For H5Pset_driver(); its information is a pointer to a sink*.
hid_t sink_driver();

} // namespace enn::serialization
