// Numbers that are wrong, through all actors: the lease is computed again on the master rung, and the run is, bit for bit, the one in
// which that lease began there.
#include "../model/graph/faults.hpp"
#include "fixture.hpp"

#include <cmath>
#include <map>
#include <mutex>
#include <set>

namespace enn::actors::test {
namespace {

using model::lease_kind;
using model::number_fault;
using model::number_place;
using model::rung;
using model::test::change_somewhere;
using model::test::fault_place;
using model::test::nonfinite_numbers;
using serialization::lease;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Nodes of what the network computes for such a lease, forward and backward.
std::vector<fault_place> places_of_leases(const tiny& t, lease_kind kind) {
  model::lease_computer computer{t.run};
  auto version = first_version(*t.run);
  std::vector<std::uint64_t> rows{0, 1};
  std::vector<float> numbers(version->tensors.weights.size()); // more than there are predictions
  auto gradient = std::span{numbers}.first(kind == lease_kind::train ? version->tensors.weights.size() : 0);
  auto predicted = rows.size() * static_cast<std::size_t>(t.data->target_size());
  auto predictions = std::span{numbers}.first(kind == lease_kind::predict ? predicted : 0);
  auto all = model::test::places_of([&](const number_fault& watch) {
    computer.compute({kind, 0, t.data.get(), rows, 1, rung::fast, &watch}, version->tensors.weights, gradient, predictions);
  });
  std::erase_if(all, [](const auto& p) { return p.what == number_place::kind::input || p.what == number_place::kind::parameter; });
  return all;
}

/// Deals places to leases: the k-th lease that it chooses gets the k-th place, once with each value. Pure, as all workers ask it.
struct deal {
  std::vector<fault_place> places;
  std::size_t size() const { return places.size() * 3; }
  std::optional<number_fault> operator()(std::size_t k) const {
    if (k >= size())
      return std::nullopt;
    return change_somewhere(places[k / 3], nonfinite_numbers[k % 3]);
  }
};

/// A network with something of everything, for as many steps as its places need if every other lease of a step is chosen.
tiny everything(std::size_t& places) {
  auto c = tiny_config();
  c.model.dropout = 0.1;
  c.model.drop_path = 0.1;
  places = 3 * places_of_leases(make_tiny(c), lease_kind::train).size();
  c.train.steps = static_cast<std::int64_t>(places / 2 + 1);
  c.train.validate_every = 50;
  c.run.checkpoint_every = 1000;
  return make_tiny(c);
}

struct reissue : ::testing::Test {
  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::off); }
};

struct recorded {
  run_outcome outcome;
  std::string losses;
  std::uint64_t master_leases = 0, skipped = 0;
};

recorded run(run_request request) {
  recorded r;
  auto folder = request.folder;
  auto outcome = run_threads(std::move(request), [&](const serialization::progress& p) {
    r.master_leases += p.master_leases;
    r.skipped += !p.applied;
  });
  EXPECT_TRUE(outcome) << (outcome ? "" : text_of(outcome.error()));
  if (outcome)
    r.outcome = *outcome;
  r.losses = losses_of(folder);
  return r;
}

TEST_F(reissue, of_every_node_of_a_training_run_gives_the_run_that_began_those_leases_on_the_master_rung) {
  std::size_t wanted = 0;
  auto t = everything(wanted);
  deal dealt{places_of_leases(t, lease_kind::train)}, at_evaluations{places_of_leases(t, lease_kind::evaluate)};
  ASSERT_EQ(dealt.size(), wanted);
  EXPECT_GT(dealt.places.size(), 150u);
  auto fault_of = [&](const lease& l) -> std::optional<number_fault> {
    if (l.index % 2 == 0)
      return std::nullopt;
    if (l.kind == lease_kind::evaluate)
      return at_evaluations(static_cast<std::size_t>(l.step + l.index));
    return dealt(static_cast<std::size_t>(l.step * 2 + l.index / 2));
  };
  std::atomic<std::uint64_t> spoilt = 0, forced = 0;
  auto injected = request_for(t, fresh_folder("injected"), 2);
  injected.rules.number_faults = [&](std::uint64_t, lease& l) {
    auto fault = fault_of(l);
    if (!fault || l.start == rung::master)
      return number_fault{};
    ++spoilt;
    return *fault;
  };
  auto begun = request_for(t, fresh_folder("begun"), 3);
  begun.rules.number_faults = [&](std::uint64_t, lease& l) {
    if (fault_of(l)) {
      ++forced;
      l.start = rung::master;
    }
    return number_fault{};
  };
  auto a = run(std::move(injected)), b = run(std::move(begun)), undisturbed = run(request_for(t, fresh_folder("undisturbed"), 2));
  EXPECT_TRUE(same_bits(a.outcome, b.outcome));
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_GT(spoilt, wanted) << "and evaluations";
  EXPECT_EQ(spoilt, forced);
  EXPECT_EQ(a.master_leases, wanted) << "100 % found";
  EXPECT_EQ(a.skipped, 0u) << "and mended";
  EXPECT_NE(a.losses, undisturbed.losses) << "the rungs differ in bits, or nothing was compared";
  EXPECT_EQ(undisturbed.master_leases, 0u);
}

