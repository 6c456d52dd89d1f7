"""Intervals: of a share that was counted, and of the difference between two systems over the same runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95

Verdict = Literal["ahead", "level", "behind", "unknown"]


@dataclass(frozen=True, slots=True)
class Share:
    """A counted share with its interval; `value` is NaN where nothing was counted."""

    value: float
    low: float
    high: float


def share(successes: int, total: int, confidence: float = CONFIDENCE, *, draws: int = 1) -> Share:
    """The share `successes / total` with the exact binomial interval of Clopper and Pearson (1934).

    draws: the cases are so many draws from the same few, added up.  They tell no more than one draw does,
    so the interval is that of the mean draw.

    Of no cases nothing is known: NaN within [0, 1].  ValueError where there are more successes than cases.
    """
    from scipy.stats import beta

    if not 0 <= successes <= total:
        raise ValueError(f"{successes} of {total} is no share")
    if total == 0:
        return Share(math.nan, 0.0, 1.0)
    tail = (1.0 - confidence) / 2.0
    hits, misses = successes / draws, (total - successes) / draws
    low = float(beta.ppf(tail, hits, misses + 1)) if successes else 0.0
    high = float(beta.ppf(1.0 - tail, hits + 1, misses)) if successes < total else 1.0
    return Share(successes / total, low, high)


_NO_SPREAD = 1e-12  # what rounding makes of equal differences


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much one system is above another, over runs on the same data."""

    mean: float
    low: float
    high: float
    verdict: Verdict  #: of the first system; level where the interval holds 0, unknown without one


def paired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, *, test_per_train: float = 0.0, confidence: float = CONFIDENCE
) -> Difference:
    """The mean of a - b with Student's interval; a[i] and b[i] are figures of one shuffle, higher is better.

    Shuffles of one data set share most of their training rows, so their figures are not independent and
    the plain interval is too narrow.  With `test_per_train`, rows of a test part by those of a training
    part, the variance of the mean is s^2 (1/n + test_per_train), as Nadeau and Bengio (2003) correct it.

    Where nothing is known of the spread, as of one shuffle or of differences that are all the same and not
    0, the interval is endless and the verdict unknown; so it is where a figure is NaN.
    ValueError for figures that are no pairs.
    """
    from scipy.stats import t

    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(f"figures of shapes {first.shape} and {second.shape} are no pairs")
    differences = first - second
    mean, n = float(differences.mean()), len(differences)
    no_spread = mean != 0 and float(np.ptp(differences)) < _NO_SPREAD
    if n == 1 or no_spread or math.isnan(mean):
        return Difference(mean, -math.inf, math.inf, "unknown")
    error = float(differences.std(ddof=1)) * math.sqrt(1.0 / n + test_per_train)
    reach = float(t.ppf((1.0 + confidence) / 2.0, n - 1)) * error
    low, high = mean - reach, mean + reach
    verdict: Verdict = "ahead" if low > 0 else "behind" if high < 0 else "level"
    return Difference(mean, low, high, verdict)
