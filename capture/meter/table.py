"""The flow table's lists: hash chains, due lists, age lists, reminders.  Pure kernels.

A flow is always in exactly one due list and one age list, both doubly linked.
Due lists are in order of (flow start, key), so each holds its flows in the order in which they
are due; out of order packets are put where they belong.
"""

from __future__ import annotations

import numpy as np

from capture.jit import helper, inlined
from capture.meter import registers as r
from capture.meter.hashing import key_hash, tuple_hash
from capture.meter.state import DUE_SECONDS, REMINDER_WAYS
from capture.meter.stats import INDEX

_REPLACED = INDEX["reminders_replaced"]
_EXPIRY = len(DUE_SECONDS) - 1
_DUE_NS = tuple(int(seconds) * 1_000_000_000 for seconds in DUE_SECONDS)
DUE_NS = np.array(_DUE_NS, np.int64)


# --- keys -----------------------------------------------------------------------------------


@helper
def source_is_larger(p):
    """Whether the packet's source is the key's second end: ends are ordered by address and port."""
    if p.src_hi != p.dst_hi:
        return p.src_hi > p.dst_hi
    if p.src_lo != p.dst_lo:
        return p.src_lo > p.dst_lo
    return p.src_port > p.dst_port


@inlined
def complete_key(table, p, key_by_vlan):
    """Set what follows from the rest of a packet: order of its ends, VLAN of its key, hashes."""
    p.key_vlan = p.vlan if key_by_vlan else -1
    larger = source_is_larger(p)
    p.larger = larger
    keys = table.hash_keys
    rest = np.uint64(p.interface) << np.uint64(16) | np.uint64(np.uint16(p.key_vlan + 1))
    protocol = np.uint64(p.csv_protocol)
    if larger:
        ports = np.uint64(p.dst_port) << np.uint64(16) | np.uint64(p.src_port)
        hashed = tuple_hash(keys, p.dst_hi, p.dst_lo, p.src_hi, p.src_lo, ports, protocol)
    else:
        ports = np.uint64(p.src_port) << np.uint64(16) | np.uint64(p.dst_port)
        hashed = tuple_hash(keys, p.src_hi, p.src_lo, p.dst_hi, p.dst_lo, ports, protocol)
    p.tuple_hash = hashed
    p.hash = key_hash(keys, hashed, rest)


@helper
def same_key(k, p):
    """Whether a flow or a reminder has the key of the packet."""
    if k.csv_protocol != p.csv_protocol or k.interface != p.interface or k.key_vlan != p.key_vlan:
        return False
    if p.larger:
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


@helper
def set_key(k, p):
    k.csv_protocol = p.csv_protocol
    k.interface = p.interface
    k.key_vlan = p.key_vlan
    if p.larger:
        k.a_hi, k.a_lo, k.a_port = p.dst_hi, p.dst_lo, p.dst_port
        k.b_hi, k.b_lo, k.b_port = p.src_hi, p.src_lo, p.src_port
    else:
        k.a_hi, k.a_lo, k.a_port = p.src_hi, p.src_lo, p.src_port
        k.b_hi, k.b_lo, k.b_port = p.dst_hi, p.dst_lo, p.dst_port


@inlined
def starts_before(table, first, second):
    """Order of (flow start, key) between two flows; no two flows are equal in it."""
    start, other_start = table.dues[first].start_ns, table.dues[second].start_ns
    if start != other_start:
        return start < other_start
    return is_smaller_key(table.flows[first], table.flows[second])


@helper
def is_smaller_key(x, y):
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


@inlined
def slot_of(table, hashed):
    return hashed & np.uint32(len(table.slots) - 1)


@inlined
def find(table, p):
    """The entry of the flow with the packet's key, or -1."""
    at = table.slots[slot_of(table, p.hash)]
    while at >= 0:
        if same_key(table.flows[at], p):
            return at
        at = table.chains[at].next
    return np.int32(-1)


@inlined
def chain(table, at, hashed):
    chains, slot = table.chains, slot_of(table, hashed)
    head = table.slots[slot]
    chains[at].hash = hashed
    chains[at].previous = -1
    chains[at].next = head
    if head >= 0:
        chains[head].previous = at
    table.slots[slot] = at


@inlined
def unchain(table, at):
    chains = table.chains
    before, after = chains[at].previous, chains[at].next
    if before < 0:
        table.slots[slot_of(table, chains[at].hash)] = after
    else:
        chains[before].next = after
    if after >= 0:
        chains[after].previous = before


# --- due lists ------------------------------------------------------------------------------


@inlined
def due_insert(table, at, which):
    """Put a flow into due list `which`, in order; nearly always that is its end."""
    dues = table.dues
    table.flows[at].due_class = which
    after = table.due_ends[which, 1]
    if after >= 0 and starts_before(table, at, after):
        hint = table.due_hint[which]
        if hint >= 0 and starts_before(table, at, hint):
            after = hint
        while after >= 0 and starts_before(table, at, after):
            after = dues[after].previous
        table.due_hint[which] = at
    before = table.due_ends[which, 0] if after < 0 else dues[after].next
    dues[at].previous = after
    dues[at].next = before
    if after < 0:
        table.due_ends[which, 0] = at
    else:
        dues[after].next = at
    if before < 0:
        table.due_ends[which, 1] = at
    else:
        dues[before].previous = at
    due = dues[at].start_ns + DUE_NS[which]
    if due < table.registers[r.NEXT_DUE] and which < table.registers[r.DUE_CLASSES]:
        table.registers[r.NEXT_DUE] = due


