"""Table 1: figures pooled over shuffles beside the paper's, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.training.intervals import Difference, paired_difference
from models.training.metrics import Confusion
from models.training.paper.comparing import Run
from models.training.systems.base import Entry, Figures

FIGURES = ("accuracy", "precision", "recall", "f1")
NAMES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}


@dataclass(frozen=True, slots=True)
class Row:
    """One system over its shuffles."""

    entry: Entry
    shuffles: int
    pooled: Confusion  #: the sum of the shuffles'
    spread: Figures  #: standard deviation of each figure from shuffle to shuffle; NaN of one
    fit_s: float  #: mean


def rows(runs: Sequence[Run], entries: Sequence[Entry]) -> list[Row]:
    """A row a system that has runs, in the order of the entries.  The runs are of one protocol and scale."""
    found = []
    for entry in entries:
        mine = [run for run in runs if run.system == entry.name]
        if mine:
            pooled = sum((run.confusion for run in mine[1:]), mine[0].confusion)
            spread = [_deviation([getattr(run.confusion, figure) for run in mine]) for figure in FIGURES]
            seconds = float(np.mean([run.fit_s for run in mine]))
            found.append(Row(entry, len(mine), pooled, Figures(*spread), seconds))
    return found


@dataclass(frozen=True, slots=True)
class Against:
    """The CNN-LSTM against another system, over the shuffles that both have."""

    system: str
    other: str
    shuffles: int
    of: dict[str, Difference]  #: by figure


def against(runs: Sequence[Run], system: str, others: Sequence[str]) -> list[Against]:
    """Paired differences of every figure, with intervals that allow for what the shuffles share."""
    by = {(run.system, run.shuffle): run for run in runs}
    found = []
    for other in others:
        both = sorted(s for name, s in by if name == system and (other, s) in by)
        if other == system or not both:
            continue
        ours, theirs = [by[system, s] for s in both], [by[other, s] for s in both]
        share = ours[0].test / ours[0].train
        of = {
            figure: paired_difference(
                [getattr(run.confusion, figure) for run in ours],
                [getattr(run.confusion, figure) for run in theirs],
                test_per_train=share,
            )
            for figure in FIGURES
        }
        found.append(Against(system, other, len(both), of))
    return found


def best_of(found: Sequence[Row], among: Sequence[str], figure: str = "accuracy") -> str | None:
    """The system with the highest pooled figure among those named; None where none has run."""
    there = [row for row in found if row.entry.name in among]
    return max(there, key=lambda row: getattr(row.pooled, figure)).entry.name if there else None


def figure_cells(row: Row) -> list[str]:
    """A row of Table 1: ours with its spread, the paper's beside it."""
    cells = [row.entry.title]
    for figure in FIGURES:
        ours, spread = getattr(row.pooled, figure), getattr(row.spread, figure)
        cells.append(percent(ours) + ("" if np.isnan(spread) else f" ±{100 * spread:.2f}"))
        cells.append("" if row.entry.paper is None else percent(getattr(row.entry.paper, figure)))
    return [*cells, percent(row.pooled.false_alarm_rate), f"{row.fit_s:.1f}"]


def figure_columns() -> list[str]:
    """The heading of `figure_cells`."""
    figures = [text for figure in FIGURES for text in (NAMES[figure], "paper")]
    return ["system", *figures, "false alarms", "fit s"]


def difference_cells(one: Against, titles: dict[str, str]) -> list[str]:
    """A row of the differences: points of percent, interval, verdict, figure by figure."""
    cells = [titles[one.other], str(one.shuffles)]
    for figure in FIGURES:
        found = one.of[figure]
        interval = "" if not np.isfinite(found.low) else f" [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
        cells.append(f"{100 * found.mean:+.2f}{interval} {found.verdict}")
    return cells


def difference_columns(title: str) -> list[str]:
    """The heading of `difference_cells`."""
    return [f"{title} against", "shuffles", *(NAMES[figure] for figure in FIGURES)]


def percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.2f}"


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
