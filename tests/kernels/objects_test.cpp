/// What the compiler made: no AVX in objects that must run everywhere, nothing in AVX objects that others could link to.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <memory>
#include <sstream>
#include <string>

namespace {

/// Standard output of a command; empty if it could not be run.
std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen((command + " 2>/dev/null").c_str(), "r"), pclose);
  std::string text;
  std::array<char, 65536> buffer;
  while (pipe)
    if (const std::size_t n = fread(buffer.data(), 1, buffer.size(), pipe.get()); n > 0)
      text.append(buffer.data(), n);
    else
      break;
  return text;
}

constexpr const char* archive = ENN_KERNELS_ARCHIVE;

/// Calls f(member, line) for each line that `command` prints of the archive.
template <class F>
void for_lines(const std::string& text, F f) {
  std::istringstream lines(text);
  std::string member;
  for (std::string line; std::getline(lines, line);)
    if (const auto end = line.find(".o:"); end != std::string::npos && line.find('\t') == std::string::npos)
      member = line.substr(0, end);
    else
      f(member, line);
}

bool is_vector_set(const std::string& member) {
  return member.starts_with("avx");
}

TEST(kernel_objects, for_every_machine_contain_no_avx_registers) {
#if !defined(__x86_64__) || defined(__AVX__)
  GTEST_SKIP() << "the baseline of this build is not plain x86-64";
#endif
  const std::string text = output_of(std::string("objdump -d --no-show-raw-insn ") + archive);
  if (text.empty())
    GTEST_SKIP() << "no objdump";
  int in_portable = 0, in_vector_sets = 0;
  for_lines(text, [&](const std::string& member, const std::string& line) {
    if (line.find("%ymm") != std::string::npos || line.find("%zmm") != std::string::npos)
      ++(is_vector_set(member) ? in_vector_sets : in_portable);
  });
  EXPECT_EQ(in_portable, 0);
  EXPECT_GT(in_vector_sets, 1000); // else this test looks at nothing
}

TEST(kernel_objects, of_vector_sets_define_no_function_that_another_object_could_be_given) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers add symbols of their own";
#endif
  const std::string text = output_of(std::string("nm -C ") + archive);
  if (text.empty())
    GTEST_SKIP() << "no nm";
  int symbols = 0;
  for_lines(text, [&](const std::string& member, const std::string& line) {
    if (!is_vector_set(member) || line.size() < 19)
      return;
    ++symbols;
    const char kind = line[17]; // capital: visible outside; V, W, u: merged by the linker
    EXPECT_TRUE(std::string("WVu").find(kind) == std::string::npos && (kind != 'T')) << member << ": " << line;
  });
  EXPECT_GT(symbols, 20);
}

} // namespace
