// Numbers that are finite and wrong: leases that are computed by the reference kernels too (run.check-every).
#include "../model/graph/faults.hpp"
#include "cluster.hpp"

#include <atomic>
#include <mutex>
#include <set>

namespace enn::actors::test {
namespace {

using model::lease_kind;
using model::number_fault;
using model::number_place;
using model::test::change_somewhere;
using model::test::fault_place;
using serialization::lease;

constexpr double one_ulp = 0x1.02p-24; // this share of a float rounds to its last place

tiny checked(std::int64_t every, std::int64_t steps = 8) {
  auto c = short_config(steps);
  c.run.check_every = every;
  c.run.checkpoint_every = 1000;
  return make_tiny(c);
}

std::vector<fault_place> places_of_training(const tiny& t) {
  model::lease_computer computer{t.run};
  auto version = first_version(*t.run);
  std::vector<std::uint64_t> rows{0, 1};
  std::vector<float> gradient(version->tensors.weights.size());
  auto all = model::test::places_of([&](const number_fault& watch) {
    computer.compute({lease_kind::train, 0, t.data.get(), rows, 1, model::rung::fast, &watch}, version->tensors.weights, gradient, {});
  });
  std::erase_if(all, [](const auto& p) { return p.what == number_place::kind::input || p.what == number_place::kind::parameter; });
  return all;
}

struct recorded {
  caf::expected<run_outcome> outcome{caf::error{}};
  std::string losses, journal;
  std::uint64_t steps = 0, checked = 0, mended = 0;
};

recorded run(const tiny& t, const std::string& name, number_fault_plan plan = {}, std::uint32_t workers = 2) {
  auto request = request_for(t, fresh_folder(name), workers);
  request.rules.number_faults = std::move(plan);
  auto folder = request.folder;
  recorded r;
  r.outcome = run_threads(std::move(request), [&](const serialization::progress& p) {
    ++r.steps;
    r.checked += p.checked_leases;
    r.mended += p.mended_leases;
  });
  r.losses = losses_of(folder);
  r.journal = *serialization::read_file(folder / "journal.jsonl");
  return r;
}

struct check : ::testing::Test {
  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::off); }
};

TEST_F(check, changes_no_bit) {
  auto unchecked = run(checked(0), "unchecked"), all = run(checked(1), "all");
  ASSERT_TRUE(unchecked.outcome && all.outcome) << text_of(all.outcome.error());
  EXPECT_TRUE(same_bits(*unchecked.outcome, *all.outcome));
  EXPECT_EQ(unchecked.losses, all.losses);
  EXPECT_EQ(unchecked.checked, 0u);
  EXPECT_EQ(all.checked, 4 * all.steps) << "every lease";
  EXPECT_EQ(all.mended, 0u);
}

TEST_F(check, mends_what_went_wrong_once) {
  auto t = checked(1, 40);
  auto places = places_of_training(t);
  auto undisturbed = run(t, "undisturbed");
  std::mutex guard;
  std::set<std::tuple<lease_kind, std::int64_t, std::uint32_t>> begun;
  auto once = run(t, "once", [&](std::uint64_t, lease& l) {
    std::lock_guard lock{guard};
    if (!begun.emplace(l.kind, l.step, l.index).second)
      return number_fault{};
    auto k = static_cast<std::size_t>(l.step) * 4 + l.index;
    return change_somewhere(places[k % places.size()], 0, 1 + (k % 2 == 0 ? one_ulp : 1e-2));
  });
  ASSERT_TRUE(once.outcome) << text_of(once.outcome.error());
  EXPECT_TRUE(same_bits(*once.outcome, *undisturbed.outcome));
  EXPECT_EQ(once.losses, undisturbed.losses);
  EXPECT_GT(once.mended, once.checked / 2) << "some numbers matter to no result";
  EXPECT_NE(once.journal.find("\"event\":\"mended\""), std::string::npos) << once.journal;
}

