/// A tiny run, and ways to execute it: on real threads, or on one thread under the deterministic scheduler.
#pragma once
#include <enn/actors/driver.hpp>
#include <enn/actors/run.hpp>
#include <enn/kernels/random.hpp>
#include <enn/serialization/file.hpp>

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <limits>

namespace enn::actors::test {

namespace fs = std::filesystem;

/// Rows of three features; the target is a smooth function of them, some are missing.
inline model::table tiny_table(std::int64_t lines = 60) {
  model::table t;
  t.columns = {"a", "b", "c", "y"};
  t.lines = lines;
  t.source = "tiny";
  t.fingerprint = "tiny";
  for (std::int64_t line = 0; line < lines; ++line) {
    double x[3];
    for (int i = 0; i < 3; ++i)
      t.values.push_back(x[i] = kernels::random_normal({.seed = 7, .row = static_cast<std::uint64_t>(line)},
                                                       static_cast<std::uint64_t>(i)));
    t.values.push_back(line % 11 == 3 ? std::numeric_limits<double>::quiet_NaN() : x[0] - 0.5 * x[1] + 0.2 * x[0] * x[2]);
  }
  return t;
}

inline model::config tiny_config() {
  model::config c;
  c.data.kind = "row";
  c.model.preset = "spatiotemporal";
  c.model.refine = true;
  c.data.targets = {"y"};
  c.data.shuffle_rows = false;
  c.data.validation_fraction = 0.4; // several pieces, so that the order of their sum shows
  c.model.d_model = 8;
  c.model.heads = 2;
  c.model.latents = 4;
  c.model.spatial_tokens = c.model.temporal_tokens = 4;
  c.model.spatial_depth = c.model.temporal_depth = c.model.collector_depth = 1;
  c.model.head = "dense";
  c.model.gate_logit = "sample";
  c.model.instance_norm = "none";
  c.train.batch_rows = 14; // no multiple of the leases, and the last step of an epoch is short
  c.train.leases = 4;
  c.train.epochs = 8;
  c.train.warmup_steps = 2;
  c.train.average_decay = 0.5;
  c.train.kernels = "portable";
  c.run.checkpoint_every = 5;
  return c;
}

/// Of a few steps, for tests that run it many times.
inline model::config short_config(std::int64_t steps = 6) {
  auto c = tiny_config();
  c.train.steps = steps;
  c.run.checkpoint_every = 2;
  return c;
}

struct tiny {
  data_ptr data;
  run_ptr run;
};

inline tiny make_tiny(const model::config& c = tiny_config()) {
  tiny t;
  auto data = model::dataset::make(tiny_table(), c.data, 1);
  EXPECT_TRUE(data) << (data ? "" : text_of(data.error()));
  t.data = *data;
  auto run = model::define_run(c, *t.data);
  EXPECT_TRUE(run) << (run ? "" : text_of(run.error()));
  t.run = *run;
  return t;
}

/// The same run, recorded on a machine that has this kernel set.
inline run_ptr with_kernels(model::run_definition run, std::string kernels) {
  run.kernels = std::move(kernels);
  return std::make_shared<const model::run_definition>(std::move(run));
}

/// Of this process; gone when it ends. In memory where that is possible: simulations sync more in a second than a disk can.
struct scratch {
  fs::path path = (fs::exists("/dev/shm") ? fs::path{"/dev/shm"} : fs::temp_directory_path()) / ("enn_actors_test_" + std::to_string(getpid()));
  ~scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

/// An empty folder of this test.
inline fs::path fresh_folder(const std::string& name) {
  static scratch all;
  auto path = all.path / ::testing::UnitTest::GetInstance()->current_test_info()->name() / name;
  fs::remove_all(path);
  fs::create_directories(path);
  return path;
}

inline std::string losses_of(const fs::path& folder) {
  auto text = serialization::read_file(folder / "losses.jsonl");
  EXPECT_TRUE(text);
  return text ? *text : "";
}

/// All that a run may not depend on leaves these alone: weights and run state, validation losses included.
inline ::testing::AssertionResult same_bits(const run_outcome& a, const run_outcome& b) {
  if (a.error || b.error || !a.version || !b.version)
    return ::testing::AssertionFailure() << "no version: " << text_of(a.error) << text_of(b.error);
  if (a.weights_hash != b.weights_hash)
    return ::testing::AssertionFailure() << "other weights";
  if (serialization::values_of(a.version->state) != serialization::values_of(b.version->state))
    return ::testing::AssertionFailure() << "another run state";
  return ::testing::AssertionSuccess();
}

inline policy quick() {
  policy p;
  p.backoff = std::chrono::milliseconds{1};
  p.shared_chunks = 1;
  return p;
}

struct system_config : caf::actor_system_config {
  system_config() {
    configure(*this);
    set_defaults(*this);
  }
};

inline run_request request_for(const tiny& t, const fs::path& folder, std::uint32_t workers, duty what = duty::train) {
  return {what, t.run, t.data, folder, workers, nullptr, {}, {}, quick()};
}

/// Trains on real threads, in an actor system of its own; that this returns shows that no actor is left.
inline caf::expected<run_outcome> run_threads(run_request request, const on_progress& progress = {},
                                              const std::atomic<bool>* stop = nullptr) {
  system_config config;
  caf::actor_system system{config};
  return train(system, std::move(request), progress, stop);
}

/// The deterministic scheduler: one thread, virtual time.
struct testing_config : caf::actor_system_config {
  testing_config() {
    configure(*this);
    set("scheduler.policy", caf::atom("testing"));
  }
};

/// Actors on one thread and on virtual time, and a test that plays the others.
struct one_thread : ::testing::Test {
  testing_config config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& sched = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  caf::scoped_actor self{system, true};

  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::off); }
  static policy rules_of_one() {
    auto p = quick();
    p.threads = false;
    return p;
  }
};

