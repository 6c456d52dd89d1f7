"""The way of a packet: source -> meter -> windows and detector -> incidents -> events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from capture import CaptureError, Kind, PacketBatch
from ids_daemon.eve import EveFormat, Event
from ids_daemon.incidents import Alert, Finding, Incidents, State

#: The network computes so many windows at once that a few cost as much.  So at many packets a second
#: (batches of so many) records may wait for more, so long in packet time and so many.
_MANY_PACKETS, _WAIT_NS, _WAITING = 256, 40_000_000, 1 << 14


class Stats(Protocol):
    def as_dict(self) -> dict[str, int]: ...


class MeterStats(Stats, Protocol):
    def not_metered(self) -> dict[str, int]: ...


class Meter(Protocol):
    """The face of `capture.FlowMeter` and `capture.CicFlowMeter`."""

    @property
    def stats(self) -> MeterStats: ...
    def process(self, batch: PacketBatch) -> Iterable[np.ndarray]: ...
    def advance(self, now_ns: int) -> Iterable[np.ndarray]: ...
    def finish(self) -> Iterable[np.ndarray]: ...


class Scorer(Protocol):
    """The face of `models.Scorer`: windows, detector and host evidence."""

    @property
    def stats(self) -> Stats: ...
    def push(self, records: np.ndarray) -> Sequence[Finding]: ...


class RecordWriter(Protocol):
    """The face of `capture.FlowWriter`."""

    def write(self, records: np.ndarray) -> None: ...


@dataclass(slots=True)
class PipelineStats:
    """What went from stage to stage; the stages' own counters stand beside them in `as_dict`."""

    packets: int = 0
    wire_bytes: int = 0
    final_records: int = 0
    snapshot_records: int = 0
    evicted_records: int = 0
    findings: int = 0
    alerts_opened: int = 0
    alerts_escalated: int = 0
    alerts_closed: int = 0
    first_ns: int | None = None  #: packet times, the earliest and the latest
    last_ns: int | None = None

    def as_dict(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in self.__slots__}

    def count(self, batch: PacketBatch) -> None:
        """Packets that came."""
        times = batch.timestamp_ns
        first_ns, last_ns = int(times.min()), int(times.max())
        self.packets += len(batch)
        self.wire_bytes += int(batch.wire_length.sum(dtype=np.int64))
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
        self.last_ns = last_ns if self.last_ns is None else max(self.last_ns, last_ns)

    def take_traffic(self, parts: Sequence[PipelineStats]) -> None:
        """The packets are those that `parts` counted so far."""
        self.packets = sum(part.packets for part in parts)
        self.wire_bytes = sum(part.wire_bytes for part in parts)
        self.first_ns = min((part.first_ns for part in parts if part.first_ns is not None), default=None)
        self.last_ns = max((part.last_ns for part in parts if part.last_ns is not None), default=None)

    @property
    def flows(self) -> int:
        """Flows that have ended (an evicted one counts: its rest, if any, is a new one)."""
        return self.final_records + self.evicted_records


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Flow records of some arrays in one."""
    if len(parts) == 1:
        return parts[0]
    kind = parts[0].dtype
    # As bytes: numpy copies structured records field by field.
    rows = np.concatenate([part.view(np.uint8).reshape(len(part), kind.itemsize) for part in parts])
    return rows.view(kind).reshape(-1)


@dataclass(slots=True)
class Pipeline:
    """The stages, and what passed through them.

    `emit` takes each event; `writers` take every batch of flow records before it is scored.
    `waits`: records may wait for those of the next batch; for sources that say so when none comes.
    """

    meter: Meter
    scorer: Scorer
    incidents: Incidents
    eve: EveFormat
    emit: Callable[[Event], None]
    writers: Sequence[RecordWriter] = ()
    stats: PipelineStats = field(default_factory=PipelineStats)
    waits: bool = False
    _waiting: list[np.ndarray] = field(default_factory=list)

    def run(
        self,
        source: Iterable[PacketBatch],
        *,
        stop: Callable[[], bool] = lambda: False,
        after_batch: Callable[[], None] = lambda: None,
    ) -> None:
        """Take all packets of a source, until it ends or `stop` says so, and close what is open.

        A batch's `until_ns` says how far time went by without a packet.  A CaptureError of the source
        is raised again once everything read before it is scored and told.
        """
        problem: CaptureError | None = None
        batches = iter(source)
        while not stop():
            try:
                batch = next(batches)
            except StopIteration:
                break
            except CaptureError as error:
                problem = error
                break
            if len(batch):
                self.stats.count(batch)
                self._take(self.meter.process(batch))
                if not self._may_wait(batch):
                    self._score()
            if batch.until_ns >= 0:
                self._take(self.meter.advance(batch.until_ns))
                self._score()
                self._tell(self.incidents.advance(batch.until_ns))
            after_batch()
        for records in self.meter.finish():
            self._take([records])
            if sum(map(len, self._waiting)) >= _WAITING:
                self._score()
        self._score()
        self._tell(self.incidents.finish(self.stats.last_ns))
        if problem is not None:
            raise problem

    def counters(self) -> dict[str, Any]:
        """Every stage's counters, by stage."""
        return {
            "pipeline": self.stats.as_dict(),
            "meter": self.meter.stats.as_dict(),
            "scorer": self.scorer.stats.as_dict(),
            "incidents": self.incidents.stats.as_dict(),
        }

    def _take(self, batches: Iterable[np.ndarray]) -> None:
        """Flow records: write them, and have them wait for `_score`."""
        for records in batches:
            if not len(records):
                continue
            kinds = np.bincount(records["kind"], minlength=3)
            self.stats.final_records += int(kinds[Kind.FINAL])
            self.stats.snapshot_records += int(kinds[Kind.SNAPSHOT])
            self.stats.evicted_records += int(kinds[Kind.EVICTED])
            for writer in self.writers:
                writer.write(records)
            self._waiting.append(records)

    def _may_wait(self, batch: PacketBatch) -> bool:
        """Whether the next batch is near, and the records can be scored together with its own."""
        if not (self.waits and self._waiting) or len(batch) < _MANY_PACKETS:
            return False
        waits_ns = int(batch.timestamp_ns[-1]) - int(self._waiting[0]["time_ns"][0])
        return 0 <= waits_ns < _WAIT_NS and sum(map(len, self._waiting)) < _WAITING

    def _score(self) -> None:
        """Score the records that wait, and tell of what was found."""
        if not self._waiting:
            return
        records = joined(self._waiting)
        self._waiting.clear()
        for finding in self.scorer.push(records):
            self.stats.findings += 1
            self._tell(self.incidents.add(finding))
        self._tell(self.incidents.advance(int(records["time_ns"][-1])))

    def _tell(self, alerts: Iterator[Alert]) -> None:
        for alert in alerts:
            if alert.state is State.OPENED:
                self.stats.alerts_opened += 1
            elif alert.state is State.ESCALATED:
                self.stats.alerts_escalated += 1
            else:
                self.stats.alerts_closed += 1
            self.emit(self.eve.event(alert))
