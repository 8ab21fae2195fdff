@0xd1b0f6a1c3a94e02;
# What everybody who computes for a run must agree on, and how a node says that it does. Append-only.
using Cxx = import "/capnp/c++.capnp";
using Graphs = import "graph.capnp";
$Cxx.namespace("enn::wire");

struct NameValue {
  name @0 :Text;                     # "train.batch-rows"
  value @1 :Text;                    # as in a configuration file
}

struct Category {
  column @0 :Int64;
  count @1 :Int64;
  width @2 :Int64;
  first @3 :Int64;
}

struct DataFacts {
  version @0 :UInt32;                # schemaVersion of the writer
  kind @1 :Text;                     # "window" or "row"
  features @2 :List(Text);
  outputs @3 :List(Text);
  categories @4 :List(Category);
  history @5 :Int64;                 # lines
  horizon @6 :Int64;                 # lines
  linesPerDay @7 :Int64;             # 0: no calendar
  intervalSeconds @8 :Int64;
  mean @9 :List(Float64);            # one a feature
  deviation @10 :List(Float64);
  targetMean @11 :List(Float64);     # one an output
  targetDeviation @12 :List(Float64);
  targetLeast @13 :List(Float64);
  targetGreatest @14 :List(Float64);
  meanAll @15 :Float64;
  deviationAll @16 :Float64;
  fingerprint @17 :Text;             # of the data file's bytes
}

struct RunDefinition {
  version @0 :UInt32;                # schemaVersion of the writer
  settings @1 :List(NameValue);
  facts @2 :DataFacts;
  network @3 :Graphs.Graph;
  totalSteps @4 :Int64;
  stepsPerEpoch @5 :Int64;
  kernels @6 :Text;                  # kernel set of the fast rung, resolved before step 0
}

struct Enlistment {
  # A node to the broker, before it may take leases. Anything that differs is refused by name.
  cluster @0 :Text;                  # id of the run's cluster
  build @1 :Text;                    # version of the program
  schema @2 :UInt32;                 # schemaVersion
  machine @3 :Text;                  # for people
  workers @4 :UInt32;
  kernels @5 :Text;                  # the run's set, which the node confirms that it can run
  name @6 :Text;                     # of the node, as commands call it
}

struct Member {
  # A node as the broker knows it, for people.
  name @0 :Text;
  machine @1 :Text;
  workers @2 :UInt32;
  epoch @3 :UInt64;
  leasesOut @4 :UInt32;
  leasesDone @5 :UInt64;             # of this epoch
  silentTicks @6 :UInt32;            # beats missed
  draining @7 :Bool;
}

struct Members {
  step @0 :Int64;                    # steps done
  totalSteps @1 :Int64;
  members @2 :List(Member);
}
