"""The page of a comparison: Table 1 of each protocol, the differences, every system with its sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from models.training.paper.comparing import PROTOCOLS, Run
from models.training.paper.table_one import FIGURES, NAMES, Against, Row, against, best_of, rows
from models.training.report import Column, Report
from models.training.systems.base import Entry

_DIFFERENCE_NOTE = (
    "Points of percent that the CNN-LSTM is above, with the 95 % interval of the paired difference, corrected"
    " for training rows that the shuffles share (Nadeau and Bengio 2003); level: the interval holds 0;"
    " unknown: one shuffle, equal differences or a figure that is none tell nothing of chance."
)


def comparison_report(
    runs: Sequence[Run], entries: Sequence[Entry], data: Sequence[str], *, command: str, date: str = ""
) -> Report:
    """data: what was read, a line each."""
    from models.training.systems.registry import BASELINES

    report = Report("Systems on the same splits", "Table 1, ours and the paper's", date=date, command=command)
    report.text("What was read", "")
    report.listing(data)
    titles = {entry.name: entry.title for entry in entries}
    for protocol, meaning in PROTOCOLS.items():
        mine = [run for run in runs if run.protocol == protocol]
        if not mine:
            continue
        found = rows(mine, entries)
        report.text(f"Protocol {protocol}", _about(meaning, mine, found))
        _table_one(report, protocol, found)
        compared = against(mine, "cnn-lstm", [row.entry.name for row in found])
        if compared:
            report.text("", _verdict(compared, found, best_of(found, BASELINES), titles))
            _differences(report, protocol, compared, titles)
    report.table(
        "The systems",
        ["system", "whose", "what it is", "source of the sizes", "what is ours"],
        [[entry.title, entry.whose, entry.sizes, entry.source, entry.ours] for entry in entries],
    )
    report.data("runs", [asdict(run) for run in runs])
    return report


def _about(meaning: str, runs: Sequence[Run], found: Sequence[Row]) -> str:
    one = runs[0]
    leaked = [run.leaked for run in runs if run.system == one.system]
    counts = found[0].pooled
    return (
        f"{meaning}; features scaled by {one.scale}. {_shuffles(found[0].shuffles)}, {one.train:,} training"
        f" rows and {one.test:,} test rows each; pooled {counts.benign:,} benign and {counts.attacks:,}"
        " attack test rows."
        f" {sum(leaked) / len(leaked):,.0f} test rows a shuffle have a twin in training: a random split is no"
        " measure of what happens on another network."
    )


def _shuffles(count: int) -> str:
    return "one shuffle" if count == 1 else f"{count} shuffles"


def _table_one(report: Report, protocol: str, found: Sequence[Row]) -> None:
    columns: list[str | Column] = ["system"]
    for figure in FIGURES:
        columns += [Column(NAMES[figure], "percent"), Column("±", "percent"), Column("paper", "percent")]
    columns += [Column("false alarms", "percent"), Column("fit, s", "number", 1)]
    cells: list[list[str | int | float | None]] = []
    for row in found:
        line: list[str | int | float | None] = [row.entry.title]
        for figure in FIGURES:
            paper = None if row.entry.paper is None else float(getattr(row.entry.paper, figure))
            line += [getattr(row.pooled, figure), getattr(row.spread, figure), paper]
        cells.append([*line, row.pooled.false_alarm_rate, row.fit_s])
    report.table(
        f"Table 1, protocol {protocol}",
        columns,
        cells,
        "Pooled over the shuffles; ±: standard deviation from shuffle to shuffle; paper: its figure on all of"
        " CICIDS2017.",
    )


def _differences(report: Report, protocol: str, compared: Sequence[Against], titles: dict[str, str]) -> None:
    columns: list[str | Column] = ["against", Column("shuffles", "count")]
    for figure in FIGURES:
        name = NAMES[figure]
        columns += [
            Column(name, "percent"),
            Column("low", "percent"),
            Column("high", "percent"),
            f"{name}: is",
        ]
    cells: list[list[str | int | float | None]] = []
    for one in compared:
        line: list[str | int | float | None] = [titles[one.other], one.shuffles]
        for figure in FIGURES:
            found = one.of[figure]
            line += [found.mean, found.low, found.high, found.verdict]
        cells.append(line)
    report.table(f"The CNN-LSTM against each, protocol {protocol}", columns, cells, _DIFFERENCE_NOTE)


def _verdict(
    compared: Sequence[Against], found: Sequence[Row], best: str | None, titles: dict[str, str]
) -> str:
    """One sentence on the mark: ahead of or level with the best of the paper's baselines."""
    one = next((one for one in compared if one.other == best), None)
    if best is None or one is None:
        return "None of the paper's baselines has run."
    if one.shuffles == 1:
        return (
            f"Against {titles[best]}, the best of the paper's baselines here by accuracy, one shuffle tells"
            " no difference: compare on more with --shuffles."
        )
    verdicts = ", ".join(f"{one.of[figure].verdict} in {NAMES[figure]}" for figure in FIGURES)
    return (
        f"Against {titles[best]}, the best of the paper's baselines here by accuracy, the CNN-LSTM is"
        f" {verdicts}."
    )
