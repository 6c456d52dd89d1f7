"""One group of tests in detail: families, fixed false-alarm rates, local thresholds, alarms a day, curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from models.training.curves import precision_recall_curve, reliability, roc_curve
from models.training.evaluating.scored import LocalThreshold, Scored, local_threshold, per_day, pooled
from models.training.intervals import Share, share
from models.training.metrics import RATES, Confusion, family_recall, recall_at
from models.training.report import Column, Report, plots
from models.training.report.cells import Cell

_PERCENT: Final = "percent"
_DISTINCT: Final = (
    " Distinct ones differ in something that a model is given. Those that do not are decided alike and tell"
    " no more than one of them, while the interval counts each: where few are distinct it is too narrow."
)


def add_group(
    report: Report, name: str, systems: list[list[Scored]], local_rate: float, redrawn: bool
) -> None:
    """Add the details of one group of tests.

    systems: the tests of each, in the same order.  local_rate: false alarms that a local threshold allows.
    redrawn: the tests are draws from the same flows.
    """
    whole = [pooled(parts, redrawn=redrawn) for parts in systems]
    times = len(systems[0])
    parts_told = "" if times == 1 else f" The {times} tests are added up."
    if redrawn and times > 1:
        parts_told += (
            f" They are the same flows, drawn {times} times, which tells no more than once: intervals, and"
            " the rates that can be told, are those of one test."
        )
    report.text(f"{name[:1].upper()}{name[1:]}: in detail", _known(whole) + parts_told)
    if any(one.truth.any() for one in whole):
        _add_families(report, name, whole)
    _add_rates(report, name, whole)
    _add_local(report, name, systems, local_rate, times if redrawn else 1)
    _add_days(report, name, systems)
    for one in whole:
        report.figure(
            f"Confusion matrix of {one.system}, {name}",
            f"Counts of {one.unit}, and their share of the benign ones above and of the attacks below; a good"
            " detector is dark from top left to bottom right.",
            plots.confusion_matrix(one.confusion),
        )
    if all(one.truth.any() and not one.truth.all() for one in whole):
        _add_curves(report, name, whole)
    for one in whole:
        if one.history:
            report.figure(
                f"Accuracy and loss of {one.system}, {name}",
                "Lines of training and validation that part say that the network learns what it is fitted on"
                " by heart." + ("" if len(systems[0]) == 1 else " Of the first test."),
                plots.accuracy_and_loss(one.history),
            )


def _known(whole: Sequence[Scored]) -> str:
    """What a reader must know of the rows of a group."""
    first = whole[0]
    attacks = int(first.truth.sum())
    text = f"{len(first.scores):,} {first.unit} are judged, {attacks:,} of them attacks."
    if first.leaked is not None:
        text += f" {first.leaked:,} equal a training flow in all that a model sees."
    return text


def _add_families(report: Report, name: str, whole: Sequence[Scored]) -> None:
    families = [family_recall(one.labels, one.label, one.flagged, draws=one.times) for one in whole]
    first = whole[0]
    distinct = {first.labels[i]: first.distinct(i) for i in range(1, len(first.labels))}
    known = first.alike is not None
    report.table(
        f"Recall by family, {name}",
        [
            Column("family"),
            Column(first.unit, "count"),
            *([Column("distinct", "count")] if known else []),
            *(Column(one.system, _PERCENT, 1) for one in whole),
        ],
        [
            [
                row[0].family,
                row[0].rows,
                *([distinct[row[0].family]] if known else []),
                *(Share(one.recall, one.low, one.high) for one in row),
            ]
            for row in zip(*families, strict=True)
        ],
        f"Of each kind of attack, the share of {first.unit} called an attack, with its 95 % interval."
        + (_DISTINCT if known else ""),
    )
    report.figure(
        f"Recall by family, {name}",
        "The further right, the more of that attack was found; bars are 95 % intervals.",
        plots.family_recalls({one.system: found for one, found in zip(whole, families, strict=True)}),
    )


def _add_rates(report: Report, name: str, whole: Sequence[Scored]) -> None:
    rates = {one.system: recall_at(one.truth, one.scores, draws=one.draws) for one in whole}
    report.data(f"recall_at, {name}", rates)
    if not any(one.truth.any() for one in whole) or whole[0].truth.all():
        return
    unresolved = [one for one in next(iter(rates.values())) if not one.resolvable]
    told = ""
    if unresolved:
        benign = min(whole[0].draws, default=int((~whole[0].truth).sum()))
        told = (
            f" There are {benign:,} benign {whole[0].unit}{' in a test' if whole[0].draws else ''}, too few"
            f" to tell {' and '.join(_one_in(one.rate) for one in unresolved)}: there it is the recall"
            " without any false alarm."
        )
    report.table(
        f"Recall at fixed false-alarm rates, {name}",
        [Column("system"), *(Column(_one_in(rate), _PERCENT, 1) for rate in RATES)],
        [[n, *(Share(one.recall, one.low, one.high) for one in found)] for n, found in rates.items()],
        f"How much is found when the threshold is set, on these very {whole[0].unit}, so that one benign one"
        f" in so many raises an alarm.{told}",
    )
    report.figure(
        f"Recall at fixed false-alarm rates, {name}",
        "Further left is quieter; a hollow mark says that too few are benign to tell that rate.",
        plots.recall_at_rates(rates),
    )


def _one_in(rate: float) -> str:
    return f"1 in {round(1 / rate):,}"


def _add_local(report: Report, name: str, systems: list[list[Scored]], rate: float, draws: int) -> None:
    rows: list[list[Cell]] = []
    kept: dict[str, list[LocalThreshold]] = {}
    for parts in systems:
        each = [one for one in (local_threshold(part, rate) for part in parts) if one is not None]
        if not each:
            continue
        kept[parts[0].system] = each
        before, after = (_sum(getattr(one, side) for one in each) for side in ("before", "after"))
        rows.append([parts[0].system, "as fitted", *figures(before, draws)[2::2]])
        rows.append([parts[0].system, "calibrated", *figures(after, draws)[2::2]])
    if not rows:
        return
    few = not all(one.resolvable for each in kept.values() for one in each)
    report.table(
        f"Before and after calibration on local benign traffic, {name}",
        [Column("system"), Column("threshold"), Column("recall", _PERCENT), Column("false alarms", _PERCENT)],
        rows,
        f"{_local_rows(kept, systems[0][0].unit)} set a threshold that lets {_one_in(rate)} of them raise an"
        " alarm; both rows judge all others."
        + (" In some test they were too few for that rate, so none of them may." if few else ""),
    )
    report.data(f"local thresholds, {name}", kept)


def _local_rows(kept: dict[str, list[LocalThreshold]], unit: str) -> str:
    """Which rows set the thresholds."""
    by_time = {one.by_time for each in kept.values() for one in each}
    first, drawn = f"The first 30 % of the benign {unit}", "30 % drawn at random"
    if by_time == {True}:
        return first
    if by_time == {False}:
        return f"Of the benign {unit}, of which not all have a time, {drawn}"
    return f"{first}, or in tests where not all have a time {drawn},"


def _add_days(report: Report, name: str, systems: list[list[Scored]]) -> None:
    rows: list[list[Cell]] = []
    for part in (part for parts in systems for part in parts):
        told = per_day(part)
        if told is not None:
            rows.append([part.test, part.system, told.days, told.alarms, told.false_alarms])
    if rows:
        report.table(
            f"Alarms a day, {name}",
            [
                Column("test"), Column("system"), Column("days of traffic", "number"),
                Column(f"{systems[0][0].unit} flagged a day", "number", 1),
                Column("false ones a day", "number", 1),
            ],
            rows,
            "A day is 24 hours of traffic, without pauses of over ten minutes. Each one flagged counts; where"
            " the data holds a sample of the benign traffic, multiply the false ones by what is left out.",
        )  # fmt: skip


def _add_curves(report: Report, name: str, whole: Sequence[Scored]) -> None:
    report.figure(
        f"Precision and recall, {name}",
        "Each point is a threshold; the nearer a line stays to the top right, the better.",
        plots.pr_curves({one.system: precision_recall_curve(one.truth, one.scores) for one in whole}),
    )
    report.figure(
        f"Receiver operating characteristic, {name}",
        "Each point is a threshold; the nearer to the top left, the better, and what a network can live with"
        " is at the far left, which the right side spreads out.",
        plots.roc_curves({one.system: roc_curve(one.truth, one.scores) for one in whole}),
    )
    likely = [one for one in whole if ((one.scores >= 0) & (one.scores <= 1)).all()]
    if likely:
        report.figure(
            f"Calibration curve, {name}",
            f"Of the {likely[0].unit} with a score around 0.8, eight in ten would be attacks if scores were"
            " probabilities: then the line follows the dots.",
            plots.calibration_curve(
                {one.system: reliability(one.truth, one.scores, draws=one.times) for one in likely}
            ),
        )


def shares(counts: Confusion, draws: int = 1) -> tuple[Share, Share]:
    """Recall and false-alarm rate; draws: as of `models.training.intervals.share`."""
    return (
        share(counts.tp, counts.attacks, draws=draws),
        share(counts.fp, counts.benign, draws=draws),
    )


def figures(counts: Confusion, draws: int = 1) -> list[Cell]:
    """Accuracy, precision, recall, F1 and false-alarm rate."""
    found, false = shares(counts, draws)
    return [counts.accuracy, counts.precision, found, counts.f1, false]


def total(parts: Sequence[Scored]) -> Confusion:
    """Counts of all tests."""
    return _sum(one.confusion for one in parts)


def _sum(counts: Iterable[Confusion]) -> Confusion:
    total = Confusion(0, 0, 0, 0)
    for one in counts:
        total += one
    return total
