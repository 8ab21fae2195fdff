// clang's libFuzzer on one target: enn_fuzz --target=NAME [LIBFUZZER_OPTION...] [FOLDER...]
//                                  enn_fuzz --target=NAME --seeds=FOLDER      writes valid messages there
//                                  enn_fuzz --targets                         lists them
#include "targets.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <random>
#include <string>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

const enn::fuzz::target* chosen = nullptr;

void write_seeds(const std::string& folder) {
  int number = 0;
  for (const auto& seed : chosen->seeds()) {
    std::ofstream file{folder + "/seed-" + std::to_string(number++), std::ios::binary};
    file.write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
  }
}

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// -- mutations that know words --------------------------------------------------------------------------------------------

using word = std::uint64_t;

/// A struct, list, far or other pointer near to what could be valid, or a number at some edge.
word likely_word(std::minstd_rand& random) {
  auto below = [&](unsigned n) { return random() % n; };
  word offset = static_cast<std::uint32_t>(below(24) - 4) << 2;
  switch (below(6)) {
    case 0: return (offset & 0xffffffff) | word{below(8)} << 32 | word{below(8)} << 48;
    case 1: return (offset & 0xffffffff) | 1 | word{below(8)} << 32 | word{below(64)} << 35;
    case 2: return (offset & 0xffffffff) | 1 | word{below(8)} << 32 | word{~0u >> (3 + below(28))} << 35;
    case 3: return 2 | word{below(2)} << 2 | word{below(32)} << 3 | word{below(3)} << 32;
    case 4: return word{1} << below(64);
    default: return word{below(3)} - 1;
  }
}

/// As if there were one segment that holds all; what follows the table is words.
void mend_table(std::uint8_t* data, std::size_t words) {
  std::uint32_t table[] = {0, static_cast<std::uint32_t>(words - 1)};
  std::memcpy(data, table, sizeof table);
}

std::size_t mutate_words(std::uint8_t* data, std::size_t size, std::size_t max_size, std::minstd_rand& random) {
  auto words = size / sizeof(word);
  auto at = data + random() % words * sizeof(word);
  auto rest = static_cast<std::size_t>(data + words * sizeof(word) - at);
  auto value = likely_word(random);
  switch (random() % 4) {
    case 0: // remove
      if (words > 1) {
        std::memmove(at, at + sizeof(word), rest - sizeof(word));
        return (words - 1) * sizeof(word);
      }
      break;
    case 1: // insert
      if ((words + 1) * sizeof(word) <= max_size) {
        std::memmove(at + sizeof(word), at, rest);
        std::memcpy(at, &value, sizeof value);
        return (words + 1) * sizeof(word);
      }
      break;
    case 2: // copy
      std::memcpy(&value, data + random() % words * sizeof(word), sizeof value);
      break;
    default:
      break;
  }
  std::memcpy(at, &value, sizeof value);
  return words * sizeof(word);
}

} // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  std::string seeds;
  for (int i = 1; i < *argc; ++i) {
    std::string_view argument = (*argv)[i];
    if (argument == "--targets") {
      for (const auto& t : enn::fuzz::targets())
        std::printf("%s\n", std::string{t.name}.c_str());
      std::exit(0);
    }
    if (argument.starts_with("--target="))
      for (const auto& t : enn::fuzz::targets())
        if (t.name == argument.substr(9))
          chosen = &t;
    if (argument.starts_with("--seeds="))
      seeds = argument.substr(8);
  }
  if (!chosen) {
    std::fprintf(stderr, "enn_fuzz: --target=NAME is missing or unknown; --targets lists them\n");
    std::exit(2);
  }
  if (!seeds.empty()) {
    write_seeds(seeds);
    std::exit(0);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto before = cpu_seconds();
  enn::fuzz::arrive(*chosen, {reinterpret_cast<const std::byte*>(data), size});
  if (auto taken = cpu_seconds() - before; taken > 0.1) {
    std::fprintf(stderr, "enn_fuzz: an input took %.3f s\n", taken);
    std::abort();
  }
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  std::minstd_rand random{seed};
  if (!chosen->in_words || size < 2 * sizeof(word) || random() % 2 == 0)
    size = LLVMFuzzerMutate(data, size, max_size);
  else
    size = mutate_words(data, size, max_size, random);
  if (chosen->in_words && size >= sizeof(word) && random() % 8 != 0)
    mend_table(data, size / sizeof(word));
  return size;
}
