"""Labelled flow records to windows: the training data, made by the daemon's own `Windows`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError
from models.evidence import FAMILIES, ROLES, RULES, CounterRule
from models.scaling import Scaling
from models.training.windows.labels import CaptureLabel, Mask
from models.training.windows.network_fit import Arrays
from models.training.windows.rows import WindowRows
from models.window_columns import COUNTER_NAMES
from models.windows import WindowBatch, Windows

BENIGN, ATTACK, UNCLEAR = 0, 1, -1

#: Windows of one capture and class that are trained on at most: no long capture rules.
A_CAPTURE = 60

#: From so many windows on a capture has its full weight; a shorter one less, by the square root.
_FULL = 20

_NEWEST = 4  # an attack flow among the newest four rows ...
_SHARE = 0.25  # ... or among a quarter of all makes a window one of attack


@dataclass(frozen=True, slots=True)
class CaptureWindows:
    """All windows of one capture, in order."""

    label: CaptureLabel
    windows: WindowBatch
    truth: npt.NDArray[np.int8]  #: (B,) BENIGN, ATTACK or UNCLEAR


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """W windows drawn from captures, raw."""

    rows: WindowRows  #: (W, N, F)
    counters: npt.NDArray[np.float32]  #: (W, C)
    truth: npt.NDArray[np.int8]  #: (W,) BENIGN or ATTACK
    capture: npt.NDArray[np.int64]  #: (W,) index into `labels`
    labels: Sequence[CaptureLabel]

    def __len__(self) -> int:
        return len(self.truth)

    def of(self, captures: npt.NDArray[np.bool_]) -> TrainingSet:
        """Only windows of the chosen captures, a mask over `labels`."""
        return self.take(captures[self.capture])

    def take(self, kept: npt.NDArray[np.bool_]) -> TrainingSet:
        """Only the chosen windows, a mask over them."""
        return TrainingSet(
            self.rows.take(kept), self.counters[kept], self.truth[kept], self.capture[kept], self.labels
        )

    def families(self) -> npt.NDArray[np.int32]:
        """(W,) index of FAMILIES, -1 for benign windows and attacks of unknown family."""
        families = np.array([_family_index(label) for label in self.labels], np.int32)
        return np.where(self.truth == ATTACK, families[self.capture], -1).astype(np.int32)

    def arrays(self, scaling: Scaling, offset: npt.NDArray[np.float64] | None = None) -> Arrays:
        """Scaled, with the weights of `weights` and the families of the labels.

        offset: (W,) what other evidence adds to the logit; None: nothing.
        """
        return Arrays(
            rows=WindowRows(scaling.transform_rows(self.rows.table), self.rows.index),
            counters=scaling.transform_counters(self.counters),
            label=(self.truth == ATTACK).astype(np.float32),
            family=self.families(),
            weight=weights(self).astype(np.float32),
            offset=np.zeros(len(self), np.float32) if offset is None else offset.astype(np.float32),
        )


def capture_windows(label: CaptureLabel, records: np.ndarray) -> CaptureWindows | None:
    """The windows of a capture with their truth; None when no record makes one."""
    batches = list(Windows().push(records))
    if not batches:
        return None
    windows = WindowBatch(
        **{f.name: np.concatenate([getattr(b, f.name) for b in batches]) for f in fields(WindowBatch)}
    )
    return CaptureWindows(label, windows, truth_of(windows, label, records))


def truth_of(windows: WindowBatch, label: CaptureLabel, records: np.ndarray) -> npt.NDArray[np.int8]:
    """(B,) BENIGN, ATTACK or UNCLEAR, by which of a window's flows the label names."""
    if label.attack and not label.located:
        return np.full(len(windows), UNCLEAR, np.int8)
    flows = label.attack_flows(records)
    if label.attack and not flows.any():  # what is not found may be in any window
        return np.full(len(windows), UNCLEAR, np.int8)
    attacks = _rows_of(windows, records, flows)
    share = attacks.sum(axis=1) / np.maximum(1, windows.n_rows)
    clear = attacks[:, -_NEWEST:].any(axis=1) | (share >= _SHARE)
    touched = attacks.any(axis=1)
    if label.others:
        touched |= _rows_of(windows, records, label.other_flows(records)).any(axis=1)
    return np.where(clear, ATTACK, np.where(touched, UNCLEAR, BENIGN)).astype(np.int8)


def _rows_of(windows: WindowBatch, records: np.ndarray, chosen: Mask) -> Mask:
    """(B, N) which rows are of flows that have one of the chosen records."""
    return np.isin(windows.flows, np.unique(records["flow_id"][chosen])) & (windows.flows != 0)


