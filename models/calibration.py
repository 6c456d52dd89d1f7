"""Thresholds from benign traffic and a budget of false alarms, with what so much traffic can tell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.errors import CalibrationError

if TYPE_CHECKING:
    from models.windows import WindowBatch

Floats = npt.NDArray[np.float64]

_HOUR_NS = 3_600_000_000_000
_PAUSE_NS = 600 * 10**9  # longer ones are between recordings, or show nothing of the traffic
_TAIL = 0.025  # on each side of an interval
_SURE = 2.0  # times the budget that the interval may reach without a warning


@dataclass(frozen=True, slots=True)
class Budget:
    """False alarms that may be: so many a day, or a share of the benign items."""

    amount: float
    daily: bool

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`3/day`, `0.001` or `0.1%`; ValueError for anything else."""
        number = text.strip().lower()
        daily, percent = number.endswith("/day"), number.endswith("%")
        number = number.removesuffix("/day").removesuffix("%")
        try:
            amount = float(number) / (100 if percent else 1)
        except ValueError:
            amount = math.nan
        if not 0 < amount < (math.inf if daily else 1):
            raise ValueError(f"{text!r} is no budget: 3/day, or a share such as 0.001 or 0.1%")
        return cls(amount, daily)

    def __str__(self) -> str:
        return f"{self.amount:g}/day" if self.daily else f"{self.amount:g}"


