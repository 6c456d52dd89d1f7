"""Searching sizes and options of a network: a grid in random order, judged on validation alone.

What is fitted at a point, and how it is judged, a `Task` says: `paper.searching` has that of the network
for single flows, `windows.searching` that of the daemon's.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.errors import TrainingError
from models.training.epochs import Log, silent
from models.training.journal import Journal
from models.training.report import Column, Report

JOURNAL = "search.jsonl"

Kind = Literal["flows", "windows"]
Grid = Mapping[str, Sequence[Any]]

#: What each kind is searched on, and the command for it.
_ON = {"flows": "labelled flows", "windows": "flow records"}
_COMMAND = {"flows": "ids-train search DATA", "windows": "ids-train search --records"}


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of one point."""

    loss: float  #: lowest of validation
    epochs: int
    figures: dict[str, float]  #: what else is told of it, by the names of `Task.figures`


@dataclass(frozen=True, slots=True)
class Task:
    """What a search fits and judges by, all but the points."""

    kind: Kind
    data: Any  #: JSON: what points are judged on; losses on the same can be compared
    base: Mapping[str, Any]  #: JSON: what every fit has
    seed: int  #: of the order of points
    fit: Callable[[dict[str, Any]], Fitted]
    figures: Mapping[str, Column]  #: beside the loss, as the table shows them
    judged: str  #: how, for the page


@dataclass(frozen=True, slots=True)
class Tried:
    """One point of the grid."""

    point: dict[str, Any]
    loss: float | None  #: lowest of validation; None where no network came of it
    figures: dict[str, float | None]
    epochs: int | None
    fit_s: float


def journal(folder: Path, kind: Kind) -> Journal:
    """The results of a search in a folder; TrainingError where they are of the other kind."""
    results = Journal(folder / JOURNAL, ("data", "base", "point"), ("loss", "epochs", "fit_s"))
    for line in results:
        if (found := line.get("kind", "flows")) != kind:
            raise TrainingError(
                f"{folder}: holds a search on {_ON.get(found, found)}, not on {_ON[kind]}:"
                f" name another folder, of `{_COMMAND[kind]}`"
            )
    return results


def points(grid: Grid, seed: int) -> list[dict[str, Any]]:
    """Every combination once, in an order that hangs on the seed."""
    combined = [dict(zip(grid, values)) for values in itertools.product(*grid.values())]
    return [combined[i] for i in np.random.default_rng(seed).permutation(len(combined))]


def search(
    task: Task,
    grid: Grid,
    results: Journal,
    *,
    budget_s: float = float("inf"),
    log: Log = silent,
    clock: Callable[[], float] = time.monotonic,
) -> list[Tried]:
    """Fit point after point until the budget is used up; gives all that were tried, the best first.

    A point that is in the journal is not fitted again.  The budget is of this call, and at least one new
    point is fitted.
    """
    key = {"data": task.data, "base": task.base}
    tried: list[Tried] = []
    began, fitted = clock(), 0
    order = points(grid, task.seed)
    for point in order:
        line = results.get(**key, point=point)
        if line is None:
            if fitted and clock() - began >= budget_s:
                continue
            at = clock()
            line = {"kind": task.kind, **key, "point": point}
            try:
                found = task.fit(point)
            except TrainingError as error:  # a loss that is none, say: that is a result, too
                line |= {"loss": None, "epochs": None, "why": str(error)}
            else:
                line |= {"loss": found.loss, **found.figures, "epochs": found.epochs}
            line["fit_s"] = round(clock() - at, 3)
            results.add(line)
            fitted += 1
            outcome = line.get("why") or f"loss {line['loss']:.4f}"
            log(f"{len(tried) + 1} of {len(order)}: {told(point)}: {outcome}")
        figures = {name: line.get(name) for name in task.figures}
        tried.append(Tried(line["point"], line["loss"], figures, line["epochs"], line["fit_s"]))
    tried.sort(key=lambda one: math.inf if one.loss is None else one.loss)
    if tried[0].loss is None:
        why = next(line["why"] for line in results if line.get("why"))
        raise TrainingError(f"no point could be fitted: {why}")
    return tried


@dataclass(frozen=True, slots=True)
class Best:
    """What a search found."""

    point: dict[str, Any]
    base: dict[str, Any]  #: what every fit of it had, see `Task`
    data: Any  #: what it was on, see `Task`


def best_of(folder: Path, kind: Kind) -> Best:
    """The point with the lowest validation loss in a folder; TrainingError where there is no such search."""
    results = [line for line in journal(folder, kind) if line["loss"] is not None]
    if not results:
        raise TrainingError(f"{folder}: holds no results of `{_COMMAND[kind]}`")
    if len({json.dumps(line["data"]) for line in results}) > 1:
        raise TrainingError(f"{folder}: holds searches on several sets of data; give each a folder")
    if len({json.dumps(line["base"], sort_keys=True) for line in results}) > 1:
        raise TrainingError(f"{folder}: holds searches with several options; give each a folder")
    best = min(results, key=lambda line: float(line["loss"]))
    return Best(dict(best["point"]), dict(best["base"]), best["data"])


def told(point: Mapping[str, Any]) -> str:
    """A point as text."""
    return ", ".join(f"{name} {value}" for name, value in point.items())


def search_report(
    task: Task, tried: Sequence[Tried], possible: int, data: Sequence[str], *, command: str
) -> Report:
    """The page of a search.  possible: points of the grid; data: lines that say what was read."""
    report = Report("Search", "Sizes and options, judged on the validation part", command=command)
    report.text("What was read", "")
    report.listing(data)
    report.text(
        "What was tried",
        f"{len(tried)} of {possible} combinations, in random order. The lowest validation loss is the best."
        f"\n\n{task.judged}",
    )
    kinds = [
        Column("validation loss", "number", 4),
        *task.figures.values(),
        Column("epochs", "count"),
        Column("s", "number", 1),
    ]
    report.table(
        "Combinations, the best first",
        [*tried[0].point, *kinds],
        [
            [*map(str, one.point.values()), one.loss, *one.figures.values(), one.epochs, one.fit_s]
            for one in tried
        ],
    )
    return report
