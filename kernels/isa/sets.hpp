/// What each kernel set shows to machine.cpp. Plain data only: this header is included by files compiled for AVX-512.
#pragma once
#include <enn/kernels/kernel_table.hpp>

#include <cstdint>

namespace enn::kernels::isa {

/// A set's functions, and a loop of independent fused multiply-adds that does nothing else; it returns the number of
/// floating-point operations it did, and its sum in *sink so that it is not optimised away.
struct implementation {
  const kernel_table<float>* table;
  std::int64_t (*fma_burst)(std::int64_t rounds, float* sink);
};

extern const implementation reference;
extern const implementation portable;
extern const implementation avx2;
extern const implementation avx512;

} // namespace enn::kernels::isa
