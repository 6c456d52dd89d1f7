"""Sources of packets as the pipeline reads them: captures one after the other, at a chosen speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from capture import CaptureError, PacketBatch, open_capture

#: A batch is delivered in pieces of at most so much wall time when the speed is limited.
_PIECE_S = 0.1


class CaptureSequence:
    """Several captures as one source, in the order given.

    A capture that cannot be read (any further) is told to `tell` and the next one follows;
    `problems` counts them.
    """

    def __init__(self, paths: Sequence[str], tell: Callable[[str], None]) -> None:
        self._paths = paths
        self._tell = tell
        self._done_bytes = 0
        self._current = None
        self._names: dict[int, str | None] = {}
        self.problems = 0
        self.packets = 0

    def __iter__(self) -> Iterator[PacketBatch]:
        for path in self._paths:
            try:
                with open_capture(path) as capture:
                    self._current = capture
                    for batch in capture:
                        self.packets += len(batch)
                        self._note_names(capture.interfaces)
                        yield batch
                    self._done_bytes += capture.size_bytes or 0
            except CaptureError as error:
                self.problems += 1
                self._tell(str(error))
            finally:
                self._current = None

    @property
    def position_bytes(self) -> int:
        """Bytes read so far over all captures."""
        return self._done_bytes + (self._current.position_bytes if self._current else 0)

    def interface_name(self, index: int) -> str | None:
        """The name of an interface index; None when unknown, or when captures name it differently."""
        return self._names.get(index) or None

    def _note_names(self, names: Sequence[str]) -> None:
        for index, name in enumerate(names):
            if self._names.setdefault(index, name) != name:
                self._names[index] = None


def paced(
    batches: Iterable[PacketBatch],
    speed: float,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[PacketBatch]:
    """The same packets, `speed` times as fast as they were captured.

    A pause between two packets lasts as long as between their times, by `speed`; times that run
    backwards do not wait.
    """
    started, first_ns, due_so_far = now(), None, 0.0
    for batch in batches:
        if len(batch) == 0:
            yield batch
            continue
        if first_ns is None:
            first_ns = int(batch.timestamp_ns[0])
        due = np.maximum.accumulate((batch.timestamp_ns - first_ns) / 1e9 / speed)
        due = np.maximum(due, due_so_far)
        due_so_far = float(due[-1])
        first = 0
        while first < len(batch):
            wait = float(due[first]) - (now() - started)
            if wait > 0:
                sleep(wait)
            last = int(np.searchsorted(due, due[first] + _PIECE_S, side="right"))
            yield _piece(batch, first, last)
            first = last


def _piece(batch: PacketBatch, first: int, last: int) -> PacketBatch:
    if first == 0 and last == len(batch):
        return batch
    return PacketBatch(
        buffer=batch.buffer,
        offset=batch.offset[first:last],
        captured_length=batch.captured_length[first:last],
        wire_length=batch.wire_length[first:last],
        timestamp_ns=batch.timestamp_ns[first:last],
        interface=batch.interface[first:last],
        vlan=batch.vlan[first:last],
        link_type=batch.link_type[first:last],
    )
