"""The report of an evaluation: every test and system in one table, then each group of tests in detail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from models.training.curves import precision_recall_curve, reliability, roc_curve
from models.training.evaluating.scored import LocalThreshold, Scored, local_threshold, per_day, pooled
from models.training.evaluating.trials import Leak
from models.training.flows.read_report import table_lines
from models.training.flows.splits import GROUPS_AT_RANDOM
from models.training.intervals import Share, share
from models.training.metrics import RATES, Confusion, family_recall, recall_at
from models.training.report import Column, Report, plots
from models.training.report.cells import Cell

_PERCENT: Final = "percent"


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol as the report explains it."""

    name: str
    question: str  #: what it asks
    meaning: str  #: how far its figures carry
    redrawn: bool = False  #: tests of one group are draws from the same flows


_ONE_SIDE: Final = "Flows that agree in protocol and in two digits of every feature are all on one side"

PROTOCOLS = {
    one.name: one
    for one in (
        Protocol(
            "as-is",
            "How does this saved model do on this data?",
            "It holds for data that the model was not fitted on; whether it was cannot be seen from here.",
        ),
        Protocol(
            "random",
            "How does a model do on flows drawn from the same days, the same attacks and the same tools that"
            " it learned from?",
            "This is the split of the paper. Flows of one run of a tool are nearly alike and fall on both"
            " sides, so it measures how well they are recognised again; it says little about attacks or"
            " networks that the model has not seen.",
            redrawn=True,
        ),
        Protocol(
            "no-leaks",
            "How does a model do on the later part of each attack that it learned from?",
            f"{_ONE_SIDE}, and those judged came last. The kinds of attack and the network are still known.",
            redrawn=True,
        ),
        Protocol(
            "days",
            "How does a model do on a day that it has not seen?",
            "Most attacks of a day are of kinds that the other days do not have. The network is the same.",
        ),
        Protocol(
            "captures",
            "How does a model do on captures of networks and laboratories that it has not seen?",
            "All captures of an origin are judged by a network, and by a threshold, that come from other"
            " origins. An attack is found when a window with its flows is above the threshold, a benign"
            " capture is a false alarm when any of its windows is.",
        ),
        Protocol(
            "cross-set",
            "How does a model do on another data set than the one it learned from?",
            "Other networks, other times, other versions of the flow tool. This is nearest to what a model"
            " meets where it is installed.",
        ),
    )
}

_NO_LEAKS_UNTIMED = Protocol(
    "no-leaks",
    "How does a model do on other flows of the attacks that it learned from?",
    f"{_ONE_SIDE}. Not all flows have a time, so those judged are drawn at random, from the same hours and"
    " the same attacks. Flows of one run of a tool that differ in more than that fall on both sides, so this"
    " says little about attacks or networks that the model has not seen.",
    redrawn=True,
)


def write_account(
    report: Report,
    protocol: Protocol,
    scored: Sequence[Scored],
    *,
    local_rate: float,
    leaks: Sequence[Leak] = (),
    left_out: Sequence[str] = (),
) -> None:
    """Add sections, tables and figures of all tests to a report.  The order is that of `scored`.

    left_out: tests that the data does not allow, a sentence each.
    """
    if any(one.test.startswith(GROUPS_AT_RANDOM) for one in scored):
        protocol = _NO_LEAKS_UNTIMED
    groups = _by(scored, "group")
    report.text(
        "What was asked", f"{protocol.question} {protocol.meaning}\n\n{_in_short(groups, protocol.redrawn)}"
    )
    if left_out:
        report.listing(left_out)
    report.table(
        "Every test",
        [
            Column("test"), Column("system"), Column("judged", "count"), Column("attacks", "count"),
            Column("accuracy", _PERCENT), Column("precision", _PERCENT), Column("recall", _PERCENT),
            Column("F1", _PERCENT), Column("false alarms", _PERCENT),
        ],
        [_test_row(one) for one in scored],
        "False alarms are what is benign and called an attack, by all that is benign; brackets hold the 95 %"
        " interval of Clopper and Pearson. Precision and F1 hold only for the share of attacks in the data.",
    )  # fmt: skip
    if leaks:
        _add_leaks(report, leaks)
    for name, members in groups.items():
        _add_group(report, name, list(_by(members, "system").values()), local_rate, protocol.redrawn)
    report.data("protocol", protocol.name)
    report.data("left_out", list(left_out))
    report.data(
        "tests",
        [
            {
                "test": one.test, "group": one.group, "system": one.system, "threshold": one.threshold,
                "fitted_on": one.fitted_on, "leaked": one.leaked, "confusion": one.confusion,
                "history": one.history,
            }
            for one in scored
        ],
    )  # fmt: skip


