/// Counts what operator new hands out in this program.
#pragma once
#include <cstdint>

namespace enn::model::test {
std::int64_t allocations();
}
