"""Captures become windows with a truth, a bounded draw of them, and weights that let no capture rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from models.errors import TrainingError
from models.evidence import FAMILIES, RULES, CounterRule
from models.scaling import Scaling
from models.training.windows.dataset import (
    A_CAPTURE,
    ATTACK,
    BENIGN,
    UNCLEAR,
    CaptureWindows,
    Collector,
    TrainingSet,
    capture_windows,
    collect,
    weights,
)
from models.training.windows.labels import CaptureLabel, Networks
from models.training.windows.rows import WindowRows
from models.window_columns import COUNTER_NAMES, ROW_NAMES, WINDOW
from tests.models.flows import halves, random_records, record, table

HOST, ATTACKED = "10.0.0.1", "192.0.2.200"


def label(path: str = "a.pcap", *, attack: bool = True, origin: str = "lab", **other: Any) -> CaptureLabel:
    values: dict[str, Any] = {
        "family": "scan" if attack else None,
        "attackers": Networks([HOST] if attack else []),
        "victims": Networks([ATTACKED] if attack else []),
        "anybody_attacks": False,
        "anybody_suffers": False,
        "start_s": None,
        "end_s": None,
        "in_scope": True,
    }
    return CaptureLabel(path, attack, origin, **(values | other))


def conversations(attacked: Sequence[int], count: int = 24) -> np.ndarray:
    """Answered flows of HOST, 20 s apart, each to another server; those numbered go to ATTACKED."""
    return table(
        [
            record(
                HOST, ATTACKED if n in attacked else f"192.0.2.{n + 1}", 20.0 * n, port=443, flow_id=n + 1,
                packets=(5, 5), payload=(300, 3000), answer=20.0 * n + 0.1, flags=(2, 18),
            )
            for n in range(count)
        ]
    )  # fmt: skip


def truth_by_newest_flow(attacked: Sequence[int], **other: Any) -> dict[int, int]:
    """Truth of each window of HOST's actor stream, by the number of its newest flow."""
    capture = capture_windows(label(**other), conversations(attacked))
    assert capture is not None
    windows = capture.windows
    chosen = (windows.role == 0) & (windows.host == np.array(halves(HOST), np.uint64)).all(axis=1)
    return {int(windows.flows[i, -1]) - 1: int(capture.truth[i]) for i in np.flatnonzero(chosen)}


# -- truth


def test_a_window_is_of_attack_while_an_attack_flow_is_among_its_newest_four_rows() -> None:
    truth = truth_by_newest_flow([8])
    assert len(truth) == 24, "every flow to a new server makes a window"
    assert {n for n, t in truth.items() if t == ATTACK} == {8, 9, 10, 11}
    assert {n for n, t in truth.items() if t == UNCLEAR} == {*range(12, 8 + WINDOW)}
    assert {n for n, t in truth.items() if t == BENIGN} == {*range(8)}


def test_a_window_is_of_attack_when_a_quarter_of_its_rows_are() -> None:
    truth = truth_by_newest_flow([0, 1])
    assert [truth[n] for n in range(10)] == [ATTACK] * 8 + [UNCLEAR] * 2  # 2 of 8 rows, 2 of 9
    assert [truth[n] for n in range(10, 18)] == [UNCLEAR] * 7 + [BENIGN]


def test_every_window_of_a_benign_capture_is_benign() -> None:
    assert set(truth_by_newest_flow([3, 4], attack=False).values()) == {BENIGN}


def test_an_attack_of_which_neither_side_is_known_teaches_nothing() -> None:
    nobody = Networks(["spoofed"])
    assert set(truth_by_newest_flow([3], attackers=nobody, victims=nobody).values()) == {UNCLEAR}


def test_an_attack_that_no_flow_is_of_teaches_nothing_and_is_named() -> None:
    late = label("drill.pcap", start_s=4e9, end_s=4.1e9)
    capture = capture_windows(late, conversations([3]))
    assert capture is not None and set(capture.truth.tolist()) == {UNCLEAR}
    found = collect([late, label("b.pcap")], lambda one: conversations([3]))
    assert found.missed == ["drill.pcap"]
    assert collect([label(start_s=4e9, in_scope=False)], lambda one: conversations([3])).missed == []