/// One message a turn, so that every interleaving of messages can be drawn.
struct interleaving_config : testing_config {
  interleaving_config() { set("scheduler.max-throughput", std::size_t{1}); }
};

/// Everything on one thread, on virtual time. Which of the actors that have messages runs next is drawn from `seed`; when none
/// has any, the next timeout fires.
class simulation {
public:
  explicit simulation(std::uint64_t seed) : seed_(seed) {}

  run_outcome run(run_request request, const std::function<void(std::uint64_t, const driver_actor&)>& at_turn = {}) {
    request.rules.threads = false;
    auto driver = spawn_driver(system_, std::move(request), caf::actor_cast<observer_actor>(self_));
    run_outcome outcome;
    bool over = false;
    for (std::uint64_t turn = 0; !over && turn < 1'000'000; ++turn) {
      if (at_turn)
        at_turn(turn, driver);
      one_turn(turn);
      while (self_->has_next_message())
        self_->receive([&](progress_atom, const msg<wire::Progress>&) { ++steps; },
                       [](note_atom, const std::string&, const std::string&) {}, [](beat_atom) {},
                       [&](predict_atom, const msg<wire::Block>& m) {
                         blocks.push_back(m);
                         self_->send(driver, predict_atom_v);
                       },
                       [&](outcome_atom, const outcome_ptr& result) {
                         outcome = *result;
                         over = true;
                       });
    }
    EXPECT_TRUE(over) << "no outcome after a million turns";
    sched_.run();
    EXPECT_EQ(system_.registry().running(), 1u) << "actors are left"; // the scoped one
    return outcome;
  }

  caf::actor_system& system() { return system_; }
  std::uint64_t steps = 0;
  std::vector<msg<wire::Block>> blocks;

private:
  void one_turn(std::uint64_t turn) {
    auto& jobs = sched_.jobs;
    if (jobs.empty()) {
      sched_.trigger_timeout();
      return;
    }
    auto pick = kernels::random_bits({.seed = seed_, .step = turn}, 0) % jobs.size();
    std::rotate(jobs.begin(), jobs.begin() + static_cast<std::ptrdiff_t>(pick), jobs.begin() + static_cast<std::ptrdiff_t>(pick) + 1);
    sched_.run_once();
  }

  std::uint64_t seed_;
  interleaving_config config_;
  caf::actor_system system_{config_};
  caf::scheduler::test_coordinator& sched_ = dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
  caf::scoped_actor self_{system_, true};
};

} // namespace enn::actors::test
