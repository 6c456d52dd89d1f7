"""Protocols: which flows are learned from, and which are judged.

Rows with NaN or an infinity are out everywhere.  Flows that repeat an earlier one are out of all training
rows; the random splits, which are the paper's, leave them out of the test as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError
from models.training.flows.cleaning import clean, redundant
from models.training.flows.splits import (
    Split,
    leave_day_out,
    near_twins,
    paper_text,
    stratified,
    time_and_group,
)
from models.training.flows.table import FlowTable

Index = npt.NDArray[np.int64]

_VALIDATION = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One test: rows of `train` to fit on, rows of `test` to judge."""

    name: str
    group: str  #: tests of one group ask the same and may be added up
    train: FlowTable
    fitting: Index  #: rows of `train`
    validation: Index  #: rows of `train`
    test: FlowTable
    judged: Index  #: rows of `test`


def random_split(table: FlowTable, shuffles: int) -> list[Trial]:
    """The paper's: 70/15/15 at random, each class alike, duplicates left out before."""
    kept = clean(table)[0]
    return _shuffled(kept, paper_text, "random split", shuffles)


def without_leaks(table: FlowTable, shuffles: int) -> list[Trial]:
    """In each class the last flows by time are judged (without times any), near twins all on one side."""
    kept = clean(table)[0]
    return _shuffled(kept, time_and_group, "split without leaks", shuffles)


def unseen_days(table: FlowTable) -> tuple[list[Trial], list[str]]:
    """Each day in turn is judged by what was learned from the others; and of each that cannot be, why.

    Nothing is learned from days that are all benign or all attacks, or whose flows are all the same.
    TrainingError where that leaves no day to judge.
    """
    sound = clean(table, drop_duplicates=False)[0]
    trials, left_out = [], []
    for split in leave_day_out(sound):
        if lacking := _lacking(sound, split.train):
            left_out.append(f"{split.name}: not judged, those days have no {lacking} to learn from")
            continue
        once = split.train[~redundant(sound.take(split.train))]
        trials.append(_of_split(sound, replace(split, train=once), "unseen days"))
    if not trials:
        raise TrainingError(
            f"{', '.join(table.files[:3])}: no day can be judged; {'; '.join(left_out)};"
            " give days that hold both and are not all the same, or take --protocol no-leaks"
        )
    return trials, left_out


def _lacking(table: FlowTable, rows: Index) -> str:
    """What nothing can be learned without, and these rows do not have; "" where they have all of it."""
    attack = table.attack[rows]
    if attack.all() or not attack.any():
        return "benign flows" if len(attack) and attack.all() else "attacks"
    varied = any(np.ptp(table.values[rows, place]) > 0 for place in range(len(table.features)))
    return "" if varied else "feature that varies"


def across_sets(train: FlowTable, tests: Sequence[tuple[str, FlowTable]], seed: int = 1) -> list[Trial]:
    """Learned from one data set, judged on others, each by itself.

    Both sides keep the features that both have, so each test has a training of its own.  TrainingError
    where they share none.
    """
    fitted = clean(train)[0]
    trials = []
    for name, table in tests:
        sound = clean(table, drop_duplicates=False)[0]
        first, second = _shared(fitted, sound, name)
        rows, validation = stratified(
            first.label, np.arange(len(first)), (1 - _VALIDATION, _VALIDATION), seed
        )
        trials.append(Trial(name, name, first, rows, validation, second, np.arange(len(second))))
    return trials


@dataclass(frozen=True, slots=True)
class Leak:
    """How much of a test part was in the training part already."""

    split: str
    duplicates: str  #: "kept" or "dropped"
    judged: int
    twins: int  #: judged rows equal to a training row in protocol and every feature
    near: int  #: judged rows equal to a training row in protocol and two digits of every feature


def leaks(table: FlowTable, seed: int = 1) -> list[Leak]:
    """What leaks in the paper's random split, with and without duplicates, and in the split without leaks."""
    found = []
    for dropped in (False, True):
        kept = clean(table, drop_duplicates=dropped)[0]
        near = near_twins(kept)
        for split in (paper_text(kept, seed), time_and_group(kept, seed)):
            found.append(
                Leak(
                    split.name,
                    "dropped" if dropped else "kept",
                    len(split.test),
                    split.leaked,
                    int(np.isin(near[split.test], near[split.train]).sum()),
                )
            )
    return found


def _shuffled(
    table: FlowTable, split: Callable[[FlowTable, int], Split], group: str, shuffles: int
) -> list[Trial]:
    """A trial for each seed from 1 on, named by it where there are several."""
    made = []
    for seed in range(1, shuffles + 1):
        trial = _of_split(table, split(table, seed), group)
        made.append(trial if shuffles == 1 else replace(trial, name=f"{trial.name}, shuffle {seed}"))
    return made


def _of_split(table: FlowTable, split: Split, group: str) -> Trial:
    if not len(split.test):
        raise TrainingError(f"{', '.join(table.files[:3])}: too few flows, nothing is left to judge")
    return Trial(split.name, group, table, split.train, split.validation, table, split.test)


def _shared(train: FlowTable, test: FlowTable, name: str) -> tuple[FlowTable, FlowTable]:
    """Both with the features, and the protocol, that both have."""
    features = [feature for feature in train.features if feature in test.features]
    if not features:
        raise TrainingError(f"{name}: has no feature in common with {', '.join(train.files[:3])}")
    tables = [train.narrowed(features), test.narrowed(features)]
    if not all((one.protocol >= 0).any() for one in tables):
        tables = [replace(one, protocol=np.full_like(one.protocol, -1)) for one in tables]
    return tables[0], tables[1]
