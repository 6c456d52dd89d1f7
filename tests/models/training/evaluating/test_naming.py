"""A bundle is judged by the findings in labelled captures: named, disturbed, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.evidence import Finding
from models.training.evaluating import naming
from models.training.evaluating.naming import SLACK_S, Verdict, judge, summary, write_verdicts
from models.training.report import Report
from models.training.windows.labels import CaptureLabel, Networks
from tests.models.flows import START_NS, at, packed, record, table

ATTACKER, VICTIM, OTHER = "198.51.100.66", "10.0.0.5", "10.0.0.9"
ATTACK = CaptureLabel(
    "scan.pcap", True, "lab", "scan", Networks([ATTACKER]), Networks([VICTIM]), False, False,
    START_NS / 1e9 + 10, START_NS / 1e9 + 20, True,
)  # fmt: skip
BENIGN = replace(ATTACK, path="quiet.pcap", attack=False)
RECORDS = table([record(ATTACKER, VICTIM, 0.0)])


def finding(host: str, second: float, *meets: str, family: str = "scan", score: float = 5.0) -> Finding:
    counterparts = tuple((packed(one).tobytes(), 9 - n) for n, one in enumerate(meets))
    return Finding(
        time_ns=at(second), role="actor", host=packed(host).tobytes(), score=score, threshold=4.0,
        family=family, family_share=1.0, evidence=(), counterparts=counterparts, flow=RECORDS[0], flows=3,
    )  # fmt: skip


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Judges a label by findings that are given."""

    def by(label: CaptureLabel, *findings: Finding) -> Verdict:
        class Scorer:
            def __init__(self, bundle: Any, **options: Any) -> None:
                pass

            def push(self, records: np.ndarray) -> list[Finding]:
                return list(findings)

        monkeypatch.setattr(naming, "Scorer", Scorer)
        (verdict,) = judge(None, [label], lambda one: RECORDS)  # type: ignore[arg-type]
        return verdict

    return by


def test_an_attack_is_named_by_its_host_or_by_one_that_mostly_meets_it(judged: Any) -> None:
    assert judged(ATTACK, finding(ATTACKER, 12, VICTIM)).named
    assert judged(ATTACK, finding(VICTIM, 12, ATTACKER, OTHER)).named
    assert not judged(ATTACK, finding(VICTIM, 12, OTHER, ATTACKER)).named
    assert not judged(ATTACK, finding(OTHER, 12, VICTIM)).named
    assert not judged(ATTACK).named


@pytest.mark.parametrize(("second", "named"), [(-111, False), (-109, True), (139, True), (141, False)])
def test_only_a_finding_of_its_time_names_an_attack(judged: Any, second: float, named: bool) -> None:
    assert SLACK_S == 120
    assert judged(ATTACK, finding(ATTACKER, second)).named is named


def test_times_from_the_start_of_the_capture_are_those_of_its_records(judged: Any) -> None:
    label = replace(ATTACK, start_s=10.0, end_s=20.0)
    verdict = judged(label, finding(ATTACKER, 12.5))
    assert verdict.named and verdict.delay_s == pytest.approx(2.5)
    assert not judged(label, finding(ATTACKER, 141)).named


def test_the_delay_is_to_the_first_that_names_and_the_family_of_any(judged: Any) -> None:
    found = [
        finding(OTHER, 11, score=9.0),
        finding(ATTACKER, 13, family="dos"),
        finding(ATTACKER, 15, family="scan"),
    ]
    verdict = judged(ATTACK, *found)
    assert verdict.delay_s == pytest.approx(3)
    assert (verdict.right_family, verdict.findings, verdict.highest) == (True, 3, 9.0)
    assert not judged(ATTACK, *found[:2]).right_family


def test_any_finding_disturbs_a_benign_capture_and_names_nothing(judged: Any) -> None:
    verdict = judged(BENIGN, finding(ATTACKER, 12))
    assert (verdict.findings, verdict.named, verdict.judged) == (1, False, True)


def test_what_is_counted_leaves_out_attacks_out_of_scope_or_of_unknown_hosts() -> None:
    lost = replace(ATTACK, attackers=Networks([]), victims=Networks(["spoofed"]))
    verdicts = [
        Verdict(ATTACK, 2, 5.0, named=True, right_family=True, delay_s=1.5),
        Verdict(replace(ATTACK, family="dos"), 1, 5.0, named=True, right_family=False),
        Verdict(ATTACK, 1, 4.5),
        Verdict(replace(ATTACK, in_scope=False), 1, 4.5, named=True),
        Verdict(lost, 0),
        Verdict(BENIGN, 3, 4.2),
        Verdict(BENIGN, 0),
    ]
    assert summary(verdicts[-1:]) == [("benign captures disturbed", 0, 1)]
    assert summary(verdicts) == [
        ("attacks named", 2, 3),
        ("  dos", 1, 1),
        ("  scan", 1, 2),
        ("family right, of those named", 1, 2),
        ("benign captures disturbed", 1, 2),
    ]
    pytest.importorskip("scipy", reason="needs SciPy: pip install 'ids-daemon[train]'")
    report = Report("x")
    write_verdicts(report, verdicts)
    files = report.files()
    page = files["index.html"].decode()
    assert "Half of the attacks named were told within 1.5 s." in page
    assert "2 attacks are not judged" in page
    assert page.count("scan.pcap") == 5