def test_windows_of_the_captures_other_attacks_are_left_unclear() -> None:
    other = label(victims=Networks(["192.0.2.21"]))  # flow 20
    truth = truth_by_newest_flow([0], others=(other,))
    assert {n for n, t in truth.items() if t == ATTACK} == {0, 1, 2, 3}
    assert {n for n, t in truth.items() if t == BENIGN} == {*range(WINDOW, 20)}
    assert {n for n, t in truth.items() if t == UNCLEAR} == {*range(4, WINDOW), *range(20, 24)}


def test_the_victims_stream_has_a_truth_of_its_own() -> None:
    capture = capture_windows(label(), conversations([8]))
    assert capture is not None
    victim = (capture.windows.host == np.array(halves(ATTACKED), np.uint64)).all(axis=1)
    assert capture.truth[victim].tolist() == [ATTACK]


def test_a_capture_without_flows_has_no_windows() -> None:
    assert capture_windows(label(), conversations([])[:0]) is None


# -- the draw


def _capture(path: str, seed: int, *, attack: bool = True) -> CaptureWindows:
    found = capture_windows(
        label(path, attack=attack, victims=Networks([])), random_records(250, seed)
    )  # all that HOST does is attack
    assert found is not None
    return found


def test_a_capture_gives_at_most_the_limit_of_each_class_and_none_that_is_unclear() -> None:
    capture = _capture("a.pcap", 1)
    counts = {t: int((capture.truth == t).sum()) for t in (BENIGN, ATTACK, UNCLEAR)}
    assert min(counts.values()) > 20
    collector = Collector(limit=20)
    collector.add(capture)
    data = collector.training_set()
    assert np.bincount(data.truth).tolist() == [20, 20]
    assert collector.windows == len(capture.windows)
    collector = Collector(limit=10**6)
    collector.add(capture)
    assert np.bincount(collector.training_set().truth).tolist() == [counts[BENIGN], counts[ATTACK]]
    assert A_CAPTURE == 60


def test_a_captures_draw_does_not_depend_on_the_other_captures_but_on_the_seed() -> None:
    captures = [_capture(f"{n}.pcap", n) for n in range(3)]
    alone, among, otherwise = Collector(1, 20), Collector(1, 20), Collector(2, 20)
    alone.add(captures[1])
    otherwise.add(captures[1])
    for capture in captures:
        among.add(capture)
    expected, whole = alone.training_set(), among.training_set()
    mine = whole.of(np.array([False, True, False]))
    np.testing.assert_array_equal(mine.rows.dense(), expected.rows.dense())
    np.testing.assert_array_equal(mine.counters, expected.counters)
    np.testing.assert_array_equal(mine.truth, expected.truth)
    assert set(mine.capture) == {1} and len(whole) == 120
    assert not np.array_equal(otherwise.training_set().rows.dense(), expected.rows.dense())


def test_maxima_are_the_highest_of_each_counter_on_the_streams_of_its_role() -> None:
    rules = [
        CounterRule("flows_60", "actor", "scan", "{value}"),
        CounterRule("flows_60", "target", "scan", "{value}"),
        CounterRule("packets_fwd_10", None, "dos", "{value}"),
    ]
    for rule in rules:
        collector = Collector(rules=[rule])
        captures = [_capture(f"{n}.pcap", n) for n in range(3)]
        for capture in captures:
            collector.add(capture)
        column = COUNTER_NAMES.index(rule.name)
        expected = []
        for capture in (captures[0], captures[2]):
            roles = {"actor": [0], "target": [1], None: [0, 1]}[rule.role]
            chosen = np.isin(capture.windows.role, roles)
            expected.append(capture.windows.counters[chosen, column].max())
        found = collector.maxima(np.array([True, False, True]))[rule.name]
        np.testing.assert_array_equal(found, np.array(expected, np.float64))


def test_collect_passes_over_captures_without_windows_and_shows_all_windows_of_the_others() -> None:
    labels = [label("a"), label("empty"), label("b", attack=False)]
    seen: list[CaptureWindows] = []
    collector = collect(
        labels, lambda one: conversations([3])[: 0 if one.path == "empty" else None], seen.append
    )
    assert [one.path for one in collector.labels] == ["a", "b"] == [one.label.path for one in seen]
    assert collector.windows == sum(len(one.windows) for one in seen)
    assert set(collector.maxima(np.ones(2, bool))) == {rule.name for rule in RULES}


