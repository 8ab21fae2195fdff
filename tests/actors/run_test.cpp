// Training through actors, on real threads: the same bits whatever happens.
#include "fixture.hpp"

#include <enn/kernels/machine.hpp>

namespace enn::actors::test {
namespace {

struct actors_run : ::testing::Test {
  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::err); }
};

run_outcome must(caf::expected<run_outcome> outcome) {
  EXPECT_TRUE(outcome) << (outcome ? "" : text_of(outcome.error()));
  return outcome ? *outcome : run_outcome{};
}

struct reference_run {
  tiny t = make_tiny();
  fs::path folder = fresh_folder("reference");
  run_outcome outcome = must(run_threads(request_for(t, folder, 1)));
  std::string losses = losses_of(folder);
};

TEST_F(actors_run, trains_to_the_last_step_and_leaves_its_files) {
  reference_run r;
  EXPECT_EQ(r.outcome.version->state.step, r.t.run->total_steps);
  EXPECT_EQ(std::count(r.losses.begin(), r.losses.end(), '\n'), r.t.run->total_steps);
  EXPECT_TRUE(fs::exists(r.folder / "metrics.jsonl"));
  EXPECT_TRUE(fs::exists(r.folder / "journal.jsonl"));
  EXPECT_LT(r.outcome.version->state.best_loss, 1e300);
}

TEST_F(actors_run, gives_the_same_bits_for_any_number_of_workers) {
  reference_run r;
  for (std::uint32_t workers : {2, 3, 4}) {
    auto folder = fresh_folder(std::to_string(workers));
    auto outcome = must(run_threads(request_for(r.t, folder, workers)));
    EXPECT_TRUE(same_bits(outcome, r.outcome)) << workers;
    EXPECT_EQ(losses_of(folder), r.losses) << workers;
  }
}

TEST_F(actors_run, gives_the_bits_of_the_same_steps_without_actors) {
  reference_run r;
  auto version = *first_version(*r.t.run);
  model::lease_computer computer{r.t.run};
  auto leases = r.t.run->settings.train.leases;
  for (std::int64_t step = 0; step < r.t.run->total_steps; ++step) {
    auto rows = model::rows_of_step(*r.t.run, *r.t.data, step);
    auto denominator = model::denominator_of(*r.t.data, rows);
    std::vector<std::vector<float>> sums(static_cast<std::size_t>(leases), std::vector<float>(version.tensors.weights.size()));
    for (std::int64_t i = 0; i < leases; ++i)
      if (auto mine = model::rows_of_lease(rows, i, leases); !mine.empty())
        computer.compute({model::lease_kind::train, step, r.t.data.get(), mine, denominator, model::rung::fast}, version.tensors.weights,
                         sums[static_cast<std::size_t>(i)], {});
    for (std::size_t width = 1; width < sums.size(); width *= 2)
      for (std::size_t i = 0; i < sums.size(); i += 2 * width)
        model::add_gradients(sums[i], sums[i + width], sums[i]);
    model::apply_step(*r.t.run, sums[0], version.tensors, version.tensors, version.state);
  }
  EXPECT_EQ(hash_of_weights(version), r.outcome.weights_hash);
}

TEST_F(actors_run, resumes_from_any_step_with_other_workers) {
  reference_run r;
  for (std::int64_t at : {1, 4, 7}) {
    auto folder = fresh_folder("stop" + std::to_string(at));
    std::atomic<bool> stop = false;
    auto first = must(run_threads(request_for(r.t, folder, 2), [&](const auto& p) { stop = stop || p.step >= at; }, &stop));
    auto second = must(run_threads(request_for(r.t, folder, 3, duty::resume)));
    EXPECT_TRUE(same_bits(second, r.outcome)) << at;
    EXPECT_EQ(first.steps_run + second.steps_run, static_cast<std::uint64_t>(r.t.run->total_steps)) << "from the checkpoint, not anew";
    EXPECT_EQ(losses_of(folder), r.losses) << at;
  }
}

