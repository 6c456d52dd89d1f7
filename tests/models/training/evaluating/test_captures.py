"""Captures judged: what counts as found, which thresholds hold, and that an origin is never its own judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.bundle import Bundle
from models.errors import TrainingError
from models.training.evaluating import captures as judging
from models.training.evaluating.scored import Scored, pooled
from models.training.flows.table import NO_TIME
from models.training.metrics import Confusion
from models.training.windows.dataset import (
    ATTACK,
    BENIGN,
    UNCLEAR,
    CaptureWindows,
    Collector,
    capture_windows,
)
from models.training.windows.labels import CaptureLabel, Networks
from models.training.windows.network_fit import Options
from tests.models.flows import table
from tests.models.training.cli.test_fit_windows import ATTACKER, SERVER, scan, visits


def label(path: str, origin: str = "a", *, attack: bool = False, **other: Any) -> CaptureLabel:
    given: dict[str, Any] = {
        "family": "scan" if attack else None, "attackers": Networks([ATTACKER] if attack else []),
        "victims": Networks([SERVER] if attack else []), "anybody_attacks": False,
        "anybody_suffers": False, "start_s": None, "end_s": None, "in_scope": True,
    }  # fmt: skip
    return CaptureLabel(path, attack, origin, **{**given, **other})


def capture(one: CaptureLabel, truth: Sequence[int]) -> CaptureWindows:
    """A capture of windows of which only truth and time are looked at."""
    windows = SimpleNamespace(time_ns=np.arange(len(truth), dtype=np.int64))
    return CaptureWindows(one, windows, np.array(truth, np.int8))  # type: ignore[arg-type]


def of(found: Sequence[Scored], unit: str) -> Scored:
    (one,) = [one for one in found if one.unit == unit]
    return one


ATTACKED = capture(label("x", attack=True), [BENIGN, ATTACK, UNCLEAR])
CALM = capture(label("y"), [BENIGN, BENIGN])


def test_an_attack_is_found_at_its_own_windows_alone() -> None:
    at_it, beside = (
        of(judging.scored([ATTACKED], [np.array(scores)], 0.5, "s", "t"), "captures")
        for scores in ([0.1, 0.9, 0.2], [0.9, 0.1, 0.9])
    )
    assert at_it.confusion == Confusion(tn=0, fp=0, fn=0, tp=1)
    assert beside.confusion == Confusion(tn=0, fp=0, fn=1, tp=0)
    assert at_it.scores.tolist() == [0.9] and beside.scores.tolist() == [0.1]


def test_a_benign_capture_is_a_false_alarm_at_any_window() -> None:
    found = of(judging.scored([CALM], [np.array([0.1, 0.6])], 0.5, "s", "t"), "captures")
    assert found.confusion == Confusion(tn=0, fp=1, fn=0, tp=0)
    assert found.time.tolist() == [NO_TIME]


def test_windows_count_by_their_own_truth_and_unclear_ones_not_at_all() -> None:
    scores = [np.array([0.9, 0.9, 0.9]), np.array([0.1, 0.6])]
    found = of(judging.scored([ATTACKED, CALM], scores, 0.5, "s", "t"), "windows")
    assert found.confusion == Confusion(tn=1, fp=2, fn=0, tp=1)
    assert found.labels == ("BENIGN", "scan")
    assert found.time.tolist() == [0, 1, 0, 1]


def test_an_attack_without_a_window_of_its_own_is_found_by_no_threshold() -> None:
    lost = capture(label("z", attack=True), [BENIGN, BENIGN])
    found = of(
        judging.scored([lost, CALM], [np.array([9, 9]), np.array([-3.0, 1])], -3.5, "s", "t"), "captures"
    )
    assert found.confusion == Confusion(tn=0, fp=1, fn=1, tp=0)
    assert np.isfinite(found.scores).all()


def test_benign_windows_of_a_capture_with_two_attacks_count_once() -> None:
    both = [
        capture(label("x", attack=True, family=family), truth)
        for family, truth in (("scan", [BENIGN, ATTACK, UNCLEAR]), ("dos", [BENIGN, UNCLEAR, ATTACK]))
    ]
    found = judging.scored(both, [np.array([0.9, 0.9, 0.9])] * 2, 0.5, "s", "t")
    assert of(found, "windows").confusion == Confusion(tn=0, fp=1, fn=0, tp=2)
    assert of(found, "captures").labels == ("BENIGN", "dos", "scan")
    assert of(found, "captures").label.tolist() == [2, 1]


def test_every_piece_of_a_benign_capture_counts() -> None:
    pieces = [capture(label("y", piece=(n, n + 1)), [BENIGN, BENIGN]) for n in range(3)]
    found = of(judging.scored(pieces, [np.array([0.1, 0.6])] * 3, 0.5, "s", "t"), "windows")
    assert found.confusion == Confusion(tn=3, fp=3, fn=0, tp=0)


@pytest.mark.parametrize("other", [{"in_scope": False}, {"attackers": Networks([]), "victims": Networks([])}])
def test_attacks_that_flows_cannot_show_or_that_are_nowhere_are_not_judged(other: dict[str, Any]) -> None:
    one = capture(label("x", attack=True, **other), [ATTACK])
    found = judging.scored([one, CALM], [np.array([0.9]), np.array([0.1, 0.1])], 0.5, "s", "t")
    assert of(found, "captures").confusion == Confusion(tn=1, fp=0, fn=0, tp=0)
    assert of(found, "windows").confusion == Confusion(tn=2, fp=0, fn=0, tp=0)


def corpus() -> tuple[Collector, list[CaptureWindows]]:
    """A benign capture and a scan of each of four origins."""
    collector, captures = Collector(1), []
    for number, origin in enumerate("abcd"):
        for one, flows in (
            (label(f"{origin}/calm", origin), visits(20, number)),
            (label(f"{origin}/scan", origin, attack=True), scan(30, number)),
        ):
            made = capture_windows(one, table(flows))
            assert made is not None
            collector.add(made)
            captures.append(made)
    return collector, captures


def test_an_origin_is_judged_by_a_network_and_a_threshold_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    collector, captures = corpus()
    learned: list[set[str]] = []

    def fit(collector: Collector, chosen: Any, *args: Any) -> Any:
        origins = {one.origin for one, is_in in zip(collector.labels, chosen, strict=True) if is_in}
        learned.append(origins)
        return SimpleNamespace(history=[{"loss": 1.0}], calibration=lambda threshold: {"origins": origins})

    def decide(capture: CaptureWindows, rule: Any, *heads: Any) -> Any:
        assert capture.label.origin not in rule["origins"]
        # The benign windows of origin a are the loudest, and only the scan of d is louder than they.
        height = {"a": 5.0, "b": 1.0, "c": 1.0, "d": 1.0}[capture.label.origin]
        if capture.label.attack:
            height = 9.0 if capture.label.origin == "d" else 3.0
        return np.full(len(capture.truth), height)

    monkeypatch.setattr(judging, "fit_model", fit)
    monkeypatch.setattr(judging, "Predictor", lambda model: lambda windows: (None, None))
    monkeypatch.setattr(judging, "decisions", decide)
    found = judging.by_unseen_origins(
        collector, captures, folds=4, spec=None, options=Options(), share=0.0, log=lambda text: None,  # type: ignore[arg-type]
    )  # fmt: skip
    assert sorted(map(sorted, learned)) == [list("abc"), list("abd"), list("acd"), list("bcd")]
    of_captures = [one for one in found if one.unit == "captures"]
    assert {one.test[-1]: one.threshold for one in of_captures} == {"a": 1.0, "b": 5.0, "c": 5.0, "d": 5.0}
    # a alarms by the threshold of the calm ones, and its own scan is found; of the others only d's is.
    assert pooled(of_captures).confusion == Confusion(tn=3, fp=1, fn=2, tp=2)
    assert [one.unit for one in found] == ["captures"] * 4 + ["windows"] * 4


def test_a_threshold_needs_benign_captures_of_other_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    collector, captures = Collector(1), []
    for one, flows in (
        (label("a/calm", "a"), visits(20, 1)),
        (label("b/scan", "b", attack=True), scan(30, 1)),
    ):
        made = capture_windows(one, table(flows))
        assert made is not None
        collector.add(made)
        captures.append(made)
    model = SimpleNamespace(history=[], calibration=lambda threshold: {})
    monkeypatch.setattr(judging, "fit_model", lambda *args: model)
    monkeypatch.setattr(judging, "Predictor", lambda model: lambda windows: (None, None))
    monkeypatch.setattr(judging, "decisions", lambda capture, *others: np.zeros(len(capture.truth)))
    with pytest.raises(TrainingError, match="all benign captures are in one fold"):
        judging.by_unseen_origins(
            collector, captures, folds=2, spec=None, options=Options(), share=0.1, log=lambda text: None,  # type: ignore[arg-type]
        )  # fmt: skip


def test_a_bundle_decides_as_the_daemon_does(save: Callable[..., Bundle]) -> None:
    from models.scorer import Scorer

    bundle = save()
    _, captures = corpus()
    found = judging.by_bundle(bundle, captures)
    whole = of(found, "captures")
    assert (whole.system, whole.threshold, len(whole.scores)) == ("small-1", 1.0, 8)
    for number, (origin, seed) in enumerate((o, s) for s, o in enumerate("abcd")):
        records = table(visits(20, seed))
        decided = np.concatenate(
            [scores for _, scores in Scorer(bundle, runtime="litert").decisions(records)]
        )
        assert whole.scores[2 * number] == pytest.approx(decided.max(), abs=1e-9), origin
