"""Packets through the flow table to records: the driver of the meter's kernels.

`process` takes packets of a batch until they or the room for records run out, and can be called
again from where it stopped.  Records come out in the order in which they are due, whatever the
batches: before a packet is metered, everything due at or before its time is written, so a record
shows the state before the first packet at or after its due time.
"""

from __future__ import annotations

import numpy as np

from capture.columns import Close, Kind
from capture.jit import kernel, prefetch
from capture.meter import registers as r
from capture.meter.decode import ICMP, ICMPV6, OK, TCP, UDP, decode
from capture.meter.flow import (
    ACK,
    READY,
    SYN,
    add_packet,
    advance_state,
    start_flow,
    write_features,
    write_identity,
)
from capture.meter.hashing import combine
from capture.meter.state import ACTIVE_AGE, DUE_SECONDS, GROUP, READY_AGE, SINGLE
from capture.meter.stats import INDEX
from capture.meter.table import (
    DUE_NS,
    age_append,
    age_remove,
    bucket_of,
    chain,
    due_insert,
    due_remove,
    find,
    first_due,
    hash_packet,
    oldest,
    overdue,
    remember,
    reminder_of,
    set_key,
    source_is_larger,
    starts_before,
    unchain,
)
from capture.meter.tunnels import decode_inside

TIMEOUT_US = 120_000_000
EXPIRY = len(DUE_SECONDS) - 1
SIGHT_NS = 100_000_000  # the second sight of a forwarded flow comes within this time
ROOM = 3  # records that one packet can yield besides those that were due

_FINAL, _SNAPSHOT, _EVICTED = int(Kind.FINAL), int(Kind.SNAPSHOT), int(Kind.EVICTED)
_NONE, _READY, _TIMEOUT = int(Close.NONE), int(Close.READY), int(Close.TIMEOUT)
_EXPIRED, _REOPENED, _ICMP = int(Close.EXPIRED), int(Close.REOPENED), int(Close.ICMP)
_TABLE_FULL, _END = int(Close.EVICTED), int(Close.END)

_SEEN, _METERED = INDEX["packets_seen"], INDEX["packets_metered"]
_REASON_0 = INDEX["arp"] - 1  # decode's codes follow OK = 0 in the order of the counters
_TCP, _UDP, _ICMPS, _OTHERS = INDEX["tcp"], INDEX["udp"], INDEX["icmp"], INDEX["other_protocols"]
_CREATED, _N_EXPIRED, _CUT = INDEX["flows_created"], INDEX["flows_expired"], INDEX["flows_cut"]
_N_EVICTED, _AT_END, _SNAPSHOTS = INDEX["flows_evicted"], INDEX["flows_at_end"], INDEX["snapshots"]
_STRAGGLERS, _SECOND = INDEX["stragglers"], INDEX["second_sights"]


@kernel
def write_record(table, at, identity, features, n, kind, close, time_ns):
    f, b = table.directions[2 * at], table.directions[2 * at + 1]
    write_identity(identity[n], table.flows[at], f, b, kind, close, time_ns)
    write_features(features[n], table.flows[at], f, b)
    return n + 1


@kernel
def news(table, at):
    """Packets of a flow since its last record."""
    f, b = table.directions[2 * at], table.directions[2 * at + 1]
    return (int(f.packets) - int(f.told_packets)) + (int(b.packets) - int(b.told_packets))


@kernel
def release(table, at):
    """Take a written flow out of every list; its entry is free again."""
    unchain(table, at)
    due_remove(table, at)
    age_remove(table, at)
    table.free[table.registers[r.FREE]] = at
    table.registers[r.FREE] += 1


@kernel
def close_flow(table, at):
    """Remember what the next piece of the key needs, and release the flow."""
    flow = table.flows[at]
    carried = 0
    if flow.csv_protocol == TCP:
        carried = flow.carried_us + flow.last_ns // 1000 - flow.start_ns // 1000
    remember(table, flow, flow.state == READY, carried)
    release(table, at)