@dataclass(frozen=True, slots=True, eq=False)
class BenignScores:
    """Scores of benign traffic, one of each item that may be a false alarm."""

    scores: Floats  #: (n,)
    items: str  #: what the n are, in the plural
    days: float | None  #: of traffic, None where no times are known


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A threshold, and what the traffic that gave it lets expect."""

    threshold: float
    alarms: int  #: items above it
    items: int
    unit: float  #: items, or days
    low: float  #: of the alarms expected for one unit, 95 % interval
    high: float

    def text(self, budget: Budget, what: str) -> str:
        """For people: one line, and a second where the traffic is too little to be sure of the budget."""
        per = "a day" if budget.daily else f"of {what}"
        of = f"{self.unit:.3g} days" if budget.daily else f"{self.items} {what}"
        text = (
            f"threshold {self.threshold:.4f}: {self.alarms} false alarms in {of},"
            f" so {self.low:.3g} to {self.high:.3g} {per} (95 % interval; budget {budget})"
        )
        if self.high > _SURE * budget.amount:
            text += f"\nwarning: so little traffic does not rule out {self.high:.3g} {per}: give more"
        return text


def threshold_for(benign: Floats, share: float) -> float:
    """The lowest threshold that at most `share` of the benign scores exceed.

    One of the scores.  ValueError without any.
    """
    if not len(benign):
        raise ValueError("no benign scores to set a threshold by")
    return _exceeded_by(benign, int(share * len(benign) + 1e-9))


def calibrate_threshold(benign: BenignScores, budget: Budget, before: float = -math.inf) -> Calibrated:
    """The lowest threshold that keeps the budget on this traffic.

    Below `before` it goes only as far as even the upper end of the interval keeps the budget: some quiet
    hours are no reason to be woken by what was let pass.

    Raises CalibrationError where the traffic is too little to tell: where the budget allows not even
    one false alarm in all of it, any threshold above its highest score would seem to do.
    """
    count = len(benign.scores)
    if budget.daily and benign.days is None:
        raise CalibrationError(
            "a budget by the day needs times, which these flows lack: give a share, such as 0.001"
        )
    unit = float(benign.days or 0.0) if budget.daily else float(count)
    allowed = int(budget.amount * unit + 1e-9)
    if allowed < 1:
        wanted, there = (
            (f"{1 / budget.amount:.3g} days", f"{unit:.3g} days")
            if budget.daily
            else (f"{math.ceil(1 / budget.amount)} {benign.items}", f"{count} {benign.items}")
        )
        raise CalibrationError(
            f"a budget of {budget} cannot be told from {there} of benign traffic: give {wanted} or more,"
            " or a larger budget"
        )
    threshold = _exceeded_by(benign.scores, allowed)
    if threshold < before:
        sure = [k for k in range(allowed + 1) if counted_interval(k)[1] <= budget.amount * unit]
        threshold = min(before, _exceeded_by(benign.scores, sure[-1])) if sure else before
    alarms = int((benign.scores > threshold).sum())
    low, high = counted_interval(alarms)
    return Calibrated(threshold, alarms, count, unit, low / unit, high / unit)


def _exceeded_by(scores: Floats, allowed: int) -> float:
    """The lowest of the scores that at most `allowed` of them exceed."""
    place = max(0, len(scores) - 1 - allowed)
    return float(np.partition(scores, place)[place])


def covered_days(time_ns: npt.NDArray[np.int64]) -> float:
    """Days of traffic: the time from flow to flow, in days of 24 hours.

    Pauses of over ten minutes do not count, so nights between recordings do not water a rate down.
    """
    pauses = np.diff(np.sort(time_ns))
    return float(pauses[pauses <= _PAUSE_NS].sum()) / (24 * _HOUR_NS)


def counted_interval(count: int) -> tuple[float, float]:
    """Where the expected number lies, with 95 %, of events of which `count` were seen.

    The exact interval for a Poisson count (Garwood 1936).  For a small share of many items it is that
    of the share as well, times the items.
    """

    def at_most(most: int, mean: float) -> float:
        k = np.arange(most + 1)
        logs = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
        return float(np.exp(k * math.log(mean) - mean - logs).sum())

    top = count + 10.0 + 10.0 * math.sqrt(count + 1.0)
    # The fewer expected, the more likely it is to see at most so many.
    low = _bisect(lambda mean: 1 - at_most(count - 1, mean) >= _TAIL, top) if count else 0.0
    return low, _bisect(lambda mean: at_most(count, mean) <= _TAIL, top)


def _bisect(reached: Callable[[float], bool], top: float) -> float:
    """Where `reached` becomes true between 0 and `top`."""
    low, high = 0.0, top
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


class HostHours:
    """The highest decision of each host in each clock hour: what may become an alert.

    An incident is of one host and lasts; its windows are no alarms of their own.  One attack seen at
    both of its ends counts twice here, which errs on the quiet side.
    """

    def __init__(self) -> None:
        self._highest: dict[tuple[int, int, int], float] = {}
        self._spans: dict[int, tuple[int, int]] = {}  # of each ten minutes: the first flow, the last
        self.windows = 0

    def see(self, time_ns: npt.NDArray[np.int64]) -> None:
        """Take the times of all flows, also of those that make no window due."""
        bins = time_ns // _PAUSE_NS
        for place in np.unique(bins).tolist():
            within = time_ns[bins == place]
            low, high = int(within.min()), int(within.max())
            known = self._spans.get(place, (low, high))
            self._spans[place] = min(known[0], low), max(known[1], high)

    def add(self, batch: WindowBatch, decisions: Floats) -> None:
        """Take the decisions (B,) at the windows of a batch."""
        self.windows += len(batch)
        hours = batch.time_ns // _HOUR_NS
        for (high, low), hour, score in zip(
            batch.host.tolist(), hours.tolist(), decisions.tolist(), strict=True
        ):
            key = (high, low, hour)
            if score > self._highest.get(key, -math.inf):
                self._highest[key] = score

    @property
    def hosts(self) -> int:
        return len({key[:2] for key in self._highest})

    @property
    def days(self) -> float:
        """Of traffic, see `covered_days`."""
        return covered_days(np.array(list(self._spans.values()), np.int64).ravel())

    def scores(self) -> BenignScores:
        """One score a host hour."""
        return BenignScores(np.array(list(self._highest.values()), np.float64), "host hours", self.days)


def told(budget: Budget, found: Calibrated, what: str, **made_of: Any) -> dict[str, Any]:
    """What calibration.json says of where its threshold comes from."""
    return {
        "budget": str(budget),
        "items": what,
        "count": found.items,
        "alarms": found.alarms,
        "expected": [round(found.low, 6), round(found.high, 6)],
        "per": "day" if budget.daily else "item",
        **made_of,
    }
