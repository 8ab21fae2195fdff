/// Files that rot: single bits, cuts, blocks of zeros, blocks in each other's place. Each is read in a process of its own, so that
/// a crash is a failed case. With --gtest_shuffle --gtest_repeat=10, ten times as many cases.
#include "program.hpp"

#include <enn/actors/starting_point.hpp>
#include <enn/actors/version.hpp>
#include <enn/kernels/random.hpp>
#include <enn/serialization/checkpoint.hpp>
#include <enn/serialization/config_file.hpp>
#include <enn/serialization/predictions.hpp>
#include <enn/serialization/readers/csv.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <functional>
#include <map>

namespace enn::fault {
namespace {

namespace fs = std::filesystem;

/// Numbers by counter: a case is known by its number alone.
class draw {
public:
  draw(std::uint64_t seed, std::uint64_t number) : key_{.seed = seed, .step = number} {}
  std::size_t below(std::size_t limit) {
    auto index = static_cast<std::size_t>(static_cast<double>(kernels::random_uniform(key_, next_++)) * static_cast<double>(limit));
    return std::min(index, limit - 1);
  }

private:
  kernels::random_place key_;
  std::uint64_t next_ = 0;
};

/// Another text than `whole`.
std::string rotten(const std::string& whole, draw numbers) {
  auto result = whole;
  constexpr std::size_t block = 512;
  auto blocks = whole.size() / block;
  do {
    auto kind = numbers.below(6);
    if (kind < 3 || blocks < 2) {
      auto& byte = result[numbers.below(result.size())];
      byte = static_cast<char>(byte ^ (1 << numbers.below(8)));
    } else if (kind == 3) {
      result.resize(numbers.below(result.size()));
    } else {
      auto at = [&] { return result.begin() + static_cast<std::ptrdiff_t>(block * numbers.below(blocks)); };
      auto first = at(), second = at();
      if (kind == 4)
        std::fill_n(first, block, '\0');
      else
        std::swap_ranges(first, first + block, second);
    }
  } while (result == whole);
  return result;
}

enum said : int { same = 0, refused = 3, silent = 4, nameless = 5 };

/// What a reader says: an error must name the file.
int verdict(const caf::error& error, const fs::path& file) {
  return text_of(error).find(file.filename().string()) == std::string::npos ? nameless : refused;
}

class rot : public testing::Test {
protected:
  void SetUp() override {
    program p{scratch.path(), {"train", tiny_config(scratch.path()).string(), "--run.folder", run.string()}};
    ASSERT_EQ(p.wait(), 0) << p.err();
  }
  /// Reads so many rotten versions of the file; how often each was said.
  std::map<int, int> read_rotten(const fs::path& file, int cases, const std::function<int()>& read) {
    auto seed = seed_of_cases();
    const auto whole = text_in(file);
    EXPECT_EQ(read(), same);
    std::map<int, int> result;
    for (int i = 0; i < cases; ++i) {
      overwrite(file, rotten(whole, {seed, static_cast<std::uint64_t>(i)}));
      auto status = in_child({}, read);
      ++result[status];
      EXPECT_TRUE(status == same || status == refused) << file << ", case " << i << " of seed " << seed << ": " << status;
    }
    overwrite(file, whole);
    EXPECT_GT(result[refused], cases / 2);
    return result;
  }
  fs::path checkpoints() const { return run / "checkpoints"; }

  scratch_folder scratch{"enn_rot"};
  fs::path run = scratch.path() / "run";
};

TEST_F(rot, in_a_checkpoint_is_found) {
  auto file = checkpoints() / "step-00000006.h5";
  auto original = serialization::content_fingerprint(*serialization::read_checkpoint(file));
  auto said = read_rotten(file, 400, [&] {
    auto found = serialization::read_checkpoint(file);
    return !found ? verdict(found.error(), file) : serialization::content_fingerprint(*found) == original ? same : silent;
  });
  EXPECT_EQ(said[same], 0);
}

TEST_F(rot, in_predictions_is_found) {
  auto file = run / "predictions" / "predictions.h5";
  auto original = *serialization::read_predictions(file);
  auto said = read_rotten(file, 200, [&] {
    auto found = serialization::read_predictions(file);
    return !found ? verdict(found.error(), file) : found->values == original.values ? same : silent;
  });
  EXPECT_EQ(said[same], 0);
}

TEST_F(rot, in_the_names_of_the_last_and_the_best_is_found) {
  for (std::string pointer : {"last", "best"})
    read_rotten(checkpoints() / pointer, 100, [&]() -> int { // without its second line it is right
      auto found = serialization::checkpoint_folder::view(checkpoints()).named(pointer);
      return !found ? verdict(found.error(), pointer) : *found == 6 ? same : silent;
    });
}

/// The lines up to the checkpoint; what follows them is computed again and compared.
TEST_F(rot, in_recorded_losses_is_found_when_the_run_goes_on) {
  spdlog::set_level(spdlog::level::off);
  actors::run_request request;
  request.what = actors::duty::resume;
  request.folder = run;
  auto settings = *serialization::load_config(run / "run.toml");
  request.data = *model::dataset::make(*serialization::read_csv(settings.data.path, settings.data), settings.data,
                                       static_cast<std::uint64_t>(settings.train.seed));
  request.run = *model::define_run(settings, *request.data);
  auto file = run / "losses.jsonl";
  const auto whole = text_in(file);
  auto said = read_rotten(file, 200, [&] {
    auto found = actors::find_start(request);
    return !found ? verdict(found.error(), file) : text_in(file) == whole ? same : silent;
  });
  EXPECT_EQ(said[same], 0);
}

TEST_F(rot, in_the_configuration_of_a_run_is_found) {
  auto file = run / "run.toml";
  const auto whole = text_in(file);
  auto said = read_rotten(file, 100, [&] {
    program p{scratch.path(), {"train", "--resume", run.string()}};
    auto status = p.wait();
    return status == 5 && p.err().find("run.toml: damaged") != std::string::npos ? refused
           : status != 0 || text_in(file) != whole                               ? silent
                                                                                 : same;
  });
  EXPECT_EQ(said[same], 0);
}

} // namespace
} // namespace enn::fault
