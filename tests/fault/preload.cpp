/// Arms the faults in a program that is started with this library in LD_PRELOAD, as the environment says; faults.hpp.
///
///   ENN_TEST_FAULT="AT DEED CODE LASTING TALLY FOLDER [TRACE]"     numbers, and paths without spaces
#include "faults.hpp"

#include <cstdio>
#include <cstdlib>

namespace {

struct preload {
  preload() {
    using namespace enn::fault;
    static char counts[4096], under[4096], trace[4096];
    unsigned long long at = 0;
    unsigned what = 0, lasting = 0;
    plan it;
    auto text = std::getenv("ENN_TEST_FAULT");
    if (!text || std::sscanf(text, "%llu %u %d %u %4095s %4095s %4095s", &at, &what, &it.code, &lasting, counts, under, trace) < 6)
      return;
    it.at = at;
    it.what = static_cast<deed>(what);
    it.lasting = lasting != 0;
    it.under = under;
    it.trace = trace;
    it.counts = make_tally(counts);
    if (it.counts)
      arm(it);
  }
} now;

} // namespace
