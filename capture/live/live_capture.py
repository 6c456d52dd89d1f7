"""Live interfaces as a source of packet batches."""

from __future__ import annotations

import select
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from capture.errors import CaptureError
from capture.live.packet_socket import PacketSocket
from capture.packets import PacketBatch

BATCH_PACKETS = 4096
SMALLEST_SNAPLEN, LARGEST_SNAPLEN = 64, 262_144
_BUFFER_BYTES = 8 << 20


class KernelStatistics(NamedTuple):
    """What the kernel counted since the capture was opened, over all interfaces."""

    packets: int  #: seen, dropped ones included
    drops: int  #: lost because the consumer was too slow


class LiveCapture:
    """Iterate over it to get the packets of some interfaces as PacketBatch; a context manager.

    A batch holds what waited, at most 4096 packets, in the order of their times.  When nothing
    comes within the timeout the batch is empty: time has gone by, the consumer may see to what is
    due.  A batch and its arrays are overwritten by the next one.  Iteration ends after `close`,
    which any thread or signal handler may call; it takes effect within the timeout.  CaptureError
    is raised when an interface disappears; one that is merely down is waited for.
    """

    def __init__(self, sockets: Sequence[PacketSocket], *, snaplen: int, timeout_ms: int) -> None:
        self._sockets = list(sockets)
        self._snaplen = snaplen
        self._timeout_ms = timeout_ms
        self._poll = select.poll()
        for packet_socket in self._sockets:
            self._poll.register(packet_socket, select.POLLIN)
        self._buffer = np.empty(_BUFFER_BYTES, np.uint8)
        self._memory = memoryview(self._buffer.data)
        self._closed = False
        self._collecting = False
        self.interfaces = [packet_socket.name for packet_socket in self._sockets]
        self.packets = 0  #: given so far
        self._link_types = np.array([one.link_type for one in self._sockets], np.uint16)
        # Offset, captured length, wire length, time, VLAN, interface of each packet of a batch.
        self._rows = np.empty((BATCH_PACKETS, 6), np.int64)

    @property
    def name(self) -> str:
        """The interfaces' names, joined by commas."""
        return ",".join(self.interfaces)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration and close the sockets; harmless when repeated."""
        self._closed = True
        # Either the collecting thread sees that before it reads on, or it is seen here reading.
        if not self._collecting:
            self._close_sockets()

    def statistics(self) -> KernelStatistics:
        """Packets and drops; to be asked before 2^32 packets have gone by."""
        counts = [packet_socket.statistics() for packet_socket in self._sockets]
        return KernelStatistics(sum(packets for packets, _ in counts), sum(drops for _, drops in counts))

    def __iter__(self) -> Iterator[PacketBatch]:
        while not self._closed:
            count, problem = self._collect()
            self.packets += count
            if count or not (problem or self._closed):
                yield self._batch(count)
            if problem:
                raise problem

    def _collect(self) -> tuple[int, CaptureError | None]:
        """Wait for packets and take those that wait: (how many, what ended it)."""
        count, used = 0, 0
        self._collecting = True
        try:
            if self._closed or not self._poll.poll(self._timeout_ms) or self._closed:
                return 0, None
            share = BATCH_PACKETS // len(self._sockets)
            for interface, packet_socket in enumerate(self._sockets):
                taken = 0
                while taken < share and used + self._snaplen <= len(self._memory):
                    packet = packet_socket.receive(self._memory[used : used + self._snaplen])
                    if packet is None:
                        break
                    self._rows[count] = (used, *packet, interface)
                    count, used, taken = count + 1, used + packet[0], taken + 1
            return count, None
        except CaptureError as error:
            return count, error
        finally:
            self._collecting = False
            if self._closed:
                self._close_sockets()

    def _batch(self, count: int) -> PacketBatch:
        rows = self._rows[:count]
        if len(self._sockets) > 1:
            rows = rows[np.argsort(rows[:, 3], kind="stable")]
        interface = rows[:, 5].astype(np.uint16)
        return PacketBatch(
            buffer=self._buffer,
            offset=np.ascontiguousarray(rows[:, 0]),
            captured_length=rows[:, 1].astype(np.uint32),
            wire_length=rows[:, 2].astype(np.uint32),
            timestamp_ns=np.ascontiguousarray(rows[:, 3]),
            interface=interface,
            vlan=rows[:, 4].astype(np.int16),
            link_type=self._link_types[interface],
        )

    def _close_sockets(self) -> None:
        for packet_socket in self._sockets:
            packet_socket.close()
