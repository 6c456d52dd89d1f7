"""The detection figures again, by the real command: `replay` on every capture, judged by its alerts.

Each capture is replayed with the bundle of the fold that has not seen its origin and that fold's
nested threshold.  An attack is named when an alert within the slack of its span lists a wanted host;
its roles are right when that host stands among the actors (or, where only victims are known, among
the targets).
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ids_daemon.cli import main
from models.training.windows.labels import CaptureLabel, Networks, halves


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the alerts of one capture say."""

    label: CaptureLabel
    alerts: int
    named: bool = False
    right_roles: bool = False
    right_family: bool = False
    delay_s: float | None = None  #: packet time from the start of the attack to the first alert that names


def replay_folds(
    corpus: Path,
    labels: Sequence[CaptureLabel],
    report: Mapping[str, Any],
    mark: float,
    out: Path,
    slack: float,
) -> list[Verdict]:
    """Replay every capture by the bundles OUT/foldingN-foldM and thresholds of one folding's report."""
    verdicts = []
    folder = out / f"alerts-{mark:g}"
    setting = "IDS_ALERTING__THRESHOLD"
    for label in labels:
        fold = report["fold_of_origin"].get(label.origin)
        if fold is None:  # no capture of the origin made a window
            continue
        alerts = folder / f"{label.path}.jsonl"
        alerts.parent.mkdir(parents=True, exist_ok=True)
        os.environ[setting] = str(report["thresholds"][str(mark)][fold])
        bundle = out / f"folding{report['folding']}-fold{fold}"
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            main(
                [
                    "replay",
                    str(corpus / label.path),
                    "--alerts",
                    str(alerts),
                    "--quiet",
                    "--model",
                    str(bundle),
                ]
            )
        verdicts.append(judge(label, alerts, slack))
    os.environ.pop(setting, None)
    return verdicts


def judge(label: CaptureLabel, alerts: Path, slack: float) -> Verdict:
    """How far the alerts of a capture name its attack."""
    lines = list(_alert_lines(alerts))
    naming = [
        line
        for line in lines
        if _in_span(line, label, slack) and _holds(label.wanted, line, "actors", "targets")
    ]
    role = "actors" if label.attackers else "targets"
    right = [line for line in naming if _holds(label.wanted, line, role)]
    first = min((_seconds(line) for line in right), default=None)
    return Verdict(
        label,
        len(lines),
        named=bool(naming),
        right_roles=bool(right),
        right_family=any(label.family in line["alert"]["metadata"]["family"] for line in naming),
        delay_s=None if first is None or label.start_s is None else first - label.start_s,
    )


def _alert_lines(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            if line["event_type"] == "alert":
                yield line


def _holds(wanted: Networks, line: Mapping[str, Any], *sides: str) -> bool:
    listed = [address for side in sides for address in line["alert"]["metadata"][side]]
    packed = np.frombuffer(b"".join(map(_packed, listed)), np.uint8).reshape(-1, 16)
    return bool(wanted.hold(*halves(packed)).any())


def _packed(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


def _seconds(line: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def _in_span(line: Mapping[str, Any], label: CaptureLabel, slack: float) -> bool:
    at = _seconds(line)
    return (label.start_s is None or at >= label.start_s - slack) and (
        label.end_s is None or at <= label.end_s + slack
    )


def summary(verdicts: Sequence[Verdict], mark: float) -> str:
    """One line: named, roles, family, delay, disturbed."""
    benign = [v for v in verdicts if not v.label.attack]
    attacks = [v for v in verdicts if v.label.attack and v.label.in_scope and v.label.wanted]
    delays = [v.delay_s for v in attacks if v.delay_s is not None]

    def share(of: Sequence[bool]) -> str:
        return f"{100 * np.mean(of):.1f} % ({sum(of)}/{len(of)})"

    return (
        f"{mark:.1%}: named {share([v.named for v in attacks])},"
        f" roles right {share([v.right_roles for v in attacks])},"
        f" family right {share([v.right_family for v in attacks if v.named])} of those named,"
        f" median {np.median(delays):.1f} s after the start;"
        f" benign disturbed {share([v.alerts > 0 for v in benign])}"
    )