def test_records_of_other_captures_are_told_rather_than_trained_on() -> None:
    with pytest.raises(TrainingError, match="no window in any capture"):
        Collector().training_set()


# -- weights and arrays


def _set(*captures: tuple[str, bool, int]) -> TrainingSet:
    """A training set of (origin, attack, windows) captures; windows of attack captures are attacks."""
    labels = [label(str(n), attack=attack, origin=o) for n, (o, attack, _) in enumerate(captures)]
    capture = np.repeat(np.arange(len(captures)), [count for *_, count in captures])
    truth = np.array([ATTACK if labels[n].attack else BENIGN for n in capture], np.int8)
    rows = np.ones((len(capture), WINDOW, len(ROW_NAMES)), np.float32)
    counters = np.ones((len(capture), len(COUNTER_NAMES)), np.float32)
    return TrainingSet(WindowRows.of(rows), counters, truth, capture, labels)


def _sums(data: TrainingSet) -> np.ndarray:
    return np.bincount(data.capture, weights(data), minlength=len(data.labels))


def test_classes_weigh_the_same_and_together_one_a_window() -> None:
    data = _set(("a", True, 40), ("b", False, 900), ("c", False, 60))
    weight = weights(data)
    assert weight.sum() == pytest.approx(1000)
    assert weight[data.truth == ATTACK].sum() == pytest.approx(500)


def test_origins_weigh_the_same_in_a_class_and_captures_in_an_origin() -> None:
    data = _set(*[("a", False, 400)] * 3, ("b", False, 25), ("x", True, 30), ("y", True, 60))
    sums = _sums(data)
    np.testing.assert_allclose(sums[:3], sums[3] / 3)
    assert sums[4] == pytest.approx(sums[5])
    # windows of a capture share its weight
    assert np.unique(weights(data)[data.capture == 3]).size == 1


def test_a_capture_of_few_windows_weighs_less_by_the_square_root() -> None:
    beside = _sums(_set(("a", False, 20), ("a", False, 5), ("b", False, 20)))
    assert beside[1] / beside[0] == pytest.approx(np.sqrt(5 / 20))
    assert beside[0] + beside[1] == pytest.approx(beside[2])


def test_an_origin_of_one_short_capture_weighs_less_too() -> None:
    alone = _sums(_set(("a", False, 20), ("b", False, 5)))
    assert alone[1] / alone[0] == pytest.approx(np.sqrt(np.sqrt(5 / 20)))


def test_a_family_weighs_by_the_square_root_of_its_origins() -> None:
    data = _set(*[(name, True, 20) for name in "abcd"], ("e", True, 20))
    data.labels[4] = label("4", origin="e", family="tunnel")  # type: ignore[index]
    sums = _sums(data)
    np.testing.assert_allclose(sums[:4], sums[0])
    assert sums[:4].sum() / sums[4] == pytest.approx(np.sqrt(4))


def test_one_class_alone_can_be_weighed() -> None:
    weight = weights(_set(("a", False, 30)))
    assert (weight > 0).all() and weight.sum() == pytest.approx(15)


def test_arrays_are_scaled_with_labels_families_weights_and_what_other_evidence_says() -> None:
    data = _set(("a", True, 3), ("b", False, 2), ("c", True, 1))
    labels = list(data.labels)
    labels[2] = label("c", family="unheard-of")
    data = TrainingSet(data.rows, data.counters, data.truth, data.capture, labels)
    scaling = Scaling.fit(data.rows.dense(), data.counters, ROW_NAMES.index("present"))
    arrays = data.arrays(scaling, np.arange(6.0))
    assert arrays.label.tolist() == [1, 1, 1, 0, 0, 1]
    assert arrays.family.tolist() == [*[FAMILIES.index("scan")] * 3, -1, -1, FAMILIES.index("other")]
    np.testing.assert_allclose(arrays.weight, weights(data), rtol=1e-6)
    assert arrays.offset.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.arrays(scaling).offset.tolist() == [0] * 6
    np.testing.assert_array_equal(arrays.rows.dense(), scaling.transform_rows(data.rows.dense()))
    np.testing.assert_array_equal(arrays.counters, scaling.transform_counters(data.counters))