@inlined
def due_remove(table, at):
    dues = table.dues
    which = table.flows[at].due_class
    before, after = dues[at].previous, dues[at].next
    if before < 0:
        table.due_ends[which, 0] = after
    else:
        dues[before].next = after
    if after < 0:
        table.due_ends[which, 1] = before
    else:
        dues[after].previous = before
    if table.due_hint[which] == at:
        table.due_hint[which] = before


@inlined
def first_due(table):
    """The flow that is due first by (due time, flow start, key), or -1; sets NEXT_DUE."""
    best = np.int32(-1)
    best_due = r.FAR
    for which in range(table.registers[r.DUE_CLASSES]):
        at = table.due_ends[which, 0]
        if at < 0:
            continue
        due = table.dues[at].start_ns + DUE_NS[which]
        if best < 0 or due < best_due:
            best, best_due = at, due
        elif due == best_due and starts_before(table, at, best):
            best = at
    table.registers[r.NEXT_DUE] = best_due
    return best


# --- age lists ------------------------------------------------------------------------------


@inlined
def age_append(table, at, which):
    ages = table.ages
    tail = table.age_ends[which, 1]
    table.flows[at].age_class = which
    ages[at].previous = tail
    ages[at].next = -1
    if tail < 0:
        table.age_ends[which, 0] = at
    else:
        ages[tail].next = at
    table.age_ends[which, 1] = at


@inlined
def age_remove(table, at):
    ages = table.ages
    which = table.flows[at].age_class
    before, after = ages[at].previous, ages[at].next
    if before < 0:
        table.age_ends[which, 0] = after
    else:
        ages[before].next = after
    if after < 0:
        table.age_ends[which, 1] = before
    else:
        ages[after].previous = before


@inlined
def overdue(table):
    """The flow longest past its expiry, or -1: there is one only where the clock does not sweep."""
    at = table.due_ends[_EXPIRY, 0]
    if at >= 0 and table.dues[at].start_ns + DUE_NS[_EXPIRY] <= table.registers[r.CLOCK]:
        return at
    return np.int32(-1)


@inlined
def oldest(table):
    """The flow to evict: one-packet flows first, then READY ones, then the one idle longest."""
    for which in range(3):
        if table.age_ends[which, 0] >= 0:
            return table.age_ends[which, 0]
    return np.int32(-1)


# --- pools ----------------------------------------------------------------------------------


@inlined
def take(free, registers, pool):
    """An entry of a pool: one that was given back, else the first that never was in use."""
    if registers[pool] > 0:
        registers[pool] -= 1
        return np.int64(free[registers[pool]])
    registers[pool + 1] += 1
    return registers[pool + 1] - 1


@inlined
def give_back(free, registers, pool, at):
    free[registers[pool]] = at
    registers[pool] += 1


# --- reminders ------------------------------------------------------------------------------


@inlined
def bucket_of(table, hashed):
    """First place of the bucket of reminders for a key's hash, and how many places it has."""
    ways = min(REMINDER_WAYS, len(table.reminders))
    return np.int64(hashed & np.uint32(len(table.reminders) // ways - 1)) * ways, ways


@helper
def tag_of(hashed):
    """Never 0.  A flood asks for reminders that are not there: by tags it reads one cache line."""
    return np.uint16((hashed >> np.uint32(16)) | np.uint32(1))


@inlined
def reminder_of(table, p):
    """The place of the reminder with the packet's key, or -1."""
    bucket, ways = bucket_of(table, p.hash)
    tag = tag_of(p.hash)
    for at in range(bucket, bucket + ways):
        if table.tags[at] == tag and same_key(table.reminders[at], p):
            return at
    return -1


@helper
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


@inlined
def remember(table, at, ready, carried_us):
    """Keep what the next piece of a flow's key must know; the bucket's oldest reminder makes room."""
    flow, hashed = table.flows[at], table.chains[at].hash
    bucket, ways = bucket_of(table, hashed)
    tag = tag_of(hashed)
    chosen, replaced = bucket, True
    for place in range(bucket, bucket + ways):
        if table.tags[place] == 0 or (table.tags[place] == tag and remembers(table.reminders[place], flow)):
            chosen, replaced = place, False
            break
        if table.stamps[place] < table.stamps[chosen]:
            chosen = place
    if replaced:
        table.counters[_REPLACED] += 1
    table.registers[r.STAMP] += 1
    table.tags[chosen] = tag
    table.stamps[chosen] = table.registers[r.STAMP]
    entry = table.reminders[chosen]
    entry.a_hi, entry.a_lo, entry.a_port = flow.a_hi, flow.a_lo, flow.a_port
    entry.b_hi, entry.b_lo, entry.b_port = flow.b_hi, flow.b_lo, flow.b_port
    entry.csv_protocol = flow.csv_protocol
    entry.interface = flow.interface
    entry.key_vlan = flow.key_vlan
    entry.source_is_b = flow.source_is_b
    entry.key_is_b = table.cold_flows[at].key_is_b
    entry.ready = ready
    entry.last_ns = flow.last_ns
    entry.carried_us = carried_us
