"""PacketBatch: the contract between a source of packets and a meter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class PacketBatch:
    """Some packets in capture order: one byte buffer and one array entry a packet.

    The buffer belongs to the source: it may be overwritten once the consumer has returned, so
    nobody keeps it past the call.  All arrays have the same length n, which may be 0: then only
    time went by.
    """

    buffer: npt.NDArray[np.uint8]  #: captured bytes of all packets
    offset: npt.NDArray[np.int64]  #: (n,) where a packet starts in `buffer`
    captured_length: npt.NDArray[np.uint32]  #: (n,) bytes of it in `buffer`
    wire_length: npt.NDArray[np.uint32]  #: (n,) bytes it had on the wire
    timestamp_ns: npt.NDArray[np.int64]  #: (n,) nanoseconds since the epoch
    interface: npt.NDArray[np.uint16]  #: (n,) index of the interface it was seen on
    vlan: npt.NDArray[np.int16]  #: (n,) VLAN id of a tag that is not in the frame; -1 = none
    link_type: npt.NDArray[np.uint16]  #: (n,) LINKTYPE_ number of the frame (tcpdump.org)
    until_ns: int = -1  #: no packet of a later batch is older than this, where it is said (>= 0)

    @staticmethod
    def tick(until_ns: int) -> PacketBatch:
        """No packets: time went by up to `until_ns`."""
        return replace(_NOTHING, until_ns=until_ns)

    def __len__(self) -> int:
        return len(self.offset)


_NOTHING = PacketBatch(
    buffer=np.empty(0, np.uint8),
    offset=np.empty(0, np.int64),
    captured_length=np.empty(0, np.uint32),
    wire_length=np.empty(0, np.uint32),
    timestamp_ns=np.empty(0, np.int64),
    interface=np.empty(0, np.uint16),
    vlan=np.empty(0, np.int16),
    link_type=np.empty(0, np.uint16),
)
