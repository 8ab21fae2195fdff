/// Whichever allocation fails while something is read or written, that is right or says so, loses no memory and leaves files whole.
#include "child.hpp"
#include "example_checkpoint.hpp"
#include "starvation.hpp"
#include "tiny_run.hpp"
#include "../fuzz/targets.hpp"

#include <enn/model/data/dataset.hpp>
#include <enn/serialization/checkpoint.hpp>
#include <enn/serialization/config_file.hpp>
#include <enn/serialization/file.hpp>
#include <enn/serialization/readers/csv.hpp>

#include <kj/exception.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <new>
#include <stdexcept>

namespace enn::fault {
namespace {

namespace fs = std::filesystem;
using namespace serialization;

enum said : int { done = 0, refused = 3, wrong = 4, lossy = 5, abrupt = 6 };

/// What libraries do when an allocation of theirs fails. Files are whole all the same, for the process that is started next.
struct allowance {
  bool abrupt_ends = false; // an exception leaves a function that none may leave: std::terminate
  bool no_way_back = false; // lost memory, refusals from then on, crashes
};
constexpr allowance of_toml{.abrupt_ends = true};
constexpr allowance of_hdf5{.abrupt_ends = true /* std::filesystem::directory_iterator */, .no_way_back = true /* HDF5 1.10.8 */};

struct task {
  std::function<int()> act; // is starved
  allowance allowed = {};
  std::function<bool(int)> whole = [](int) { return true; }; // what it left behind, looked at by another process
};

int starved(const task& it, std::uint64_t at, bool lasting) {
  starvation now{at, lasting};
  try {
    return it.act();
  } catch (const std::bad_alloc&) {
    return refused;
  } catch (const kj::Exception& e) { // from where a message is written
    return e.getType() == kj::Exception::Type::OVERLOADED ? refused : wrong;
  }
}

/// Twice with the failure, as the first time fills what is kept until the program ends; then without.
int starved_and_fed(const task& it, std::uint64_t at, bool lasting) {
  auto first = starved(it, at, lasting);
  auto before = blocks_in_use();
  auto second = starved(it, at, lasting);
  auto lost = blocks_in_use() - before;
  auto last = starved(it, 0, false);
  if (first == wrong || second == wrong || last == wrong || (last == refused && !it.allowed.no_way_back))
    return wrong;
  if (lost > 0 && !it.allowed.no_way_back)
    return lossy;
  return first == done || second == done ? done : refused;
}

std::uint64_t allocations_of(const task& it) {
  auto counts = make_tally();
  EXPECT_EQ(in_child({}, [&] {
    starvation none;
    auto answer = it.act();
    counts->calls = none.allocations();
    return answer;
  }), done);
  return counts->calls;
}

/// Each allocation of the task fails once, alone and with all later ones; some of them if there are more than 400.
void starve(const task& it) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer has its own malloc";
#endif
  auto all = allocations_of(it);
  ASSERT_GE(all, 3u);
  EXPECT_TRUE(it.whole(done));
  int refusals = 0;
  for (std::uint64_t at = 1; at <= all; at += 1 + all / 400)
    for (bool lasting : {false, true}) {
      auto status = in_child({}, [&] {
        std::set_terminate([] { std::_Exit(abrupt); });
        std::_Exit(starved_and_fed(it, at, lasting)); // HDF5 that had no memory once cannot close itself
        return int{wrong};
      });
      refusals += status == refused ? 1 : 0;
      auto allowed = status == done || status == refused || (status == abrupt && it.allowed.abrupt_ends)
                     || (status != wrong && it.allowed.no_way_back);
      ASSERT_TRUE(allowed && it.whole(status)) << status << " at allocation " << at << " of " << all << (lasting ? " and all later ones" : "");
    }
  EXPECT_GT(refusals, 0);
}

// -- what is starved --------------------------------------------------------------------------------------------------------

class starved_program : public testing::Test {
protected:
  scratch_folder scratch{"enn_starvation"};
  fs::path config = tiny_config(scratch.path());
};

/// Whether a refusal names its cause.
template <class T>
int told(const caf::expected<T>& answer) {
  return answer ? done : text_of(answer.error()).empty() ? wrong : refused;
}

TEST_F(starved_program, reads_its_configuration_right_or_not_at_all) {
  auto expected = load_config(config);
  ASSERT_TRUE(expected);
  const auto text = to_toml(*expected, false);
  starve({.act = [&] {
            auto answer = load_config(config);
            return answer && to_toml(*answer, false) != text ? wrong : told(answer);
          },
          .allowed = of_toml});
}

TEST_F(starved_program, reads_its_data_right_or_not_at_all) {
  auto settings = load_config(config);
  ASSERT_TRUE(settings);
  ASSERT_EQ(std::system(("gzip --keep " + settings->data.path).c_str()), 0);
  auto read = [&](const std::string& file) -> caf::expected<std::string> {
    auto table = read_csv(file, settings->data);
    if (!table)
      return table.error();
    auto data = model::dataset::make(std::move(*table), settings->data, 1);
    if (!data)
      return data.error();
    return (*data)->facts().fingerprint;
  };
  for (const auto& file : {settings->data.path, settings->data.path + ".gz"}) {
    auto expected = read(file);
    ASSERT_TRUE(expected);
    starve({.act = [&] {
      auto answer = read(file);
      return answer && *answer != *expected ? wrong : told(answer);
    }});
  }
}

TEST_F(starved_program, takes_messages_right_or_not_at_all) {
  for (const auto& target : fuzz::targets())
    for (const auto& sent : target.seeds()) {
      SCOPED_TRACE(target.name);
      starve({.act = [&] {
        try {
          auto taken = target.arrive(sent);
          return !taken ? refused : *taken == sent ? done : wrong;
        } catch (const std::logic_error& e) { // the target's own second writing and reading
          return std::string_view{e.what()}.find("change") == std::string_view::npos ? refused : wrong;
        }
      }});
      if (HasFailure())
        return;
    }
}

class starved_checkpointer : public testing::Test {
protected:
  void SetUp() override {
    auto place = checkpoint_folder::open(folder, 2);
    ASSERT_TRUE(place && place->save(example(10), false) && place->save(example(20), false));
  }

