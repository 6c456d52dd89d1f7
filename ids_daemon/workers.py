"""Workers that capture and meter, each in a thread with a table of its own.

Packets do not wait for the scoring of those before them: a second of many new flows may take
longer than that to score.  The workers' records are merged by time before the windows, because a
scan is one host across all of them.  A worker's clock says that its later records are not older,
so what is older than every clock can go on, in the order in which one meter would have given it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Literal, Protocol

import numpy as np

from capture import CaptureError, PacketBatch
from ids_daemon.pipeline import Meter, PipelineStats, joined

#: Records that wait of one worker before it waits for the others: 50 MB.  Its ring fills meanwhile,
#: and what that loses the kernel counts.
_WAITING = 1 << 16
#: Records of one worker that go on at a time, so that whoever scores them looks around in between.
_AT_ONCE = 1 << 13
#: Nobody waits longer for another thread without looking around.
_PATIENCE_S = 0.25
#: Seconds after which nobody waits any longer for a time that stands still.
_STANDSTILL_S = 2.0
#: How far packet time goes on before records are merged, unless nothing comes: a few at a time cost the
#: network as much as many.
_STEP_NS = 20_000_000
_END = 2**63 - 1


class Source(Protocol):
    """The face of `capture.LiveCapture`."""

    def __iter__(self) -> Iterator[PacketBatch]: ...


class ClockedMeter(Meter, Protocol):
    """The face of `capture.FlowMeter`: a meter that says how far it is."""

    @property
    def clock_ns(self) -> int: ...


class _Worker(threading.Thread):
    """One source through one meter; what comes out waits for the merge, under the lock of `change`."""

    def __init__(
        self,
        number: int,
        source: Source,
        meter: ClockedMeter,
        change: threading.Condition,
        some_wait: Callable[[], bool],
    ) -> None:
        """`some_wait`: whether records wait, of whichever worker."""
        super().__init__(name=f"worker {number}", daemon=True)
        self.meter = meter
        self.traffic = PipelineStats()
        self.waiting: list[np.ndarray] = []
        self.count = 0
        self.clock_ns = -(2**63)
        self.stopping = False
        self.problem: BaseException | None = None
        self._source = source
        self._change = change
        self._some_wait = some_wait

    def run(self) -> None:
        try:
            for batch in self._source:
                records: list[np.ndarray] = []
                if len(batch):
                    self.traffic.count(batch)
                    records += self.meter.process(batch)
                if batch.until_ns >= 0:
                    records += self.meter.advance(batch.until_ns)
                self._put(records, self.meter.clock_ns)
                if self.stopping:
                    break
            self._put(list(self.meter.finish()), _END)
        except BaseException as error:  # noqa: BLE001 - whatever it is ends the service, with its reason
            self.problem = error
            self._put([], _END)

    def _put(self, records: list[np.ndarray], clock_ns: int) -> None:
        with self._change:
            while self.count > _WAITING and not self.stopping:
                self._change.wait(_PATIENCE_S)
            self.waiting += records
            self.count += sum(map(len, records))
            self.clock_ns = max(self.clock_ns, clock_ns)
            # Time alone is news only to records that wait for it: a silent link wakes nobody.
            if clock_ns == _END or self._some_wait():
                self._change.notify_all()

    def until_ns(self) -> int:
        """Records up to this may go on, as far as this worker is concerned: `_AT_ONCE` or a few more."""
        before = 0
        for some in self.waiting:
            if before + len(some) > _AT_ONCE:
                time_ns = int(some["time_ns"][_AT_ONCE - before])
                return min(self.clock_ns, max(time_ns, int(self.waiting[0]["time_ns"][0]) + 1))
            before += len(some)
        return self.clock_ns

    def take(self, until_ns: int, side: Literal["left", "right"]) -> list[np.ndarray]:
        """The waiting records that are older (`right`: or as old); they come in the order of their times."""
        taken = []
        while self.waiting:
            first = self.waiting[0]
            older = int(np.searchsorted(first["time_ns"], until_ns, side))
            if older < len(first):
                taken.append(first[:older])
                self.waiting[0] = first[older:]
                break
            taken.append(self.waiting.pop(0))
        taken = [some for some in taken if len(some)]
        self.count -= sum(map(len, taken))
        return taken


class Workers:
    """Workers behind the face of one meter; `ticks` is the source that goes with it."""

    def __init__(self, sources: Sequence[Source], meters: Sequence[ClockedMeter]) -> None:
        self._change = threading.Condition()
        self._workers = [
            _Worker(number, source, meter, self._change, self._some_wait)
            for number, (source, meter) in enumerate(zip(sources, meters, strict=True))
        ]
        self._total: PipelineStats | None = None
        self._let_go_ns: int | None = None
        self.stats = _Sum([worker.meter for worker in self._workers])

    def ticks(self, stats: PipelineStats) -> Iterator[PacketBatch]:
        """Start the workers, and give a batch without packets when records can go on, and now and then.

        `stats` gets what they counted.  What ended a worker is raised here.
        """
        for worker in self._workers:
            worker.start()
        self._total = stats
        told_ns, moved_at = -1, time.monotonic()
        while True:
            with self._change:
                self._change.wait_for(partial(self._is_due, told_ns), _PATIENCE_S)
                until_ns = self._until_ns()
                now = time.monotonic()
                if until_ns > told_ns:
                    moved_at = now
                elif self._some_wait() and now - moved_at > _STANDSTILL_S:
                    until_ns = self._let_go()
            self._sum_up()
            for worker in self._workers:
                if isinstance(worker.problem, OSError):
                    reason = worker.problem.strerror or worker.problem
                    raise CaptureError(f"capturing has ended: {reason}") from worker.problem
                if worker.problem is not None:
                    raise worker.problem
            if until_ns == _END:
                return
            told_ns = max(told_ns, until_ns)
            yield PacketBatch.tick(told_ns)

    def process(self, batch: PacketBatch) -> Iterable[np.ndarray]:
        """The workers have the packets; there are none here."""
        return ()

    def advance(self, now_ns: int) -> Iterator[np.ndarray]:
        """The records older than `now_ns`, by time; those as old, too, where nothing can come before them."""
        with self._change:
            side: Literal["left", "right"] = "left"
            if len(self._workers) == 1 or now_ns == self._let_go_ns:
                side = "right"
            taken = [worker.take(now_ns, side) for worker in self._workers]
            self._change.notify_all()
        parts = [joined(records) for records in taken if records]
        if parts:
            yield _by_time(parts)

    def finish(self) -> Iterator[np.ndarray]:
        """End the workers; the rest of their records."""
        self.stop()
        for records in self.advance(_END):
            for first in range(0, len(records), _AT_ONCE):
                yield records[first : first + _AT_ONCE]

    def stop(self) -> None:
        """End the workers, each after the batch that it has; harmless when repeated."""
        with self._change:
            for worker in self._workers:
                worker.stopping = True
            self._change.notify_all()
        for worker in self._workers:
            if worker.is_alive():
                worker.join()
        self._sum_up()

    def _sum_up(self) -> None:
        if self._total is not None:
            self._total.take_traffic([worker.traffic for worker in self._workers])

    def _is_due(self, told_ns: int) -> bool:
        """Whether records can go on, after those up to `told_ns`: enough of them, or some after a while."""
        until_ns = self._until_ns()
        if until_ns == _END:
            return True
        many = any(worker.count > _AT_ONCE for worker in self._workers)
        return until_ns > told_ns if many else self._some_wait() and until_ns >= told_ns + _STEP_NS

    def _let_go(self) -> int:
        """Up to when records go on that wait for a time that does not come: all that wait.

        A clock was set back, or a worker gets no processor.  They may then be out of order; to wait for hours
        would be worse.
        """
        self._let_go_ns = max(worker.until_ns() for worker in self._workers)
        return self._let_go_ns

    def _some_wait(self) -> bool:
        return any(worker.count for worker in self._workers)

    def _until_ns(self) -> int:
        return min(worker.until_ns() for worker in self._workers)


class _Sum:
    """The counters of all meters together."""

    def __init__(self, meters: Sequence[ClockedMeter]) -> None:
        self._meters = meters

    def as_dict(self) -> dict[str, int]:
        return _added([meter.stats.as_dict() for meter in self._meters])

    def not_metered(self) -> dict[str, int]:
        return _added([meter.stats.not_metered() for meter in self._meters])


def _added(counters: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(one[name] for one in counters) for name in counters[0]}


def _by_time(parts: list[np.ndarray]) -> np.ndarray:
    """One array of the records of some workers, in the order in which one meter gives its records."""
    records = joined(parts)
    if len(parts) == 1:
        return records
    order = np.lexsort((records["start_ns"], records["time_ns"]))
    rows = records.view(np.uint8).reshape(len(records), records.dtype.itemsize)
    return rows[order].view(records.dtype).reshape(-1)
