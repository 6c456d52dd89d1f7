"""Curves over all thresholds, thinned for drawing, and how far scores are probabilities.

Arrays as in `models.training.metrics`.  Areas are those of all points, whatever is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.training.intervals import share

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

POINTS = 1000


@dataclass(frozen=True, slots=True)
class RocCurve:
    """Recall by false-alarm rate; `area` is NaN and the curve empty where a class is missing."""

    false_alarm_rate: Floats  #: rising
    recall: Floats
    area: float


@dataclass(frozen=True, slots=True)
class PrecisionRecallCurve:
    """Precision by recall; without attacks the curve is empty and the precision NaN."""

    recall: Floats  #: falling, to 0
    precision: Floats  #: its last is 1, by convention, where nothing is flagged
    average_precision: float  #: precision, each step of recall by its width
    prevalence: float  #: share of attacks: the precision of a detector that guesses


@dataclass(frozen=True, slots=True)
class Reliability:
    """Rows by score, and the share of attacks among them."""

    score: Floats  #: (bins,) mean score of the rows of a bin
    attacks: Floats  #: (bins,) share of attacks among them
    low: Floats  #: (bins,) its interval
    high: Floats
    rows: npt.NDArray[np.int64]  #: (bins,)
    error: float  #: mean distance of score and share, by rows (expected calibration error)
    brier: float  #: mean squared distance of a row's score from 0 or 1


def roc_curve(truth: Bools, scores: Floats, points: int = POINTS) -> RocCurve:
    """The receiver operating characteristic, at most about `points` of its points kept."""
    from sklearn import metrics

    if truth.all() or not truth.any():
        return RocCurve(np.empty(0), np.empty(0), math.nan)
    rate, recall, _ = metrics.roc_curve(truth, scores)
    # Points are kept by the logarithm of the rate as well, or the low rates would be one straight line.
    lowest = math.log10(1.0 / len(truth))
    kept = np.union1d(
        _spread(rate + recall, np.linspace(0, 2, points // 2)),
        _spread(rate, np.logspace(lowest, 0, points // 2)),
    )
    return RocCurve(rate[kept], recall[kept], float(metrics.auc(rate, recall)))


def precision_recall_curve(truth: Bools, scores: Floats, points: int = POINTS) -> PrecisionRecallCurve:
    """Precision by recall, at most about `points` of its points kept."""
    from sklearn import metrics

    prevalence = float(truth.mean()) if len(truth) else math.nan
    if not truth.any():
        return PrecisionRecallCurve(np.empty(0), np.empty(0), math.nan, prevalence)
    precision, recall, _ = metrics.precision_recall_curve(truth, scores)
    kept = np.union1d(
        _spread(1.0 - recall, np.linspace(0, 1, points // 2)),
        np.linspace(0, len(recall) - 1, points // 2).astype(np.int64),
    )
    average = float(metrics.average_precision_score(truth, scores))
    return PrecisionRecallCurve(recall[kept], precision[kept], average, prevalence)


def _spread(rising: Floats, wanted: Floats) -> npt.NDArray[np.int64]:
    """The first and last places, and those where a rising array passes each wanted value."""
    places = np.searchsorted(rising, wanted)
    last = len(rising) - 1
    return np.unique(np.clip(np.concatenate([[0], places - 1, places, [last]]), 0, last))


def reliability(truth: Bools, scores: Floats, bins: int = 10, *, draws: int = 1) -> Reliability:
    """Rows in `bins` bins of equal width over [0, 1]; bins without rows are left out.

    draws: as of `models.training.intervals.share`.

    ValueError for scores that are no probabilities.
    """
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("scores outside [0, 1] are no probabilities")
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    rows = np.bincount(place, minlength=bins)
    kept = np.flatnonzero(rows)
    score = np.bincount(place, scores, bins)[kept] / rows[kept]
    found = np.bincount(place, truth, bins)[kept].astype(np.int64)
    counted = [share(int(a), int(n), draws=draws) for a, n in zip(found, rows[kept], strict=True)]
    attacks = np.array([one.value for one in counted])
    weight = rows[kept] / max(1, len(scores))
    return Reliability(
        score,
        attacks,
        np.array([one.low for one in counted]),
        np.array([one.high for one in counted]),
        rows[kept],
        float((weight * np.abs(score - attacks)).sum()) if len(kept) else math.nan,
        float(np.mean((scores - truth) ** 2)) if len(scores) else math.nan,
    )
