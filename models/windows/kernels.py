"""Flow records to windows, record by record."""

from __future__ import annotations

import numpy as np

from models.window_columns import COUNTER_NAMES
from models.windows.addresses import half, is_multicast
from models.windows.counters import count_traffic, fade_stream, pair_summary
from models.windows.jit import kernel
from models.windows.rows import add_row, update_row
from models.windows.state import (
    EMPTY,
    LINK_ANSWERED,
    LINK_UNICAST,
    RECORDS,
    ROWS,
    SECOND_SIGHTS,
    UPDATES,
    WINDOWS,
)
from models.windows.streams import ACTOR, ESTABLISHED, PROBATION, TARGET, append, stream_of, unlink

_TRW_AT = COUNTER_NAMES.index("trw")
_TOP_AT = np.int64(COUNTER_NAMES.index("top_pair_count"))
_NEW_AT = np.int64(COUNTER_NAMES.index("new_pair_count"))
_ACTOR_AT = COUNTER_NAMES.index("is_actor")
_SECOND = 1_000_000_000


@kernel
def is_due(s, now):
    """1st, 2nd, 4th, 8th, ... event; else after 8 events and 1 s, or after 10 s."""
    if s.events & (s.events - 1) == 0:
        return True
    return (s.since_due >= 8 and now - s.due_ns >= _SECOND) or now - s.due_ns >= 10 * _SECOND


@kernel
def write_window(state, at, record_index, now, out, n):
    """Copy a stream's rows, oldest first, and its counters."""
    s = state.streams[at]
    size = state.rows.shape[1]
    for i in range(size):
        age = size - 1 - i  # rows back from the newest
        if age < s.n_rows:
            source = (s.newest - age) % size
            for j in range(state.rows.shape[2]):
                out.rows[n, i, j] = state.rows[at, source, j]
            out.peers[n, i, 0] = state.meta[at][source].peer_hi
            out.peers[n, i, 1] = state.meta[at][source].peer_lo
            out.flows[n, i] = state.meta[at][source].flow_id
        else:
            out.rows[n, i] = 0.0
            out.peers[n, i] = 0
            out.flows[n, i] = 0
    for i in range(len(s.counters)):
        out.counters[n, i] = s.counters[i]
    out.counters[n, _TRW_AT] = s.trw
    pair_summary(out.counters[n], _TOP_AT, state.pairs[at], s.top_pair)
    pair_summary(out.counters[n], _NEW_AT, state.pairs[at], s.new_pair)
    out.counters[n, _ACTOR_AT] = 1.0 if s.role == ACTOR else 0.0
    out.stream[n] = at
    out.generation[n] = s.generation
    out.role[n] = s.role
    out.host[n, 0] = s.host_hi
    out.host[n, 1] = s.host_lo
    out.time_ns[n] = now
    out.record[n] = record_index
    out.n_rows[n] = s.n_rows
    s.since_due = 0
    s.due_ns = now


@kernel
def enter(state, at, record, features, record_index, peer_hi, peer_lo, multicast, out, n):
    """One record into one stream -> windows so far."""
    s = state.streams[at]
    now = record.time_ns
    fade_stream(s, now)
    found = -1
    for i in range(s.n_rows):
        if state.meta[at][i].flow_id == record.flow_id:
            found = i
            break
    count_traffic(s, record, features)
    if found >= 0:
        update_row(state, at, found, record, features, now, multicast)
        state.counts[UPDATES] += 1
    elif record.revision == 0 or s.events == 0:
        add_row(state, at, record, features, now, peer_hi, peer_lo, multicast)
        state.counts[ROWS] += 1
    else:
        state.counts[UPDATES] += 1
    s.events += 1
    s.since_due += 1
    unlink(state, at)
    append(state, at, PROBATION if s.events == 1 else ESTABLISHED)
    if is_due(s, now):
        write_window(state, at, record_index, now, out, n)
        state.counts[WINDOWS] += 1
        return n + 1
    return n


@kernel
def push(state, records, features, first, out):
    """Records from `first` on into their two streams each -> (next record, windows written)."""
    n = np.int64(0)
    limit = len(out.stream)
    for index in range(first, len(records)):
        if n + 2 > limit:
            return index, n
        record = records[index]
        state.counts[RECORDS] += 1
        if record.new_fwd_packets + record.new_bwd_packets == 0:
            state.counts[EMPTY] += 1
            continue
        if record.second_sight:
            state.counts[SECOND_SIGHTS] += 1
            continue
        src_hi, src_lo = half(record.src, 0), half(record.src, 8)
        dst_hi, dst_lo = half(record.dst, 0), half(record.dst, 8)
        multicast = is_multicast(dst_hi, dst_lo)
        if record.revision == 0 and not multicast:
            state.registers[LINK_UNICAST] += 1.0
            state.registers[LINK_ANSWERED] += 0.0 if record.answer_ns == 0 else 1.0
        at = stream_of(state, src_hi, src_lo, ACTOR, record)
        if at >= 0:
            n = enter(state, at, record, features[index], index, dst_hi, dst_lo, multicast, out, n)
        at = stream_of(state, dst_hi, dst_lo, TARGET, record)
        if at >= 0:
            n = enter(state, at, record, features[index], index, src_hi, src_lo, multicast, out, n)
    return len(records), n
