// What the address sanitizer is not to report, for tests in which reads of HDF5 fail.

#ifdef __SANITIZE_ADDRESS__
extern "C" const char* __lsan_default_suppressions() { // HDF5 1.10.8 loses memory when a read fails
  return "leak:libhdf5";
}
#endif
