"""The flow table's lists: hash chains, due lists, age lists, reminders.  Pure kernels.

A flow is always in exactly one due list and one age list, both doubly linked through its entry.
Due lists are in order of (flow start, key), so each holds its flows in the order in which they
are due; out of order packets are put where they belong.
"""

from __future__ import annotations

import numpy as np

from capture.jit import kernel
from capture.meter import registers as r
from capture.meter.hashing import key_hash
from capture.meter.state import DUE_SECONDS, REMINDER_WAYS
from capture.meter.stats import INDEX

_REPLACED = INDEX["reminders_replaced"]
_EXPIRY = len(DUE_SECONDS) - 1
_DUE_NS = tuple(int(seconds) * 1_000_000_000 for seconds in DUE_SECONDS)
DUE_NS = np.array(_DUE_NS, np.int64)


# --- keys -----------------------------------------------------------------------------------


@kernel
def source_is_larger(p):
    """Whether the packet's source is the key's second end: ends are ordered by address and port."""
    if p.src_hi != p.dst_hi:
        return p.src_hi > p.dst_hi
    if p.src_lo != p.dst_lo:
        return p.src_lo > p.dst_lo
    return p.src_port > p.dst_port


@kernel
def hash_packet(table, p, larger, key_vlan):
    ports = np.uint64(p.src_port) << np.uint64(16) | np.uint64(p.dst_port)
    rest = np.uint64(p.csv_protocol) << np.uint64(32) | np.uint64(p.interface) << np.uint64(16)
    rest |= np.uint64(key_vlan + 1)
    seed = table.registers[r.SEED]
    if larger:
        ports = np.uint64(p.dst_port) << np.uint64(16) | np.uint64(p.src_port)
        return key_hash(seed, p.dst_hi, p.dst_lo, p.src_hi, p.src_lo, ports, rest)
    return key_hash(seed, p.src_hi, p.src_lo, p.dst_hi, p.dst_lo, ports, rest)


@kernel
def same_key(k, p, larger, key_vlan):
    """Whether a flow or a reminder has the key of the packet."""
    if k.csv_protocol != p.csv_protocol or k.interface != p.interface or k.key_vlan != key_vlan:
        return False
    if larger:
        return (
            k.a_lo == p.dst_lo
            and k.b_lo == p.src_lo
            and k.a_port == p.dst_port
            and k.b_port == p.src_port
            and k.a_hi == p.dst_hi
            and k.b_hi == p.src_hi
        )
    return (
        k.a_lo == p.src_lo
        and k.b_lo == p.dst_lo
        and k.a_port == p.src_port
        and k.b_port == p.dst_port
        and k.a_hi == p.src_hi
        and k.b_hi == p.dst_hi
    )


@kernel
def set_key(k, p, larger, key_vlan):
    k.csv_protocol = p.csv_protocol
    k.interface = p.interface
    k.key_vlan = key_vlan
    if larger:
        k.a_hi, k.a_lo, k.a_port = p.dst_hi, p.dst_lo, p.dst_port
        k.b_hi, k.b_lo, k.b_port = p.src_hi, p.src_lo, p.src_port
    else:
        k.a_hi, k.a_lo, k.a_port = p.src_hi, p.src_lo, p.src_port
        k.b_hi, k.b_lo, k.b_port = p.dst_hi, p.dst_lo, p.dst_port


@kernel
def starts_before(x, y):
    """Order of (flow start, key) between two flows; no two flows are equal in it."""
    if x.start_ns != y.start_ns:
        return x.start_ns < y.start_ns
    if x.a_hi != y.a_hi:
        return x.a_hi < y.a_hi
    if x.a_lo != y.a_lo:
        return x.a_lo < y.a_lo
    if x.b_hi != y.b_hi:
        return x.b_hi < y.b_hi
    if x.b_lo != y.b_lo:
        return x.b_lo < y.b_lo
    if x.a_port != y.a_port:
        return x.a_port < y.a_port
    if x.b_port != y.b_port:
        return x.b_port < y.b_port
    if x.csv_protocol != y.csv_protocol:
        return x.csv_protocol < y.csv_protocol
    if x.interface != y.interface:
        return x.interface < y.interface
    return x.key_vlan < y.key_vlan


# --- hash chains ----------------------------------------------------------------------------


@kernel
def find(table, hashed, p, larger, key_vlan):
    """The entry of the flow with the packet's key, or -1."""
    at = table.slots[hashed & np.uint64(len(table.slots) - 1)]
    while at >= 0:
        flow = table.flows[at]
        if flow.hash == hashed and same_key(flow, p, larger, key_vlan):
            return at
        at = table.links[at].hash_next
    return -1


@kernel
def chain(table, at, hashed):
    slot = hashed & np.uint64(len(table.slots) - 1)
    table.flows[at].hash = hashed
    table.links[at].hash_next = table.slots[slot]
    table.slots[slot] = at


@kernel
def unchain(table, at):
    slot = table.flows[at].hash & np.uint64(len(table.slots) - 1)
    walk = table.slots[slot]
    if walk == at:
        table.slots[slot] = table.links[at].hash_next
        return
    while table.links[walk].hash_next != at:
        walk = table.links[walk].hash_next
    table.links[walk].hash_next = table.links[at].hash_next


# --- due lists ------------------------------------------------------------------------------


