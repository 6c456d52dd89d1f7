"""A bundle for the daemon, judged on labelled captures: which attacks it names, what benign it disturbs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from models.bundle import Bundle
from models.evidence import Finding
from models.scorer import Scorer
from models.training.intervals import share
from models.training.report import Column, Report
from models.training.report.cells import Cell
from models.training.windows.labels import CaptureLabel, halves

#: A finding so long before or after the labelled span still names the attack.
SLACK_S = 120.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the findings in one capture say of its label."""

    label: CaptureLabel
    findings: int
    highest: float | None = None  #: score of a finding; None without any
    named: bool = False  #: a finding is of the wanted host, or of one that mostly meets it, at the time
    right_family: bool = False  #: and one such has the family
    delay_s: float | None = None  #: packet time from the labelled start to the first that names

    @property
    def judged(self) -> bool:
        """Whether the capture counts: benign ones, and attacks that can be found and are located."""
        return not self.label.attack or (self.label.in_scope and bool(self.label.wanted))


def judge(
    bundle: Bundle,
    labels: Iterable[CaptureLabel],
    read: Callable[[CaptureLabel], np.ndarray],
    threshold: float | None = None,
) -> Iterator[Verdict]:
    """Score the records of each label as the daemon would, from an empty stream table."""
    for label in labels:
        records = read(label)
        findings = Scorer(bundle, runtime="litert", threshold=threshold).push(records)
        yield _verdict(label, records, findings)


def _verdict(label: CaptureLabel, records: np.ndarray, findings: Sequence[Finding]) -> Verdict:
    highest = max((one.score for one in findings), default=None)
    if not label.attack:
        return Verdict(label, len(findings), highest)
    start, end = label.span_s(records)
    naming = [
        one
        for one in findings
        if (start is None or one.time_ns / 1e9 >= start - SLACK_S)
        and (end is None or one.time_ns / 1e9 <= end + SLACK_S)
        and _names(label, one)
    ]
    delay = naming[0].time_ns / 1e9 - start if naming and start is not None else None
    return Verdict(
        label, len(findings), highest, bool(naming), any(one.family == label.family for one in naming), delay
    )


def _names(label: CaptureLabel, finding: Finding) -> bool:
    hosts = [finding.host, *(address for address, _ in finding.counterparts[:1])]
    packed = np.frombuffer(b"".join(hosts), np.uint8).reshape(-1, 16)
    return bool(label.wanted.hold(*halves(packed)).any())


def summary(verdicts: Sequence[Verdict]) -> list[tuple[str, int, int]]:
    """What was counted: its name, how many, of how many; nothing of which there is none."""
    judged = [one for one in verdicts if one.judged]
    attacks = [one for one in judged if one.label.attack]
    benign = [one for one in judged if not one.label.attack]
    named = [one for one in attacks if one.named]
    families = sorted({str(one.label.family) for one in attacks})
    of_family = [[one for one in attacks if str(one.label.family) == family] for family in families]
    counted = [
        ("attacks named", len(named), len(attacks)),
        *(
            (f"  {family}", sum(one.named for one in ones), len(ones))
            for family, ones in zip(families, of_family, strict=True)
        ),
        ("family right, of those named", sum(one.right_family for one in named), len(named)),
        ("benign captures disturbed", sum(one.findings > 0 for one in benign), len(benign)),
    ]
    return [one for one in counted if one[2]]


def write_verdicts(report: Report, verdicts: Sequence[Verdict]) -> None:
    """The account of a bundle on captures: what was counted, and every capture."""
    delays = [one.delay_s for one in verdicts if one.delay_s is not None]
    left_out = sum(not one.judged for one in verdicts)
    told = f" Half of the attacks named were told within {np.median(delays):.1f} s." if delays else ""
    report.table(
        "Named and disturbed",
        [
            Column("of"),
            Column("captures", "count"),
            Column("counted", "count"),
            Column("share", "percent", 1),
        ],
        [[name.strip(), of, count, share(count, of)] for name, count, of in summary(verdicts)],
        "An attack is named when a finding of its time is of the wanted host, or of a host that mostly meets"
        f" it; a benign capture is disturbed by any finding. Intervals are of 95 %.{told}"
        f" {left_out} attacks are not judged: out of scope, or of unknown hosts.",
    )
    report.table(
        "Every capture",
        [
            Column("capture"), Column("origin"), Column("label"), Column("findings", "count"),
            Column("highest score", "number"), Column("named"), Column("family right"),
            Column("after, s", "number", 1),
        ],
        [_row(one) for one in verdicts],
        "Time is from the start of the attack as labelled to the first finding that names it.",
    )  # fmt: skip
    report.data("captures", {name.strip(): [count, of] for name, count, of in summary(verdicts)})


def _row(one: Verdict) -> list[Cell]:
    label = one.label
    said = (one.named, one.right_family) if label.attack and one.judged else (None, None)
    return [
        label.path,
        label.origin,
        str(label.family) if label.attack else "benign",
        one.findings,
        one.highest,
        *(None if value is None else ("yes" if value else "no") for value in said),
        one.delay_s,
    ]
