"""The flow table: keys, hash chains, age lists and pools.  Pure kernels.

A live flow is in one chain, in one age list, and in the list of what is next due (due.py).
"""

from __future__ import annotations

import numpy as np

from capture.jit import helper, inlined
from capture.meter.hashing import key_hash, tuple_hash

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


# --- hash chains ----------------------------------------------------------------------------


@inlined
def slot_of(slots, hashed):
    return hashed & np.uint32(len(slots) - 1)


@inlined
def find(table, p):
    """The entry of the flow with the packet's key, or -1."""
    at = table.slots[slot_of(table.slots, p.hash)]
    while at >= 0:
        if same_key(table.flows[at], p):
            return at
        at = table.chains[at].next
    return np.int32(-1)


@inlined
def chain(slots, chains, at, hashed):
    slot = slot_of(slots, hashed)
    head = slots[slot]
    chains[at].hash = hashed
    chains[at].previous = -1
    chains[at].next = head
    if head >= 0:
        chains[head].previous = at
    slots[slot] = at


@inlined
def unchain(slots, chains, at):
    before, after = chains[at].previous, chains[at].next
    if before < 0:
        slots[slot_of(slots, chains[at].hash)] = after
    else:
        chains[before].next = after
    if after >= 0:
        chains[after].previous = before


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
