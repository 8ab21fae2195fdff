@0xd1b0f6a1c3a94e03;
# Work and its results: who computes what, with which weights, and what came out. Append-only.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("enn::wire");

# Flat float32 vectors travel as chunks of 1 MiB, little-endian, the last one shorter: the unit of transfer and checksum.

enum Kind {
  train @0;                          # gradient and loss sums
  evaluate @1;                       # loss sums
  predict @2;                        # predictions in raw units
}

struct WeightsId {
  step @0 :Int64;                    # optimizer steps that made them
  averaged @1 :Bool;                 # the moving average rather than the weights that train
}

struct Lease {
  # A piece of a task. Its result is a pure function of kind, step, rows, weights, denominator, rung and the run: index and
  # attempt only name it. Random numbers are keyed by (seed, step, row), so every attempt draws the same.
  task @0 :UInt64;                   # counts the broker's tasks; a result of another task is stale
  kind @1 :Kind;
  step @2 :Int64;                    # 0-based; evaluation: the step it evaluates
  index @3 :UInt32;                  # place among the task's leases
  attempt @4 :UInt32;                # counts reissues by the broker
  weights @5 :WeightsId;
  start @6 :UInt8;                   # model::rung to begin with
  rows @7 :List(UInt64);             # global row numbers
  denominator @8 :Float64;           # of every loss term, for the whole step
}

struct Health {
  nonfinite @0 :Int64;
  firstNode @1 :Text;
  inputsFinite @2 :Bool;
  parametersFinite @3 :Bool;
  largest @4 :Float64;
  outOfRange @5 :Bool;               # a finite number beyond the range guard of float
  inputRows @6 :List(UInt64);        # rows with a nonfinite feature or target
  rows @7 :List(UInt64);             # rows of which some node made a bad number
}

struct Block {
  # The result of leases first .. first+count-1: a power of two, first a multiple of it.
  task @0 :UInt64;
  kind @1 :Kind;
  step @2 :Int64;
  first @3 :UInt32;
  count @4 :UInt32;
  rungs @5 :Data;                    # one byte a lease: model::rung that gave the numbers
  losses @6 :List(Float64);          # one a loss output
  health @7 :Health;
  size @8 :UInt64;                   # floats in chunks
  chunks @9 :List(Data);             # train: gradient sum; predict: (rows, target size); evaluate: none
  rows @10 :List(UInt64);            # predict: which rows, in order
  hash @11 :UInt64;                  # XXH3-64 of losses and chunks
  checked @12 :UInt32;               # leases that were computed by the reference kernels too
  mended @13 :UInt32;                # of them, those that first had other bits
}

struct Failure {
  # A lease that failed on two workers of one supervisor without giving numbers.
  task @0 :UInt64;
  index @1 :UInt32;
  attempt @2 :UInt32;
  cause @3 :Text;
}

struct Weights {
  # An answer to a pull: chunks firstChunk ... of the flat vector.
  id @0 :WeightsId;
  size @1 :UInt64;                   # floats of the whole vector
  firstChunk @2 :UInt32;
  chunks @3 :List(Data);
}

struct Rows {
  # Rows of a step or of a part of the data, with the denominator counted from their masks.
  step @0 :Int64;                    # -1: a part
  rows @1 :List(UInt64);
  denominator @2 :Float64;
}

struct RawRows {
  # Features and labels of rows, for a node that has no data. Each list has one entry a row.
  rows @0 :List(UInt64);
  features @1 :List(Data);           # float32
  calendar @2 :List(Data);           # float64: a quotient, which the master rung reads as double
  targets @3 :List(Data);            # float32
  masks @4 :List(Data);              # float32
}

struct Piece {
  # An answer to a fetch: chunks firstChunk ... of a block that was announced without them.
  size @0 :UInt64;                   # floats of the whole block
  firstChunk @1 :UInt32;
  chunks @2 :List(Data);
}
