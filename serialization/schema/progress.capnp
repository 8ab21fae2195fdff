@0xd1b0f6a1c3a94e04;
# What a step did, for the recorder and for whoever watches. Append-only.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("enn::wire");

struct Term {
  path @0 :Text;                     # "loss.final"
  value @1 :Float64;                 # mean over valid cells
}

struct Progress {
  step @0 :Int64;                    # steps done, this one included
  totalSteps @1 :Int64;
  terms @2 :List(Term);
  norm @3 :Float64;                  # of the gradient, before clipping
  applied @4 :Bool;                  # false: the gradient was nonfinite and the step was skipped
  learningRate @5 :Float64;
  validated @6 :Bool;                # the next two hold
  validationLoss @7 :Float64;
  best @8 :Bool;                     # lowest validation loss so far
  rows @9 :UInt64;
  seconds @10 :Float64;              # wall time of the step, evaluation included
  masterLeases @11 :UInt32;          # leases that needed the master rung
  reissues @12 :UInt32;              # leases that were given out again
  firstNonfinite @13 :Text;          # path of the first node with a nonfinite number; empty: none
  stepsPerEpoch @14 :Int64;
  checkedLeases @15 :UInt32;         # leases that were computed by the reference kernels too
  mendedLeases @16 :UInt32;          # of them, those that first had other bits
}
