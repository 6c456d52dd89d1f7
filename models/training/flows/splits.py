"""Splits of a table into training, validation and test: the paper's, and those that do not leak."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from models.errors import TrainingError
from models.training.flows.table import NO_TIME, FlowTable
from models.training.flows.twins import twins

Index = npt.NDArray[np.int64]

#: `time_and_group` of flows that do not all have a time
GROUPS_AT_RANDOM = "groups at random 70/15/15"

_LEAST = -46  # no float32 is below its power of ten
_UNITS = 10.0 ** np.arange(_LEAST - 1, 39)  # of the second digit, by the power of the first

_DAY_NS = 86_400_000_000_000
_OF_ONE_DAY = 0.99  # of a file's rows
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows of a table, each in one part at most; indices rise."""

    name: str
    train: Index
    validation: Index
    test: Index
    leaked: int  #: test rows with a twin in training: equal in protocol and every feature of the table


def paper_text(table: FlowTable, seed: int) -> Split:
    """At random 70 % to train, 15 % to validate, 15 % to test, each class alike: the paper's text."""
    train, validation, test = stratified(table.label, np.arange(len(table)), (0.70, 0.15, 0.15), seed)
    return _split(table, "random 70/15/15", train, validation, test)


def paper_matrix(table: FlowTable, seed: int) -> Split:
    """At random 30 % to test, each class alike, as the paper's confusion matrix adds up.

    15 % of the other 70 are taken out of training for validation.
    """
    rest, test = stratified(table.label, np.arange(len(table)), (0.70, 0.30), seed)
    train, validation = stratified(table.label, rest, (0.85, 0.15), seed + 1)
    return _split(table, "random 70/30", train, validation, test)


def time_and_group(table: FlowTable, seed: int) -> Split:
    """In each class the first 70 % by time to train, the next 15 % to validate, the last 15 % to test;
    at random where a row has no time.  Nothing leaks.

    Rows that agree in protocol and in two digits of every feature are one group and stay together,
    placed by its first row; so a class of few groups may be missing from the test.
    """
    _, first, group = np.unique(near_twins(table), return_index=True, return_inverse=True)
    size = np.bincount(group)
    timed = bool((table.time != NO_TIME).all())
    if timed:
        order = np.lexsort((np.arange(len(table)), table.time))
        first[group[order[::-1]]] = order[::-1]
        rank: npt.NDArray[np.int64] = table.time[first]
    else:
        rank = np.random.default_rng(seed).permutation(len(first))
    part = np.zeros(len(first), np.int8)
    label = table.label[first]
    for code in np.unique(label):
        of_label = np.flatnonzero(label == code)
        of_label = of_label[np.lexsort((of_label, rank[of_label]))]
        counts = size[of_label]
        middle = (np.cumsum(counts) - counts / 2) / counts.sum()
        part[of_label] = np.digitize(middle, (0.70, 0.85))
    side = part[group]
    name = "by time 70/15/15, groups whole" if timed else GROUPS_AT_RANDOM
    return _split(table, name, *(np.flatnonzero(side == which) for which in range(3)))


def leave_day_out(table: FlowTable, seed: int = 0) -> list[Split]:
    """For each day a split that tests on it and has all other days, less 15 % at random to validate.

    A day is a date where every row has a time; else the weekday in the name of a file, else each
    file.  A split's training part may lack attacks or benign flows.  TrainingError where there is but
    one day.
    """
    names, day = _days(table)
    if len(names) < 2:
        raise TrainingError(
            f"{', '.join(table.files[:3])}: one day only ({names[0]}), so none can be left out;"
            " give files of several days"
        )
    splits = []
    for code, name in enumerate(names):
        train, validation = stratified(table.label, np.flatnonzero(day != code), (0.85, 0.15), seed)
        splits.append(_split(table, f"all days but {name}", train, validation, np.flatnonzero(day == code)))
    return splits


def near_twins(table: FlowTable) -> npt.NDArray[np.uint64]:
    """(n,) hashes of protocol and features to two digits: of rows that are nearly or wholly the same."""

    def rounded(column: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        values = column.astype(np.float64)
        some = np.isfinite(values) & (values != 0)
        power = np.floor(np.log10(np.abs(np.where(some, values, 1.0)))).astype(np.int64)
        unit = _UNITS[power - _LEAST]
        return np.where(some, np.rint(values / unit) * unit, values)

    return twins((rounded(table.values[:, i]) for i in range(len(table.features))), table.protocol)


def _split(table: FlowTable, name: str, train: Index, validation: Index, test: Index) -> Split:
    leaked = int(np.isin(table.twin[test], table.twin[train]).sum())
    return Split(name, train, validation, test, leaked)


def stratified(
    label: npt.NDArray[np.int16], rows: Index, shares: Sequence[float], seed: int
) -> tuple[Index, ...]:
    """The rows at random in parts of these shares, each class by itself; rounding favours the first part."""
    parts: list[list[Index]] = [[] for _ in shares]
    for code in np.unique(label[rows]):
        mine = np.random.default_rng([seed, int(code)]).permutation(rows[label[rows] == code])
        counts = [int(len(mine) * share + 0.5) for share in shares[1:]]
        ends = np.cumsum([len(mine) - sum(counts), *counts])[:-1]
        for part, piece in zip(parts, np.split(mine, ends)):
            part.append(piece)
    return tuple(np.sort(np.concatenate(part)).astype(np.int64) for part in parts)


def _days(table: FlowTable) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Names of the days, in order, and (n,) the day of each row."""
    if (table.time != NO_TIME).all():
        dates, day = np.unique(_without_strays(table.time // _DAY_NS, table.file), return_inverse=True)
        return [str(date) for date in dates.astype("datetime64[D]")], day
    found = [_weekday(name) for name in table.files]
    keys = found if all(found) else list(table.files)
    names = list(dict.fromkeys(keys))
    return names, np.array([names.index(key) for key in keys])[table.file]


def _without_strays(date: npt.NDArray[np.int64], file: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    """(n,) dates; of a file that is nearly all of one date, that date: flow tools misdate some flows."""
    date = date.copy()
    for number in np.unique(file):
        of_file = file == number
        dates, counts = np.unique(date[of_file], return_counts=True)
        if counts.max() >= _OF_ONE_DAY * counts.sum():
            date[of_file] = dates[counts.argmax()]
    return date


def _weekday(name: str) -> str:
    """The weekday in a file's name or in that of the nearest folder that has one; "" where none has."""
    for part in reversed(PurePosixPath(name.lower()).parts):
        if match := re.search("|".join(_WEEKDAYS), part):
            return match.group().capitalize()
    return ""
