"""What a flow table is made of: plain arrays, allocated once.

A flow lives in one FLOW_STATE_DTYPE entry and two DIRECTION_STATE_DTYPE entries (forward at
2 * i, backward at 2 * i + 1).  Memory is touched only when an entry is first used, so a large
capacity costs nothing on a small network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from capture.jit import CACHE_LINE, structured
from capture.meter import registers as r
from capture.meter.stats import COUNTERS

#: One decoded packet, the scratch record between decoding and metering.
PACKET_DTYPE = np.dtype(
    [
        ("hash", np.uint64),  # of its flow's key
        ("entry", np.int32),  # where its flow will be looked for first, or -1
        ("code", np.uint8),  # what `decode` returned
        ("larger", np.uint8),  # its source is the key's second end
        ("src_hi", np.uint64),  # IPv4 as ::ffff:a.b.c.d, both halves big-endian numbers
        ("src_lo", np.uint64),
        ("dst_hi", np.uint64),
        ("dst_lo", np.uint64),
        ("time_ns", np.int64),
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
        ("interface", np.uint16),
        ("protocol", np.uint8),
        ("csv_protocol", np.uint8),  # what is in the key
        ("tcp_flags", np.uint8),
    ],
    align=True,
)

#: The statistics of one direction of a flow.  Times in microseconds.
DIRECTION_STATE_DTYPE = np.dtype(
    [
        ("packets", np.uint32),
        ("header_min", np.uint32),
        ("bytes", np.int64),
        ("bytes_squared", np.int64),
        ("length_max", np.uint32),
        ("length_min", np.uint32),
        ("header_bytes", np.int64),
        ("ip_bytes", np.int64),
        ("frame_bytes", np.int64),
        ("psh", np.uint32),
        ("urg", np.uint32),
        ("rst", np.uint32),  # without the flow's first packet, as the reference
        ("data_packets", np.uint32),  # likewise
        ("first_us", np.int64),
        ("last_us", np.int64),
        ("iat_max", np.int64),
        ("iat_min", np.int64),
        ("iat_squared", np.int64),
        ("iat_squared_float", np.float64),  # takes over where the integer would overflow
        ("bulk_start", np.int64),
        ("bulk_last", np.int64),
        ("bulk_run_bytes", np.int64),
        ("bulk_bytes", np.int64),
        ("bulk_time", np.int64),
        ("bulk_run_packets", np.uint32),
        ("bulk_packets", np.uint32),
        ("bulks", np.uint32),
        ("told_packets", np.uint32),  # of the last record of this flow
        ("told_bytes", np.int64),
        ("last_window", np.uint16),
        ("tcp_flags", np.uint8),
        ("fin_seen", np.uint8),
    ],
    align=True,
)

#: Everything of a flow that has no direction, its key, and its links in the table's lists.
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
        ("protocol", np.uint8),
        ("source_is_b", np.uint8),
        ("key_is_b", np.uint8),  # the packet that created the key came from b
        ("state", np.uint8),  # see OPEN, FIRST_FIN, ... in flow.py
        ("revision", np.uint8),
        ("due_class", np.uint8),
        ("age_class", np.uint8),
        ("second_sight", np.uint8),
        ("vlan", np.int16),
        ("icmp_type", np.int16),
        ("icmp_code", np.int16),
        ("first_window", np.uint16),
        ("hash", np.uint64),
        ("start_ns", np.int64),
        ("last_ns", np.int64),
        ("answer_ns", np.int64),
        ("carried_us", np.int64),  # connection time of the pieces before this one
        ("subflows", np.uint32),
        ("flag_counts", np.uint32, (8,)),  # FIN SYN RST PSH ACK URG ECE CWR, in bit order
        ("iat_max", np.int64),
        ("iat_min", np.int64),
        ("iat_squared", np.int64),
        ("iat_squared_float", np.float64),
        ("active_start_us", np.int64),
        ("active_count", np.int64),
        ("active_sum", np.int64),
        ("active_squared", np.float64),
        ("active_max", np.int64),
        ("active_min", np.int64),
        ("idle_count", np.int64),
        ("idle_sum", np.int64),
        ("idle_squared", np.float64),
        ("idle_max", np.int64),
        ("idle_min", np.int64),
    ],
    align=True,
)

#: The neighbours of a flow in its hash chain, due list and age list, -1 at an end.  Apart from the
#: flow, because a packet moves its flow to the end of an age list: that touches its neighbours
#: there, and many of these small entries stay in the cache.
LINK_DTYPE = np.dtype(
    [
        ("hash_next", np.int32),
        ("due_previous", np.int32),
        ("due_next", np.int32),
        ("age_previous", np.int32),
        ("age_next", np.int32),
    ],
    align=True,
)

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
        ("stamp", np.uint64),  # order of writing: the oldest of a bucket is replaced
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

#: Ways of a bucket of the reminder table.
REMINDER_WAYS = 8

_SIGHT_DTYPE = np.dtype([("hash", np.uint64), ("time_ns", np.int64), ("interface", np.int64)], align=True)


class Table(NamedTuple):
    """All state of a meter, as arrays: what the kernels work on."""

    flows: np.ndarray  #: (capacity,) FLOW_STATE_DTYPE
    directions: np.ndarray  #: (2 * capacity,) DIRECTION_STATE_DTYPE
    links: np.ndarray  #: (capacity,) LINK_DTYPE
    slots: np.ndarray  #: (power of two >= 2 * capacity,) int32, head of a hash chain or -1
    due_ends: np.ndarray  #: (classes, 2) int32, head and tail of the list of each due class
    due_hint: np.ndarray  #: (classes,) int32, last place of an insertion out of order
    age_ends: np.ndarray  #: (3, 2) int32
    free: np.ndarray  #: (capacity,) int32, stack of free entries
    reminders: np.ndarray  #: (power of two,) REMINDER_DTYPE, REMINDER_WAYS to a bucket
    tags: np.ndarray  #: (reminders,) uint16, some bits of a reminder's hash; 0 where there is none
    sights: np.ndarray  #: (power of two,) recent flows by 5-tuple, to know a second sight
    registers: np.ndarray  #: int64, see kernels.py: clock, free count, ...
    counters: np.ndarray  #: int64, see stats.py
    packets: np.ndarray  #: (GROUP,) PACKET_DTYPE scratch


def allocate(capacity: int, memory: int, seed: int, sweep: bool) -> Table:
    """An empty table for `capacity` flows and `memory` reminders; `seed` keys its hash.

    Without `sweep` no flow expires by the clock.
    """
    slots = 1 << max(4, (2 * capacity - 1).bit_length())
    reminders = 1 << max(3, (memory - 1).bit_length())
    state = np.zeros(r.COUNT, np.int64)
    state[r.CLOCK] = r.NEVER
    state[r.NEXT_DUE] = r.FAR
    state[r.FREE] = capacity
    state[r.SEED] = seed
    state[r.DUE_CLASSES] = len(DUE_SECONDS) if sweep else len(DUE_SECONDS) - 1
    return Table(
        flows=structured(_zeros(capacity, FLOW_STATE_DTYPE)),
        directions=structured(_zeros(2 * capacity, DIRECTION_STATE_DTYPE)),
        links=structured(_zeros(capacity, LINK_DTYPE)),
        slots=np.full(slots, -1, np.int32),
        due_ends=np.full((len(DUE_SECONDS), 2), -1, np.int32),
        due_hint=np.full(len(DUE_SECONDS), -1, np.int32),
        age_ends=np.full((3, 2), -1, np.int32),
        free=np.arange(capacity - 1, -1, -1, dtype=np.int32),
        reminders=structured(np.zeros(reminders, REMINDER_DTYPE)),
        tags=_zeros(reminders, np.dtype(np.uint16)),
        sights=structured(np.zeros(4096, _SIGHT_DTYPE)),
        registers=state,
        counters=np.zeros(len(COUNTERS), np.int64),
        packets=structured(np.zeros(GROUP, PACKET_DTYPE)),
    )


def _zeros(count: int, dtype: np.dtype) -> np.ndarray:
    """Zeros that begin at a cache line, so that no entry lies across more lines than it must."""
    memory = np.zeros(count * dtype.itemsize + CACHE_LINE, np.uint8)
    first = -memory.ctypes.data % CACHE_LINE
    return memory[first : first + count * dtype.itemsize].view(dtype)