TEST_F(actors_run, keeps_its_bits_while_workers_throw) {
  reference_run r;
  std::atomic<int> thrown = 0;
  for (std::uint64_t seed : {1, 2, 3}) {
    auto request = request_for(r.t, fresh_folder(std::to_string(seed)), 3);
    std::atomic<std::uint64_t> calls = 0;
    request.rules.faults = [&](std::uint64_t worker, const serialization::lease&) {
      bool fault = kernels::random_uniform({.seed = seed, .step = calls++, .row = worker}, 0) < 0.1f;
      thrown += fault;
      return fault;
    };
    request.rules.lease_attempts = 10;
    auto folder = request.folder;
    auto outcome = must(run_threads(std::move(request)));
    EXPECT_TRUE(same_bits(outcome, r.outcome)) << seed;
    EXPECT_EQ(losses_of(folder), r.losses) << seed;
  }
  EXPECT_GT(thrown, 0);
}

TEST_F(actors_run, replaces_a_worker_that_does_not_answer_before_the_deadline) {
  reference_run r;
  auto request = request_for(r.t, fresh_folder("run"), 2);
  std::atomic<bool> stuck = false;
  request.rules.lease_deadline = std::chrono::milliseconds{40};
  request.rules.faults = [&](std::uint64_t, const serialization::lease& l) {
    if (l.step == 5 && !stuck.exchange(true))
      std::this_thread::sleep_for(std::chrono::milliseconds{300}); // stands for a thread that hangs
    return false;
  };
  auto folder = request.folder;
  auto outcome = must(run_threads(std::move(request)));
  EXPECT_TRUE(stuck);
  EXPECT_TRUE(same_bits(outcome, r.outcome));
  EXPECT_EQ(losses_of(folder), r.losses);
}

TEST_F(actors_run, stops_with_the_cause_when_a_lease_always_fails) {
  auto t = make_tiny();
  auto request = request_for(t, fresh_folder("run"), 2);
  request.rules.faults = [](std::uint64_t, const serialization::lease& l) { return l.step == 3 && l.index == 2; };
  auto folder = request.folder;
  auto outcome = run_threads(std::move(request));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(code_of(outcome.error()), ec::gave_up);
  EXPECT_NE(text_of(outcome.error()).find("injected fault at step 3, lease 2"), std::string::npos) << text_of(outcome.error());
  auto again = run_threads(request_for(t, folder, 2, duty::resume)); // the run goes on when the cause is gone
  ASSERT_TRUE(again) << text_of(again.error());
  EXPECT_EQ(again->version->state.step, t.run->total_steps);
}

TEST_F(actors_run, verifies_a_run_and_finds_a_changed_bit) {
  reference_run r;
  EXPECT_TRUE(run_threads(request_for(r.t, r.folder, 2, duty::verify)));
  auto lines = r.losses;
  auto at = lines.find("\"norm\":\"0x1.", lines.find("\"step\":6,"));
  ASSERT_NE(at, std::string::npos);
  auto& digit = lines[at + 12];
  digit = digit == '0' ? '1' : '0';
  ASSERT_TRUE(serialization::write_file(r.folder / "losses.jsonl", lines));
  auto outcome = run_threads(request_for(r.t, r.folder, 2, duty::verify));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(code_of(outcome.error()), ec::not_reproducible);
  EXPECT_NE(text_of(outcome.error()).find("step 6"), std::string::npos) << text_of(outcome.error());
}

TEST_F(actors_run, refuses_a_folder_with_a_run_and_another_configuration) {
  reference_run r;
  auto outcome = run_threads(request_for(r.t, r.folder, 1));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(code_of(outcome.error()), ec::bad_usage);
  auto c = tiny_config();
  c.train.learning_rate = 0.5;
  auto other = run_threads(request_for(make_tiny(c), r.folder, 1, duty::resume));
  ASSERT_FALSE(other);
  EXPECT_EQ(code_of(other.error()), ec::bad_config);
  EXPECT_NE(text_of(other.error()).find("train.learning-rate"), std::string::npos) << text_of(other.error());
}

