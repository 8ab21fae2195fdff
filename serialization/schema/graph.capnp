@0xd1b0f6a1c3a94e01;
# The network as data: model/graph/graph.hpp says what each thing means. Append-only: new fields at the end, nothing renumbered,
# no default changed. Stored in checkpoints and sent at enlistment.
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("enn::wire");

const schemaVersion :UInt32 = 1;
# Counts incompatible changes of any schema in this folder; compared at enlistment and when a checkpoint is read.

struct Graph {
  version @0 :UInt32;                # schemaVersion of the writer
  values @1 :List(Shape);            # a value's id is its place here
  inputs @2 :List(Input);
  parameters @3 :List(Parameter);    # their order is the order of the flat weight vector
  nodes @4 :List(Node);              # in an order in which each uses earlier values only
  outputs @5 :List(Output);
}

struct Shape {
  extents @0 :List(Int64);           # outermost first; -1 in first place: rows of the batch
}

struct Input {
  path @0 :Text;
  role @1 :UInt8;                    # model::input_role
  value @2 :Int32;
}

struct Parameter {
  path @0 :Text;
  value @1 :Int32;
  rule @2 :UInt8;                    # model::init
  scale @3 :Float64;
  scaleLast @4 :Float64;
  trainable @5 :Bool;
  decay @6 :Bool;
  data @7 :List(Float64);            # buffers and given values; else empty
}

struct Node {
  op @0 :Text;
  version @1 :Int32;                 # of the operator
  path @2 :Text;
  inputs @3 :List(Int32);
  outputs @4 :List(Int32);
  attributes @5 :List(Attribute);    # sorted by name
}

struct Attribute {
  name @0 :Text;
  union {
    flag @1 :Bool;
    integer @2 :Int64;
    number @3 :Float64;
    text @4 :Text;
    integers @5 :List(Int64);
    numbers @6 :List(Float64);
  }
}

struct Output {
  path @0 :Text;
  role @1 :UInt8;                    # model::output_role
  value @2 :Int32;
  weight @3 :Float64;                # of a loss term
}
