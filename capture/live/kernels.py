"""Walk the blocks of a TPACKET_V3 ring: a pure function over its memory.

Layouts are those of <linux/if_packet.h>: a block begins with a `tpacket_block_desc`, each packet
in it with a `tpacket3_hdr`.  All of it is in the machine's own byte order and aligned to 16 bytes,
so it is read as 32-bit words.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from capture.jit import kernel

#: Words of a `tpacket_block_desc`.
BLOCK_STATUS, _PACKETS, _FIRST_PACKET = 2, 3, 4
#: Words of a `tpacket3_hdr`; MAC holds two 16-bit offsets, VLAN_TPID a type and padding.
_NEXT, _SECONDS, _NANOSECONDS, _CAPTURED, _LENGTH, _STATUS, _MAC = 0, 1, 2, 3, 4, 5, 6
_VLAN_TCI, _VLAN_TPID = 8, 9
_VLAN_VALID, _VLAN_TPID_VALID = 1 << 4, 1 << 6
_ETHERTYPE_VLAN = 0x8100
#: Bytes of a frame before its VLAN tag, and of the tag.
_ADDRESSES, TAG = 12, 4

#: The least room that a packet takes in a block.
SMALLEST_PACKET = 96

#: A stamp further behind than this is no late packet: the machine's clock was set back.
_STEP_NS = 1_000_000_000


class BlockIndex(NamedTuple):
    """Columns of a PacketBatch for the packets of one block; all (capacity,)."""

    offset: npt.NDArray[np.int64]
    captured_length: npt.NDArray[np.uint32]
    wire_length: npt.NDArray[np.uint32]
    timestamp_ns: npt.NDArray[np.int64]

    @classmethod
    def allocate(cls, capacity: int) -> BlockIndex:
        return cls(
            offset=np.zeros(capacity, np.int64),
            captured_length=np.zeros(capacity, np.uint32),
            wire_length=np.zeros(capacity, np.uint32),
            timestamp_ns=np.zeros(capacity, np.int64),
        )


@kernel
def index_block(
    words: npt.NDArray[np.uint32],
    halves: npt.NDArray[np.uint16],
    buffer: npt.NDArray[np.uint8],
    block: Any,
    tagged: bool,
    floor_ns: Any,
    index: BlockIndex,
) -> tuple[Any, Any]:
    """Index the packets of the block at byte `block` -> (packets, those whose stamp was moved up).

    `words`, `halves` and `buffer` are the same memory.  Where the kernel took a VLAN tag off
    (`tagged`: the frames are Ethernet) it is put back in front of the type: the room before a
    frame is free.  No packet is stamped before `floor_ns`, up to which time was said to have gone by.
    """
    at = block // 4
    count, late = np.int64(words[at + _PACKETS]), np.int64(0)
    packet = np.int64(block) + np.int64(words[at + _FIRST_PACKET])
    for i in range(count):
        at = packet // 4
        start = packet + np.int64(halves[at * 2 + _MAC * 2])
        captured, length = np.int64(words[at + _CAPTURED]), np.int64(words[at + _LENGTH])
        status = words[at + _STATUS]
        if status & _VLAN_VALID and tagged and captured >= _ADDRESSES:
            kind = np.int64(_ETHERTYPE_VLAN)
            if status & _VLAN_TPID_VALID:
                kind = np.int64(halves[(at + _VLAN_TPID) * 2])
            tag = np.int64(words[at + _VLAN_TCI])
            start -= TAG
            for k in range(_ADDRESSES):
                buffer[start + k] = buffer[start + k + TAG]
            buffer[start + _ADDRESSES] = kind >> 8
            buffer[start + _ADDRESSES + 1] = kind & 0xFF
            buffer[start + _ADDRESSES + 2] = (tag >> 8) & 0xFF
            buffer[start + _ADDRESSES + 3] = tag & 0xFF
            captured += TAG
            length += TAG
        time_ns = np.int64(words[at + _SECONDS]) * 1_000_000_000 + np.int64(words[at + _NANOSECONDS])
        if time_ns < floor_ns and floor_ns - time_ns < _STEP_NS:
            time_ns = floor_ns
            late += 1
        index.offset[i] = start
        index.captured_length[i] = captured
        index.wire_length[i] = length
        index.timestamp_ns[i] = time_ns
        packet += np.int64(words[at + _NEXT])
    return count, late
