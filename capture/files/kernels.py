"""Index the packet records of a piece of a capture: pure functions over arrays.

Each kernel walks `buffer[start:end]` record by record and writes one entry a packet into the
arrays of a `PacketIndex`, from entry `count` on.  It stops before the first record that it
cannot or must not take and says why by one of the codes below; the Python around it decides
what that means.  Captured bytes are not touched.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from capture.jit import helper, kernel
from capture.jit.primitives import u16, u16_little, u32, u32_little

Bytes = npt.NDArray[np.uint8]

#: Why a kernel stopped.
MORE = 0  #: the record at the position is not whole yet, or nothing is left
FULL = 1  #: the index is full
LENGTH = 2  #: a length that no record can have
SECTION = 3  #: a pcapng Section Header Block
INTERFACE = 4  #: a pcapng Interface Description Block
SKIP = 5  #: a pcapng block of no interest that is not whole yet
TRAILER = 6  #: a pcapng block whose two lengths differ
UNDECLARED = 7  #: a packet of an interface that was not described
ZEROS = 8  #: a pcap record header of zeros: no packet has no length and no time
STATISTICS = 9  #: a pcapng Interface Statistics Block, whole

SECTION_HEADER_BLOCK = 0x0A0D0D0A
INTERFACE_BLOCK, PACKET_BLOCK, SIMPLE_PACKET_BLOCK, ENHANCED_PACKET_BLOCK = 1, 2, 3, 6
STATISTICS_BLOCK = 5

#: libpcap's largest snap length, and some room for what writers put before a frame.
MAXIMUM_CAPTURED = 262_144 + 4_096
#: Of a packet on the wire, twice what a card puts together; what says more is taken as this.
MAXIMUM_WIRE = 1 << 20
#: A packet with its options; nothing longer has to be held in memory as a whole.
MAXIMUM_BLOCK = 1 << 20

#: Farther times are set to it: 200 s before the end of what 64 bits of nanoseconds hold (year 2262),
#: so that a meter can add the longest time that it waits for, 121 s.
LAST_SECOND = 9_223_371_835


class PacketIndex(NamedTuple):
    """Columns of a PacketBatch while they are being filled; all (capacity,)."""

    offset: npt.NDArray[np.int64]
    captured_length: npt.NDArray[np.uint32]
    wire_length: npt.NDArray[np.uint32]
    timestamp_ns: npt.NDArray[np.int64]
    interface: npt.NDArray[np.uint16]
    link_type: npt.NDArray[np.uint16]

    @classmethod
    def allocate(cls, capacity: int) -> PacketIndex:
        return cls(
            offset=np.zeros(capacity, np.int64),
            captured_length=np.zeros(capacity, np.uint32),
            wire_length=np.zeros(capacity, np.uint32),
            timestamp_ns=np.zeros(capacity, np.int64),
            interface=np.zeros(capacity, np.uint16),
            link_type=np.zeros(capacity, np.uint16),
        )


#: One interface of a pcapng section.  A time stamp of t ticks is t // coarsen units of
#: 1 / per_second seconds; both are at least 1 and per_second at most 2^32.  `left_out` counts packets
#: of a link type that is not `supported`.
INTERFACE_DTYPE = np.dtype(
    [
        ("link_type", np.uint16),
        ("index", np.uint16),
        ("supported", np.bool_),
        ("snaplen", np.uint32),
        ("left_out", np.int64),
        ("coarsen", np.uint64),
        ("per_second", np.uint64),
        ("offset_s", np.int64),
    ],
    align=True,
)


@helper
def _u16(buffer: Bytes, at: int, big_endian: bool) -> Any:
    return u16(buffer, at) if big_endian else u16_little(buffer, at)


@helper
def _u32(buffer: Bytes, at: int, big_endian: bool) -> Any:
    return u32(buffer, at) if big_endian else u32_little(buffer, at)


@kernel
def nanoseconds(high: Any, low: Any, coarsen: Any, per_second: Any, offset_s: Any) -> Any:
    """A pcapng time stamp (two 32-bit halves) as nanoseconds since the epoch, int64."""
    units = (np.uint64(high) << np.uint64(32) | np.uint64(low)) // coarsen
    whole = units // per_second
    fraction = np.int64((units % per_second) * np.uint64(1_000_000_000) // per_second)
    seconds = np.int64(min(whole, np.uint64(LAST_SECOND)))
    # The sum of two numbers of which one may be near the end of its range: compare first.
    if offset_s > LAST_SECOND - seconds:
        seconds = np.int64(LAST_SECOND)
    elif offset_s < -LAST_SECOND - seconds:
        seconds = np.int64(-LAST_SECOND)
    else:
        seconds += offset_s
    return seconds * np.int64(1_000_000_000) + fraction


@kernel
def index_pcap(
    buffer: Bytes,
    start: int,
    end: int,
    big_endian: bool,
    record_header: int,
    fraction_ns: int,
    index: PacketIndex,
) -> tuple[int, int, int]:
    """Index classic pcap records, into an empty index.

    `record_header` is 16 bytes, or 24 in the modified format; `fraction_ns` is what one unit of
    the second time field is worth.  Writes offset, lengths and times only: the rest is the same
    for all packets of such a file.  Returns (count, position, code).
    """
    count, position = 0, start
    while count < len(index.offset):
        if end - position < record_header:
            return count, position, MORE
        captured = _u32(buffer, position + 8, big_endian)
        if captured > MAXIMUM_CAPTURED:
            return count, position, LENGTH
        if end - position - record_header < captured:
            return count, position, MORE
        seconds = _u32(buffer, position, big_endian)
        fraction = _u32(buffer, position + 4, big_endian)
        wire = _u32(buffer, position + 12, big_endian)
        if seconds == 0 and fraction == 0 and wire == 0 and captured == 0:
            return count, position, ZEROS
        index.offset[count] = position + record_header
        index.captured_length[count] = captured
        index.wire_length[count] = max(captured, min(wire, MAXIMUM_WIRE))
        index.timestamp_ns[count] = seconds * 1_000_000_000 + fraction * fraction_ns
        count += 1
        position += record_header + captured
    return count, position, FULL


@kernel
def index_pcapng(
    buffer: Bytes,
    start: int,
    end: int,
    big_endian: bool,
    interfaces: npt.NDArray[Any],
    count: int,
    last_ns: int,
    index: PacketIndex,
) -> tuple[int, int, int, int]:
    """Index the packet blocks of one pcapng section, into an index with `count` entries.

    `interfaces` (k,) of INTERFACE_DTYPE are those described so far in this section; packets of one
    that is not supported are counted in its `left_out` and passed over.  `last_ns` is the time of
    the packet before: a Simple Packet Block has none of its own and takes it.
    Returns (count, position, code, last_ns).
    """
    position = start
    while True:
        if end - position < 12:
            return count, position, MORE, last_ns
        kind = _u32(buffer, position, big_endian)
        if kind == SECTION_HEADER_BLOCK:
            return count, position, SECTION, last_ns
        length = _u32(buffer, position + 4, big_endian)
        if length < 12 or length % 4 != 0:
            return count, position, LENGTH, last_ns
        enhanced, simple = kind == ENHANCED_PACKET_BLOCK, kind == SIMPLE_PACKET_BLOCK
        packet = enhanced or simple or kind == PACKET_BLOCK
        if (packet or kind == INTERFACE_BLOCK) and length > MAXIMUM_BLOCK:
            return count, position, LENGTH, last_ns
        statistics = kind == STATISTICS_BLOCK and length <= MAXIMUM_BLOCK
        if end - position < length:
            wanted = packet or kind == INTERFACE_BLOCK or statistics
            return count, position, MORE if wanted else SKIP, last_ns
        if _u32(buffer, position + length - 4, big_endian) != length:
            return count, position, TRAILER, last_ns
        if kind == INTERFACE_BLOCK:
            return count, position, INTERFACE, last_ns
        if statistics:
            return count, position, STATISTICS, last_ns
        if not packet:
            position += length
            continue
        if count == len(index.offset):
            return count, position, FULL, last_ns

        # Body: where the frame starts, and how much room the block has for it.
        body = position + 8
        frame = body + 4 if simple else body + 20
        room = position + length - 4 - frame
        if room < 0:
            return count, position, LENGTH, last_ns
        number = np.int64(0)
        if enhanced:
            number = _u32(buffer, body, big_endian)
        elif not simple:
            number = _u16(buffer, body, big_endian)
        if number >= len(interfaces):
            return count, position, UNDECLARED, last_ns

        if simple:
            wire = _u32(buffer, body, big_endian)
            captured = min(wire, room)
            snaplen = np.int64(interfaces[number]["snaplen"])
            if snaplen > 0:
                captured = min(captured, snaplen)
        else:
            captured = _u32(buffer, body + 12, big_endian)
            wire = _u32(buffer, body + 16, big_endian)
            last_ns = nanoseconds(
                _u32(buffer, body + 4, big_endian),
                _u32(buffer, body + 8, big_endian),
                interfaces[number]["coarsen"],
                interfaces[number]["per_second"],
                interfaces[number]["offset_s"],
            )
        if captured > room or captured > MAXIMUM_CAPTURED:
            return count, position, LENGTH, last_ns
        if not interfaces[number]["supported"]:
            interfaces[number]["left_out"] += 1
            position += length
            continue

        index.offset[count] = frame
        index.captured_length[count] = captured
        index.wire_length[count] = max(captured, min(wire, MAXIMUM_WIRE))
        index.timestamp_ns[count] = last_ns
        index.interface[count] = interfaces[number]["index"]
        index.link_type[count] = interfaces[number]["link_type"]
        count += 1
        position += length


@kernel
def write_pcapng(
    buffer: Bytes,
    offset: npt.NDArray[np.int64],
    captured_length: npt.NDArray[np.uint32],
    wire_length: npt.NDArray[np.uint32],
    timestamp_ns: npt.NDArray[np.int64],
    interface: npt.NDArray[np.uint16],
    first: int,
    out: Bytes,
) -> tuple[int, Any]:
    """Packets of a PacketBatch from `first` on as Enhanced Packet Blocks, little-endian, times in ns.

    Writes as many whole blocks as `out` holds -> (next packet, bytes written).
    """
    position = np.int64(0)
    for i in range(first, len(offset)):
        captured = np.int64(captured_length[i])
        length = (captured + 3) // 4 * 4 + 32
        if position + length > len(out):
            return i, position
        time = np.uint64(timestamp_ns[i])
        _put_u32(out, position, ENHANCED_PACKET_BLOCK)
        _put_u32(out, position + 4, length)
        _put_u32(out, position + 8, np.int64(interface[i]))
        _put_u32(out, position + 12, np.int64(time >> np.uint64(32)))
        _put_u32(out, position + 16, np.int64(time & np.uint64(0xFFFFFFFF)))
        _put_u32(out, position + 20, captured)
        _put_u32(out, position + 24, np.int64(wire_length[i]))
        start, end = position + 28, position + length - 4
        for k in range(captured):
            out[start + k] = buffer[offset[i] + k]
        for k in range(start + captured, end):
            out[k] = 0
        _put_u32(out, end, length)
        position += length
    return len(offset), position


@kernel
def _put_u32(out: Bytes, at: Any, value: Any) -> None:
    for k in range(4):
        out[at + k] = (value >> (8 * k)) & 0xFF
