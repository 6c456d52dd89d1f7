"""The packets of one ring, block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capture.live.kernels import BLOCK_STATUS, SMALLEST_PACKET, BlockIndex, index_block
from capture.live.links import Link
from capture.live.memory import RingMemory
from capture.live.packet_socket import PacketSocket, RingOptions

#: Whose a block is, in its status word.
_KERNEL, _USER = 0, 1

#: Of a PacketBatch, after its buffer.
Columns = tuple[Any, ...]


class RingReader:
    """Reads the ring that a worker has of a link, in `memory`, and whatever ring follows it there.

    At most one block is held at a time; it goes back to the kernel once all its packets were taken
    and `release` is called.
    """

    def __init__(
        self, link: Link, interface: int, worker: int, memory: RingMemory, options: RingOptions
    ) -> None:
        self.link = link
        self.late = 0  #: packets whose stamp was moved up
        self._worker, self._memory, self._place, self._options = worker, memory, interface, options
        self._start = interface * options.ring_bytes
        self._generation = -1
        self.socket: PacketSocket | None = None
        most = options.block_bytes // SMALLEST_PACKET
        self._index = BlockIndex.allocate(most)
        self._interface = np.full(most, interface, np.uint16)
        self._no_vlan = np.full(most, -1, np.int16)
        self._link_type = np.full(most, link.link_type, np.uint16)
        self._block = 0  # the next one to read, or the one that is held
        self._first = self._count = 0  # of its packets, those that were not taken yet
        self._holds = False

    def follow(self) -> bool:
        """Take over the ring that the link has now, once the last one is read; whether it is another one."""
        if self._generation == self.link.generation or self._holds or self._is_ready():
            return False
        self._generation = self.link.generation
        sockets = self.link.sockets
        self.socket = sockets[self._worker] if sockets else None
        self._block = self._first = self._count = 0
        self._holds = False
        if self.socket is None:
            self._memory.clear(self._place)
        else:
            try:
                self._memory.put(self._place, self.socket.fileno())
            except OSError:  # gone again meanwhile: the link's next generation tells
                self._memory.clear(self._place)
                self.socket = None
        return True

    @property
    def holds(self) -> bool:
        """Whether packets lie here that were not taken."""
        return self._first < self._count

    @property
    def oldest_ns(self) -> int:
        """The time of the first packet that was not taken."""
        return int(self._index.timestamp_ns[self._first])

    def look(self, floor_ns: int) -> None:
        """Hold the next block, if there is one and none is held."""
        if self._holds or self.socket is None or not self._is_ready():
            return
        # Between that look and the kernel below the interpreter hands its lock over and back, so
        # that no processor reads the block's content before its status.
        count, late = index_block(
            self._memory.words,
            self._memory.halves,
            self._memory.bytes,
            self._next,
            self.socket.is_ethernet,
            floor_ns,
            self._index,
        )
        self._first, self._count, self._holds = 0, count, True
        self.late += late

    def complete_until(self, checked_ns: int) -> int:
        """Packets still to come are not older than this; `checked_ns` where no block was ready."""
        return int(self._index.timestamp_ns[self._count - 1]) if self._count and self._holds else checked_ns

    def take(self, until_ns: int | None) -> Columns | None:
        """The columns of the packets up to a time (None: of all); None where there are none."""
        times = self._index.timestamp_ns[self._first : self._count]
        last = self._count
        if until_ns is not None:
            last = self._first + int(np.searchsorted(times, until_ns, side="right"))
        if last == self._first:
            return None
        part = slice(self._first, last)
        self._first = last
        wire = self._index.wire_length[part]
        self._count_super_packets(wire)
        return (
            *(self._index.offset[part], self._index.captured_length[part], wire),
            *(self._index.timestamp_ns[part], self._interface[part]),
            *(self._no_vlan[part], self._link_type[part]),
        )

    def release(self) -> None:
        """Give the block back, if all of it was taken; nobody may read its packets any longer."""
        if self._holds and not self.holds:
            self._memory.status[self._next // 4 + BLOCK_STATUS] = _KERNEL
            self._block = (self._block + 1) % self._options.blocks
            self._holds = False

    @property
    def _next(self) -> int:
        """Where the block is that is held, or read next."""
        return self._start + self._block * self._options.block_bytes

    def _is_ready(self) -> bool:
        return bool(self._memory.status[self._next // 4 + BLOCK_STATUS] & _USER)

    def _count_super_packets(self, wire: npt.NDArray[np.uint32]) -> None:
        if self.socket is not None and (longest := int(wire.max())) > self.socket.longest_frame:
            count = int((wire > self.socket.longest_frame).sum())
            self.link.saw_super_packets(count, longest, self.socket.mtu)
