/// Values of the lease path, and their messages. Writing always succeeds; whatever arrives is read here and nowhere else: a
/// value comes out, or ec::protocol naming the field, what was expected and what was found.
#pragma once
#include <enn/model/training/trainer.hpp>
#include <enn/serialization/checkpoint.hpp>
#include <enn/serialization/flat_vector.hpp>
#include <enn/serialization/frame.hpp>
#include <enn/serialization/schema/lease.capnp.h>
#include <enn/serialization/schema/progress.capnp.h>
#include <enn/serialization/schema/run.capnp.h>

#include <span>

namespace enn::serialization {

/// What a run allows; messages beyond it are refused. `steps` bounds nothing: it only grows.
struct bounds {
  std::uint64_t parameters = 0;   // floats in the flat weight vector
  std::uint64_t feature_size = 0, calendar_size = 0; // numbers of one row
  std::uint64_t target_size = 0;  // floats of one prediction
  std::uint64_t losses = 0;       // loss outputs of the graph
  std::uint64_t lease_rows = std::uint64_t{1} << 32; // of a lease and its block
  std::uint64_t rows = std::uint64_t{1} << 32; // in another message
};
bounds bounds_of(const model::run_definition& run);

/// Flat float vectors travel in chunks. Between processes a message carries at most `bulk_chunks` of them, and its sender waits
/// for the receiver to ask for more, so that beats get through.
inline constexpr std::uint64_t chunk_bytes = std::uint64_t{1} << 20;
inline constexpr std::uint32_t bulk_chunks = 2, all_chunks = 0;

struct weights_id {
  std::int64_t step = 0;
  bool averaged = false;
  friend auto operator<=>(const weights_id&, const weights_id&) = default;
};

struct lease {
  std::uint64_t task = 0;
  model::lease_kind kind = model::lease_kind::train;
  std::int64_t step = 0;
  std::uint32_t index = 0, attempt = 0;
  weights_id weights;
  model::rung start = model::rung::fast;
  std::vector<std::uint64_t> rows;
  double denominator = 1;
};
msg<wire::Lease> write(const lease& x);
caf::expected<lease> read(const msg<wire::Lease>& m, const bounds& limits);

struct block {
  std::uint64_t task = 0;
  model::lease_kind kind = model::lease_kind::train;
  std::int64_t step = 0;
  std::uint32_t first = 0, count = 1;
  std::vector<model::rung> rungs;  // one a lease
  std::vector<double> losses;
  model::numeric_health health;
  flat_vector numbers;             // train: gradient sum; predict: predictions; evaluate: none
  std::vector<std::uint64_t> rows; // predict
  std::uint32_t checked = 0;       // leases that were computed by the reference kernels too
  std::uint32_t mended = 0;        // of them, those that first had other bits
  std::uint64_t hash = 0;          // of what was read
};
/// Of losses and numbers.
std::uint64_t hash_of(const block& x);
/// Adds the hash, for read() to check where the words have travelled. The message keeps the block; numbers that are whole words are
/// not copied.
msg<wire::Block> write(block x);
caf::expected<block> read(const msg<wire::Block>& m, const bounds& limits);

// A large block goes to another process as its head; the receiver then asks for its chunks.
bool is_bulky(const msg<wire::Block>& m, std::uint64_t most_bytes);
/// All but the numbers.
msg<wire::Block> head_of(const msg<wire::Block>& m);
/// `numbers` has its size, its values follow by read_piece(). The hash is still to be compared: is_whole().
caf::expected<block> read_head(const msg<wire::Block>& m, const bounds& limits);
/// `bulk_chunks` chunks from `first` on. ec::protocol if there are none.
caf::expected<msg<wire::Piece>> piece_of(const msg<wire::Block>& m, std::uint32_t first);
/// Fills in the piece; answers the number of the next chunk, 0 when the last one is there.
caf::expected<std::uint32_t> read_piece(const msg<wire::Piece>& m, block& into);
caf::expected<void> check_hash(const block& x);

struct failure {
  std::uint64_t task = 0;
  std::uint32_t index = 0, attempt = 0;
  std::string cause;
};
msg<wire::Failure> write(const failure& x);
caf::expected<failure> read(const msg<wire::Failure>& m);

struct enlistment {
  std::string cluster, build;
  std::uint32_t schema = 0;
  std::string machine;
  std::uint32_t workers = 1;
  std::string kernels;
  std::string name;   // of the node; "local": of the coordinator's own process
};
std::string machine_name();
/// Of this program on this machine.
enlistment enlist(std::string cluster, std::string name, std::uint32_t workers, std::string kernels);
msg<wire::Enlistment> write(const enlistment& x);
caf::expected<enlistment> read(const msg<wire::Enlistment>& m);
/// ec::protocol naming the first difference that keeps the two apart.
caf::expected<void> check_same(const enlistment& ours, const enlistment& theirs);

struct member {
  std::string name, machine;
  std::uint32_t workers = 0;
  std::uint64_t epoch = 0;
  std::uint32_t leases_out = 0;
  std::uint64_t leases_done = 0;
  std::uint32_t silent_ticks = 0;
  bool draining = false;
};
struct member_list {
  std::int64_t step = 0, total_steps = 0;
  std::vector<member> members;
};
msg<wire::Members> write(const member_list& x);
caf::expected<member_list> read(const msg<wire::Members>& m);

/// `chunks` chunks from `first_chunk` on; all_chunks: as many as there are, which is for receivers in this process. `owner` of the
/// values, if they will not change: the message keeps it, and does not copy values that are whole words.
msg<wire::Weights> write_weights(weights_id id, std::span<const float> values, std::uint32_t first_chunk = 0,
                                 std::uint32_t chunks = all_chunks, std::shared_ptr<const void> owner = nullptr);
/// Takes the message's chunks into a vector of `size` floats; answers the number of the next chunk, 0 when complete.
caf::expected<std::uint32_t> read_weights(const msg<wire::Weights>& m, weights_id id, std::uint64_t size, flat_vector& into);

struct row_list {
  std::int64_t step = -1;
  std::vector<std::uint64_t> rows;
  double denominator = 1;
};
msg<wire::Rows> write(const row_list& x);
caf::expected<row_list> read(const msg<wire::Rows>& m, const bounds& limits);

struct raw_rows {
  std::vector<std::uint64_t> rows;
  std::vector<model::row_values> values; // one a row
};
msg<wire::RawRows> write(const raw_rows& x);
caf::expected<raw_rows> read(const msg<wire::RawRows>& m, const bounds& limits);

struct progress {
  std::int64_t step = 0, total_steps = 0, steps_per_epoch = 0;
  std::vector<std::pair<std::string, double>> terms;
  double norm = 0, learning_rate = 0;
  bool applied = true, validated = false, best = false;
  double validation_loss = 0;
  std::uint64_t rows = 0;
  double seconds = 0;
  std::uint32_t master_leases = 0, reissues = 0, checked_leases = 0, mended_leases = 0;
  std::string first_nonfinite;
};
msg<wire::Progress> write(const progress& x);
caf::expected<progress> read(const msg<wire::Progress>& m);

/// run_state by the names of its fields; numbers keep their bits. Unknown or missing names are ec::bad_checkpoint.
name_values values_of(const model::run_state& state);
caf::expected<model::run_state> state_from(const name_values& values);

} // namespace enn::serialization
