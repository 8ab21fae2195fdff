/// XXH3 with the widest vectors of this machine, where <xxhash.h> alone uses those that every machine has. The values are the same. Only
/// sources include this.
#pragma once
#include <xxhash.h>
#ifdef __x86_64__
#include <xxh_x86dispatch.h>
#endif