@kernel
def write_due(table, until_ns, snapshots, identity, features, n, limit):
    """Write what is due at or before `until_ns` -> (records so far, 1 when all of it was)."""
    while table.registers[r.NEXT_DUE] <= until_ns:
        if n >= limit:
            return n, False
        at = first_due(table)
        if at < 0 or table.registers[r.NEXT_DUE] > until_ns:
            break
        flow = table.flows[at]
        which = flow.due_class
        # a flow that starts behind the clock is due late, and then now
        due = max(flow.start_ns + DUE_NS[which], table.registers[r.CLOCK])
        if which == EXPIRY:
            n = write_record(table, at, identity, features, n, _FINAL, _EXPIRED, due)
            table.counters[_N_EXPIRED] += 1
            close_flow(table, at)
        else:
            if news(table, at) > 0:
                if snapshots:
                    n = write_record(table, at, identity, features, n, _SNAPSHOT, _NONE, due)
                    table.counters[_SNAPSHOTS] += 1
                else:
                    write_record(table, at, identity, features, limit, _SNAPSHOT, _NONE, due)
            due_remove(table, at)
            due_insert(table, at, which + 1)
        table.registers[r.CLOCK] = max(table.registers[r.CLOCK], due)
        first_due(table)
    return n, True


@kernel
def new_flow(table, p, key_vlan, identity, features, n):
    """Start a flow with the packet; makes room first when the table is full."""
    expired = overdue(table) if table.registers[r.FREE] == 0 else -1
    if expired >= 0:
        n = write_record(table, expired, identity, features, n, _FINAL, _EXPIRED, table.registers[r.CLOCK])
        table.counters[_N_EXPIRED] += 1
        close_flow(table, expired)
    elif table.registers[r.FREE] == 0:
        victim = oldest(table)
        n = write_record(
            table, victim, identity, features, n, _EVICTED, _TABLE_FULL, table.registers[r.CLOCK]
        )
        table.counters[_N_EVICTED] += 1
        if table.flows[victim].age_class == SINGLE:
            release(table, victim)  # a flood must not wash out the reminders of real flows
        else:
            close_flow(table, victim)
    table.registers[r.FREE] -= 1
    at = table.free[table.registers[r.FREE]]
    flow = table.flows[at]
    larger = p.larger
    set_key(flow, p, larger, key_vlan)
    flow.source_is_b = larger
    flow.key_is_b = larger
    flow.carried_us = 0
    known = reminder_of(table, p.hash, p, larger, key_vlan)
    if known >= 0:
        reminder = table.reminders[known]
        flow.key_is_b = reminder.key_is_b
        reopened = reminder.ready and (p.tcp_flags & SYN) and not (p.tcp_flags & ACK)
        if p.csv_protocol == TCP and not reopened:
            flow.source_is_b = reminder.source_is_b
            flow.carried_us = reminder.carried_us + p.time_ns // 1000 - reminder.last_ns // 1000
        if p.time_ns - reminder.last_ns < TIMEOUT_US * 1000 and p.time_ns < table.registers[r.CLOCK]:
            table.counters[_STRAGGLERS] += 1
    start_flow(flow, table.directions[2 * at], table.directions[2 * at + 1], p, is_backward(flow, p, larger))
    flow.second_sight = second_sight(table, p, larger)
    chain(table, at, p.hash)
    due_insert(table, at, 0)
    age_append(table, at, SINGLE)
    table.counters[_CREATED] += 1
    return n


@kernel
def is_backward(flow, p, larger):
    """Direction goes by address alone; ports are not looked at."""
    if p.src_hi == p.dst_hi and p.src_lo == p.dst_lo:
        return False
    return larger != flow.source_is_b


@kernel
def second_sight(table, p, larger):
    """1 when the same 5-tuple started on another interface less than 100 ms ago."""
    ports = np.uint64(p.src_port) << np.uint64(16) | np.uint64(p.dst_port)
    if larger:
        ports = np.uint64(p.dst_port) << np.uint64(16) | np.uint64(p.src_port)
    low, high = min(p.src_lo, p.dst_lo), max(p.src_lo, p.dst_lo)
    hashed = combine(combine(combine(np.uint64(table.registers[r.SEED]), low), high), ports)
    hashed = combine(combine(hashed, p.src_hi ^ p.dst_hi), np.uint64(p.csv_protocol))
    sight = table.sights[hashed & np.uint64(len(table.sights) - 1)]
    gap = p.time_ns - sight.time_ns
    if sight.hash == hashed and sight.interface != p.interface and gap >= 0 and gap < SIGHT_NS:
        table.counters[_SECOND] += 1
        return 1
    sight.hash = hashed
    sight.time_ns = p.time_ns
    sight.interface = p.interface
    return 0