class Collector:
    """Takes captures one by one; keeps a draw of their windows and what calibration needs.

    seed: of the draw; a capture's draw does not depend on the other captures.
    limit: windows of a capture and class that are kept at most.
    """

    def __init__(self, seed: int = 1, limit: int = A_CAPTURE, rules: Sequence[CounterRule] = RULES) -> None:
        self._seed, self._limit, self._rules = seed, limit, rules
        self.labels: list[CaptureLabel] = []
        self._parts: list[tuple[WindowRows, np.ndarray, np.ndarray, np.ndarray]] = []
        self._maxima: list[list[float]] = []
        self.windows = 0
        self.missed: list[str] = []  #: captures with an attack in scope of which no flow is found

    def add(self, capture: CaptureWindows) -> None:
        number = len(self.labels)
        self.labels.append(capture.label)
        self._maxima.append(highest(capture.windows, self._rules))
        self.windows += len(capture.windows)
        random = np.random.default_rng([self._seed, len(capture.windows), *capture.label.path.encode()])
        for truth in (BENIGN, ATTACK):
            index = np.flatnonzero(capture.truth == truth)
            if len(index) > self._limit:
                index = np.sort(random.choice(index, self._limit, replace=False))
            if len(index):
                rows, counters = WindowRows.of(capture.windows.rows[index]), capture.windows.counters[index]
                self._parts.append((rows, counters, capture.truth[index], np.full(len(index), number)))

    def training_set(self) -> TrainingSet:
        if not self._parts:
            raise TrainingError("no window in any capture: are these the records of the labelled captures?")
        rows, *others = zip(*self._parts, strict=True)
        counters, truth, capture = (np.concatenate(column) for column in others)
        return TrainingSet(WindowRows.joined(rows), counters, truth, capture.astype(np.int64), self.labels)

    def maxima(self, captures: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[np.float64]]:
        """Highest value of every rule's counter in each of the chosen captures."""
        table = np.array(self._maxima)[captures]
        return {rule.name: table[:, i] for i, rule in enumerate(self._rules)}


def highest(windows: WindowBatch, rules: Sequence[CounterRule]) -> list[float]:
    """The highest value of each rule's counter on the streams that the rule looks at."""
    values = []
    for rule in rules:
        column = windows.counters[:, COUNTER_NAMES.index(rule.name)]
        if rule.role is not None:
            column = column[windows.role == ROLES.index(rule.role)]
        values.append(float(column.max(initial=0.0)))
    return values


def weights(data: TrainingSet) -> npt.NDArray[np.float64]:
    """Weight of each window: classes equal, origins equal in a class, captures equal in an origin.

    A capture of few windows, and so an origin of one such capture, weighs less.  A family of attack
    weighs by the square root of what its origins would give it, so that scans, which many
    laboratories recorded, do not rule over tunnels, which few did.
    """
    result = np.zeros(len(data))
    families = data.families()
    for truth in (BENIGN, ATTACK):
        chosen = data.truth == truth
        captures, counts = np.unique(data.capture[chosen], return_counts=True)
        damped = np.minimum(1.0, np.sqrt(counts / _FULL))
        origins: dict[str, float] = {}
        for capture, share in zip(captures, damped, strict=True):
            origin = data.labels[capture].origin
            origins[origin] = origins.get(origin, 0.0) + float(share)
        of_window = np.zeros(len(data.labels))
        for capture, count, share in zip(captures, counts, damped, strict=True):
            total = origins[data.labels[capture].origin]
            of_window[capture] = min(1.0, np.sqrt(total)) * share / total / count
        result[chosen] = of_window[data.capture[chosen]]
        if truth == ATTACK:
            for family in np.unique(families[chosen]):
                of_family = chosen & (families == family)
                result[of_family] /= np.sqrt(result[of_family].sum())
        if chosen.any():
            result[chosen] *= len(data) / 2 / result[chosen].sum()
    return result


def benign_weights(data: TrainingSet) -> npt.NDArray[np.float64]:
    """As `weights`, 0 for windows of attack: how much each tells of the usual."""
    return np.where(data.truth == BENIGN, weights(data), 0.0)


def collect(
    labels: Iterable[CaptureLabel],
    read: Callable[[CaptureLabel], np.ndarray],
    each: Callable[[CaptureWindows], None] = lambda capture: None,
    seed: int = 1,
    limit: int = A_CAPTURE,
) -> Collector:
    """Read the records of every labelled capture and draw its windows; `each` sees all of them."""
    collector = Collector(seed, limit)
    for label in labels:
        records = read(label)
        if label.in_scope and label.located and label.attack and not label.attack_flows(records).any():
            collector.missed.append(label.path)
        capture = capture_windows(label, records)
        if capture is not None:
            collector.add(capture)
            each(capture)
    return collector


def _family_index(label: CaptureLabel) -> int:
    if not label.attack or label.family is None:
        return -1
    return FAMILIES.index(label.family) if label.family in FAMILIES else FAMILIES.index("other")
