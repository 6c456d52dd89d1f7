"""Packets through the flow table to records: the driver of the meter's kernels.

`process` takes packets of a batch until they or the room for records run out, and can be called
again from where it stopped.  Records come out in the order in which they are due, whatever the
batches: before a packet is metered, everything due at or before its time is written, so a record
shows the state before the first packet at or after its due time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from capture.columns import Close, Kind
from capture.jit import helper, inlined, kernel
from capture.meter import registers as r
from capture.meter.decode import ICMP, ICMPV6, OK, TCP, UDP
from capture.meter.due import (
    DUE_NS,
    EXPIRY,
    due_insert,
    due_remove,
    first_due,
    overdue,
    take_in_order,
)
from capture.meter.flow import (
    ACK,
    READY,
    SYN,
    add_packet,
    advance_state,
    direction_of,
    release_state,
    start_flow,
)
from capture.meter.lookahead import look_ahead, look_at_due
from capture.meter.memories import remember, reminder_of, second_sight
from capture.meter.rows import mark_told, write_record
from capture.meter.state import ACTIVE_AGE, GROUP, READY_AGE, SINGLE
from capture.meter.stats import INDEX
from capture.meter.table import age_append, age_remove, chain, find, oldest, set_key, unchain
from capture.meter.times import microseconds

TIMEOUT_US = 120_000_000
ROOM = 3  # records that one packet can yield besides those that were due

# Typed: a plain constant as an argument would make a kernel of its own.
_FINAL, _SNAPSHOT, _EVICTED = np.uint8(Kind.FINAL), np.uint8(Kind.SNAPSHOT), np.uint8(Kind.EVICTED)
_NONE, _READY, _TIMEOUT = np.uint8(Close.NONE), np.uint8(Close.READY), np.uint8(Close.TIMEOUT)
_EXPIRED, _REOPENED, _ICMP = np.uint8(Close.EXPIRED), np.uint8(Close.REOPENED), np.uint8(Close.ICMP)
_TABLE_FULL, _END = np.uint8(Close.EVICTED), np.uint8(Close.END)
_ZERO = np.int64(0)

_SEEN, _METERED = INDEX["packets_seen"], INDEX["packets_metered"]
_REASON_0 = INDEX["arp"] - 1  # decode's codes follow OK = 0 in the order of the counters
_TCP, _UDP, _ICMPS, _OTHERS = INDEX["tcp"], INDEX["udp"], INDEX["icmp"], INDEX["other_protocols"]
_CREATED, _N_EXPIRED, _CUT = INDEX["flows_created"], INDEX["flows_expired"], INDEX["flows_cut"]
_N_EVICTED, _AT_END, _SNAPSHOTS = INDEX["flows_evicted"], INDEX["flows_at_end"], INDEX["snapshots"]
_STRAGGLERS = INDEX["stragglers"]


class Batch(NamedTuple):
    """The arrays of a PacketBatch, for kernels; shapes, dtypes and units are there."""

    buffer: np.ndarray
    offset: np.ndarray
    captured_length: np.ndarray
    wire_length: np.ndarray
    timestamp_ns: np.ndarray
    interface: np.ndarray
    vlan: np.ndarray
    link_type: np.ndarray


class Options(NamedTuple):
    """What a meter was told to do, for its kernels."""

    key_vlan: bool
    count_cut: bool
    decapsulate: bool
    snapshots: bool


@inlined
def write_snapshot(table, at, wanted, rows, n, close, time_ns):
    """A living flow's record; one that nobody wants still counts, so that final ones are the same."""
    if wanted:
        table.counters[_SNAPSHOTS] += 1
        return write_record(table, at, rows, n, _SNAPSHOT, close, time_ns)
    forward, backward = direction_of(table, at, 0), direction_of(table, at, 1)
    d, cold = table.directions, table.cold_directions
    mark_told(table.cold_flows[at], d[forward], cold[forward], d[backward], cold[backward])
    return n


@inlined
def news(table, at):
    """Packets of a flow since its last record."""
    total = 0
    for place in (at, table.flows[at].second):
        total += int(table.directions[place].packets) - int(table.cold_directions[place].told_packets)
    return total


