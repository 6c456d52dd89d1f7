"""Live interfaces as a source of packet batches."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Iterator, Sequence

import numpy as np

from capture.closing import Closing
from capture.live.kernels import TAG
from capture.live.links import Link
from capture.live.memory import RingMemory
from capture.live.packet_socket import RingCounts, RingOptions
from capture.live.ring_reader import Columns, RingReader
from capture.packets import PacketBatch

SMALLEST_SNAPLEN, LARGEST_SNAPLEN = 64, 262_144

#: The kernel hands a block over at its timeout, but not to the millisecond.
_MARGIN_NS = 10_000_000
_WATCH_S = 1.0
#: A flow is told of for 121 s after its first packet; once no packet has come for longer, time may go by in
#: larger steps.
_LINGER_S, _REST_S = 125.0, 1.0
#: The longest that `end` reads on for what the rings still hold.
_END_S = 2.0
_BEFORE_ALL_TIME, _NEVER = -(2**63), 2**63 - 1


class LiveCapture(Closing):
    """Iterate over it to get the packets of some interfaces as PacketBatch; a context manager.

    A batch holds packets of at most one ring block an interface, in the order of their times; those
    of one interface wait until the others cannot have older ones.  A batch and its arrays are
    overwritten by the next one.  When no packet comes for `timeout_ms`, a batch without packets says
    by its `until_ns` how far time has gone by: later packets are stamped no earlier.  Once none has come
    for two minutes, such batches come once a second.

    An interface that goes down or is removed is told of and waited for.  Iteration ends after
    `close`, which any thread or signal handler may call, by the next such batch; after `end` once all
    that had come is given.
    """

    def __init__(
        self, links: Sequence[Link], options: RingOptions, *, timeout_ms: int, worker: int = 0
    ) -> None:
        """`worker`: whose part of the packets this is; number 0 looks after the links."""
        self._links = list(links)
        self._worker = worker
        self._memory = RingMemory(len(links), options.ring_bytes)
        self._readers = [
            RingReader(link, number, worker, self._memory, options) for number, link in enumerate(links)
        ]
        self._timeout_s = timeout_ms / 1000
        self._lag_ns = options.block_timeout_ms * 1_000_000 + _MARGIN_NS
        self._poll = select.poll()
        self._polled: dict[int, int] = {}
        self._floor_ns = _BEFORE_ALL_TIME
        self._tick_at = time.monotonic() + self._timeout_s
        self._rest_at = 0.0  # no packet has come yet
        self._watch_at = time.monotonic() + _WATCH_S
        self._closed = False
        self._end_ns, self._end_by = _NEVER, math.inf
        self._collecting = False
        self.interfaces = [link.name for link in links]
        self.link_types = [link.link_type for link in links]
        #: Bytes given of a packet at most: what is taken, and a tag that is put back.
        self.snaplen = options.snaplen + TAG
        self.packets = 0  #: given so far

    @property
    def name(self) -> str:
        """The interfaces' names, joined by commas."""
        return ",".join(self.interfaces)

    def close(self) -> None:
        """End the iteration and close the sockets; harmless when repeated."""
        self._closed = True
        # Either the collecting thread sees that before it reads on, or it is seen here reading.
        if not self._collecting:
            self._close_links()

    def end(self) -> None:
        """Let no further packets in, and end the iteration once those in the rings are given.

        Those that nobody took within two seconds stay, as `unread`.
        """
        if self._end_ns == _NEVER:
            for link in self._links:
                link.end()
            self._end_ns, self._end_by = time.time_ns(), time.monotonic() + _END_S
            self._rest_at = self._end_by

    def interface_counts(self) -> list[RingCounts]:
        """What the kernel counted on each interface."""
        return [link.counts() for link in self._links]

    @property
    def late(self) -> int:
        """Packets stamped before a time that had been said to be over, and moved up to it."""
        return sum(reader.late for reader in self._readers)

    def counters(self) -> dict[str, int]:
        """What became of the packets: kernel_packets = kernel_drops + unread + those given.

        `unread` lie in the ring, at the end for good; `super_packets` are longer than their link carries.
        What an interface lost (`interface_missed`, `_overruns`, `_errors`, `_drops`) is in none of these: a
        packet may count as several of them, and be one that the filter leaves out.
        """
        given = self.packets  # before the kernel is asked, which goes on counting
        return counters_of(self._links, given, self.late)

    def __iter__(self) -> Iterator[PacketBatch]:
        while not self._closed and time.monotonic() < self._end_by:
            batch = self._collect()
            if batch is not None:
                self.packets += len(batch)
                yield batch
                if not len(batch) and batch.until_ns > self._end_ns:
                    return

    def _collect(self) -> PacketBatch | None:
        """The next batch; None when there is none yet."""
        self._collecting = True
        try:
            if self._closed:
                return None
            self._follow()
            # Read before looking: what a ring does not show by now is not much older.
            complete_ns = time.time_ns() - self._lag_ns
            for reader in self._readers:
                reader.release()
                reader.look(self._floor_ns)
            batch = self._merged(complete_ns)
            now = time.monotonic()
            if batch is not None:
                self._tick_at, self._rest_at = now + self._timeout_s, now + _LINGER_S
            elif self._wait(now) and time.monotonic() >= self._tick_at:
                batch = self._tick(time.time_ns() - self._lag_ns)
            return batch
        finally:
            self._collecting = False
            if self._closed:
                self._close_links()

    def _follow(self) -> None:
        """See to the links once a second, and read the rings that they have now."""
        now = time.monotonic()
        if now >= self._watch_at:
            self._watch_at = now + _WATCH_S
            if self._worker == 0:
                for link in self._links:
                    link.watch()
        followed = [reader.follow() for reader in self._readers]
        if any(followed):
            for descriptor in self._polled:
                self._poll.unregister(descriptor)
            self._polled.clear()

    def _merged(self, complete_ns: int) -> PacketBatch | None:
        """What may be given: all of one ring, of several what none of the others can be behind."""
        if len(self._readers) == 1:
            columns = self._readers[0].take(None) if self._readers[0].holds else None
            return None if columns is None else PacketBatch(self._memory.bytes, *columns)
        present = [reader for reader in self._readers if reader.socket is not None]
        until_ns = min((reader.complete_until(complete_ns) for reader in present), default=complete_ns)
        parts = [part for reader in present if reader.holds and (part := reader.take(until_ns)) is not None]
        if not parts:
            return None
        return PacketBatch(self._memory.bytes, *_by_time(parts))

    def _tick(self, complete_ns: int) -> PacketBatch:
        self._floor_ns = complete_ns
        now = time.monotonic()
        self._tick_at = now + (self._timeout_s if now < self._rest_at else max(self._timeout_s, _REST_S))
        return PacketBatch.tick(complete_ns)

    def _wait(self, now: float) -> bool:
        """Until a block is ready, the next tick is due, or held packets may be given.

        Whether nothing was ready, and nothing is held.
        """
        wait_s, holds = self._tick_at - now, False
        for reader in self._readers:
            if reader.holds:
                holds = True
                # A ring whose last block is not given back looks ready: it would not let us wait.
                wait_s = min(wait_s, (reader.oldest_ns + self._lag_ns - time.time_ns()) / 1e9)
            descriptor = -1 if reader.socket is None else reader.socket.fileno()
            if descriptor >= 0:
                self._watch_for(descriptor, 0 if reader.holds else select.POLLIN)
        events = self._poll.poll(max(1, math.ceil(wait_s * 1000)))
        if any(event & ~select.POLLIN for _, event in events):
            self._watch_at = now  # see what has become of the link
        return not holds and not events

    def _watch_for(self, descriptor: int, events: int) -> None:
        if self._polled.get(descriptor) != events:
            self._poll.register(descriptor, events)
            self._polled[descriptor] = events

    def _close_links(self) -> None:
        for link in self._links:
            link.close()


