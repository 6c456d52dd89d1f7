"""Packets decoded ahead of their turn, so that memory has time to bring what they will need.

A table of many flows lies in no cache: a packet would wait for main memory at its slot, its flow and
its statistics, one after the other.  So a group of packets is decoded before the first of them is
metered, and each round over the group asks for what the next one reads: their waits overlap.  Pure
kernels; nothing depends on what is found here, a flow is looked up when its packet's turn has come.
"""

from __future__ import annotations

import numpy as np

from capture.jit import inlined
from capture.jit.primitives import prefetch
from capture.meter import registers as r
from capture.meter.decode import OK, decode
from capture.meter.flow import RARE_FLAGS
from capture.meter.state import GROUP
from capture.meter.table import complete_key, oldest, slot_of
from capture.meter.times import microseconds
from capture.meter.tunnels import decode_inside

_FLAGS = 47  # where a TCP segment's flags are in an Ethernet frame: in its first cache line or the second


@inlined
def look_ahead(table, batch, first, options):
    """Decode the group of packets from `first` on, and ask for what metering them will touch."""
    packets, slots, flows, ages = table.packets, table.slots, table.flows, table.ages
    count = min(GROUP, len(batch.offset) - first)
    for i in range(first + GROUP, min(first + 2 * GROUP, len(batch.offset))):
        prefetch(batch.buffer, batch.offset[i])
        prefetch(batch.buffer, batch.offset[i] + _FLAGS)
    for j in range(count):
        p, i = packets[j], first + j
        p.time_ns = batch.timestamp_ns[i]
        p.time_us = microseconds(batch.timestamp_ns[i])
        p.interface = batch.interface[i]
        p.vlan = batch.vlan[i]
        captured, wire = np.int64(batch.captured_length[i]), np.int64(batch.wire_length[i])
        link = np.int64(batch.link_type[i])
        start, count_cut = batch.offset[i], options.count_cut
        if options.decapsulate:
            p.code = decode_inside(batch.buffer, start, captured, wire, link, count_cut, p, table.counters)
        else:
            p.code = decode(batch.buffer, start, captured, wire, link, count_cut, p, table.counters)
        if p.code == OK:
            complete_key(table, p, options.key_vlan)
            prefetch(slots, slot_of(slots, p.hash))
    for j in range(count):
        p = packets[j]
        p.entry = -1
        if p.code != OK:
            continue
        at = slots[slot_of(slots, p.hash)]
        p.entry = at
        if at >= 0:
            prefetch(flows, at)
            prefetch(ages, at)
            if p.tcp_flags & RARE_FLAGS:
                prefetch(table.cold_flows, at)
        else:
            prefetch(table.reminder_slots, slot_of(table.reminder_slots, p.hash))
    for j in range(count):
        p = packets[j]
        at = p.entry
        if at >= 0:
            is_second = (p.larger != flows[at].source_is_b) != flows[at].first_is_backward
            prefetch(table.directions, flows[at].second if is_second else at)
            prefetch(ages, max(0, ages[at].previous))
            prefetch(ages, max(0, ages[at].next))
    if table.registers[r.FREE] < count:
        look_at_victims(table, count)


@inlined
def look_at_victims(table, count):
    """Ask for the flows that will make room if all `count` packets of a group begin one."""
    victim = oldest(table)
    for _ in range(count):
        if victim < 0:
            break
        prefetch(table.directions, victim)
        prefetch(table.slots, slot_of(table.slots, table.chains[victim].hash))
        victim = table.ages[victim].next
        if victim >= 0:
            prefetch(table.flows, victim)
            prefetch(table.chains, victim)


@inlined
def look_at_due(table, at):
    """Ask for the flows that are due after this one: what is known of the next, and of the one after it."""
    after = table.dues[at].next
    if after < 0:
        return
    second = table.flows[after].second
    prefetch(table.directions, second)
    prefetch(table.cold_directions, second)
    after = table.dues[after].next
    if after >= 0:
        prefetch(table.flows, after)
        prefetch(table.cold_flows, after)
        prefetch(table.directions, after)
        prefetch(table.cold_directions, after)
        prefetch(table.dues, table.dues[after].next if table.dues[after].next >= 0 else 0)
