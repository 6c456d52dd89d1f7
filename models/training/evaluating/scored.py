"""Tests scored by systems, and what is measured on the scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.calibration import covered_days, threshold_for
from models.scaling import Kind
from models.training.evaluating.trials import Trial
from models.training.flows.preprocessing import Preprocessing
from models.training.flows.table import NO_TIME, FlowTable
from models.training.flows.twins import seen_again, twins
from models.training.intervals import Share, share
from models.training.metrics import Confusion, confusion
from models.training.systems.base import Entry

History = list[dict[str, float]]

#: Of the benign rows of a test, those that a local threshold is set by.
LOCAL_SHARE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One test as one system scores it."""

    test: str
    group: str
    system: str
    labels: tuple[str, ...]  #: of the families; the first is benign
    label: npt.NDArray[np.int64]  #: (n,) index into `labels`
    time: npt.NDArray[np.int64]  #: (n,) ns, or NO_TIME
    scores: npt.NDArray[np.float64]  #: (n,) higher for more malicious
    threshold: float  #: a row above it is called an attack
    fitted_on: int  #: rows; 0 where the model was given
    leaked: int | None  #: rows here with a twin among those; None where the training rows are not known
    history: History  #: learning curve, empty for what has none
    unit: str = "flows"  #: what the n rows are, in the plural
    draws: tuple[int, ...] = ()  #: benign rows of each, where the rows are draws from the same flows, pooled
    alike: npt.NDArray[np.uint64] | None = (
        None  #: (n,) equal where the model is given the same; None: not known
    )

    def distinct(self, family: int) -> int | None:
        """How many rows of a family differ in anything that the model is given."""
        return None if self.alike is None else len(np.unique(self.alike[self.label == family]))

    @property
    def times(self) -> int:
        """How often the same flows were drawn from."""
        return max(1, len(self.draws))

    @property
    def truth(self) -> npt.NDArray[np.bool_]:
        return self.label != 0

    @property
    def flagged(self) -> npt.NDArray[np.bool_]:
        return self.scores > self.threshold

    @property
    def confusion(self) -> Confusion:
        return confusion(self.truth, self.flagged)


def fit_and_score(trial: Trial, entry: Entry, scale: Kind, seed: int, log: Callable[[str], None]) -> Scored:
    """Fit a system on the training rows of a trial, from nothing, and score the judged rows."""
    made = Preprocessing.fit(trial.train, trial.fitting, scale=scale)
    attack = trial.train.attack
    system = entry.make(made.names)
    fitting, held = trial.fitting, trial.validation
    learned, judged = made.transform(trial.train, fitting), made.transform(trial.test, trial.judged)
    validation = (made.transform(trial.train, held), attack[held]) if len(held) else None
    history = system.fit(learned, attack[fitting], validation, seed, log)
    scores = system.scores(judged)
    return Scored(
        trial.name,
        trial.group,
        entry.title,
        trial.test.labels,
        trial.test.label[trial.judged].astype(np.int64),
        trial.test.time[trial.judged],
        scores,
        system.threshold,
        len(fitting),
        seen_again(learned, judged),
        history,
        alike=twins(judged.T),
    )


def as_is(
    table: FlowTable,
    system: str,
    score: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]],
    preprocessing: Preprocessing,
    threshold: float,
) -> Scored:
    """Every row of a table by a fitted model, which is taken not to have seen any of it."""
    judged = preprocessing.transform(table)
    return Scored(
        "all of it",
        "the data given",
        system,
        table.labels,
        table.label.astype(np.int64),
        table.time,
        score(judged),
        threshold,
        0,
        None,
        [],
        alike=twins(judged.T),
    )


def pooled(parts: Sequence[Scored], *, redrawn: bool = False) -> Scored:
    """Tests of one group by one system as one; scores count as above or below by each one's own threshold.

    Scores are moved so that all thresholds are the first's; those of one threshold stay as they are.
    redrawn: the tests are draws from the same flows, so that all of them tell no more than one.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    labels = (first.labels[0], *sorted({name for part in parts for name in part.labels[1:]}))
    return Scored(
        first.group,
        first.group,
        first.system,
        labels,
        np.concatenate([np.array([labels.index(n) for n in part.labels])[part.label] for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.scores + (first.threshold - part.threshold) for part in parts]),
        first.threshold,
        round(sum(part.fitted_on for part in parts) / len(parts)),
        None if first.leaked is None else sum(part.leaked or 0 for part in parts),
        first.history,
        first.unit,
        tuple(part.confusion.benign for part in parts) if redrawn else (),
        None if any(part.alike is None for part in parts) else np.concatenate([part.alike for part in parts]),  # type: ignore[misc]
    )


@dataclass(frozen=True, slots=True)
class PerDay:
    """Alarms for each day of traffic in the data."""

    days: float  #: of traffic, see `covered_days`
    alarms: float
    false_alarms: Share  #: a day, with the interval of the false-alarm rate


def per_day(scored: Scored) -> PerDay | None:
    """None unless every row has a time, and they are not all the same."""
    if (scored.time == NO_TIME).any() or not (days := covered_days(scored.time)):
        return None
    counts = scored.confusion
    rate = share(counts.fp, counts.benign)
    benign = counts.benign / days
    return PerDay(
        days,
        (counts.fp + counts.tp) / days,
        Share(counts.fp / days, rate.low * benign, rate.high * benign),
    )


@dataclass(frozen=True, slots=True)
class LocalThreshold:
    """The same rows judged before and after a threshold is set by benign rows of the network they are of."""

    rate: float  #: false alarms that were to be allowed, by the benign rows that set the threshold
    rows: int  #: benign rows that set it
    threshold: float
    before: Confusion  #: of the rows that did not set it
    after: Confusion
    resolvable: bool  #: False: fewer than 1 / rate rows, so the threshold allows none of them
    by_time: bool  #: whether the first rows set it; False: rows at random, since some have no time


def local_threshold(scored: Scored, rate: float, seed: int = 1) -> LocalThreshold | None:
    """Set a threshold by the first benign rows by time (at random without times) and judge all others.

    None where fewer than two benign rows are there.
    """
    benign = np.flatnonzero(~scored.truth)
    count = math.ceil(LOCAL_SHARE * len(benign))
    if not 0 < count < len(benign):
        return None
    by_time = bool((scored.time[benign] != NO_TIME).all())
    if by_time:
        order = benign[np.argsort(scored.time[benign], kind="stable")]
    else:
        order = np.random.default_rng(seed).permutation(benign)
    local = order[:count]
    threshold = threshold_for(scored.scores[local], rate)
    judged = np.ones(len(scored.scores), bool)
    judged[local] = False
    truth, scores = scored.truth[judged], scored.scores[judged]
    return LocalThreshold(
        rate,
        count,
        threshold,
        confusion(truth, scores > scored.threshold),
        confusion(truth, scores > threshold),
        rate * count >= 1 - 1e-9,
        by_time,
    )