  scratch_folder scratch{"enn_starvation"};
  fs::path folder = scratch.path() / "checkpoints";
};

TEST_F(starved_checkpointer, leaves_the_old_or_the_new_checkpoint) {
  std::int64_t older = 20, newer = 30;
  starve({.act = [&] {
            auto place = checkpoint_folder::open(folder, 2);
            return place ? told(place->save(example(newer), false)) : told(place);
          },
          .allowed = of_hdf5,
          .whole = [&](int status) {
            std::vector<std::string> skipped;
            auto found = checkpoint_folder::view(folder).load_last(skipped);
            if (!found || !skipped.empty() || content_fingerprint(*found) != content_fingerprint(example(found->step)))
              return false;
            auto allowed = found->step == newer || (found->step == older && status != done);
            older = found->step;
            newer += 10;
            return allowed;
          }});
}

TEST_F(starved_checkpointer, reads_a_checkpoint_right_or_says_that_it_did_not) {
  starve({.act = [&]() -> int {
            std::vector<std::string> skipped;
            auto found = checkpoint_folder::view(folder).load_last(skipped);
            if (!found)
              return told(found);
            auto older = found->step == 20 || !skipped.empty();
            return older && content_fingerprint(*found) == content_fingerprint(example(found->step)) ? done : wrong;
          },
          .allowed = of_hdf5});
}

TEST_F(starved_checkpointer, appends_whole_lines_to_its_log) {
  const auto file = scratch.path() / "losses.jsonl";
  const std::string line = "a line that is longer than any small string";
  starve({.act = [&]() -> int {
            auto log = line_log::open(file);
            return log ? told(log->append(line, true)) : told(log);
          },
          .whole = [&, before = std::size_t{0}](int status) mutable {
            auto lines = line_log::lines(file);
            if (!lines || lines->size() < before + (status == done ? 1 : 0))
              return false;
            before = lines->size();
            return std::all_of(lines->begin(), lines->end(), [&](const auto& found) { return found == line; });
          }});
}

} // namespace
} // namespace enn::fault