@inlined
def release(table, at):
    """Take a written flow out of every list; its entry is free again."""
    unchain(table.slots, table.chains, at)
    due_remove(table, at)
    age_remove(table, at)
    release_state(table, at)
    table.free[table.registers[r.FREE]] = at
    table.registers[r.FREE] += 1


@inlined
def close_flow(table, at):
    """Remember what the next piece of the key needs, and release the flow."""
    flow = table.flows[at]
    carried = 0
    if flow.csv_protocol == TCP:
        carried = table.cold_flows[at].carried_us + microseconds(flow.last_ns) - microseconds(flow.start_ns)
    remember(table, at, flow.state == READY, carried)
    release(table, at)


@inlined
def write_due(table, until_ns, snapshots, rows, n, limit):
    """Write what is due at or before `until_ns` -> (records so far, 1 when all of it was)."""
    while table.registers[r.NEXT_DUE] <= until_ns:
        if n >= limit:
            return n, False
        at = first_due(table)
        if at < 0 or table.registers[r.NEXT_DUE] > until_ns:
            break
        look_at_due(table, at)
        which = int(table.flows[at].due_class)
        # a flow that starts behind the clock is due late, and then now
        due = max(table.dues[at].start_ns + DUE_NS[which], table.registers[r.CLOCK])
        if which == EXPIRY:
            n = write_record(table, at, rows, n, _FINAL, _EXPIRED, due)
            table.counters[_N_EXPIRED] += 1
            close_flow(table, at)
        else:
            if news(table, at) > 0:
                n = write_snapshot(table, at, snapshots, rows, n, _NONE, due)
            due_remove(table, at)
            due_insert(table, at, which + 1)
        table.registers[r.CLOCK] = max(table.registers[r.CLOCK], due)
        first_due(table)
    return n, True


@inlined
def make_room(table, rows, n):
    """Write and release a flow of a full table -> records so far."""
    clock = table.registers[r.CLOCK]
    expired = overdue(table)
    if expired >= 0:
        n = write_record(table, expired, rows, n, _FINAL, _EXPIRED, clock)
        table.counters[_N_EXPIRED] += 1
        close_flow(table, expired)
        return n
    victim = oldest(table)
    n = write_record(table, victim, rows, n, _EVICTED, _TABLE_FULL, clock)
    table.counters[_N_EVICTED] += 1
    if table.flows[victim].age_class == SINGLE:
        release(table, victim)  # a flood must not wash out the reminders of real flows
    else:
        close_flow(table, victim)
    return n


@inlined
def new_flow(table, p, rows, n):
    """Start a flow with the packet; makes room first when the table is full."""
    if table.registers[r.FREE] == 0:
        n = make_room(table, rows, n)
    table.registers[r.FREE] -= 1
    at = table.free[table.registers[r.FREE]]
    flow, cold = table.flows[at], table.cold_flows[at]
    set_key(flow, p)
    flow.source_is_b = p.larger
    cold.key_is_b = p.larger
    cold.carried_us = 0
    known = reminder_of(table, p)
    if known >= 0:
        reminder = table.reminders[known]
        cold.key_is_b = reminder.key_is_b
        reopened = reminder.ready and (p.tcp_flags & SYN) and not (p.tcp_flags & ACK)
        if p.csv_protocol == TCP and not reopened:
            flow.source_is_b = reminder.source_is_b
            cold.carried_us = reminder.carried_us + p.time_us - microseconds(reminder.last_ns)
        if p.time_ns - reminder.last_ns < TIMEOUT_US * 1000 and p.time_ns < table.registers[r.CLOCK]:
            table.counters[_STRAGGLERS] += 1
    start_flow(table, at, p, is_backward(flow, p))
    cold.second_sight = second_sight(table, p)
    table.dues[at].start_ns = p.time_ns
    chain(table.slots, table.chains, at, p.hash)
    due_insert(table, at, _ZERO)
    age_append(table, at, SINGLE)
    table.counters[_CREATED] += 1
    return n


@helper
def is_backward(flow, p):
    """1 for the backward direction, which goes by address alone; ports are not looked at."""
    if p.src_hi == p.dst_hi and p.src_lo == p.dst_lo:
        return 0
    return 1 if p.larger != flow.source_is_b else 0


