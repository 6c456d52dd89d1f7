"""What a flow table is made of: plain arrays, allocated once.

A packet finds its flow in memory that no cache holds, so what counts is how many cache lines it
touches: two of its flow, two of its direction.  What only a record, the first packet or few flows
need lies apart (COLD, RARE); the links of the table's lists lie apart too, because a packet that
moves its flow in a list touches its neighbours there, and many small entries stay in the cache.

A flow's own entries have its index.  What not every flow has comes from pools: the state of its
second direction, of bulks and of pauses.  Memory is taken only where an entry was ever used, so a
large capacity costs nothing on a small network.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from capture.meter import registers as r
from capture.meter.memory import zeros
from capture.meter.stats import COUNTERS

#: One decoded packet, the scratch record between decoding and metering.
PACKET_DTYPE = np.dtype(
    [
        ("src_hi", np.uint64),  # IPv4 as ::ffff:a.b.c.d, both halves big-endian numbers
        ("src_lo", np.uint64),
        ("dst_hi", np.uint64),
        ("dst_lo", np.uint64),
        ("time_ns", np.int64),
        ("time_us", np.int64),
        ("tuple_hash", np.uint64),  # of addresses, ports and protocol
        ("hash", np.uint32),  # of its flow's key
        ("entry", np.int32),  # where its flow will be looked for first, or -1
        ("payload", np.int32),  # transport payload, bytes
        ("header", np.int32),  # transport header, bytes
        ("ip_bytes", np.int32),
        ("frame_bytes", np.int32),
        ("src_port", np.uint16),
        ("dst_port", np.uint16),
        ("window", np.uint16),  # TCP, unscaled
        ("icmp_type", np.int16),  # -1: not ICMP
        ("icmp_code", np.int16),
        ("vlan", np.int16),
        ("key_vlan", np.int16),  # the VLAN as far as it is in the key
        ("interface", np.uint16),
        ("protocol", np.uint8),
        ("csv_protocol", np.uint8),  # what is in the key
        ("tcp_flags", np.uint8),
        ("code", np.uint8),  # what `decode` returned
        ("larger", np.uint8),  # its source is the key's second end
    ],
    align=True,
)

#: A flow: its key and what every packet of it touches, two cache lines.
FLOW_STATE_DTYPE = np.dtype(
    [
        ("a_hi", np.uint64),  # the key: ends in order of (address, port), a the smaller
        ("a_lo", np.uint64),
        ("b_hi", np.uint64),
        ("b_lo", np.uint64),
        ("a_port", np.uint16),
        ("b_port", np.uint16),
        ("interface", np.uint16),
        ("key_vlan", np.int16),
        ("csv_protocol", np.uint8),
        ("source_is_b", np.uint8),
        ("state", np.uint8),  # see OPEN, FIRST_FIN, ... in flow.py
        ("age_class", np.uint8),
        ("second", np.int32),  # where the direction is that its first packet did not have
        ("start_ns", np.int64),
        ("last_ns", np.int64),
        ("iat_max", np.int64),
        ("iat_min", np.int64),
        ("iat_squared", np.int64),
        ("bulk_last", np.int64, (2,)),  # us, last packet of the forward and the backward bulk
        ("acks", np.uint32),
        ("first_is_backward", np.uint8),
        ("fins", np.uint8),  # bit 0: a FIN was seen forward, bit 1: backward
        ("has_long_gaps", np.uint8),  # iat_squared_float is in use
        ("due_class", np.uint8),
        ("answer_ns", np.int64),
        ("vlan", np.int16),
        ("icmp_type", np.int16),
        ("icmp_code", np.int16),
        ("first_window", np.uint16),
    ],
    align=True,
)

#: What records, new flows and rare flags of a flow need.
COLD_FLOW_DTYPE = np.dtype(
    [
        ("carried_us", np.int64),  # connection time of the pieces before this one
        ("fin_count", np.uint32),
        ("syn_count", np.uint32),
        ("rst_count", np.uint32),
        ("ece_count", np.uint32),
        ("cwr_count", np.uint32),
        ("no_subflows", np.uint32),  # packets that began none
        ("rare", np.int32),  # in RARE_FLOW_DTYPE, -1: has none
        ("protocol", np.uint8),
        ("key_is_b", np.uint8),  # the packet that created the key came from b
        ("revision", np.uint8),
        ("second_sight", np.uint8),
    ],
    align=True,
)

#: The pauses of a flow that has had one, and what comes between them.  Times in microseconds.
RARE_FLOW_DTYPE = np.dtype(
    [
        ("iat_squared_float", np.float64),  # takes over where the integer would overflow
        ("active_start_us", np.int64),
        ("active_count", np.int64),
        ("active_sum", np.int64),
        ("active_squared", np.float64),
        ("active_max", np.int64),
        ("active_min", np.int64),
        ("idle_count", np.int64),  # 0: no pause yet, and the rest is not valid
        ("idle_sum", np.int64),
        ("idle_squared", np.float64),
        ("idle_max", np.int64),
        ("idle_min", np.int64),
    ],
    align=True,
)

#: The statistics of one direction of a flow, two cache lines.  Times in microseconds.
DIRECTION_STATE_DTYPE = np.dtype(
    [
        ("packets", np.uint32),
        ("last_window", np.uint16),
        ("tcp_flags", np.uint8),
        ("has_long_gaps", np.uint8),  # iat_squared_float is in use
        ("last_us", np.int64),
        ("bytes", np.int64),
        ("bytes_squared", np.int64),
        ("header_bytes", np.int64),
        ("ip_bytes", np.int64),
        ("frame_bytes", np.int64),
        ("length_max", np.uint32),
        ("length_min", np.uint32),
        ("iat_max", np.int64),
        ("iat_min", np.int64),
        ("iat_squared", np.int64),
        ("bulk_start", np.int64),
        ("bulk_run_bytes", np.int64),
        ("rare", np.int32),  # in RARE_DIRECTION_DTYPE, -1: has none
        ("bulk_run_packets", np.uint8),  # more than makes a bulk is not counted
        ("header_min", np.uint8),
        ("psh", np.uint32),
        ("data_packets", np.uint32),  # without the flow's first packet, as the reference
        ("first_us", np.int64),
    ],
    align=True,
)

#: What records and rare flags of a direction need.
COLD_DIRECTION_DTYPE = np.dtype(
    [
        ("told_bytes", np.int64),  # of the last record of this flow
        ("told_packets", np.uint32),
        ("urg", np.uint32),
        ("rst", np.uint32),  # without the flow's first packet, as the reference
    ],
    align=True,
)

#: The bulks of a direction that has had one.
RARE_DIRECTION_DTYPE = np.dtype(
    [
        ("bulk_bytes", np.int64),
        ("bulk_time", np.int64),
        ("bulk_packets", np.uint32),
        ("bulks", np.uint32),
        ("iat_squared_float", np.float64),  # takes over where the integer would overflow
    ],
    align=True,
)

#: The places of a flow in lists, -1 at an end: the chain of its hash, by what is next due, by age.
CHAIN_DTYPE = np.dtype([("hash", np.uint32), ("previous", np.int32), ("next", np.int32)], align=True)
DUE_DTYPE = np.dtype([("start_ns", np.int64), ("previous", np.int32), ("next", np.int32)], align=True)
AGE_DTYPE = np.dtype([("previous", np.int32), ("next", np.int32)], align=True)

#: What is remembered of a key after its flow was written (FEATURES 2.3).
REMINDER_DTYPE = np.dtype(
    [
        ("a_hi", np.uint64),
        ("a_lo", np.uint64),
        ("b_hi", np.uint64),
        ("b_lo", np.uint64),
        ("a_port", np.uint16),
        ("b_port", np.uint16),
        ("interface", np.uint16),
        ("key_vlan", np.int16),
        ("csv_protocol", np.uint8),
        ("source_is_b", np.uint8),
        ("key_is_b", np.uint8),
        ("ready", np.uint8),
        ("last_ns", np.int64),
        ("carried_us", np.int64),
    ],
    align=True,
)

#: A flow is in one of these lists by what is next due: snapshots after 1, 5, 15, 30, 60 s, then
#: expiry 121 s after its start.
DUE_SECONDS = (1, 5, 15, 30, 60, 121)

#: A flow is in one of these lists by when it may be evicted: one-packet flows first (oldest
#: first), then READY ones, then the one idle longest.
SINGLE, READY_AGE, ACTIVE_AGE = 0, 1, 2

#: Packets that are decoded, and whose flows are brought into the cache, ahead of metering them.
GROUP = 16

#: New flows that are kept in mind to know their second sight.
SIGHTS = 4096

#: Secret numbers of the hash, see hashing.py.
HASH_KEYS = 11

_SIGHT_DTYPE = np.dtype(
    [("tuple_hash", np.uint64), ("time_ns", np.int64), ("interface", np.int64)], align=True
)


class Table(NamedTuple):
    """All state of a meter, as arrays: what the kernels work on."""

    flows: np.ndarray  #: (capacity,) FLOW_STATE_DTYPE
    cold_flows: np.ndarray  #: (capacity,) COLD_FLOW_DTYPE
    rare_flows: np.ndarray  #: (capacity,) RARE_FLOW_DTYPE, a pool
    directions: np.ndarray  #: (2 * capacity + 1,) DIRECTION_STATE_DTYPE: of each flow's first packet,
    #: then one that stays empty, the other one of a flow that has none, then a pool of others
    cold_directions: np.ndarray  #: (2 * capacity + 1,) COLD_DIRECTION_DTYPE
    rare_directions: np.ndarray  #: (2 * capacity,) RARE_DIRECTION_DTYPE, a pool
    chains: np.ndarray  #: (capacity,) CHAIN_DTYPE
    dues: np.ndarray  #: (capacity,) DUE_DTYPE
    ages: np.ndarray  #: (capacity,) AGE_DTYPE
    slots: np.ndarray  #: (power of two >= 2 * capacity,) int32, head of a hash chain or -1
    due_ends: np.ndarray  #: (classes, 2) int32, head and tail of the list of each due class
    late: np.ndarray  #: (classes, capacity) int32, heap of each due class
    late_counts: np.ndarray  #: (classes,) int32, flows in it
    age_ends: np.ndarray  #: (3, 2) int32
    free: np.ndarray  #: (capacity,) int32, stack of free entries
    free_seconds: np.ndarray  #: (capacity,) int32, stack of what was given back to a pool
    free_rare_flows: np.ndarray  #: (capacity,) int32, likewise
    free_rare_directions: np.ndarray  #: (2 * capacity,) int32, likewise
    reminders: np.ndarray  #: (memory,) REMINDER_DTYPE, a ring
    reminder_chains: np.ndarray  #: (memory,) CHAIN_DTYPE
    reminder_slots: np.ndarray  #: (power of two >= 2 * memory,) int32, head of a hash chain or -1
    sights: np.ndarray  #: (SIGHTS,) recent flows by 5-tuple, to know a second sight, a ring
    sight_chains: np.ndarray  #: (SIGHTS,) CHAIN_DTYPE
    sight_slots: np.ndarray  #: (2 * SIGHTS,) int32, head of a hash chain or -1
    hash_keys: np.ndarray  #: (HASH_KEYS,) uint64
    registers: np.ndarray  #: int64, see registers.py: clock, free count, ...
    counters: np.ndarray  #: int64, see stats.py
    packets: np.ndarray  #: (GROUP,) PACKET_DTYPE scratch


def allocate(capacity: int, memory: int, seed: int, sweep: bool) -> Table:
    """An empty table for `capacity` flows and `memory` reminders; `seed` keys its hash.

    Without `sweep` no flow expires by the clock.
    """
    places = np.dtype(np.int32)
    classes = len(DUE_SECONDS)
    table = Table(
        flows=zeros(capacity, FLOW_STATE_DTYPE, scattered=True),
        cold_flows=zeros(capacity, COLD_FLOW_DTYPE, scattered=True),
        rare_flows=zeros(capacity, RARE_FLOW_DTYPE),
        directions=zeros(2 * capacity + 1, DIRECTION_STATE_DTYPE, scattered=True),
        cold_directions=zeros(2 * capacity + 1, COLD_DIRECTION_DTYPE, scattered=True),
        rare_directions=zeros(2 * capacity, RARE_DIRECTION_DTYPE),
        chains=zeros(capacity, CHAIN_DTYPE, scattered=True),
        dues=zeros(capacity, DUE_DTYPE, scattered=True),
        ages=zeros(capacity, AGE_DTYPE, scattered=True),
        slots=zeros(_slots(capacity), places, scattered=True),
        due_ends=np.zeros((classes, 2), np.int32),
        late=zeros(classes * capacity, places).reshape(classes, capacity),
        late_counts=np.zeros(classes, np.int32),
        age_ends=np.zeros((3, 2), np.int32),
        free=zeros(capacity, places),
        free_seconds=zeros(capacity, places),
        free_rare_flows=zeros(capacity, places),
        free_rare_directions=zeros(2 * capacity, places),
        reminders=zeros(memory, REMINDER_DTYPE),
        reminder_chains=zeros(memory, CHAIN_DTYPE),
        reminder_slots=zeros(_slots(memory), places, scattered=True),
        sights=zeros(SIGHTS, _SIGHT_DTYPE),
        sight_chains=zeros(SIGHTS, CHAIN_DTYPE),
        sight_slots=zeros(_slots(SIGHTS), places),
        hash_keys=_hash_keys(seed),
        registers=np.zeros(r.COUNT, np.int64),
        counters=np.zeros(len(COUNTERS), np.int64),
        packets=zeros(GROUP, PACKET_DTYPE),
    )
    table.registers[r.CLOCK] = r.NEVER
    table.registers[r.DUE_CLASSES] = classes if sweep else classes - 1
    table.directions[capacity]["rare"] = -1
    empty(table)
    return table


def empty(table: Table) -> None:
    """Let go of all flows at once, and of what was remembered of others; clock and counters stay."""
    for heads in (table.slots, table.reminder_slots, table.sight_slots, table.due_ends, table.age_ends):
        heads.fill(-1)
    table.late_counts.fill(0)
    capacity = len(table.flows)
    table.free[:] = np.arange(capacity - 1, -1, -1)
    table.registers[r.FREE] = capacity
    table.registers[r.NEXT_DUE] = r.FAR
    table.registers[r.SECONDS : r.COUNT] = 0


def _slots(entries: int) -> int:
    """Slots for the hash chains of so many entries."""
    return 1 << max(4, (2 * entries - 1).bit_length())


def _hash_keys(seed: int) -> np.ndarray:
    """(HASH_KEYS,) uint64 that nobody guesses who does not know the seed."""
    digest = hashlib.shake_256(seed.to_bytes(16, "little", signed=True)).digest(8 * HASH_KEYS)
    return np.frombuffer(digest, np.uint64).copy()