/// Also where the fastest set is another one now: a run keeps its own.
TEST_F(actors_run, is_refused_at_once_where_its_kernel_set_cannot_run) {
  auto expect_refused = [](const caf::error& e) {
    EXPECT_EQ(code_of(e), ec::kernel_unavailable) << text_of(e);
    for (auto word : {"kernel set abacus", "no kernel set has this name", "enn doctor"})
      EXPECT_NE(text_of(e).find(word), std::string::npos) << text_of(e);
  };
  reference_run r;
  auto last = *serialization::read_file(r.folder / "checkpoints" / "last");
  auto file = r.folder / "checkpoints" / last.substr(0, last.find('\n'));
  auto elsewhere = with_kernels(*r.t.run, "abacus");
  ASSERT_TRUE(serialization::write_checkpoint(file, to_checkpoint(*elsewhere, *r.outcome.version)));
  auto journal = *serialization::read_file(r.folder / "journal.jsonl");
  for (auto what : {duty::resume, duty::verify})
    expect_refused(run_threads(request_for(r.t, r.folder, 2, what)).error());
  EXPECT_EQ(losses_of(r.folder), r.losses);
  EXPECT_EQ(*serialization::read_file(r.folder / "journal.jsonl"), journal);
  system_config config;
  caf::actor_system system{config};
  auto sink = [](std::uint64_t, std::span<const float>, std::uint8_t, model::rung) { ADD_FAILURE() << "predicted"; };
  expect_refused(predict(system, elsewhere, r.outcome.version, r.t.data, {0, 1}, 2, sink).error());
  expect_refused(evaluate_loss(system, elsewhere, r.outcome.version, r.t.data, model::part::validation, 2).error());
}

TEST_F(actors_run, does_not_resume_from_a_checkpoint_that_is_ahead_of_its_losses) {
  reference_run r;
  auto second = r.losses.find('\n') + 1;
  for (const auto& lines : {r.losses.substr(0, second), std::string{}}) {
    ASSERT_TRUE(serialization::write_file(r.folder / "losses.jsonl", lines));
    auto outcome = run_threads(request_for(r.t, r.folder, 2, duty::resume));
    ASSERT_FALSE(outcome);
    EXPECT_EQ(code_of(outcome.error()), ec::bad_checkpoint);
    EXPECT_EQ(losses_of(r.folder), lines) << "nothing follows a gap";
  }
}

TEST_F(actors_run, resumes_from_step_0_when_it_was_killed_during_the_first_checkpoint) {
  reference_run r;
  for (bool half_written : {false, true}) {
    auto folder = fresh_folder(half_written ? "half" : "empty");
    fs::create_directories(folder / "checkpoints");
    ASSERT_TRUE(serialization::write_file(folder / "losses.jsonl", r.losses.substr(0, r.losses.find('\n') + 1)));
    if (half_written) {
      ASSERT_TRUE(serialization::write_file(folder / "checkpoints" / "step-00000005.h5.123-1.tmp", "half"));
    }
    auto request = request_for(r.t, folder, 2, duty::resume);
    int told = 0;
    request.on_start = [&](std::int64_t step, const fs::path& checkpoint) {
      ++told;
      EXPECT_EQ(step, 0);
      EXPECT_EQ(checkpoint, "");
    };
    EXPECT_TRUE(same_bits(must(run_threads(std::move(request))), r.outcome)) << half_written;
    EXPECT_EQ(losses_of(folder), r.losses) << half_written;
    EXPECT_EQ(told, 1);
  }
}

TEST_F(actors_run, tells_from_which_checkpoint_it_goes_on) {
  reference_run r;
  auto request = request_for(r.t, r.folder, 2, duty::resume);
  std::string told;
  request.on_start = [&](std::int64_t step, const fs::path& file) { told = std::to_string(step) + " " + file.filename().string(); };
  must(run_threads(std::move(request)));
  auto last = *serialization::read_file(r.folder / "checkpoints" / "last");
  EXPECT_EQ(told, std::to_string(r.t.run->total_steps) + " " + last.substr(0, last.find('\n')));
}