def counters_of(links: Sequence[Link], given: int, late: int) -> dict[str, int]:
    """The counters of links of which `given` packets were read."""
    counts = [link.counts() for link in links]
    packets = sum(count.packets for count in counts)
    drops = sum(count.drops for count in counts)
    lost = [link.lost() for link in links]
    return {
        "kernel_packets": packets,
        "kernel_drops": drops,
        "ring_freezes": sum(count.freezes for count in counts),
        "unread": max(0, packets - drops - given),
        "interface_missed": sum(one.missed for one in lost),
        "interface_overruns": sum(one.overruns for one in lost),
        "interface_errors": sum(one.errors for one in lost),
        "interface_drops": sum(one.drops for one in lost),
        "late": late,
        "super_packets": sum(link.super_packets for link in links),
        "link_changes": sum(link.changes for link in links),
    }


class SharedCapture(Closing):
    """The packets of some interfaces shared by workers: each iterates over one of `parts`.

    Both directions of a flow, its fragments and what is in its tunnel are in one part.
    """

    def __init__(self, links: Sequence[Link], parts: Sequence[LiveCapture]) -> None:
        self._links = list(links)
        self.parts = list(parts)
        self.interfaces = self.parts[0].interfaces

    def close(self) -> None:
        """End the iteration of all parts."""
        for part in self.parts:
            part.close()

    def end(self) -> None:
        """End the iteration of all parts once what had come is given."""
        for part in self.parts:
            part.end()

    def counters(self) -> dict[str, int]:
        """See LiveCapture; of all parts together."""
        given = sum(part.packets for part in self.parts)
        return counters_of(self._links, given, sum(part.late for part in self.parts))


def _by_time(parts: list[Columns]) -> Columns:
    """The packets of some rings in the order of their times."""
    if len(parts) == 1:
        return parts[0]
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    order = np.argsort(joined[3], kind="stable")
    return tuple(column[order] for column in joined)
