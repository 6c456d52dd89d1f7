"""Windows of a labelled corpus, as the daemon makes them or with something taken out of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capture import read_records
from capture.columns import Kind
from models.evidence import ROLES
from models.training.windows.dataset import CaptureWindows, Collector, capture_windows, truth_of
from models.training.windows.labels import CaptureLabel
from models.window_columns import CONTEXT, ROW_NAMES
from models.windows import WindowBatch
from tests.bench.detecting.judging import SLACK_S, naming_windows

#: A flow's final record comes this long after its start.
FINAL_AFTER_S = 121.0

Records = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Change:
    """What is taken out: of the records before windows are made, or of the windows themselves."""

    records: Callable[[Records], Records] | None = None
    windows: Callable[[CaptureWindows, Records], CaptureWindows] | None = None
    slack_s: float = SLACK_S  #: after the attack, for what is told later


@dataclass(frozen=True, slots=True)
class Corpus:
    """All captures' windows; a capture that a change leaves none of has an empty batch."""

    collector: Collector
    captures: list[CaptureWindows]
    naming: list[npt.NDArray[np.bool_]]
    folder: Path  #: of the records

    @property
    def labels(self) -> list[CaptureLabel]:
        return self.collector.labels

    def records(self, label: CaptureLabel) -> Records:
        return read_records(self.folder / f"{label.path}.parquet")

    def changed(self, change: Change, seed: int) -> Corpus:
        """The same captures with something taken out."""
        collector, captures, naming = Collector(seed), [], []
        for whole in self.captures:
            capture = _changed(whole, self.records(whole.label), change)
            collector.add(capture)
            captures.append(capture)
            naming.append(naming_windows(capture, change.slack_s))
        return Corpus(collector, captures, naming, self.folder)


def load(labels: Sequence[CaptureLabel], folder: Path, seed: int) -> Corpus:
    """The captures with a window, of those that `folder` holds records of."""
    corpus = Corpus(Collector(seed), [], [], folder)
    for label in labels:
        capture = capture_windows(label, corpus.records(label))
        if capture is not None:
            corpus.collector.add(capture)
            corpus.captures.append(capture)
            corpus.naming.append(naming_windows(capture))
    return corpus


def _changed(whole: CaptureWindows, records: Records, change: Change) -> CaptureWindows:
    if change.records is not None:
        made = capture_windows(whole.label, change.records(records))
        whole = _chosen(whole, np.zeros(len(whole.windows), bool)) if made is None else made
    return whole if change.windows is None else change.windows(whole, records)


def _chosen(capture: CaptureWindows, mask: npt.NDArray[np.bool_]) -> CaptureWindows:
    windows = WindowBatch(**{f.name: getattr(capture.windows, f.name)[mask] for f in fields(WindowBatch)})
    return CaptureWindows(capture.label, windows, capture.truth[mask])


def without_snapshots(records: Records) -> Records:
    """Only what a meter without them writes: each flow once, when it is over."""
    return _as_first(records[records["kind"] != Kind.SNAPSHOT])


def without_one_packet(records: Records) -> Records:
    """A flow enters with its second packet, or never."""
    return _as_first(records[records["total_fwd_packet"] + records["total_bwd_packets"] > 1])


def _as_first(records: Records) -> Records:
    """A flow's first record among these is its first of all, and new is all that it holds."""
    kept = records.copy()
    first = np.unique(kept["flow_id"], return_index=True)[1]
    kept["revision"][first] = 0
    for new, total in (
        ("new_fwd_packets", "total_fwd_packet"),
        ("new_bwd_packets", "total_bwd_packets"),
        ("new_fwd_bytes", "total_length_of_fwd_packet"),
        ("new_bwd_bytes", "total_length_of_bwd_packet"),
    ):
        kept[new][first] = kept[total][first]
    return kept


def streams_of(role: str) -> Callable[[CaptureWindows, Records], CaptureWindows]:
    """Only the streams of hosts in that role."""
    wanted = ROLES.index(role)
    return lambda capture, records: _chosen(capture, capture.windows.role == wanted)


_CONTEXT = [ROW_NAMES.index(name) for name in CONTEXT]


def without_context(capture: CaptureWindows, records: Records) -> CaptureWindows:
    """Rows that say nothing of the rows before them: those columns are 0 everywhere."""
    rows = capture.windows.rows.copy()
    rows[:, :, _CONTEXT] = 0
    return replace(capture, windows=replace(capture.windows, rows=rows))


def one_row(capture: CaptureWindows, records: Records) -> CaptureWindows:
    """No window: the newest flow alone, and true is what it is."""
    whole = capture.windows
    windows = replace(
        whole,
        rows=whole.rows[:, -1:].copy(),
        peers=whole.peers[:, -1:],
        flows=whole.flows[:, -1:],
        n_rows=np.minimum(whole.n_rows, 1),
    )
    return CaptureWindows(capture.label, windows, truth_of(windows, capture.label, records))