/// Wherever the kernels are wrong, and by however little: found within 1,000 steps by one lease of ten, for 99 places of 100.
TEST_F(check, of_one_lease_in_ten_finds_wrong_kernels) {
  auto t = checked(10, 1000);
  auto places = places_of_training(t);
  const double shares[] = {one_ulp, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2};
  std::string unseen;
  std::size_t found = 0;
  for (std::size_t k = 0; k < places.size(); ++k) {
    auto r = run(t, "wrong", [&](std::uint64_t, lease& l) {
      return l.kind == lease_kind::train ? change_somewhere(places[k], 0, 1 + shares[k % std::size(shares)]) : number_fault{};
    }, 1);
    if (r.outcome) {
      unseen += " " + places[k].name();
      continue;
    }
    ++found;
    ASSERT_EQ(code_of(r.outcome.error()), ec::not_reproducible) << text_of(r.outcome.error());
    EXPECT_NE(text_of(r.outcome.error()).find("kernel set portable and the reference kernels differ in step "), std::string::npos)
      << text_of(r.outcome.error());
  }
  EXPECT_GT(places.size(), 100u);
  EXPECT_GE(100 * found, 99 * places.size()) << "unseen:" << unseen;
}

TEST_F(check, covers_predictions) {
  auto t = checked(1);
  auto trained = run(t, "trained");
  ASSERT_TRUE(trained.outcome);
  auto rows = rows_of_part(*t.data, model::part::train);
  auto predict_with = [&](number_fault_plan plan) -> caf::expected<std::map<std::uint64_t, std::vector<float>>> {
    system_config config;
    caf::actor_system system{config};
    auto rules = quick();
    rules.number_faults = std::move(plan);
    std::map<std::uint64_t, std::vector<float>> all;
    auto done = predict(system, t.run, trained.outcome->version, t.data, rows, 2,
                        [&](std::uint64_t row, std::span<const float> values, std::uint8_t, model::rung) {
                          all.emplace(row, std::vector<float>(values.begin(), values.end()));
                        },
                        nullptr, rules);
    return done ? decltype(all){std::move(all)} : caf::expected<decltype(all)>{done.error()};
  };
  auto wrong = change_somewhere({number_place::kind::output, "composition", 0, 0}, 0, 1 + one_ulp);
  std::atomic<int> passes = 0;
  auto right = predict_with({});
  auto mended = predict_with([&](std::uint64_t, lease&) { return passes++ == 0 ? wrong : number_fault{}; });
  ASSERT_TRUE(right && mended) << text_of(mended.error());
  EXPECT_EQ(*right, *mended);
  EXPECT_GT(passes, 2);
  auto always = predict_with([&](std::uint64_t, lease&) { return wrong; });
  ASSERT_FALSE(always);
  EXPECT_EQ(code_of(always.error()), ec::not_reproducible);
  EXPECT_NE(text_of(always.error()).find("the prediction of row "), std::string::npos) << text_of(always.error());
}

/// Its process is started again, as by systemd, and is found wrong again; the others do its work.
TEST_F(check, ends_a_node_whose_kernels_are_wrong_and_the_others_go_on) {
  auto t = checked(1);
  auto undisturbed = run(t, "undisturbed");
  auto places = places_of_training(t);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    cluster* world = nullptr;
    auto rules = quick();
    rules.number_faults = [&](std::uint64_t, lease&) {
      return world->running_process() == 1 ? change_somewhere(places[7 * seed % places.size()], 0, 1 + 1e-3) : number_fault{};
    };
    cluster c{seed, {}, std::move(rules)};
    world = &c;
    c.start_node({"wrong", 2, true, true}, true);
    c.start_node({"right", 1, true, true}, true);
    auto request = request_for(t, fresh_folder("cluster"), 1);
    auto folder = request.folder;
    auto outcome = c.run(std::move(request), milliseconds{600000});
    ASSERT_TRUE(outcome) << "no outcome, seed " << seed;
    EXPECT_TRUE(same_bits(*outcome, *undisturbed.outcome)) << seed;
    EXPECT_EQ(losses_of(folder), undisturbed.losses) << seed;
    EXPECT_GT(c.notes["wrong"], 0u) << seed;
    EXPECT_TRUE(c.complaints.empty()) << c.complaints.front();
    EXPECT_TRUE(c.everybody_ends(milliseconds{100000})) << seed;
  }
}

} // namespace
} // namespace enn::actors::test