@kernel
def cut_reason(flow, p):
    """Why the packet ends the flow it belongs to and starts another, or 0."""
    if p.time_ns // 1000 - flow.start_ns // 1000 > TIMEOUT_US:
        return _TIMEOUT
    if flow.state == READY and p.tcp_flags & SYN:
        return _REOPENED
    if p.csv_protocol == ICMP or p.csv_protocol == ICMPV6:
        if p.icmp_code != flow.icmp_code and p.icmp_type != flow.icmp_type:
            return _ICMP
    return 0


@kernel
def meter_packet(table, p, key_by_vlan, snapshots, identity, features, n, limit):
    """One decoded packet into the table -> records so far."""
    key_vlan = p.vlan if key_by_vlan else -1
    larger = p.larger
    at = find(table, p.hash, p, larger, key_vlan)
    if at >= 0:
        reason = cut_reason(table.flows[at], p)
        if reason != 0:
            n = write_record(table, at, identity, features, n, _FINAL, reason, table.registers[r.CLOCK])
            table.counters[_CUT] += 1
            close_flow(table, at)
            at = -1
    if at < 0:
        return new_flow(table, p, key_vlan, identity, features, n)
    flow = table.flows[at]
    backward = is_backward(flow, p, larger)
    own = table.directions[2 * at + backward]
    other = table.directions[2 * at + 1 - backward]
    add_packet(flow, own, other, p, backward)
    became_ready = p.csv_protocol == TCP and advance_state(flow, own, other, p.tcp_flags)
    if flow.age_class != READY_AGE:
        age_remove(table, at)
        age_append(table, at, READY_AGE if flow.state == READY else ACTIVE_AGE)
    if became_ready:
        if snapshots:
            n = write_record(table, at, identity, features, n, _SNAPSHOT, _READY, table.registers[r.CLOCK])
            table.counters[_SNAPSHOTS] += 1
        else:
            write_record(table, at, identity, features, limit, _SNAPSHOT, _READY, table.registers[r.CLOCK])
    return n


@kernel
def look_ahead(
    table,
    buffer,
    offset,
    captured_length,
    wire_length,
    timestamp_ns,
    interface,
    vlan,
    link_type,
    first,
    key_by_vlan,
    count_cut,
    decapsulate,
):
    """Decode the group of packets from `first` on, and ask for what metering them will touch.

    Most of a packet's cost is waiting for its flow to come from memory.  Asked for in three
    rounds, each over the whole group, the waits of its packets overlap: the slot of the hash
    table, the flow that is first in it, that flow's neighbours in its age list.  Nothing depends
    on what is found here: the flow is looked up when its packet's turn has come.
    """
    packets, slots, links = table.packets, table.slots, table.links
    count = min(GROUP, len(offset) - first)
    for j in range(count):
        i = first + j
        p = packets[j]
        p.time_ns = timestamp_ns[i]
        p.interface = interface[i]
        p.vlan = vlan[i]
        p.entry = -1
        start, captured, wire = offset[i], int(captured_length[i]), int(wire_length[i])
        link = int(link_type[i])
        if decapsulate:
            p.code = decode_inside(buffer, start, captured, wire, link, count_cut, p, table.counters)
        else:
            p.code = decode(buffer, start, captured, wire, link, count_cut, p, table.counters)
        if p.code == OK:
            p.larger = source_is_larger(p)
            p.hash = hash_packet(table, p, p.larger, p.vlan if key_by_vlan else -1)
            prefetch(slots, p.hash & np.uint64(len(slots) - 1))
    for j in range(count):
        p = packets[j]
        if p.code != OK:
            continue
        at = slots[p.hash & np.uint64(len(slots) - 1)]
        p.entry = at
        if at >= 0:
            prefetch(table.flows, at)
            prefetch(links, at)
            prefetch(table.directions, 2 * at)
            prefetch(table.directions, 2 * at + 1)
        else:
            bucket, _ = bucket_of(table, p.hash)
            prefetch(table.tags, bucket)
    for j in range(count):
        at = packets[j].entry
        if at >= 0:
            prefetch(links, max(0, links[at].age_previous))
            prefetch(links, max(0, links[at].age_next))
    if table.registers[r.FREE] < count:
        look_at_victims(table, count)