def table_of_tests(scored: Sequence[Scored]) -> list[str]:
    """What a terminal shows of all tests: lines of a table, percent."""
    head = ["test", "system", "judged", "attacks", "accuracy", "precision", "recall", "F1", "false alarms"]
    rows = []
    for one in scored:
        counts = one.confusion
        figures = (counts.accuracy, counts.precision, counts.recall, counts.f1, counts.false_alarm_rate)
        rows.append(
            [one.test, one.system, f"{len(one.scores):,} {one.unit}", f"{counts.attacks:,}"]
            + [f"{100 * value:.2f}" if value == value else "-" for value in figures]
        )
    return table_lines(head, rows)


def _in_short(groups: dict[str, list[Scored]], redrawn: bool) -> str:
    lines = []
    for name, members in groups.items():
        said = []
        for parts in _by(members, "system").values():
            counts, unit = _total(parts), parts[0].unit
            found, false = _shares(counts, len(parts) if redrawn else 1)
            said.append(
                f"{parts[0].system} "
                + " and ".join(
                    text
                    for text, there in (
                        (f"finds {_percent(found)} of the attack {unit}", counts.attacks),
                        (f"calls {_percent(false)} of the benign {unit} attacks", counts.benign),
                    )
                    if there
                )
            )
        times = len(parts)
        again = f" The same flows, drawn {times} times." if redrawn and times > 1 else ""
        lines.append(f"{name[:1].upper()}{name[1:]}: {'; '.join(said)}.{again}")
    return "\n\n".join(lines)


def _percent(value: Share) -> str:
    return f"{100 * value.value:.2f} % [{100 * value.low:.2f}, {100 * value.high:.2f}]"


def _test_row(one: Scored) -> list[Cell]:
    counts = one.confusion
    named = one.test if one.unit == "flows" else f"{one.test}, {one.unit}"
    return [named, one.system, len(one.scores), counts.attacks, *_figures(counts)]


def _shares(counts: Confusion, draws: int = 1) -> tuple[Share, Share]:
    """Recall and false-alarm rate."""
    return (
        share(counts.tp, counts.attacks, draws=draws),
        share(counts.fp, counts.benign, draws=draws),
    )


def _figures(counts: Confusion, draws: int = 1) -> list[Cell]:
    """Accuracy, precision, recall, F1 and false-alarm rate."""
    found, false = _shares(counts, draws)
    return [counts.accuracy, counts.precision, found, counts.f1, false]


def _add_leaks(report: Report, leaks: Sequence[Leak]) -> None:
    report.table(
        "Flows known before they are judged",
        [
            Column("split"), Column("duplicates"), Column("judged", "count"), Column("twins", "count"),
            Column("twins", _PERCENT), Column("near twins", "count"), Column("near twins", _PERCENT),
        ],
        [
            [one.split, one.duplicates, one.judged, one.twins, one.twins / max(1, one.judged), one.near,
             one.near / max(1, one.judged)]
            for one in leaks
        ],
        "A twin equals a training flow in all that a model sees, a near twin in two digits of every feature;"
        " both are known by heart rather than detected.",
    )  # fmt: skip
    report.data("leaks", list(leaks))


def _add_group(
    report: Report, name: str, systems: list[list[Scored]], local_rate: float, redrawn: bool
) -> None:
    """Details of one group of tests; systems: the parts of each."""
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
    report.table(
        f"Recall by family, {name}",
        [
            Column("family"),
            Column(whole[0].unit, "count"),
            *(Column(one.system, _PERCENT, 1) for one in whole),
        ],
        [
            [row[0].family, row[0].rows, *(Share(one.recall, one.low, one.high) for one in row)]
            for row in zip(*families, strict=True)
        ],
        f"Of each kind of attack, the share of {whole[0].unit} called an attack, with its 95 % interval.",
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
            f" to tell {' and '.join(_one_in(one.rate) for one in unresolved)}: there it is the recall without"
            " any false alarm."
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
        rows.append([parts[0].system, "as fitted", *_figures(before, draws)[2::2]])
        rows.append([parts[0].system, "calibrated", *_figures(after, draws)[2::2]])
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
            "A day is 24 clock hours with traffic. Each one flagged counts; where the data holds a sample of"
            " the benign traffic, multiply the false ones by what is left out.",
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


def _by(scored: Iterable[Scored], key: str) -> dict[str, list[Scored]]:
    """In groups, by the order in which they first come."""
    groups: dict[str, list[Scored]] = {}
    for one in scored:
        groups.setdefault(getattr(one, key), []).append(one)
    return groups


def _total(parts: Sequence[Scored]) -> Confusion:
    return _sum(one.confusion for one in parts)


def _sum(counts: Iterable[Confusion]) -> Confusion:
    total = Confusion(0, 0, 0, 0)
    for one in counts:
        total += one
    return total