@inlined
def cut_reason(flow, p):
    """Why the packet ends the flow it belongs to and starts another, or NONE."""
    if p.time_us - microseconds(flow.start_ns) > TIMEOUT_US:
        return _TIMEOUT
    if flow.state == READY and p.tcp_flags & SYN:
        return _REOPENED
    if p.csv_protocol == ICMP or p.csv_protocol == ICMPV6:
        if p.icmp_code != flow.icmp_code and p.icmp_type != flow.icmp_type:
            return _ICMP
    return _NONE


@inlined
def meter_packet(table, p, snapshots, rows, n):
    """One decoded packet into the table -> records so far."""
    clock = table.registers[r.CLOCK]
    at = find(table, p)
    if at >= 0:
        reason = cut_reason(table.flows[at], p)
        if reason != _NONE:
            n = write_record(table, at, rows, n, _FINAL, reason, clock)
            table.counters[_CUT] += 1
            close_flow(table, at)
            at = np.int32(-1)
    if at < 0:
        return new_flow(table, p, rows, n)
    flow = table.flows[at]
    backward = is_backward(flow, p)
    add_packet(table, at, p, backward)
    became_ready = p.csv_protocol == TCP and advance_state(flow, p.tcp_flags, backward)
    if flow.age_class != READY_AGE:
        age_remove(table, at)
        age_append(table, at, READY_AGE if flow.state == READY else ACTIVE_AGE)
    if became_ready:
        n = write_snapshot(table, at, snapshots, rows, n, _READY, clock)
    return n


@helper
def count_protocol(counters, protocol):
    if protocol == TCP:
        counters[_TCP] += 1
    elif protocol == UDP:
        counters[_UDP] += 1
    elif protocol == ICMP or protocol == ICMPV6:
        counters[_ICMPS] += 1
    else:
        counters[_OTHERS] += 1


@kernel
def process(table, batch, first, options, rows):
    """Meter the packets of a Batch from `first` on -> (next packet, records written).

    `rows` (room,) ROW_DTYPE takes the records of one call.
    """
    limit = len(rows)
    n = _ZERO
    counters = table.counters
    for i in range(first, len(batch.offset)):
        if n + ROOM > limit:
            return i, n
        time_ns = batch.timestamp_ns[i]
        if table.registers[r.NEXT_DUE] <= time_ns:
            n, done = write_due(table, time_ns, options.snapshots, rows, n, limit - ROOM)
            if not done:
                return i, n
        if i % GROUP == 0:  # one call may stop within a group: the next then finds it decoded
            look_ahead(table, batch, i, options)
        p = table.packets[i % GROUP]
        counters[_SEEN] += 1
        table.registers[r.CLOCK] = max(table.registers[r.CLOCK], time_ns)
        if p.code != OK:
            counters[_REASON_0 + p.code] += 1
            continue
        counters[_METERED] += 1
        count_protocol(counters, p.protocol)
        n = meter_packet(table, p, options.snapshots, rows, n)
    return len(batch.offset), n


@kernel
def advance(table, now_ns, snapshots, rows):
    """Move the clock without a packet -> (records written, 1 when all that is due was)."""
    n, done = write_due(table, now_ns, snapshots, rows, _ZERO, len(rows))
    if done:
        table.registers[r.CLOCK] = max(table.registers[r.CLOCK], now_ns)
    return n, done


@kernel
def write_remaining(table, order, first, rows):
    """The end of the capture: write the flows of `order` from `first` on -> (next, records).

    They stay in the table: whoever calls this empties it.
    """
    limit = len(rows)
    n = _ZERO
    for i in range(first, len(order)):
        if n >= limit:
            return i, n
        n = write_record(table, order[i], rows, n, _FINAL, _END, table.registers[r.CLOCK])
        table.counters[_AT_END] += 1
    return len(order), n


@kernel
def live_flows(table, order, heads):
    """Fill `order` with the live flows by (flow start, key) -> count; what is due is used up by it.

    `heads` has the first flow of each due list, and is scratch.
    """
    n = 0
    while n < len(order):
        at = take_in_order(table, heads)
        if at < 0:
            break
        order[n] = at
        n += 1
    return n