/// A set whose bits depend on a library: the same library everywhere, or none of its runs.
TEST_F(actors_run, of_the_set_openblas_is_refused_where_the_library_is_another_one) {
  auto c = tiny_config();
  c.train.kernels = "openblas";
  std::string why_not;
  if (!kernels::find_kernels("openblas", why_not))
    GTEST_SKIP() << why_not;
  auto t = make_tiny(c);
  auto folder = fresh_folder("run");
  must(run_threads(request_for(t, folder, 2)));
  auto journal = *serialization::read_file(folder / "journal.jsonl");
  EXPECT_NE(journal.find("\"blas\":\"" + kernels::describe_machine().blas), std::string::npos) << journal;
  for (auto what : {duty::resume, duty::verify})
    must(run_threads(request_for(t, folder, 2, what)));
  auto last = *serialization::read_file(folder / "checkpoints" / "last");
  auto file = folder / "checkpoints" / last.substr(0, last.find('\n'));
  auto checkpoint = *serialization::read_checkpoint(file);
  auto blas = std::find_if(checkpoint.facts.begin(), checkpoint.facts.end(), [](const auto& f) { return f.first == "blas"; });
  ASSERT_NE(blas, checkpoint.facts.end());
  EXPECT_EQ(blas->second, kernels::describe_machine().blas);
  auto expect_refused = [&](const std::vector<std::string>& words) {
    ASSERT_TRUE(serialization::write_checkpoint(file, checkpoint));
    for (auto what : {duty::resume, duty::verify}) {
      auto e = run_threads(request_for(t, folder, 2, what)).error();
      EXPECT_EQ(code_of(e), ec::kernel_unavailable) << text_of(e);
      for (const auto& word : words)
        EXPECT_NE(text_of(e).find(word), std::string::npos) << text_of(e);
    }
  };
  blas->second = "OpenBLAS 9.9 core Abacus";
  expect_refused({"recorded is \"OpenBLAS 9.9 core Abacus\"", "found \"" + kernels::describe_machine().blas,
                  "OPENBLAS_CORETYPE=Abacus"});
  checkpoint.facts.erase(blas);
  expect_refused({"does not say which one"});
}

TEST_F(actors_run, of_other_sets_does_not_depend_on_the_library) {
  reference_run r;
  for (const auto& [name, value] : to_checkpoint(*r.t.run, *r.outcome.version).facts)
    EXPECT_NE(name, "blas") << value;
}

// -- verification: exactly what was compared, and no success over what is missing ---------------------------------------------

TEST_F(actors_run, verifies_the_weights_of_every_checkpoint_that_is_there) {
  reference_run r;
  auto outcome = must(run_threads(request_for(r.t, r.folder, 2, duty::verify)));
  std::vector<std::int64_t> steps;
  for (const auto& entry : fs::directory_iterator(r.folder / "checkpoints"))
    if (entry.path().extension() == ".h5")
      steps.push_back(std::stoll(entry.path().stem().string().substr(5)));
  std::sort(steps.begin(), steps.end());
  EXPECT_GT(steps.size(), 1u);
  EXPECT_EQ(outcome.compared, steps);
  EXPECT_FALSE(outcome.torn_line);
  fs::remove_all(r.folder / "checkpoints");
  ASSERT_TRUE(serialization::write_file(r.folder / "losses.jsonl", r.losses + "{\"step\":"));
  auto bare = must(run_threads(request_for(r.t, r.folder, 2, duty::verify)));
  EXPECT_TRUE(bare.compared.empty());
  EXPECT_TRUE(bare.torn_line);
  EXPECT_FALSE(fs::exists(r.folder / "checkpoints")) << "nothing is written";
}

struct actors_verification : actors_run {
  reference_run r;
  fs::path checkpoints = r.folder / "checkpoints";
  std::string last = *serialization::read_file(checkpoints / "last");
  fs::path file = checkpoints / last.substr(0, last.find('\n'));

  void expect_refused(ec code, std::initializer_list<std::string> words) {
    auto outcome = run_threads(request_for(r.t, r.folder, 2, duty::verify));
    ASSERT_FALSE(outcome);
    EXPECT_EQ(code_of(outcome.error()), code) << text_of(outcome.error());
    for (const auto& word : words)
      EXPECT_NE(text_of(outcome.error()).find(word), std::string::npos) << text_of(outcome.error());
  }
};

TEST_F(actors_verification, fails_if_lines_are_missing_below_a_checkpoint) {
  auto whole = r.losses.rfind('\n', r.losses.size() - 2) + 1;
  auto steps = std::to_string(r.t.run->total_steps);
  auto before = std::to_string(r.t.run->total_steps - 1);
  ASSERT_TRUE(serialization::write_file(r.folder / "losses.jsonl", r.losses.substr(0, whole)));
  expect_refused(ec::bad_checkpoint, {"checkpoint is of step " + steps, "losses.jsonl ends with step " + before + ";"});
  ASSERT_TRUE(serialization::write_file(r.folder / "losses.jsonl", r.losses.substr(0, r.losses.size() - 1)));
  expect_refused(ec::bad_checkpoint, {"losses.jsonl ends with step " + before + " and a torn line"});
  fs::remove(r.folder / "losses.jsonl");
  expect_refused(ec::bad_checkpoint, {"losses.jsonl ends with step 0"});
}