TEST_F(reissue, keeps_its_bits_in_any_order_of_messages_while_workers_throw) {
  auto c = tiny_config();
  c.train.steps = 6;
  auto t = make_tiny(c);
  auto places = places_of_leases(t, lease_kind::train);
  auto chosen = [](const lease& l) { return l.kind == lease_kind::train && (l.step + l.index) % 3 == 0; };
  auto begun = request_for(t, fresh_folder("begun"), 2);
  begun.rules.number_faults = [&](std::uint64_t, lease& l) {
    l.start = chosen(l) ? rung::master : l.start;
    return number_fault{};
  };
  auto expected = simulation{0}.run(std::move(begun));
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    auto request = request_for(t, fresh_folder("run"), 1 + static_cast<std::uint32_t>(seed % 3));
    std::uint64_t calls = 0;
    request.rules.lease_attempts = 20;
    request.rules.faults = [&](std::uint64_t, const lease&) {
      return kernels::random_uniform({.seed = seed, .step = calls++}, 0) < 0.15f;
    };
    request.rules.number_faults = [&](std::uint64_t, lease& l) {
      const auto& place = places[(seed * 24 + static_cast<std::size_t>(l.step) * 4 + l.index) % places.size()];
      return chosen(l) && l.start == rung::fast ? change_somewhere(place, nan) : number_fault{};
    };
    auto outcome = simulation{seed}.run(std::move(request));
    ASSERT_TRUE(same_bits(outcome, expected)) << seed;
  }
}

// -- predictions ----------------------------------------------------------------------------------------------------------------

struct predicted_row {
  std::vector<float> values;
  std::uint8_t status;
  rung on;
  friend bool operator==(const predicted_row&, const predicted_row&) = default;
};

struct reissue_of_predictions : reissue {
  tiny t = make_tiny();
  version_ptr version = run(request_for(t, fresh_folder("trained"), 2)).outcome.version;
  std::vector<std::uint64_t> rows = rows_of_part(*t.data, model::part::train);

  caf::expected<std::map<std::uint64_t, predicted_row>> predict_with(number_fault_plan plan, version_ptr v = nullptr) {
    system_config config;
    caf::actor_system system{config};
    auto rules = quick();
    rules.number_faults = std::move(plan);
    std::map<std::uint64_t, predicted_row> found;
    auto done = predict(system, t.run, v ? v : version, t.data, rows, 2,
                        [&](std::uint64_t row, std::span<const float> values, std::uint8_t status, rung on) {
                          auto kept = status == 0 ? std::vector<float>(values.begin(), values.end()) : std::vector<float>{};
                          EXPECT_TRUE(found.emplace(row, predicted_row{std::move(kept), status, on}).second) << "row twice: " << row;
                        },
                        nullptr, rules);
    if (!done)
      return done.error();
    return found;
  }
  static number_fault begin_on_master(std::uint64_t, lease& l) {
    l.start = rung::master;
    return {};
  }
  /// Something of this row alone.
  static number_fault spoil(const lease& l, std::uint64_t row, number_place::kind what, std::string path, double value = nan) {
    auto at = std::find(l.rows.begin(), l.rows.end(), row);
    if (at == l.rows.end())
      return {};
    auto place = at - l.rows.begin();
    auto count = static_cast<std::int64_t>(l.rows.size());
    return [=](const number_place& p) -> std::optional<model::changed_number> {
      if (p.what != what || p.path != path)
        return std::nullopt;
      return model::changed_number{place * (p.size / count), value};
    };
  }
};

