"""Searching sizes and options of the paper's network: a grid in random order, judged on validation alone."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import TrainingError
from models.training.epochs import Log, silent
from models.training.flows.table import FlowTable
from models.training.journal import Journal
from models.training.paper.comparing import digest
from models.training.paper.flow_fit import Settings, fit_flows, with_sizes
from models.training.report import Column, Report

JOURNAL = "search.jsonl"

#: What is tried where nothing else is asked for.
GRID: Mapping[str, tuple[Any, ...]] = {
    "batch_size": (64, 128, 256),
    "learning_rate": (1e-3, 3e-3, 1e-2),
    "filters": (32, 64),
    "lstm": (32, 64),
    "dropout": (0.1, 0.3, 0.5),
}


def journal(folder: Path) -> Journal:
    """The results of a search in a folder."""
    return Journal(folder / JOURNAL, ("data", "base", "point"))


@dataclass(frozen=True, slots=True)
class Tried:
    """One point of the grid."""

    point: dict[str, Any]
    loss: float  #: lowest of validation
    f1: float  #: of validation, at its best threshold
    accuracy: float
    epochs: int
    fit_s: float


def points(grid: Mapping[str, Sequence[Any]], seed: int) -> list[dict[str, Any]]:
    """Every combination once, in an order that hangs on the seed."""
    combined = [dict(zip(grid, values)) for values in itertools.product(*grid.values())]
    return [combined[i] for i in np.random.default_rng(seed).permutation(len(combined))]


def search(
    table: FlowTable,
    settings: Settings,
    grid: Mapping[str, Sequence[Any]],
    results: Journal,
    *,
    budget_s: float = float("inf"),
    log: Log = silent,
    clock: Callable[[], float] = time.monotonic,
) -> list[Tried]:
    """Fit point after point until the budget is used up; gives all that were tried, the best first.

    A point that is in the journal is not fitted again.  The budget is of this call, and at least one new
    point is fitted.  The test part is never scored for a choice.
    """
    key = {"data": digest(table), "base": settings.to_dict()}
    began, fitted, tried = clock(), 0, []
    order = points(grid, settings.seed)
    for point in order:
        line = results.get(**key, point=point)
        if line is None:
            if fitted and clock() - began >= budget_s:
                continue
            at = clock()
            found = fit_flows(table, with_sizes(settings, point))
            losses = [entry["val_loss"] for entry in found.history]
            line = {
                **key, "point": point, "loss": min(losses), "f1": found.validation.f1,
                "accuracy": found.validation.accuracy, "epochs": len(losses),
                "fit_s": round(clock() - at, 3),
            }  # fmt: skip
            results.add(line)
            fitted += 1
            log(f"{len(results)} of {len(order)}: {told(point)}: loss {min(losses):.4f}")
        tried.append(Tried(**{name: line[name] for name in Tried.__slots__}))
    return sorted(tried, key=lambda one: one.loss)


def best_of(folder: Path) -> dict[str, Any]:
    """The point with the lowest validation loss in a folder; TrainingError where there is no search."""
    results = journal(folder)
    if not len(results):
        raise TrainingError(f"{folder}: holds no results of `ids-train search`")
    if len({json.dumps(line["data"]) for line in results}) > 1:
        raise TrainingError(f"{folder}: holds searches on several sets of data; give each a folder")
    return dict(min(results, key=lambda line: float(line["loss"]))["point"])


def told(point: Mapping[str, Any]) -> str:
    """A point as text."""
    return ", ".join(f"{name} {value}" for name, value in point.items())


def search_report(tried: Sequence[Tried], possible: int, data: Sequence[str], *, command: str) -> Report:
    """The page of a search."""
    report = Report("Search", "Sizes and options, judged on the validation part", command=command)
    report.text("What was read", "")
    report.listing(data)
    report.text(
        "What was tried",
        f"{len(tried)} of {possible} combinations, in random order. The lowest validation loss is the best;"
        " the test part was not looked at.",
    )
    names = list(tried[0].point)
    kinds: list[str | Column] = [
        Column("validation loss", "number", 4),
        Column("F1", "percent"),
        Column("accuracy", "percent"),
        Column("epochs", "count"),
        Column("s", "number", 1),
    ]
    report.table(
        "Combinations, the best first",
        [*names, *kinds],
        [
            [*(str(one.point[name]) for name in names), one.loss, one.f1, one.accuracy, one.epochs, one.fit_s]
            for one in tried
        ],
        "F1 and accuracy of the validation part at its best threshold.",
    )
    return report
