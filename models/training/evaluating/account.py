"""The report of an evaluation: every test and system in one table, then each group of tests in detail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from models.training.evaluating.in_detail import add_group, figures, shares, total
from models.training.evaluating.scored import Scored
from models.training.evaluating.trials import Leak
from models.training.flows.read_report import table_lines
from models.training.flows.splits import GROUPS_AT_RANDOM
from models.training.intervals import Share
from models.training.report import Column, Report
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

    left_out: tests that the data does not allow, and what else must be known, a sentence each.
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
        " interval of Clopper and Pearson, as if each stood for itself. Precision and F1 hold only for"
        " the share of attacks in the data.",
    )  # fmt: skip
    if leaks:
        _add_leaks(report, leaks)
    for name, members in groups.items():
        add_group(report, name, list(_by(members, "system").values()), local_rate, protocol.redrawn)
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
        values = (counts.accuracy, counts.precision, counts.recall, counts.f1, counts.false_alarm_rate)
        rows.append(
            [one.test, one.system, f"{len(one.scores):,} {one.unit}", f"{counts.attacks:,}"]
            + [f"{100 * value:.2f}" if value == value else "-" for value in values]
        )
    return table_lines(head, rows)


def _in_short(groups: dict[str, list[Scored]], redrawn: bool) -> str:
    lines = []
    for name, members in groups.items():
        said = []
        for parts in _by(members, "system").values():
            counts, unit = total(parts), parts[0].unit
            found, false = shares(counts, len(parts) if redrawn else 1)
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
    return [named, one.system, len(one.scores), counts.attacks, *figures(counts)]


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
        "A twin equals a training flow in every feature of the files, a near twin in two digits of each;"
        " both are known by heart rather than detected.",
    )  # fmt: skip
    report.data("leaks", list(leaks))


def _by(scored: Iterable[Scored], key: str) -> dict[str, list[Scored]]:
    """In groups, by the order in which they first come."""
    groups: dict[str, list[Scored]] = {}
    for one in scored:
        groups.setdefault(getattr(one, key), []).append(one)
    return groups