TEST_F(reissue_of_predictions, gives_every_chunk_that_of_a_pure_master_run) {
  auto master = predict_with(begin_on_master), fast = predict_with({});
  ASSERT_TRUE(master && fast);
  ASSERT_EQ(master->size(), rows.size());
  deal dealt{places_of_leases(t, lease_kind::predict)};
  EXPECT_GT(dealt.places.size(), 40u);
  std::size_t next = 0, checked = 0;
  while (next < dealt.size()) {
    std::mutex guard;
    std::set<std::uint64_t> spoilt;
    std::uint32_t leases = 0;
    auto found = predict_with([&](std::uint64_t, lease& l) {
      auto fault = dealt(next + l.index / 2);
      std::lock_guard lock{guard};
      leases = std::max(leases, l.index / 2 + 1);
      if (l.index % 2 == 0 || !fault || l.start == rung::master)
        return number_fault{};
      spoilt.insert(l.rows.begin(), l.rows.end());
      return *fault;
    });
    ASSERT_TRUE(found) << text_of(found.error());
    for (auto row : rows)
      ASSERT_EQ(found->at(row), (spoilt.contains(row) ? *master : *fast).at(row)) << row;
    checked += spoilt.size();
    next += leases / 2 + leases % 2;
  }
  EXPECT_GT(checked, dealt.size());
}

TEST_F(reissue_of_predictions, leaves_out_rows_whose_features_are_not_finite_and_delivers_the_rest) {
  auto clean = predict_with({});
  ASSERT_TRUE(clean);
  for (std::size_t bad : {1, 2, 1000}) { // rows; the last: all
    auto is_bad = [&](std::uint64_t row) { return row - rows.front() < bad; };
    auto found = predict_with([&](std::uint64_t, lease& l) -> number_fault {
      for (auto row : l.rows)
        if (is_bad(row))
          return spoil(l, row, number_place::kind::input, "x"); // one at a time: they are left out one after the other
      return {};
    });
    ASSERT_TRUE(found) << text_of(found.error());
    ASSERT_EQ(found->size(), rows.size());
    for (auto row : rows) {
      EXPECT_EQ(found->at(row).status, is_bad(row) ? 1 : 0) << row;
      if (!is_bad(row)) {
        EXPECT_EQ(found->at(row), clean->at(row)) << row;
      }
    }
  }
}

TEST_F(reissue_of_predictions, tells_which_rows_no_rung_can_compute_and_delivers_the_rest) {
  auto clean = predict_with({}), master = predict_with(begin_on_master);
  ASSERT_TRUE(clean && master);
  auto bad = rows[7];
  // The second is swallowed: the share of the refinement is 1, and the prediction finite.
  for (auto [node, value] : {std::pair{"composition", nan}, {"gate.sample.out.linear", std::numeric_limits<double>::infinity()}}) {
    std::mutex guard;
    std::set<std::uint64_t> together;
    auto found = predict_with([&, node = node, value = value](std::uint64_t, lease& l) {
      auto fault = spoil(l, bad, number_place::kind::output, node, value);
      std::lock_guard lock{guard};
      if (fault)
        together.insert(l.rows.begin(), l.rows.end());
      return fault;
    });
    ASSERT_TRUE(found) << text_of(found.error());
    EXPECT_GT(together.size(), 1u);
    for (auto row : rows)
      if (row == bad)
        EXPECT_EQ(found->at(row).status, 1) << node;
      else
        EXPECT_EQ(found->at(row), (together.contains(row) ? *master : *clean).at(row)) << node << ": " << row;
  }
}

TEST_F(reissue_of_predictions, refuses_weights_that_are_not_finite_and_names_them) {
  auto spoilt = std::make_shared<training_version>(*version);
  auto& tensors = spoilt->tensors;
  const auto& span = t.run->layout.spans[t.run->layout.spans.size() / 2];
  (tensors.average.empty() ? tensors.weights : tensors.average)[static_cast<std::size_t>(span.offset + 1)] = static_cast<float>(nan);
  auto found = predict_with({}, spoilt);
  ASSERT_FALSE(found);
  EXPECT_EQ(code_of(found.error()), ec::nonfinite);
  EXPECT_NE(text_of(found.error()).find("first element 1 of " + span.path), std::string::npos) << text_of(found.error());
}

// -- workers, rows and steps that are at fault ----------------------------------------------------------------------------------

/// A weight that everything depends on, in one worker's memory alone.
number_fault spoil_a_weight(const tiny& t) {
  return [path = t.run->layout.spans.front().path](const number_place& p) -> std::optional<model::changed_number> {
    if (p.what != number_place::kind::parameter || p.path != path)
      return std::nullopt;
    return model::changed_number{0, nan};
  };
}

TEST_F(reissue, replaces_a_worker_whose_own_weights_are_not_finite) {
  auto t = make_tiny();
  auto expected = run(request_for(t, fresh_folder("expected"), 2));
  for (std::uint32_t workers : {1, 3}) {
    std::atomic<int> spoilt = 0, on_master = 0;
    auto request = request_for(t, fresh_folder("run"), workers);
    request.rules.lease_attempts = 10;
    request.rules.number_faults = [&](std::uint64_t worker, lease& l) {
      on_master += l.start == rung::master;
      bool fails = worker == 0 && l.kind == lease_kind::train && l.step >= 3 && spoilt < 4;
      spoilt += fails;
      return fails ? spoil_a_weight(t) : number_fault{};
    };
    auto found = run(std::move(request));
    EXPECT_TRUE(same_bits(found.outcome, expected.outcome)) << workers;
    EXPECT_EQ(found.losses, expected.losses) << workers;
    EXPECT_EQ(spoilt, 4) << workers;
    EXPECT_EQ(on_master, 0) << "no rung is lowered for it";
  }
}

