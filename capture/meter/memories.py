"""What is remembered of flows besides the live ones: ended keys, and first sights.  Pure kernels.

Both are rings: an entry is written behind the one before it, and the oldest makes room.  Hash chains only
find an entry, so what is forgotten does not depend on the key of the hash.
"""

from __future__ import annotations

import numpy as np

from capture.jit import helper, inlined
from capture.meter import registers as r
from capture.meter.hashing import upper_half
from capture.meter.stats import INDEX
from capture.meter.table import chain, same_key, slot_of, unchain

SIGHT_NS = 100_000_000  # the second sight of a forwarded flow comes within this time

_REPLACED, _SECOND = INDEX["reminders_replaced"], INDEX["second_sights"]
_GONE = -2  # in the place of the entry before in a chain: this one is in none


@inlined
def next_place(slots, chains, registers, ring):
    """The place of one more entry -> (place, whether an older one had to go for it)."""
    place = registers[ring] % len(chains)
    replaced = registers[ring] >= len(chains) and chains[place].previous != _GONE
    if replaced:
        unchain(slots, chains, place)
    registers[ring] += 1
    return place, replaced


@inlined
def drop(slots, chains, at):
    """Forget an entry; its place stays empty until its turn comes."""
    unchain(slots, chains, at)
    chains[at].previous = _GONE


# --- reminders ------------------------------------------------------------------------------


@inlined
def reminder_of(table, p):
    """The place of the reminder with the packet's key, or -1."""
    chains = table.reminder_chains
    at = table.reminder_slots[slot_of(table.reminder_slots, p.hash)]
    while at >= 0:
        if chains[at].hash == p.hash and same_key(table.reminders[at], p):
            return at
        at = chains[at].next
    return np.int32(-1)


@helper
def remembers(reminder, flow):
    """Whether a reminder is that of the flow's key."""
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
    """Keep what the next piece of a flow's key must know, in the place of what was kept before."""
    slots, chains = table.reminder_slots, table.reminder_chains
    flow, hashed = table.flows[at], table.chains[at].hash
    known = slots[slot_of(slots, hashed)]
    while known >= 0:
        if chains[known].hash == hashed and remembers(table.reminders[known], flow):
            drop(slots, chains, known)
            break
        known = chains[known].next
    place, replaced = next_place(slots, chains, table.registers, r.REMINDERS)
    if replaced:
        table.counters[_REPLACED] += 1
    chain(slots, chains, place, hashed)
    entry = table.reminders[place]
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


# --- sights ---------------------------------------------------------------------------------


@inlined
def second_sight(table, p):
    """1 when the same 5-tuple started on another interface less than 100 ms ago."""
    slots, chains = table.sight_slots, table.sight_chains
    hashed = upper_half(p.tuple_hash)
    at = slots[slot_of(slots, hashed)]
    while at >= 0:
        sight = table.sights[at]
        if sight.tuple_hash == p.tuple_hash:
            gap = p.time_ns - sight.time_ns
            if sight.interface != p.interface and gap >= 0 and gap < SIGHT_NS:
                table.counters[_SECOND] += 1
                return 1
            drop(slots, chains, at)
            break
        at = chains[at].next
    place, _ = next_place(slots, chains, table.registers, r.SIGHTS)
    chain(slots, chains, place, hashed)
    sight = table.sights[place]
    sight.tuple_hash = p.tuple_hash
    sight.time_ns = p.time_ns
    sight.interface = p.interface
    return 0