@kernel
def due_insert(table, at, which):
    """Put a flow into due list `which`, in order; nearly always that is its end."""
    flows, links = table.flows, table.links
    flow = flows[at]
    flow.due_class = which
    after = table.due_ends[which, 1]
    if after >= 0 and starts_before(flow, flows[after]):
        hint = table.due_hint[which]
        if hint >= 0 and starts_before(flow, flows[hint]):
            after = hint
        while after >= 0 and starts_before(flow, flows[after]):
            after = links[after].due_previous
        table.due_hint[which] = at
    before = table.due_ends[which, 0] if after < 0 else links[after].due_next
    links[at].due_previous = after
    links[at].due_next = before
    if after < 0:
        table.due_ends[which, 0] = at
    else:
        links[after].due_next = at
    if before < 0:
        table.due_ends[which, 1] = at
    else:
        links[before].due_previous = at
    due = flow.start_ns + DUE_NS[which]
    if due < table.registers[r.NEXT_DUE] and which < table.registers[r.DUE_CLASSES]:
        table.registers[r.NEXT_DUE] = due


@kernel
def due_remove(table, at):
    links = table.links
    which = table.flows[at].due_class
    before, after = links[at].due_previous, links[at].due_next
    if before < 0:
        table.due_ends[which, 0] = after
    else:
        links[before].due_next = after
    if after < 0:
        table.due_ends[which, 1] = before
    else:
        links[after].due_previous = before
    if table.due_hint[which] == at:
        table.due_hint[which] = before


@kernel
def first_due(table):
    """The flow that is due first by (due time, flow start, key), or -1; sets NEXT_DUE."""
    best = -1
    best_due = r.FAR
    for which in range(table.registers[r.DUE_CLASSES]):
        at = table.due_ends[which, 0]
        if at < 0:
            continue
        due = table.flows[at].start_ns + DUE_NS[which]
        if best < 0 or due < best_due:
            best, best_due = at, due
        elif due == best_due and starts_before(table.flows[at], table.flows[best]):
            best = at
    table.registers[r.NEXT_DUE] = best_due
    return best


# --- age lists ------------------------------------------------------------------------------


@kernel
def age_append(table, at, which):
    tail = table.age_ends[which, 1]
    link = table.links[at]
    table.flows[at].age_class = which
    link.age_previous = tail
    link.age_next = -1
    if tail < 0:
        table.age_ends[which, 0] = at
    else:
        table.links[tail].age_next = at
    table.age_ends[which, 1] = at


@kernel
def age_remove(table, at):
    link = table.links[at]
    which = table.flows[at].age_class
    before, after = link.age_previous, link.age_next
    if before < 0:
        table.age_ends[which, 0] = after
    else:
        table.links[before].age_next = after
    if after < 0:
        table.age_ends[which, 1] = before
    else:
        table.links[after].age_previous = before


@kernel
def overdue(table):
    """The flow longest past its expiry, or -1: there is one only where the clock does not sweep."""
    at = table.due_ends[_EXPIRY, 0]
    if at >= 0 and table.flows[at].start_ns + DUE_NS[_EXPIRY] <= table.registers[r.CLOCK]:
        return at
    return -1


@kernel
def oldest(table):
    """The flow to evict: one-packet flows first, then READY ones, then the one idle longest."""
    for which in range(3):
        if table.age_ends[which, 0] >= 0:
            return table.age_ends[which, 0]
    return -1


# --- reminders ------------------------------------------------------------------------------


@kernel
def bucket_of(table, hashed):
    """First place of the bucket of reminders for a key's hash, and how many places it has."""
    ways = min(REMINDER_WAYS, len(table.reminders))
    return np.int64(hashed & np.uint64(len(table.reminders) // ways - 1)) * ways, ways


@kernel
def tag_of(hashed):
    """Never 0.  A flood asks for reminders that are not there: by tags it reads one cache line."""
    return np.uint16((hashed >> np.uint64(48)) | np.uint64(1))


@kernel
def reminder_of(table, hashed, p, larger, key_vlan):
    """The place of the reminder with the packet's key, or -1."""
    bucket, ways = bucket_of(table, hashed)
    tag = tag_of(hashed)
    for at in range(bucket, bucket + ways):
        if table.tags[at] == tag and same_key(table.reminders[at], p, larger, key_vlan):
            return at
    return -1


@kernel
def remembers(reminder, flow):
    """Whether a reminder in use is that of the flow's key."""
    return (
        reminder.a_lo == flow.a_lo
        and reminder.b_lo == flow.b_lo
        and reminder.a_port == flow.a_port
        and reminder.b_port == flow.b_port
        and reminder.csv_protocol == flow.csv_protocol
        and reminder.a_hi == flow.a_hi
        and reminder.b_hi == flow.b_hi
        and reminder.interface == flow.interface
        and reminder.key_vlan == flow.key_vlan
    )


@kernel
def remember(table, flow, ready, carried_us):
    """Keep what the next piece of this key must know; the bucket's oldest reminder makes room."""
    bucket, ways = bucket_of(table, flow.hash)
    chosen = bucket
    for at in range(bucket, bucket + ways):
        entry = table.reminders[at]
        if table.tags[at] == 0 or remembers(entry, flow):
            chosen = at
            break
        if entry.stamp < table.reminders[chosen].stamp:
            chosen = at
    entry = table.reminders[chosen]
    if table.tags[chosen] != 0 and not remembers(entry, flow):
        table.counters[_REPLACED] += 1
    table.registers[r.STAMP] += 1
    table.tags[chosen] = tag_of(flow.hash)
    entry.stamp = table.registers[r.STAMP]
    entry.a_hi, entry.a_lo, entry.a_port = flow.a_hi, flow.a_lo, flow.a_port
    entry.b_hi, entry.b_lo, entry.b_port = flow.b_hi, flow.b_lo, flow.b_port
    entry.csv_protocol = flow.csv_protocol
    entry.interface = flow.interface
    entry.key_vlan = flow.key_vlan
    entry.source_is_b = flow.source_is_b
    entry.key_is_b = flow.key_is_b
    entry.ready = ready
    entry.last_ns = flow.last_ns
    entry.carried_us = carried_us
