/// Every protocol of the system, on one page. A line says what the message does, what it answers, and with what it fails.
/// Payloads are Cap'n Proto messages (`msg<wire::...>`), the same within and between processes, except the pointers marked
/// *local*: those never leave a process. Results travel as messages of their own, not as answers to requests, so that no
/// timeout waits for work; deadlines are the supervisor's.
#pragma once
#include <enn/actors/version.hpp>
#include <enn/serialization/frame.hpp>

#include <caf/atom.hpp>
#include <caf/replies_to.hpp>
#include <caf/type_id.hpp>
#include <caf/typed_actor.hpp>

namespace enn::actors {

using serialization::msg;

/// *Local.* The flat weights of one id, read once per process and shared by its workers.
struct flat_weights {
  serialization::weights_id id;
  serialization::flat_vector values;
};
using weights_ptr = std::shared_ptr<const flat_weights>;

/// *Local.* Has the rows of a lease: the data set, or what was fetched for it.
using rows_ptr = std::shared_ptr<const model::row_source>;

/// *Local.* What a worker computed: large, and given away, so that its supervisor can add to it where it is.
using block_ptr = std::shared_ptr<serialization::block>;

struct run_outcome;
using outcome_ptr = std::shared_ptr<const run_outcome>; // *local*; run.hpp

} // namespace enn::actors

// Ids 1000 to 1099 after CAF's first free one are ours; an embedding program keeps clear of them.
CAF_BEGIN_TYPE_ID_BLOCK(enn_actors, caf::first_custom_type_id + 1000)
  CAF_ADD_TYPE_ID(enn_actors, (enn::serialization::msg<enn::wire::Lease>))
  CAF_ADD_TYPE_ID(enn_actors, (enn::serialization::msg<enn::wire::Block>))
  CAF_ADD_TYPE_ID(enn_actors, (enn::serialization::msg<enn::wire::Failure>))
  CAF_ADD_TYPE_ID(enn_actors, (enn::serialization::msg<enn::wire::Weights>))
  CAF_ADD_TYPE_ID(enn_actors, (enn::serialization::msg<enn::wire::Rows>))
  CAF_ADD_TYPE_ID(enn_actors, (enn::serialization::msg<enn::wire::RawRows>))
  CAF_ADD_TYPE_ID(enn_actors, (enn::serialization::msg<enn::wire::Progress>))
  CAF_ADD_TYPE_ID(enn_actors, (enn::serialization::msg<enn::wire::Enlistment>))
  CAF_ADD_TYPE_ID(enn_actors, (enn::serialization::msg<enn::wire::Piece>))
  CAF_ADD_TYPE_ID(enn_actors, (enn::serialization::msg<enn::wire::Members>))
  CAF_ADD_TYPE_ID(enn_actors, (enn::serialization::msg<enn::wire::RunDefinition>))
  CAF_ADD_ATOM(enn_actors, enn::actors, advance_atom, "advance")
  CAF_ADD_ATOM(enn_actors, enn::actors, beat_atom, "beat")
  CAF_ADD_ATOM(enn_actors, enn::actors, compute_atom, "compute")
  CAF_ADD_ATOM(enn_actors, enn::actors, credit_atom, "credit")
  CAF_ADD_ATOM(enn_actors, enn::actors, done_atom, "done")
  CAF_ADD_ATOM(enn_actors, enn::actors, drain_atom, "drain")
  CAF_ADD_ATOM(enn_actors, enn::actors, enlist_atom, "enlist")
  CAF_ADD_ATOM(enn_actors, enn::actors, evaluate_atom, "evaluate")
  CAF_ADD_ATOM(enn_actors, enn::actors, failed_atom, "failed")
  CAF_ADD_ATOM(enn_actors, enn::actors, fence_atom, "fence")
  CAF_ADD_ATOM(enn_actors, enn::actors, fetch_atom, "fetch")
  CAF_ADD_ATOM(enn_actors, enn::actors, flush_atom, "flush")
  CAF_ADD_ATOM(enn_actors, enn::actors, help_atom, "help")
  CAF_ADD_ATOM(enn_actors, enn::actors, join_atom, "join")
  CAF_ADD_ATOM(enn_actors, enn::actors, lease_atom, "lease")
  CAF_ADD_ATOM(enn_actors, enn::actors, leave_atom, "leave")
  CAF_ADD_ATOM(enn_actors, enn::actors, note_atom, "note")
  CAF_ADD_ATOM(enn_actors, enn::actors, offer_atom, "offer")
  CAF_ADD_ATOM(enn_actors, enn::actors, outcome_atom, "outcome")
  CAF_ADD_ATOM(enn_actors, enn::actors, predict_atom, "predict")
  CAF_ADD_ATOM(enn_actors, enn::actors, progress_atom, "progress")
  CAF_ADD_ATOM(enn_actors, enn::actors, pull_atom, "pull")
  CAF_ADD_ATOM(enn_actors, enn::actors, record_atom, "record")
  CAF_ADD_ATOM(enn_actors, enn::actors, restart_atom, "restart")
  CAF_ADD_ATOM(enn_actors, enn::actors, rows_atom, "rows")
  CAF_ADD_ATOM(enn_actors, enn::actors, save_atom, "save")
  CAF_ADD_ATOM(enn_actors, enn::actors, serve_atom, "serve")
  CAF_ADD_ATOM(enn_actors, enn::actors, status_atom, "status")
  CAF_ADD_ATOM(enn_actors, enn::actors, stop_atom, "stop")
  CAF_ADD_ATOM(enn_actors, enn::actors, subscribe_atom, "subscribe")
