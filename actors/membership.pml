/* The protocol between broker and nodes, for spin: enlistment, fencing, reissue. Only our protocol is simulated, not CAF's nor
 * TCP's: those are assumed to do what is said below. `tests/spin/check` searches every interleaving of it, then switches off each
 * protection in turn and expects an error.
 *
 * Claimed, for NODES nodes, FAILURES failures of nodes in any mix, and BROKER_FAILURES of the broker:
 *   - the driver gets its last version: it never waits for ever, and nothing goes round in circles
 *   - a lease counts exactly once in its step, and nothing of one step counts in another
 *   - a version is handed over exactly once, whenever the broker dies
 *   - nothing that is said under a forgotten epoch counts; one epoch of a node is known at most
 *   - a node never gets more leases than it has room for; failures bound how often it enlists and how often a lease is reissued
 *   - the run does not give up: that takes ATTEMPTS failures of one lease
 *
 * A failure of a node is one of: it dies or is cut off, for good or until it comes back; it is silent though alive, and suspected;
 * it is late with a lease; a lease fails on it; its supervisor dies.
 *
 * Assumed: between two actors messages arrive once and in order until their connection ends; of what was sent before that, a part
 * may still arrive, even after the node has come back. A connection that ended stays so: the node ends and enlists as another
 * actor, so what was on its way to or from a dead broker is lost. Who is dead is found out sooner or later.
 *
 * Messages to the broker arrive at once here. That loses nothing: nodes speak to the broker only, so one whose message travels
 * cannot be told from one that does all that, and dies, later. What is stale in the end comes from nodes that are suspected and do
 * not know. Messages to a node do travel.
 *
 * Left out: numbers (a block is the set of its leases, and equal leases have equal bits, so nothing is disputed), time (a timer may
 * fire whenever it may fire at all), evaluations and predictions (tasks like a step, without sums), draining, weights, rows and
 * large blocks in pieces (a block arrives or does not), slow nodes (they get copies: two answer, as for a late lease; and a late
 * lease that only they could take may wait), the order of nodes in which the broker gives out leases (any), and workers (a
 * supervisor computes what it has in any order).
 *
 * in the code                  here
 *   driver_state                 driver
 *   broker_state                 broker, and a hears_... for each message of a node
 *   membership                   known, newest, credit. Epochs count for each node apart: only whether they are equal matters
 *   lease_book                   where, late_at, attempt
 *   block_tree of the broker     sum. Siblings are added at once, so the set of leases says which blocks are held
 *   node_state                   node; own_epoch
 *   supervisor_state             node; leases, sums. It never outlives its node
 *   task::number                 task: step + 1, 0 is none
 *   messages to a node           down: epoch (the answer to enlist), fence. A lease is in leases from when it is sent: whether it
 *                                travels, waits for weights or rows, or is with the supervisor, is decided where it matters
 *   messages to the driver       to_driver: version is (advance, version, progress), gone is the down message
 */

#ifndef NODES
#define NODES 3
#endif
#ifndef FAILURES
#define FAILURES 2
#endif
#ifndef BROKER_FAILURES
#define BROKER_FAILURES 1
#endif
#ifndef STEPS
#define STEPS 2
#endif
#ifndef LEASES
#define LEASES 2                  /* a power of two; with STEPS no more than 8 in all */
#endif
#define ROOM 2                    /* leases that a node takes at once */
#ifndef ATTEMPTS
#define ATTEMPTS 3                /* policy::lease_attempts; more than FAILURES */
#endif
#define ACTORS (NODES + FAILURES) /* a node that comes back is another actor */

#define bit(i) (1 << (i))
#define has(set, i) (((set) >> (i)) & 1)
#define size(set) (has(set, 0) + has(set, 1) + has(set, 2) + has(set, 3) + has(set, 4) + has(set, 5) + has(set, 6) + has(set, 7))
#define ALL (bit(LEASES) - 1)

mtype = { epoch, fence, version, gone };

/* Every handler is one step, so these are of no meaning, and 0, between steps. */
byte i, t, x, y, room, width, first, block, sibling;

/* -- the world -------------------------------------------------------------------------------------------------------------- */

byte failures = FAILURES;         /* that may still happen */
byte broker_failures = BROKER_FAILURES;
bool over;                        /* the driver has its last version */

#define UNBORN 0
#define ALIVE 1
#define DEAD 2
byte life[ACTORS];
byte actors = NODES;              /* so many have begun or will */

