"""Evidence adds up to decisions, decisions to findings, and findings say what spoke."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from capture.columns import FLOW_DTYPE
from models.evidence import (
    FAMILIES,
    RULES,
    CounterEvidence,
    CounterRule,
    Finding,
    HostEvidence,
    calibrate,
    rarity,
)
from models.window_columns import COUNTER_NAMES, ROW_NAMES, WINDOW
from models.windows import WindowBatch, Windows
from tests.models.flows import halves, packed, random_records, record, table

ACTOR, TARGET = 0, 1

#: A hundred benign captures: 20 of them with some tries at a login service, none with ICMP.
TRIES = CounterRule("login_pair_60", None, "bruteforce", "{value} tries at one login service in 60 s")
SERVICES = CounterRule("failed_pairs_60", "actor", "scan", "failed connections to {value} services in 60 s")
TAILS = {
    "login_pair_60": np.array([*range(20, 0, -1), *[0] * 80], float),
    "failed_pairs_60": np.array([*range(200, 100, -1)], float),
}


def calibration(
    rules: Sequence[CounterRule] = (TRIES, SERVICES),
    *,
    threshold: float = 3.0,
    weight: float = 2.0,
    average: float = 0.5,
    target_cap: float = 0.0,
) -> dict[str, Any]:
    return {
        "threshold": threshold,
        "target_cap": target_cap,
        "counter_weight": weight,
        "average": average,
        "counters": calibrate(TAILS, rules),
    }


def windows(
    count: int,
    *,
    role: int | Sequence[int] = ACTOR,
    stream: int | Sequence[int] = 0,
    generation: int | Sequence[int] = 1,
    counters: Mapping[str, float | Sequence[float]] = {},
    peers: Sequence[str] = ("192.0.2.1",),
    n_rows: int | None = None,
) -> WindowBatch:
    """Windows of one host a second apart; `peers` are the other sides of the newest rows of each."""
    present = len(peers) if n_rows is None else n_rows
    roles = np.broadcast_to(np.asarray(role, np.uint8), count).copy()
    values = np.zeros((count, len(COUNTER_NAMES)), np.float32)
    for name, value in counters.items():
        values[:, COUNTER_NAMES.index(name)] = value
    values[:, COUNTER_NAMES.index("is_actor")] = roles == ACTOR
    sides = np.zeros((count, WINDOW, 2), np.uint64)
    flows = np.zeros((count, WINDOW), np.uint64)
    sides[:, WINDOW - len(peers) :] = [halves(peer) for peer in peers]
    flows[:, WINDOW - len(peers) :] = np.arange(1, len(peers) + 1)
    return WindowBatch(
        rows=np.zeros((count, WINDOW, len(ROW_NAMES)), np.float32),
        counters=values,
        stream=np.broadcast_to(np.asarray(stream, np.int32), count).copy(),
        generation=np.broadcast_to(np.asarray(generation, np.uint32), count).copy(),
        role=roles,
        host=np.tile(np.array(halves("10.0.0.7"), np.uint64), (count, 1)),
        time_ns=np.arange(count, dtype=np.int64) * 1_000_000_000,
        record=np.zeros(count, np.int64),
        n_rows=np.full(count, present, np.int32),
        peers=sides,
        flows=flows,
    )


def heads(logits: float | Sequence[float], count: int, family: str = "scan", share: float = 0.6) -> tuple:
    """What a detector gives for `count` windows: logits, and `share` on one family."""
    families = np.full((count, len(FAMILIES)), (1 - share) / (len(FAMILIES) - 1))
    families[:, FAMILIES.index(family)] = share
    return np.broadcast_to(np.asarray(logits, np.float64), count).copy(), families


def decided(rule: dict[str, Any], batch: WindowBatch, logits: Sequence[float] | float) -> list[float]:
    evidence = HostEvidence(rule, capacity=8)
    return [round(float(v), 9) for v in evidence.decide(batch, *heads(logits, len(batch)))[0]]


def found(
    rule: dict[str, Any], batch: WindowBatch, logits: Sequence[float] | float, **family: Any
) -> list[Finding]:
    evidence = HostEvidence(rule, capacity=8)
    records = np.zeros(1, FLOW_DTYPE)
    return evidence.update(batch, *heads(logits, len(batch), **family), records)


# -- rarity


def test_rarity_is_minus_log10_of_the_share_of_benign_captures_that_reach_a_value() -> None:
    tail = TAILS["login_pair_60"]
    values = np.array([0.0, 0.5, 1.0, 1.5, 10.0, 11.0, 16.0, 18.0])
    reached = np.array([100, 20, 20, 19, 11, 10, 5, 3])
    np.testing.assert_allclose(rarity(values, tail, 100), -np.log10(reached / 100), atol=1e-12)


def test_rarity_rests_on_the_third_highest_and_goes_on_with_the_logarithm_of_the_ratio_to_it() -> None:
    tail, at_third = TAILS["login_pair_60"], -np.log10(3 / 100)
    values = np.array([18.0, 20.0, 180.0, 18e6])
    expected = at_third + np.log10(values / 18)
    np.testing.assert_allclose(rarity(values, tail, 100), expected, atol=1e-12)
    # One wild capture among the benign ones moves nothing: neither its value nor the next one's.
    wild = tail.copy()
    wild[:2] = 1e9, 1e8
    np.testing.assert_array_equal(rarity(values, wild, 100), rarity(values, tail, 100))


def test_a_counter_that_no_benign_capture_has_is_rare_at_any_value_but_nothing_at_zero() -> None:
    none = np.zeros(50)
    assert rarity(np.array([0.0]), none, 50)[0] == 0
    assert rarity(np.array([1.0]), none, 50)[0] > -np.log10(3 / 50)


def test_fewer_than_three_benign_captures_make_nothing_rare_below_their_highest() -> None:
    for captures in (1, 2, 3):
        tail = np.full(captures, 4.0)
        np.testing.assert_array_equal(rarity(np.array([0.0, 4.0]), tail, captures), [0.0, 0.0])
        assert rarity(np.array([40.0]), tail, captures)[0] == pytest.approx(1.0)


@hypothesis.given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.lists(st.floats(0, 1e9), min_size=2, max_size=30)
)
def test_rarity_never_falls_with_the_value_and_is_never_below_zero(
    maxima: list[float], values: list[float]
) -> None:
    tail = np.sort(np.array(maxima))[::-1]
    rarities = rarity(np.sort(np.array(values)), tail, len(tail))
    assert np.isfinite(rarities).all() and (rarities >= 0).all()
    assert (np.diff(rarities) >= -1e-12).all()


def test_calibrate_keeps_every_captures_highest_value_descending_and_never_below_zero() -> None:
    maxima = {"login_pair_60": np.array([1.0, -2.0, 7.123456, 3.0])}
    (entry,) = calibrate(maxima, [TRIES])
    assert entry == {
        "name": "login_pair_60",
        "role": None,
        "family": "bruteforce",
        "text": TRIES.text,
        "captures": 4,
        "maxima": [7.1235, 3.0, 1.0, 0.0],
    }


def test_every_rule_names_a_counter_a_family_and_where_its_value_stands() -> None:
    assert len({(rule.name, rule.role) for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.name in COUNTER_NAMES and rule.family in FAMILIES
        assert rule.role in (None, "actor", "target")
        assert rule.text.format(value="7") != rule.text
    # what calibration gives for them is what the daemon reads
    maxima = {rule.name: np.arange(10.0) for rule in RULES}
    rarities = CounterEvidence(calibrate(maxima), 1.0).rarities(windows(2).counters)
    assert rarities.shape == (2, len(RULES))


# -- what decides


def test_a_counter_speaks_only_on_the_streams_of_its_role() -> None:
    evidence = CounterEvidence(calibrate(TAILS, (TRIES, SERVICES)), weight=2.0)
    batch = windows(2, role=[ACTOR, TARGET], counters={"login_pair_60": 18, "failed_pairs_60": 198})
    third = -np.log10(3 / 100)
    np.testing.assert_allclose(evidence.rarities(batch.counters), [[third, third], [third, 0]], atol=1e-6)
    only_target = CounterRule("failed_pairs_60", "target", "dos", "{value}")
    evidence = CounterEvidence(calibrate(TAILS, (only_target,)), weight=2.0)
    np.testing.assert_allclose(evidence.scores(batch.counters), [0, 2 * third], atol=1e-6)


def test_the_logit_is_capped_on_target_streams_alone() -> None:
    batch = windows(4, role=[ACTOR, TARGET, ACTOR, TARGET], stream=[0, 1, 2, 3])
    rule = calibration((), target_cap=0.5)
    assert decided(rule, batch, [4.0, 4.0, -4.0, -4.0]) == [4.0, 0.5, -4.0, -4.0]


def test_the_decision_is_the_mean_of_a_windows_evidence_and_its_moving_average() -> None:
    rule = calibration((), average=0.25)
    averages, mean = [], 0.0
    logits = [4.0, 0.0, 8.0, 8.0]
    for i, logit in enumerate(logits):
        mean = logit if i == 0 else mean + 0.25 * (logit - mean)
        averages.append((logit + mean) / 2)
    assert decided(rule, windows(4), logits) == [round(v, 9) for v in averages]


def test_streams_have_averages_of_their_own_and_a_new_host_in_a_place_begins_anew() -> None:
    rule = calibration((), average=0.5)
    two = windows(4, stream=[3, 5, 3, 5])
    assert decided(rule, two, [4.0, 0.0, 0.0, 4.0]) == [4.0, 0.0, 1.0, 3.0]
    again = windows(3, stream=3, generation=[1, 2, 2])
    assert decided(rule, again, [100.0, 2.0, 2.0]) == [100.0, 2.0, 2.0]


def test_taking_a_counter_out_changes_the_score_by_exactly_its_part() -> None:
    batch = windows(1, counters={"login_pair_60": 1800, "failed_pairs_60": 198})
    third = -np.log10(3 / 100)
    both = calibration(weight=2.0)
    assert decided(both, batch, 1.5) == [round(1.5 + 2 * (third + 2), 9)]  # a hundred times the third
    without_tries = {**both, "counters": both["counters"][1:]}
    assert decided(without_tries, batch, 1.5) == [round(1.5 + 2 * third, 9)]
    without_services = {**both, "counters": both["counters"][:1]}
    assert decided(without_services, batch, 1.5) == decided(both, batch, 1.5)  # the most unusual counts
    assert decided({**both, "counters": []}, batch, 1.5) == [1.5]


def test_only_what_is_strictly_above_the_threshold_is_found() -> None:
    batch = windows(3, stream=[0, 1, 2])
    logits = [3.0, np.nextafter(3.0, 4.0), 2.9]
    findings = found(calibration((), threshold=3.0), batch, logits)
    assert [one.time_ns for one in findings] == [1_000_000_000]
    evidence = HostEvidence(calibration((), threshold=3.0), capacity=8, threshold=2.0)
    everything = evidence.update(batch, *heads(logits, 3), np.zeros(1, FLOW_DTYPE))
    assert [one.threshold for one in everything] == [2.0, 2.0, 2.0]


# -- what a finding says


def test_a_finding_is_of_the_windows_host_time_role_and_record() -> None:
    records = table([record("10.0.0.7", "192.0.2.9", second) for second in range(3)])
    batch = windows(2, role=[ACTOR, TARGET], stream=[0, 1])
    batch.record[:] = 2, 1
    evidence = HostEvidence(calibration((), threshold=1.0, target_cap=9.0), capacity=8)
    first, second = evidence.update(batch, *heads([4.0, 5.0], 2), records)
    assert (first.role, second.role) == ("actor", "target")
    assert first.host == second.host == packed("10.0.0.7").tobytes()
    assert (first.score, second.score, first.threshold) == (4.0, 5.0, 1.0)
    assert first.flow.tobytes() == records[2].tobytes() and second.flow.tobytes() == records[1].tobytes()
    records["flow_id"] = 0
    assert first.flow["flow_id"] != 0, "a finding keeps its record, not a view of the meter's"
    assert first.flows == 1


def test_the_family_is_that_of_the_larger_contribution() -> None:
    batch = windows(1, counters={"login_pair_60": 18})
    counter = 2 * -np.log10(3 / 100)
    rule = calibration((TRIES,), threshold=-9.0)
    (loud,) = found(rule, batch, 10.0, family="tunnel", share=0.6)
    assert loud.family == "tunnel"
    assert loud.family_share == pytest.approx(6.0 / (6.0 + counter))
    (soft,) = found(rule, batch, 1.0, family="tunnel", share=0.6)
    assert soft.family == "bruteforce"
    assert soft.family_share == pytest.approx(counter / (counter + 0.6))
    (agreeing,) = found(rule, batch, 10.0, family="bruteforce", share=0.6)
    assert (agreeing.family, agreeing.family_share) == ("bruteforce", 1.0)
    (against,) = found(rule, batch, -2.0, family="tunnel")
    assert (against.family, against.family_share) == ("bruteforce", 1.0)
    (nothing,) = found(rule, windows(1), -2.0, family="tunnel")
    assert nothing.family_share == 0.0


def test_evidence_names_network_and_counters_with_their_usual_values_strongest_first() -> None:
    batch = windows(1, counters={"login_pair_60": 1234.4, "failed_pairs_60": 199}, peers=["192.0.2.1"] * 12)
    rule = calibration(threshold=-9.0)
    (one,) = found(rule, batch, 4.0)
    assert one.evidence == (
        "1234 tries at one login service in 60 s (usual: below 10)",
        "network logit 4.00 over 12 flows",
        "failed connections to 199 services in 60 s (usual: below 190)",
    )
    (one,) = found(rule, batch, 40.0)
    assert one.evidence[0] == "network logit 40.00 over 12 flows"
    (of_eight,) = HostEvidence(rule, capacity=8, window=8).update(
        batch, *heads(40.0, 1), np.zeros(1, FLOW_DTYPE)
    )
    assert of_eight.evidence[0] == "network logit 40.00 over 8 flows" and of_eight.flows == 12


def test_what_does_not_speak_for_an_attack_is_not_said() -> None:
    rule = calibration(threshold=-9.0)
    # 12 tries: nine captures in a hundred have as many; 10 tries: eleven
    (twelve,) = found(rule, windows(1, counters={"login_pair_60": 12}), -1.0)
    assert twelve.evidence == ("12 tries at one login service in 60 s (usual: below 10)",)
    (ten,) = found(rule, windows(1, counters={"login_pair_60": 10}), -1.0)
    assert ten.evidence == ()


def test_numbers_in_evidence_have_three_digits_and_no_exponent() -> None:
    said = []
    for value in (20.26, 99.94, 123456789.0, 1e12):
        (one,) = found(
            calibration((TRIES,), threshold=-9.0), windows(1, counters={"login_pair_60": value}), -1.0
        )
        said.append(one.evidence[0].split(" ")[0])
    assert said[:2] == ["20.3", "99.9"]
    assert all(re.fullmatch(r"\d+", text) for text in said[2:])
    assert float(said[2]) == pytest.approx(123456789, rel=1e-6)


def test_counterparts_come_most_frequent_first_then_by_address() -> None:
    peers = ["192.0.2.9", "2001:db8::1", "192.0.2.1", "192.0.2.9", "10.0.0.1"]
    (one,) = found(calibration((), threshold=0.0), windows(1, peers=peers), 4.0)
    assert one.counterparts == (
        (packed("192.0.2.9").tobytes(), 2),
        (packed("10.0.0.1").tobytes(), 1),
        (packed("192.0.2.1").tobytes(), 1),
        (packed("2001:db8::1").tobytes(), 1),
    )


def test_rows_that_are_padding_are_no_counterparts() -> None:
    (one,) = found(calibration((), threshold=0.0), windows(1, peers=["192.0.2.9"]), 4.0)
    assert one.counterparts == ((packed("192.0.2.9").tobytes(), 1),)


# -- in any batching


def _scores(batch: WindowBatch) -> tuple[np.ndarray, np.ndarray]:
    """A stand-in for the network: a function of each window alone."""
    logits = np.log1p(batch.rows.sum(axis=(1, 2), dtype=np.float64)) - 12.0
    families = np.abs(np.sin(logits[:, None] + np.arange(len(FAMILIES))))
    return logits, families / families.sum(axis=1, keepdims=True)


def _told(findings: Iterator[Finding]) -> list[tuple[Any, ...]]:
    return [
        tuple(v.tobytes() if isinstance(v, np.void) else v for v in (getattr(f, x.name) for x in fields(f)))
        for f in findings
    ]


def _run(records: np.ndarray, edges: Sequence[int]) -> list[tuple[Any, ...]]:
    table_of_streams = Windows(home_hosts=2, foreign_hosts=2)  # few, so that places change hands
    maxima = {rule.name: np.arange(20.0) for rule in RULES}
    rule = {**calibration((), threshold=1.0), "counters": calibrate(maxima)}
    evidence = HostEvidence(rule, capacity=table_of_streams.capacity)
    result: list[Finding] = []
    for first, last in zip([0, *edges], [*edges, len(records)], strict=True):
        part = records[first:last]
        for batch in table_of_streams.push(part):
            result += evidence.update(batch, *_scores(batch), part)
    return _told(iter(result))


@pytest.mark.parametrize("seed", [0, 1])
def test_findings_do_not_depend_on_how_records_are_cut_into_batches(seed: int) -> None:
    records = random_records(200, seed)
    whole = _run(records, [])
    assert len(whole) > 20
    assert _run(records, range(1, len(records))) == whole
    edges = np.sort(np.random.default_rng(seed).integers(0, len(records), 9))  # an empty part among them
    assert _run(records, [*edges.tolist(), int(edges[-1])]) == whole