TEST_F(reissue, gives_up_naming_the_cause_when_every_worker_has_such_weights) {
  auto t = make_tiny();
  auto request = request_for(t, fresh_folder("run"), 2);
  request.rules.number_faults = [&](std::uint64_t, lease& l) { return l.step == 2 ? spoil_a_weight(t) : number_fault{}; };
  auto outcome = run_threads(std::move(request));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(code_of(outcome.error()), ec::gave_up);
  EXPECT_NE(text_of(outcome.error()).find("nonfinite weights"), std::string::npos) << text_of(outcome.error());
}

TEST_F(reissue, ends_training_with_the_rows_whose_features_are_not_finite) {
  auto t = make_tiny();
  auto expected = run(request_for(t, fresh_folder("expected"), 2));
  auto row = model::rows_of_step(*t.run, *t.data, 4).back();
  auto folder = fresh_folder("run");
  auto request = request_for(t, folder, 2);
  request.rules.number_faults = [&](std::uint64_t, lease& l) -> number_fault {
    bool chosen = l.kind == lease_kind::train && l.step == 4;
    return chosen ? reissue_of_predictions::spoil(l, row, number_place::kind::input, "x") : number_fault{};
  };
  auto outcome = run_threads(std::move(request));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(code_of(outcome.error()), ec::nonfinite);
  for (const auto& word : {std::string{"step 4, lease 3"}, "row " + std::to_string(row)})
    EXPECT_NE(text_of(outcome.error()).find(word), std::string::npos) << text_of(outcome.error());
  auto again = run(request_for(t, folder, 2, duty::resume));
  EXPECT_TRUE(same_bits(again.outcome, expected.outcome));
}

/// Bad on every rung in steps 5 to 7 (from 1), good afterwards.
TEST_F(reissue, skips_steps_that_no_rung_can_compute_and_pins_the_plan_after_three) {
  auto t = make_tiny();
  std::vector<recorded> runs;
  std::mutex guard;
  std::map<std::int64_t, std::set<rung>> starts;
  number_fault_plan plan = [&](std::uint64_t, lease& l) {
    std::lock_guard lock{guard};
    if (l.kind == lease_kind::train)
      starts[l.step].insert(l.start);
    bool bad = l.kind == lease_kind::train && l.step >= 4 && l.step < 7 && l.index == 2;
    return bad ? change_somewhere({number_place::kind::output, "composition", 0, 1}, nan) : number_fault{};
  };
  auto with_faults = [&](const fs::path& folder, std::uint32_t workers, duty what = duty::train) {
    auto request = request_for(t, folder, workers, what);
    request.rules.number_faults = plan;
    return request;
  };
  auto folder = fresh_folder("whole");
  auto whole = run(with_faults(folder, 2));
  EXPECT_EQ(whole.skipped, 3u);
  const auto& state = whole.outcome.version->state;
  EXPECT_EQ(state.applied_steps, state.step - 3);
  EXPECT_EQ(state.pinned_until, 7 + 256);
  EXPECT_EQ(starts[3], std::set{rung::fast});
  EXPECT_EQ(starts[4], (std::set{rung::fast, rung::master}));
  EXPECT_EQ(starts[7], std::set{rung::master}) << "pinned";
  auto journal = *serialization::read_file(folder / "journal.jsonl");
  for (auto line : {"\"event\":\"skip\",\"step\":5,\"nonfinite\":\"composition\"", "\"event\":\"pin\",\"step\":7,\"until\":\"263\""})
    EXPECT_NE(journal.find(line), std::string::npos) << journal;
  EXPECT_EQ(journal.find("\"event\":\"pin\""), journal.rfind("\"event\":\"pin\""));
  auto stopped = fresh_folder("stopped");
  std::atomic<bool> stop = false;
  ASSERT_TRUE(run_threads(with_faults(stopped, 3), [&](const auto& p) { stop = stop || p.step >= 6; }, &stop));
  auto resumed = run(with_faults(stopped, 1, duty::resume));
  EXPECT_TRUE(same_bits(resumed.outcome, whole.outcome)) << "the count of skips and the pin are in the checkpoint";
  EXPECT_EQ(resumed.losses, whole.losses);
}

} // namespace
} // namespace enn::actors::test