chan down[ACTORS] = [4] of { mtype, byte };
chan to_driver = [3] of { mtype, byte, byte }; /* kind, incarnation of the broker, version */

#define send(channel, message) assert(nfull(channel)); channel!message

/* -- state of the broker ----------------------------------------------------------------------------------------------------- */

#define WAITING 0
#define FINISHED 255
#define NOWHERE 0
#define place(n, e) ((n) * 16 + (e))

bool broker_alive;
byte incarnation;
byte current;                     /* the version that it holds: the number of its steps */
bool asked;                       /* (advance) is in its mailbox */
byte task;                        /* at work */
byte known[ACTORS];               /* the set of epochs that are not forgotten */
byte newest[ACTORS];              /* epoch */
byte credit[ACTORS];
byte where[LEASES];               /* WAITING, FINISHED, or out at this place */
byte late_at[LEASES];             /* not there again */
byte attempt[LEASES];
byte sum;
#ifdef COUNT_LOSSES_AS_FAILURES
bool failed_before[LEASES];
#endif

#define is_out(lease) (where[lease] != WAITING && where[lease] != FINISHED)
#define holder(lease) (where[lease] / 16)
#define has_room(n) (known[n] && credit[n] > 0)

/* -- state of the nodes ------------------------------------------------------------------------------------------------------- */

byte own_epoch[ACTORS];           /* 0: not enlisted */
byte leases[ACTORS];              /* given to it: slots */
byte again[ACTORS];               /* those of them that it has twice, under two epochs or attempts */
byte sums[ACTORS];                /* blocks of the task at work that wait for their siblings */
byte tried[ACTORS * LEASES];      /* the attempt of a lease of the task at work that it has */

#define slot(task, lease) (((task) - 1) * LEASES + (lease))
#define of_task(set, task) (((set) >> slot(task, 0)) & ALL)
#define held(n) (size(leases[n]) + size(again[n]))
#define tries(n, lease) tried[(n) * LEASES + (lease)]

/* -- the broker: leases ------------------------------------------------------------------------------------------------------- */

/* lease_book::put_back */
inline put_back(lease, not_at) {
  late_at[lease] = not_at;
  where[lease] = WAITING;
  attempt[lease]++;
  assert(attempt[lease] <= 2 * FAILURES) /* one that is late, and then lost, costs two */
}

inline give(lease, n) {
  d_step {
    where[lease] = place(n, newest[n]);
    credit[n]--;
    if
    :: life[n] == ALIVE ->
      assert(held(n) < ROOM); /* it has room */
      if
      :: has(leases[n], slot(task, lease)) -> again[n] = again[n] | bit(slot(task, lease))
      :: else -> leases[n] = leases[n] | bit(slot(task, lease))
      fi;
      tries(n, lease) = attempt[lease]
    :: else
    fi
  }
}

#define give_if_room(lease, n) has_room(n) && late_at[lease] != place(n, newest[n]) -> give(lease, n)

/* broker_state::issue: the lowest lease first, to any node with room. */
inline issue() {
  do
  :: task && x < LEASES ->
    if
    :: where[x] == WAITING ->
      if
      :: give_if_room(x, 0)
#if ACTORS > 1
      :: give_if_room(x, 1)
#endif
#if ACTORS > 2
      :: give_if_room(x, 2)
#endif
#if ACTORS > 3
      :: give_if_room(x, 3)
#endif
#if ACTORS > 4
      :: give_if_room(x, 4)
#endif
#if ACTORS > 5
      :: give_if_room(x, 5)
#endif
      :: else
      fi
    :: else
    fi;
    x++
  :: else -> break
  od;
  x = 0
}

/* What nodes still have of the task is of no use to anybody. */
inline end_task() {
  task = 0;
  sum = 0;
  x = 0;
  do
  :: x < LEASES ->
    where[x] = WAITING;
    late_at[x] = NOWHERE;
    attempt[x] = 0;
#ifdef COUNT_LOSSES_AS_FAILURES
    failed_before[x] = false;
#endif
    x++
  :: else -> break
  od;
  x = 0;
  do
  :: x < ACTORS * LEASES -> sums[x / LEASES] = 0; tried[x] = 0; x++
  :: else -> break
  od;
  x = 0
}