TEST_F(actors_verification, fails_if_lines_follow_the_last_step) {
  ASSERT_TRUE(serialization::write_file(r.folder / "losses.jsonl", r.losses + "{}\n"));
  expect_refused(ec::not_reproducible, {"the run is over at step " + std::to_string(r.t.run->total_steps)});
}

TEST_F(actors_verification, fails_if_a_checkpoint_is_damaged_missing_or_misnamed) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(checkpoints))
    if (entry.path().extension() == ".h5")
      files.push_back(entry.path());
  for (const auto& each : files) {
    auto content = *serialization::read_file(each);
    auto damaged = content;
    damaged[content.size() / 2] = static_cast<char>(damaged[content.size() / 2] ^ 4);
    ASSERT_TRUE(serialization::write_file(each, damaged));
    expect_refused(ec::bad_checkpoint, {each.filename().string(), "damaged"});
    ASSERT_TRUE(serialization::write_file(each, content));
  }
  auto other = files.front() == file ? files.back() : files.front();
  fs::copy_file(other, file, fs::copy_options::overwrite_existing);
  expect_refused(ec::bad_checkpoint, {file.filename().string(), "not the one in its name"});
  fs::remove(file);
  expect_refused(ec::bad_checkpoint, {file.filename().string(), "missing"});
}

TEST_F(actors_verification, fails_if_a_checkpoint_has_other_weights) {
  auto checkpoint = *serialization::read_checkpoint(file);
  checkpoint.tensors.front().second.front() += 1;
  ASSERT_TRUE(serialization::write_checkpoint(file, checkpoint));
  expect_refused(ec::not_reproducible, {"the weights of step " + std::to_string(r.t.run->total_steps)});
}

TEST_F(actors_run, predicts_every_row_once_with_the_same_bits) {
  reference_run r;
  auto rows = rows_of_part(*r.t.data, model::part::test);
  ASSERT_FALSE(rows.empty());
  std::map<std::uint64_t, std::vector<float>> found[2];
  for (std::uint32_t workers : {1u, 3u}) {
    system_config config;
    caf::actor_system system{config};
    auto rules = quick();
    rules.faults = [](std::uint64_t worker, const serialization::lease& l) { return worker == 1 && l.index == 1; };
    auto done = predict(system, r.t.run, r.outcome.version, r.t.data, rows, workers,
                        [&](std::uint64_t row, std::span<const float> values, std::uint8_t status, model::rung) {
                          EXPECT_EQ(status, 0);
                          EXPECT_TRUE(found[workers / 3].emplace(row, std::vector<float>(values.begin(), values.end())).second);
                        },
                        nullptr, rules);
    EXPECT_TRUE(done) << (done ? "" : text_of(done.error()));
    EXPECT_EQ(found[workers / 3].size(), rows.size());
  }
  EXPECT_EQ(found[0], found[1]);
}

TEST_F(actors_run, computes_rows_that_overflow_float_again_on_the_master_rung) {
  reference_run r;
  auto source = tiny_table();
  source.values[58 * 4] = 1e25; // its squares are beyond float, not beyond double
  auto data = model::dataset::make_for(std::move(source), r.t.run->settings.data, r.t.run->facts, false);
  ASSERT_TRUE(data) << text_of(data.error());
  system_config config;
  caf::actor_system system{config};
  std::map<std::uint64_t, model::rung> rungs;
  auto done = predict(system, r.t.run, r.outcome.version, *data, rows_of_part(**data, model::part::test), 2,
                      [&](std::uint64_t row, std::span<const float>, std::uint8_t status, model::rung rung) {
                        EXPECT_EQ(status, 0) << row;
                        rungs[row] = rung;
                      });
  ASSERT_TRUE(done) << text_of(done.error());
  EXPECT_EQ(rungs.at(58), model::rung::master);
  EXPECT_EQ(rungs.at(0), model::rung::fast);
}

TEST_F(actors_run, evaluates_as_training_did) {
  reference_run r;
  double last = 0;
  auto folder = fresh_folder("again");
  must(run_threads(request_for(r.t, folder, 2), [&](const auto& p) { last = p.validated ? p.validation_loss : last; }));
  system_config config;
  caf::actor_system system{config};
  auto loss = evaluate_loss(system, r.t.run, r.outcome.version, r.t.data, model::part::validation, 2);
  ASSERT_TRUE(loss);
  EXPECT_EQ(*loss, last);
}

} // namespace
} // namespace enn::actors::test
