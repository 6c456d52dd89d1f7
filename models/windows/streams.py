"""The table of host streams: found by hash, in the order in which they may make room.

A share of the table (home hosts, foreign ones) has two lists, oldest first: streams of one flow,
which make room first, and the others.
"""

from __future__ import annotations

import numpy as np

from models.windows.addresses import hash2, is_home, is_multicast
from models.windows.jit import kernel
from models.windows.state import FIRST_FOREIGN, STREAMS, STREAMS_EVICTED

# Not Python's ints: numba compiles a function anew for each that it is called with.
ACTOR, TARGET = np.int64(0), np.int64(1)
PROBATION, ESTABLISHED = np.int64(0), np.int64(1)


@kernel
def unlink(state, at):
    streams = state.streams
    s = streams[at]
    ends = state.ends
    if s.previous < 0:
        ends[s.home, s.segment, 0] = s.next
    else:
        streams[s.previous].next = s.next
    if s.next < 0:
        ends[s.home, s.segment, 1] = s.previous
    else:
        streams[s.next].previous = s.previous


@kernel
def append(state, at, segment):
    streams = state.streams
    s = streams[at]
    tail = state.ends[s.home, segment, 1]
    s.segment = segment
    s.previous = tail
    s.next = -1
    if tail < 0:
        state.ends[s.home, segment, 0] = at
    else:
        streams[tail].next = at
    state.ends[s.home, segment, 1] = at


@kernel
def find_stream(state, hi, lo, role, hashed):
    at = state.slots[hashed & np.uint64(len(state.slots) - 1)]
    while at >= 0:
        s = state.streams[at]
        if s.hash == hashed and s.host_hi == hi and s.host_lo == lo and s.role == role:
            return at
        at = s.hash_next
    return -1


@kernel
def unchain(state, at):
    slot = state.streams[at].hash & np.uint64(len(state.slots) - 1)
    walk = state.slots[slot]
    if walk == at:
        state.slots[slot] = state.streams[at].hash_next
        return
    while state.streams[walk].hash_next != at:
        walk = state.streams[walk].hash_next
    state.streams[walk].hash_next = state.streams[at].hash_next


@kernel
def new_stream(state, hi, lo, role, home, hashed):
    """A stream for a host; the pool's oldest one-flow stream makes room, else its oldest."""
    if state.free_count[home] > 0:
        state.free_count[home] -= 1
        at = np.int64(state.free[home, state.free_count[home]])
    else:
        at = np.int64(state.ends[home, PROBATION, 0])
        if at < 0:
            at = np.int64(state.ends[home, ESTABLISHED, 0])
        unlink(state, at)
        unchain(state, at)
        state.counts[STREAMS_EVICTED] += 1
    s = state.streams[at]
    s.host_hi, s.host_lo = hi, lo
    s.role, s.home = role, home
    s.hash = hashed
    s.generation += 1
    s.used = 1
    s.newest = -1
    s.n_rows = 0
    s.events = 0
    s.since_due = 0
    s.due_ns = 0
    s.faded_ns = 0
    s.start_ns = 0
    s.unicast = 0.0
    s.answered = 0.0
    s.trw = 0.0
    s.top_pair = 0
    s.new_pair = 0
    s.counters[:] = 0.0
    state.rows[at] = 0.0
    state.meta[at]["flow_id"][:] = 0
    state.pairs[at]["hash"][:] = 0
    state.peers[at]["hash"][:] = 0
    state.ports[at]["hash"][:] = 0
    slot = hashed & np.uint64(len(state.slots) - 1)
    s.hash_next = state.slots[slot]
    state.slots[slot] = at
    append(state, at, PROBATION)
    state.counts[STREAMS] += 1
    return at


@kernel
def stream_of(state, hi, lo, role, record):
    """The stream of a host, made when due; -1 when the host gets none (yet)."""
    if is_multicast(hi, lo):
        return -1
    hashed = hash2(hash2(hi, lo), role)
    at = find_stream(state, hi, lo, role, hashed)
    if at >= 0:
        return at
    home = is_home(state.networks, hi, lo)
    if not home and role == ACTOR and record.answer_ns == 0:
        place = hashed & np.uint64(len(state.once) - 1)
        if state.once[place] != hashed:  # its first flow, unanswered: counts at its target only
            state.once[place] = hashed
            state.counts[FIRST_FOREIGN] += 1
            return -1
    return new_stream(state, hi, lo, role, 1 if home else 0, hashed)