/* broker_state::accept_train, block_tree::put, finish_step */
inline accept(range) {
#ifndef COUNT_TWICE
  if
  :: (range & ~sum) == 0 -> skip /* contained */
  :: else ->
#endif
#if !defined(COUNT_TWICE) && !defined(ADD_CONTAINED)
    sum = sum & ~(range); /* the larger block replaces those that it contains */
#endif
    assert((sum & (range)) == 0); /* a lease counts once */
    sum = sum | range;
    x = 0;
    do
    :: x < LEASES ->
      if
      :: has(range, x) -> where[x] = FINISHED; late_at[x] = NOWHERE
      :: else
      fi;
      x++
    :: else -> break
    od;
    x = 0;
    if
    :: sum == ALL -> current++; send(to_driver, version(incarnation, current)); end_task()
    :: else
    fi
#ifndef COUNT_TWICE
  fi
#endif
}

/* -- the broker: members ------------------------------------------------------------------------------------------------------ */

/* lease_book::release */
inline release(n) {
  x = 0;
  do
  :: x < LEASES ->
    if
    :: where[x] == place(n, newest[n]) -> put_back(x, NOWHERE)
    :: else
    fi;
    if
    :: late_at[x] == place(n, newest[n]) -> late_at[x] = NOWHERE /* which does not come again */
    :: else
    fi;
    x++
  :: else -> break
  od;
  x = 0
}

/* broker_state::forget */
inline forget(n) {
#ifndef NO_REISSUE
  release(n);
#endif
#ifndef NO_FENCE
  known[n] = 0;
#endif
  credit[n] = 0
}

/* broker_state::enlist. (credit) follows, so nothing is issued yet. */
inline hears_enlist(n) {
  d_step {
#ifndef KEEP_FORMER_EPOCH
    if
    :: known[n] -> forget(n); known[n] = 0
    :: else
    fi;
#endif
    newest[n]++;
    assert(newest[n] <= 1 + FAILURES); /* a node enlists anew for a reason */
    known[n] = known[n] | bit(newest[n]);
    assert(known[n] == bit(newest[n])); /* one epoch of a node */
    credit[n] = 0;
    send(down[n], epoch(newest[n]))
  }
}

/* broker_state::credit and done. A supervisor makes room, then sends a block; here both are one message. An empty range: credit
 * alone. */
inline hears_done(n, about, range, more) {
  if
#ifdef ANY_EPOCH
  :: own_epoch[n] ->
#else
  :: own_epoch[n] && has(known[n], own_epoch[n]) ->
#endif
    d_step {
      assert(has(known[n], own_epoch[n])); /* nothing of a forgotten epoch counts */
      credit[n] = credit[n] + more;
      if
#ifdef ANY_TASK
      :: range && task ->
#else
      :: range && about == task ->
#endif
        assert(about == task); /* nothing of another step counts */
        accept(range)
      :: else
      fi
    };
    issue()
  :: else
  fi
}

/* broker_state::failed and credit */
inline hears_failed(n, about, lease, try) {
  if
  :: own_epoch[n] && has(known[n], own_epoch[n]) ->
    credit[n]++;
    if
    :: about == task && where[lease] != FINISHED && try == attempt[lease] ->
#ifdef COUNT_LOSSES_AS_FAILURES
      assert(attempt[lease] + 1 < ATTEMPTS || failed_before[lease]); /* one failure does not end the run */
      failed_before[lease] = true;
#endif
      put_back(lease, NOWHERE)
    :: else
    fi;
    issue()
  :: else
  fi
}

inline lose_leases(n) {
  leases[n] = 0;
  again[n] = 0;
  sums[n] = 0;
  x = 0;
  do
  :: x < LEASES -> tries(n, x) = 0; x++
  :: else -> break
  od;
  x = 0
}

inline clear_node(n) {
  own_epoch[n] = 0;
  lose_leases(n);
  do
  :: nempty(down[n]) -> down[n]?_,_
  :: empty(down[n]) -> break
  od
}

/* Its members end with it, and start as other actors with the next one. */
inline lose_broker() {
  d_step {
    broker_alive = false;
    asked = false;
    end_task();
    y = 0;
    do
    :: y < ACTORS ->
      if
      :: life[y] == DEAD -> actors--
      :: else
      fi;
      life[y] = UNBORN;
      known[y] = 0;
      newest[y] = 0;
      credit[y] = 0;
      clear_node(y);
      y++
    :: else -> break
    od;
    y = 0
  }
}

