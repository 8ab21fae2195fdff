/// The parts of the set openblas, for machine.cpp alone; present where CMake found the library.
#pragma once
#include <enn/kernels/kernel_table.hpp>

#include <string>

namespace enn::kernels {

/// The functions of `base`, but gemm by OpenBLAS.
kernel_table<float> openblas_on(const kernel_table<float>& base);

/// Library, version, build options and core type, as OpenBLAS says them.
std::string openblas_description();

} // namespace enn::kernels