@kernel
def look_at_victims(table, count):
    """Ask for the flows that will make room if all `count` packets of a group begin one."""
    victim = oldest(table)
    for _ in range(count):
        if victim < 0:
            break
        prefetch(table.directions, 2 * victim)
        prefetch(table.directions, 2 * victim + 1)
        prefetch(table.slots, table.flows[victim].hash & np.uint64(len(table.slots) - 1))
        victim = table.links[victim].age_next
        if victim >= 0:
            prefetch(table.flows, victim)


@kernel
def process(
    table,
    buffer,
    offset,
    captured_length,
    wire_length,
    timestamp_ns,
    interface,
    vlan,
    link_type,
    first,
    key_by_vlan,
    count_cut,
    decapsulate,
    snapshots,
    identity,
    features,
):
    """Meter packets from `first` on -> (next packet, records written).

    `identity` and `features` have one row more than records are returned in one call: the last
    one is a scratch for snapshots that nobody wants, which keeps final records the same.
    """
    limit = len(identity) - 1
    n = 0
    counters = table.counters
    for i in range(first, len(offset)):
        if n + ROOM > limit:
            return i, n
        time_ns = timestamp_ns[i]
        if table.registers[r.NEXT_DUE] <= time_ns:
            n, done = write_due(table, time_ns, snapshots, identity, features, n, limit - ROOM)
            if not done:
                return i, n
        if i % GROUP == 0:  # one call may stop within a group: the next then finds it decoded
            look_ahead(
                table,
                buffer,
                offset,
                captured_length,
                wire_length,
                timestamp_ns,
                interface,
                vlan,
                link_type,
                i,
                key_by_vlan,
                count_cut,
                decapsulate,
            )
        p = table.packets[i % GROUP]
        counters[_SEEN] += 1
        table.registers[r.CLOCK] = max(table.registers[r.CLOCK], time_ns)
        if p.code != OK:
            counters[_REASON_0 + p.code] += 1
            continue
        counters[_METERED] += 1
        if p.protocol == TCP:
            counters[_TCP] += 1
        elif p.protocol == UDP:
            counters[_UDP] += 1
        elif p.protocol == ICMP or p.protocol == ICMPV6:
            counters[_ICMPS] += 1
        else:
            counters[_OTHERS] += 1
        n = meter_packet(table, p, key_by_vlan, snapshots, identity, features, n, limit)
    return len(offset), n


@kernel
def advance(table, now_ns, snapshots, identity, features):
    """Move the clock without a packet -> (records written, 1 when all that is due was)."""
    n, done = write_due(table, now_ns, snapshots, identity, features, 0, len(identity) - 1)
    if done:
        table.registers[r.CLOCK] = max(table.registers[r.CLOCK], now_ns)
    return n, done


@kernel
def write_remaining(table, order, first, identity, features):
    """The end of the capture: write the flows of `order` from `first` on -> (next, records)."""
    limit = len(identity) - 1
    n = 0
    for i in range(first, len(order)):
        if n >= limit:
            return i, n
        n = write_record(table, order[i], identity, features, n, _FINAL, _END, table.registers[r.CLOCK])
        table.counters[_AT_END] += 1
        close_flow(table, order[i])
    return len(order), n


@kernel
def live_flows(table, order, heads):
    """Fill `order` with the live flows by (flow start, key), merging the due lists -> count.

    `heads` is scratch, an entry a due list.
    """
    for which in range(len(DUE_NS)):
        heads[which] = table.due_ends[which, 0]
    n = 0
    while True:
        best = -1
        for which in range(len(DUE_NS)):
            at = heads[which]
            if at >= 0 and (best < 0 or starts_before(table.flows[at], table.flows[heads[best]])):
                best = which
        if best < 0:
            return n
        order[n] = heads[best]
        heads[best] = table.links[heads[best]].due_next
        n += 1
