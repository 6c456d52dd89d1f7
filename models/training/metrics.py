"""Figures of a detector on labelled flows or windows.

`truth` is (n,) bool, True for an attack; `scores` is (n,) float64, higher for more malicious.  What is
*flagged* has a score above the threshold, not at it, as in the daemon.  A figure whose divisor is 0 is
NaN: precision where nothing was flagged, recall without attacks, a false-alarm rate without benign rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.calibration import threshold_for
from models.training.intervals import share

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

#: False-alarm rates at which recall is told.
RATES = (1e-2, 1e-3, 1e-4, 1e-5)


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of a test; those of several tests add up with `+`."""

    tn: int
    fp: int
    fn: int
    tp: int

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tn + other.tn, self.fp + other.fp, self.fn + other.fn, self.tp + other.tp)

    @property
    def benign(self) -> int:
        return self.tn + self.fp

    @property
    def attacks(self) -> int:
        return self.fn + self.tp

    @property
    def accuracy(self) -> float:
        return _ratio(self.tn + self.tp, self.benign + self.attacks)

    @property
    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _ratio(self.tp, self.attacks)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def false_alarm_rate(self) -> float:
        """Benign rows flagged by all benign rows."""
        return _ratio(self.fp, self.benign)


def confusion(truth: Bools, flagged: Bools) -> Confusion:
    """Counts of what was flagged against what is an attack."""
    _check(truth, flagged)
    tp, fp = int((truth & flagged).sum()), int((~truth & flagged).sum())
    attacks = int(truth.sum())
    return Confusion(len(truth) - attacks - fp, fp, attacks - tp, tp)


@dataclass(frozen=True, slots=True)
class FamilyRecall:
    """What was found of one kind of attack."""

    family: str
    rows: int
    found: int
    recall: float
    low: float
    high: float


def family_recall(
    names: Sequence[str], family: npt.NDArray[np.integer], flagged: Bools, *, draws: int = 1
) -> list[FamilyRecall]:
    """Recall of every family that has rows, by name; family 0 is benign and left out.

    names: of the families by index.  family: (n,) index.  draws: as of `share`.
    """
    _check(family, flagged)
    rows = np.bincount(family, minlength=len(names))
    found = np.bincount(family[flagged], minlength=len(names))
    result = []
    for i in sorted(np.flatnonzero(rows[1:]) + 1, key=lambda i: (names[i].lower(), names[i])):
        counted = share(int(found[i]), int(rows[i]), draws=draws)
        result.append(
            FamilyRecall(names[i], int(rows[i]), int(found[i]), counted.value, counted.low, counted.high)
        )
    return result


@dataclass(frozen=True, slots=True)
class RecallAt:
    """Recall at the lowest threshold that keeps the false alarms within a rate of the benign rows."""

    rate: float  #: allowed
    recall: float
    low: float  #: of the interval of `recall`, the threshold taken as given
    high: float
    threshold: float
    resolvable: bool  #: False: fewer than 1 / rate benign rows, so `recall` is that without any false alarm


def recall_at(
    truth: Bools, scores: Floats, rates: Sequence[float] = RATES, *, draws: Sequence[int] = ()
) -> list[RecallAt]:
    """Recall at each false-alarm rate.  Equal scores are flagged together or not at all.

    draws: where the rows are several draws from the same few, the benign rows of each: the smallest says
    which rates can be told, and intervals are those of one draw.
    Without benign rows no threshold can be set (NaN, not resolvable); without attacks recall is NaN.
    """
    _check(truth, scores)
    benign, attacks = scores[~truth], scores[truth]
    resolving = min(draws, default=len(benign))
    result = []
    for rate in rates:
        if not len(benign):
            result.append(RecallAt(rate, math.nan, 0.0, 1.0, math.nan, False))
            continue
        resolvable = rate * resolving >= 1 - 1e-9
        threshold = threshold_for(benign, rate if resolvable else 0.0)
        counted = share(int((attacks > threshold).sum()), len(attacks), draws=max(1, len(draws)))
        result.append(RecallAt(rate, counted.value, counted.low, counted.high, threshold, resolvable))
    return result


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _check(one: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> None:
    if one.ndim != 1 or one.shape != other.shape:
        raise ValueError(f"arrays of shapes {one.shape} and {other.shape} are no rows of one test")