CAF_END_TYPE_ID_BLOCK(enn_actors)

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(enn::actors::weights_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(enn::actors::rows_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(enn::actors::block_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(enn::actors::version_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(enn::actors::outcome_ptr)

namespace enn::actors {

/// WORKER: computes leases, one at a time. Dies by any exception; nothing is lost. Quits with ec::not_reproducible where the kernels
/// of this machine give other bits than the reference kernels, again and again. Spoken to by its supervisor only.
using worker_actor = caf::typed_actor<
  // Computes the lease (job number, lease, weights, rows) and answers with the same number. *Local.*
  caf::replies_to<compute_atom, std::uint64_t, msg<wire::Lease>, weights_ptr, rows_ptr>::with<done_atom, std::uint64_t, block_ptr>,
  // Helps its crew until this watch ends; it has nothing else to do.
  caf::reacts_to<help_atom, std::uint64_t>>;

/// SUPERVISOR: owns the workers of a node: jobs in flight, deadlines, restarts, reissue on the master rung, sibling sums.
/// Quits with ec::gave_up when a worker's faults exceed the policy.
using supervisor_actor = caf::typed_actor<
  // From the node: compute this lease with these weights and rows. *Local.*
  caf::reacts_to<lease_atom, msg<wire::Lease>, weights_ptr, rows_ptr>,
  // From a worker: the answer to compute. *Local.*
  caf::reacts_to<done_atom, std::uint64_t, block_ptr>,
  // From its children.hpp: this timer is over.
  caf::reacts_to<restart_atom, std::uint64_t>,
  // From itself, every quarter of the lease deadline.
  caf::reacts_to<caf::tick_atom>>;

/// NODE: one process on one machine: enlistment, weights, data access; supervises its supervisor. Quits with
/// ec::kernel_unavailable, without enlisting, where the run's kernel set cannot run.
using node_actor = caf::typed_actor<
  // From the broker: compute this lease, given under this epoch. Fetches its weights and rows first where they are missing.
  caf::reacts_to<lease_atom, std::uint64_t, msg<wire::Lease>>,
  // From the broker: this epoch is over and its leases are with others; enlists anew.
  caf::reacts_to<fence_atom, std::uint64_t>,
  // From the broker: drained, or told to stop; quits with exit_reason::normal.
  caf::reacts_to<leave_atom>,
  // From the broker: chunks of the block offered under this number, from a chunk on. Fails with ec::protocol if it is gone.
  caf::replies_to<fetch_atom, std::uint64_t, std::uint32_t>::with<msg<wire::Piece>>,
  // From the supervisor, all passed on under the node's epoch: a block, room for more leases, a lease that failed twice.
  caf::reacts_to<done_atom, msg<wire::Block>>,
  caf::reacts_to<credit_atom, std::uint32_t>,
  caf::reacts_to<failed_atom, msg<wire::Failure>>,
  // From itself: time to beat.
  caf::reacts_to<caf::tick_atom>,
  // From its children.hpp: this timer is over.
  caf::reacts_to<restart_atom, std::uint64_t>>;

/// SAMPLER: rows of steps and parts, denominators counted from the masks, raw rows. Stateless.
using sampler_actor = caf::typed_actor<
  // Rows of a step (0-based). Fails with ec::protocol for a negative step.
  caf::replies_to<rows_atom, std::int64_t>::with<msg<wire::Rows>>,
  // Rows of a part (model::part). Fails with ec::protocol for an unknown part.
  caf::replies_to<rows_atom, std::uint8_t>::with<msg<wire::Rows>>,
  // Features and labels of these rows, for a node that has no data: as many, from the first on, as a bulk message holds, at
  // least one. Fails with ec::protocol for a row that does not exist.
  caf::replies_to<rows_atom, msg<wire::Rows>>::with<msg<wire::RawRows>>>;

/// SUBSCRIBER: whoever wants to see a run advance.
using subscriber_actor = caf::typed_actor<caf::reacts_to<progress_atom, msg<wire::Progress>>>;

/// RECORDER: losses.jsonl, metrics.jsonl, subscribers. A step that is recorded a second time is compared, bit for bit; a
/// difference ends the recorder with ec::not_reproducible, a disk that refuses with ec::io_failed.
using recorder_actor = caf::typed_actor<
  caf::reacts_to<record_atom, msg<wire::Progress>>,
  // All that was sent before is on disk: answers the number of steps in losses.jsonl.
  caf::replies_to<flush_atom>::with<std::uint64_t>,
  // Tells this actor of every recorded step from now on.
  caf::reacts_to<subscribe_atom, subscriber_actor>>;

/// CHECKPOINTER: writes versions to disk; the only one that does.
using checkpointer_actor = caf::typed_actor<
  // Writes the version (*local*); `true`: it is the best so far. Answers its step once it is durable. Fails with ec::io_failed.
  caf::replies_to<save_atom, version_ptr, bool>::with<std::int64_t>>;

/// BROKER: membership of nodes, open leases, tree sums, the current version and the next. Serves one task at a time. Tells its
/// driver what came out; quits with ec::gave_up when a lease or a step fails for good.
using broker_actor = caf::typed_actor<
  // From the driver: make the next version. Tells it (advance, version, progress).
  caf::reacts_to<advance_atom>,
  // From the driver: the loss of the current version on a part. Tells it (evaluate, loss).
  caf::reacts_to<evaluate_atom, std::uint8_t>,
  // From the driver: predict these rows. Tells it (predict, block) a lease, each to be acknowledged by (predict); at most
  // eight are out or not yet acknowledged.
  caf::reacts_to<predict_atom, msg<wire::Rows>>,
  caf::reacts_to<predict_atom>,
  // From a node: enlists it, or enlists it anew, which gives its leases to others. Answers its epoch. Fails with ec::protocol
  // naming what differs.
  caf::replies_to<enlist_atom, msg<wire::Enlistment>, node_actor>::with<std::uint64_t>,
  // From a node: it can take so many leases more. The broker never sends more than that. Stale epochs are ignored, here and below.
  caf::reacts_to<credit_atom, std::uint64_t, std::uint32_t>,
  // From a node: a result; the head of one that is too large for a message, to be fetched under this number; a lease that
  // failed on two workers.
  caf::reacts_to<done_atom, std::uint64_t, msg<wire::Block>>,
  caf::reacts_to<offer_atom, std::uint64_t, std::uint64_t, msg<wire::Block>>,
  caf::reacts_to<failed_atom, std::uint64_t, msg<wire::Failure>>,
  // From a node: it is alive. A stale epoch is answered with (fence).
  caf::reacts_to<beat_atom, std::uint64_t>,
  // From a node: chunks of the weights of (step, averaged), from a chunk on, so many (serialization::all_chunks). Fails with
  // ec::protocol if they are gone.
  caf::replies_to<pull_atom, std::int64_t, bool, std::uint32_t, std::uint32_t>::with<msg<wire::Weights>>,
  // From anybody: who is enlisted.
  caf::replies_to<status_atom>::with<msg<wire::Members>>,
  // From anybody: no more leases for the nodes of this name, and they leave: when they have answered for theirs, or (true) at
  // once. Answers their number. Fails with ec::bad_usage if there is none, or for the coordinator's own.
  caf::replies_to<drain_atom, std::string, bool>::with<std::uint32_t>,
  // From itself, at every beat: who is silent, which leases are late.
  caf::reacts_to<caf::tick_atom>>;

/// AGENT: keeps a node process in the run of its coordinator; supervises its dialler and its node. Its process ends with it.
using agent_actor = caf::typed_actor<
  // From itself: try to join.
  caf::reacts_to<restart_atom>,
  // From the gate: the run is over. Confirms that it heard.
  caf::replies_to<leave_atom>::with<bool>,
  // From anybody: let the node finish its leases, then end.
  caf::reacts_to<stop_atom>>;

/// GATE: where node processes find the run; the one actor of a coordinator that is published.
using gate_actor = caf::typed_actor<
  // From an agent: what is the run, and who serves it? Fails with ec::protocol naming what differs, ec::unavailable while the
  // broker is being started, ec::interrupted when the run is over.
  caf::replies_to<join_atom, msg<wire::Enlistment>, agent_actor>::with<msg<wire::RunDefinition>, broker_actor, sampler_actor>,
  // From anybody, passed on to the broker.
  caf::replies_to<status_atom>::with<msg<wire::Members>>,
  caf::replies_to<drain_atom, std::string, bool>::with<std::uint32_t>,
  // From the driver: these serve from now on; null: nobody.
  caf::reacts_to<serve_atom, broker_actor, sampler_actor>>;

/// DIALLER: finds the gate of an address (network.hpp). Fails with ec::unavailable, and its caller tries again, or with
/// ec::protocol, which no new attempt mends: no TLS, a certificate that is not of the cluster, another version.
using dialler_actor = caf::typed_actor<
  caf::replies_to<caf::connect_atom>::with<gate_actor>,
  // From itself: looks after the connection.
  caf::reacts_to<caf::tick_atom>>;

/// OBSERVER: for whom a driver works. Conforms to SUBSCRIBER.
using observer_actor = caf::typed_actor<
  caf::reacts_to<progress_atom, msg<wire::Progress>>,
  // Predictions of a lease, to be acknowledged by (predict).
  caf::reacts_to<predict_atom, msg<wire::Block>>,
  // A node joined, left, fell silent, ...: (event, name of the node).
  caf::reacts_to<note_atom, std::string, std::string>,
  // At every beat of the broker while there is work and no node to do it.
  caf::reacts_to<beat_atom>,
  // The driver's last message, when all its children have ended. *Local.*
  caf::reacts_to<outcome_atom, outcome_ptr>>;

/// DRIVER: one run or one pass of predictions; spawns and supervises the actors above. Conforms to SUBSCRIBER.
using driver_actor = caf::typed_actor<
  // From the broker.
  caf::reacts_to<advance_atom, version_ptr, msg<wire::Progress>>,
  caf::reacts_to<evaluate_atom, double>,
  caf::reacts_to<predict_atom, msg<wire::Block>>,
  // From the broker, for the journal: (event, name of the node).
  caf::reacts_to<note_atom, std::string, std::string>,
  // From the broker, at every beat: it has work, and no node to do it.
  caf::reacts_to<beat_atom>,
  // From the recorder: this step is in losses.jsonl.
  caf::reacts_to<progress_atom, msg<wire::Progress>>,
  // From the observer: a block of predictions was dealt with.
  caf::reacts_to<predict_atom>,
  // From anybody: finish the step, checkpoint, end in good order (ec::interrupted). A second time: without that step.
  caf::reacts_to<stop_atom>,
  // From its children.hpp: this timer is over.
  caf::reacts_to<restart_atom, std::uint64_t>,
  // From itself: begin.
  caf::reacts_to<caf::tick_atom>>;

} // namespace enn::actors

// Handles that travel between processes.
CAF_BEGIN_TYPE_ID_BLOCK(enn_handles, caf::first_custom_type_id + 1080)
  CAF_ADD_TYPE_ID(enn_handles, (enn::actors::agent_actor))
  CAF_ADD_TYPE_ID(enn_handles, (enn::actors::broker_actor))
  CAF_ADD_TYPE_ID(enn_handles, (enn::actors::node_actor))
  CAF_ADD_TYPE_ID(enn_handles, (enn::actors::sampler_actor))
CAF_END_TYPE_ID_BLOCK(enn_handles)