/* broker_state::issue_late_ones: to another node too, if one has room */
#if ACTORS > 5
#define ROOMS (has_room(0) + has_room(1) + has_room(2) + has_room(3) + has_room(4) + has_room(5))
#elif ACTORS > 4
#define ROOMS (has_room(0) + has_room(1) + has_room(2) + has_room(3) + has_room(4))
#elif ACTORS > 3
#define ROOMS (has_room(0) + has_room(1) + has_room(2) + has_room(3))
#elif ACTORS > 2
#define ROOMS (has_room(0) + has_room(1) + has_room(2))
#else
#define ROOMS (has_room(0) + has_room(1))
#endif
#define is_late(lease) failures > 0 && is_out(lease) && ROOMS > has_room(holder(lease))

inline reissue_late(lease) {
  failures--;
  put_back(lease, where[lease]);
  issue()
}

proctype broker() provided (!over) {
end:
  do
  :: atomic { asked -> /* broker_state::advance, begin */
      assert(!task); /* one task at a time */
      asked = false;
      task = current + 1;
      issue()
    }
  :: atomic { is_late(0) -> reissue_late(0) }
  :: atomic { is_late(LEASES - 1) -> reissue_late(LEASES - 1) }
#if LEASES > 2
  :: atomic { is_late(1) -> reissue_late(1) }
  :: atomic { is_late(2) -> reissue_late(2) }
#endif
  :: atomic { broker_alive && broker_failures > 0 -> /* it dies */
      broker_failures--;
      lose_broker();
      send(to_driver, gone(incarnation, 0))
    }
  od
}

/* -- the driver --------------------------------------------------------------------------------------------------------------- */

byte version_held;                /* the number of its steps */

/* driver_state::spawn_from and next_step */
inline spawn_broker() {
  incarnation++;
  broker_alive = true;
#ifdef START_OVER
  current = 0;
#else
  current = version_held;
#endif
  asked = true
}

proctype driver() {
  byte from, made;
  atomic { spawn_broker() };
  do
  :: atomic { to_driver?version(from, made) -> /* driver_state::on_version */
      if
#ifdef ANY_BROKER
      :: true ->
#else
      :: from == incarnation ->
#endif
        assert(made == version_held + 1); /* every version once */
        version_held = made;
        if
        :: version_held == STEPS -> over = true; break
        :: else -> asked = broker_alive /* to a dead one nothing arrives */
        fi
#ifndef ANY_BROKER
      :: else
#endif
      fi;
      from = 0;
      made = 0
    }
  :: atomic { to_driver?gone(_, _) -> spawn_broker() } /* driver_state::on_down, restart_from */
  :: atomic { broker_alive && broker_failures > 0 -> /* driver_state::dismiss: a child failed that the broker depends on */
      broker_failures--;
      made = current + 1;
      if
      :: asked || task -> send(to_driver, version(incarnation, made)) /* it finishes its step before it reads so, */
      :: skip /* or not */
      fi;
      made = 0;
      lose_broker();
      spawn_broker()
    }
  od
}

/* -- nodes and their supervisors ------------------------------------------------------------------------------------------------ */

/* One lease of the node, any: t, i. Whether it has it twice does not matter. */
inline take_one(n) {
  i = 0;
  do
  :: has(leases[n], i) -> break
  :: leases[n] >> (i + 1) -> i++
  od;
  t = i / LEASES + 1;
  d_step {
    if
    :: has(again[n], i) -> again[n] = again[n] & ~bit(i)
    :: else -> leases[n] = leases[n] & ~bit(i)
    fi;
    i = i % LEASES
  }
}

inline forget_try(n) {
  if
  :: !task || t != task || has(leases[n], slot(t, i)) -> skip
  :: else -> tries(n, i) = 0
  fi
}

inline may_come_back() {
  if
  :: actors++
  :: skip
  fi
}

/* node_state::enlist: what has not yet been handed to the supervisor is dropped. */
inline enlist(n) {
  own_epoch[n] = 0;
  i = 0;
  do
  :: leases[n] >> i ->
    if
    :: has(again[n], i) -> again[n] = again[n] & ~bit(i)
    :: has(leases[n], i) && !has(again[n], i) -> leases[n] = leases[n] & ~bit(i)
    :: i++
    fi
  :: else -> break
  od;
  i = 0;
  hears_enlist(n)
}

