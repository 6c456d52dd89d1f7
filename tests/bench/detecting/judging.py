"""Named and disturbed: what the scores of all captures come to at a share of benign captures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.calibration import threshold_for
from models.training.evaluating.naming import SLACK_S
from models.training.windows.dataset import CaptureWindows
from models.training.windows.labels import CaptureLabel

MARKS = (0.015, 0.05)
SCRIPTED = ("domainator", "allkahra-mqtt")

#: What a row's figures are called, and without which origins they are.
CELLS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("nested", ()),
    ("disturbed", ()),
    ("swept", ()),
    ("origins", ()),
    ("nested", SCRIPTED),
)


@dataclass
class Scores:
    """By one way to decide: the highest decision of each capture, and the highest that names the attack."""

    highest: npt.NDArray[np.float64]
    naming: npt.NDArray[np.float64]

    @classmethod
    def none(cls, captures: int) -> Scores:
        """Nothing decided: no threshold is reached."""
        return cls(np.full(captures, -np.inf), np.full(captures, -np.inf))


@dataclass
class Result:
    """One folding.  A row has one way to decide, or several of which each fold takes one."""

    labels: list[CaptureLabel]
    folds: npt.NDArray[np.int64]
    rows: dict[str, list[Scores]] = field(default_factory=dict)

    @property
    def benign(self) -> npt.NDArray[np.bool_]:
        return np.array([not label.attack for label in self.labels])

    @property
    def judged(self) -> npt.NDArray[np.bool_]:
        return np.array([label.attack and label.in_scope and bool(label.wanted) for label in self.labels])


def naming_windows(capture: CaptureWindows, slack_s: float = SLACK_S) -> npt.NDArray[np.bool_]:
    """Windows whose host or most frequent counterpart is wanted, at the right time."""
    label, windows = capture.label, capture.windows
    wanted = label.wanted.hold(windows.host[:, 0], windows.host[:, 1])
    peers = label.wanted.hold(windows.peers[:, :, 0], windows.peers[:, :, 1])
    for i in np.flatnonzero(peers.any(axis=1) & ~wanted):
        present = windows.flows[i] != 0
        addresses, at, count = np.unique(
            windows.peers[i][present], axis=0, return_index=True, return_counts=True
        )
        top = np.lexsort((addresses[:, 1], addresses[:, 0], -count))[0]
        wanted[i] = peers[i][present][at[top]]
    return wanted & in_span(label, windows.time_ns / 1e9, slack_s)


def in_span(
    label: CaptureLabel, seconds: npt.NDArray[np.float64], slack_s: float = SLACK_S
) -> npt.NDArray[np.bool_]:
    """Which times (epoch seconds) lie within the labelled span, give or take the slack."""
    inside = np.ones(len(seconds), np.bool_)
    if label.start_s is not None:
        inside &= seconds >= label.start_s - slack_s
    if label.end_s is not None:
        inside &= seconds <= label.end_s + slack_s
    return inside


def named_and_disturbed(
    result: Result, row: str, mark: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """(captures,) each: by thresholds, and ways to decide, that the other folds give."""
    judged, benign = result.judged, result.benign
    named, disturbed = np.zeros(len(judged), bool), np.zeros(len(judged), bool)
    for fold in np.unique(result.folds):
        here = result.folds == fold
        scores, threshold = _chosen(result.rows[row], benign & ~here, judged & ~here, mark)
        named |= here & judged & (scores.naming > threshold)
        disturbed |= here & benign & (scores.highest > threshold)
    return named, disturbed


def _chosen(
    ways: Sequence[Scores], benign: npt.NDArray[np.bool_], judged: npt.NDArray[np.bool_], mark: float
) -> tuple[Scores, float]:
    """The way that names most of the given attacks at the threshold of the given benign captures."""
    thresholds = [threshold_for(way.highest[benign], mark) for way in ways]
    counts = [
        int((way.naming[judged] > threshold).sum()) for way, threshold in zip(ways, thresholds, strict=True)
    ]
    best = int(np.argmax(counts))
    return ways[best], thresholds[best]


def figures(result: Result, row: str, mark: float, without: tuple[str, ...] = ()) -> dict[str, float]:
    """Named and disturbed at a mark, swept and nested, and each origin once."""
    judged = result.judged & np.array([label.origin not in without for label in result.labels])
    swept, threshold = _chosen(result.rows[row], result.benign, judged, mark)
    named, disturbed = named_and_disturbed(result, row, mark)
    named &= judged
    origins = sorted({label.origin for label, one in zip(result.labels, judged, strict=True) if one})
    of_origin = np.array([label.origin for label in result.labels])
    return {
        "swept": float(np.mean(swept.naming[judged] > threshold)),
        "nested": float(named.sum() / judged.sum()),
        "disturbed": float(disturbed.sum() / result.benign.sum()),
        "origins": float(np.mean([named[judged & (of_origin == o)].mean() for o in origins])),
        "attacks": int(judged.sum()),
    }


def table(results: Sequence[Result], rows: Sequence[str], marks: Sequence[float] = MARKS) -> str:
    """The rows at each mark as Markdown; a row that not every folding has is left out."""
    lines = []
    first = results[0]
    for mark in marks:
        lines += [
            f"\nAt {mark:.1%} of {first.benign.sum()} benign captures ({first.judged.sum()} attacks in scope,"
            f" {len({x.origin for x in first.labels})} origins, {len(results)} foldings):\n",
            "| | named, nested | disturbed, nested | named, swept | each origin once |"
            " without domainator and allkahra-mqtt |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for row in rows:
            if not all(row in result.rows for result in results):
                continue
            cells = []
            for name, without in CELLS:
                values = [100 * figures(result, row, mark, without)[name] for result in results]
                spread = f" ({min(values):.0f}-{max(values):.0f})" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.1f} %{spread}")
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_family(result: Result, row: str, mark: float) -> str:
    """Captures named of each family with nested thresholds."""
    named, _ = named_and_disturbed(result, row, mark)
    counts: dict[str | None, tuple[int, int]] = {}
    for i in np.flatnonzero(result.judged):
        so_far, of = counts.get(result.labels[i].family, (0, 0))
        counts[result.labels[i].family] = (so_far + int(named[i]), of + 1)
    return ", ".join(f"{family} {one}/{of}" for family, (one, of) in sorted(counts.items(), key=str))