#define holds_block (task && (sums[n] & block) == block)
#ifdef KEEP_LONE
#define may_go_up (width == LEASES)
#define has_to_go_up (width == LEASES)
#else
#define may_go_up (width == LEASES || (sibling & ~sums[n]) != 0)
#define has_to_go_up (width == LEASES || (sibling & ~(sums[n] | of_task(leases[n], task))) != 0)
#endif

/* supervisor_state::send_lone_blocks, for the task at work: what has no sibling here goes up. A lease of the node may be with the
 * supervisor, which knows that it is coming, or not yet. `room` goes with the first message. */
inline send_lone_blocks(n) {
  width = LEASES;
  do
  :: width > 0 ->
    block = (bit(width) - 1) << first;
    sibling = (bit(width) - 1) << (first ^ width);
    if
    :: holds_block && may_go_up ->
      sums[n] = sums[n] & ~block;
      hears_done(n, task, block, room);
      room = 0
    :: !(holds_block && has_to_go_up) -> skip
    fi;
    first = first + width;
    if
    :: first == LEASES -> first = 0; width = width / 2
    :: else
    fi
  :: else -> break
  od;
  block = 0;
  sibling = 0
}

proctype node(byte n) provided (!over) {
end:
  do
  :: atomic { broker_alive && life[n] == UNBORN && n < actors && (n == 0 || life[n - 1] != UNBORN) -> /* node_state::start */
      life[n] = ALIVE; /* nodes are alike, so they may as well begin in the order of their numbers */
      hears_enlist(n)
    }
  :: atomic { down[n]?epoch(t) -> /* node_state::enlist, its answer */
      own_epoch[n] = t;
      t = 0;
#ifdef FULL_ROOM
      hears_done(n, 0, 0, ROOM)
#else
      hears_done(n, 0, 0, ROOM - held(n))
#endif
    }
  :: atomic { down[n]?fence(t) ->
      if
#ifdef ANY_FENCE
      :: own_epoch[n] -> enlist(n)
#else
      :: t == own_epoch[n] -> enlist(n)
#endif
      :: else
      fi;
      t = 0
    }
  :: atomic { leases[n] -> /* supervisor_state::finish, settle */
      take_one(n);
      room = 1;
      if
      :: t == task ->
        sums[n] = sums[n] | bit(i);
        send_lone_blocks(n);
        forget_try(n)
      :: else -> block = bit(i); hears_done(n, t, block, room); room = 0; block = 0
      fi;
      if
      :: room -> hears_done(n, 0, 0, room); room = 0
      :: else
      fi;
      i = 0;
      t = 0
    }
  :: atomic { leases[n] && failures > 0 -> /* supervisor_state::lease_failed */
      failures--;
      take_one(n);
      if
      :: has(leases[n], slot(t, i)) -> hears_done(n, 0, 0, 1) /* of an attempt that is over, which the broker would ignore */
      :: else -> hears_failed(n, t, i, tries(n, i))
      fi;
      send_lone_blocks(n);
      forget_try(n);
      i = 0;
      t = 0
    }
#ifndef NEVER_SAY_FENCED
  :: atomic { own_epoch[n] && !has(known[n], own_epoch[n]) && len(down[n]) < 2 -> /* node_state::beat, broker_state::beat */
      send(down[n], fence(own_epoch[n])) /* for the second time */
    }
#endif
  :: atomic { life[n] == ALIVE && known[n] && failures > 0 -> /* broker_state::tick, fence: it is silent */
      failures--;
#ifndef NEVER_SAY_FENCED
      send(down[n], fence(newest[n]));
#endif
      forget(n);
      issue()
    }
  :: atomic { life[n] == ALIVE && failures > 0 -> /* node_state::on_down: the supervisor died */
      failures--;
      lose_leases(n);
      own_epoch[n] = 0;
      hears_enlist(n)
    }
#ifndef NOBODY_DIES
  :: atomic { life[n] == ALIVE && failures > 0 -> /* it dies, or is cut off, which it notices sooner or later */
      failures--;
      life[n] = DEAD;
      clear_node(n);
      may_come_back()
    }
  :: atomic { life[n] == DEAD && known[n] -> /* broker_state::tick, on_down */
      forget(n);
      newest[n] = 0;
      issue()
    }
#endif
  od
}

init {
  atomic {
    run driver();
    run broker();
    do
    :: i < ACTORS -> run node(i); i++
    :: else -> break
    od;
    i = 0
  }
}
