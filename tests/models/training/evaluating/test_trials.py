"""Protocols hold: what is judged was not learned from, and copies are counted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.errors import TrainingError
from models.training.evaluating.trials import (
    Trial,
    across_sets,
    leaks,
    random_split,
    unseen_days,
    without_leaks,
)
from models.training.flows.table import FlowTable
from tests.models.training.flows.making import flow_table

DAY_NS = 86_400_000_000_000


def flows(count: int = 400, copies: int = 0, seed: int = 1) -> FlowTable:
    """Flows of three days, a third attacks of two kinds, and `copies` of the first flow at random places."""
    random = np.random.default_rng(seed)
    values = random.uniform(1, 1000, (count, 3))
    label = random.choice([0, 0, 0, 0, 1, 2], count)
    again = random.choice(np.arange(1, count), copies, replace=False)
    values[again], label[again] = values[0], label[0]
    day = np.sort(random.integers(0, 3, count))
    return flow_table(values, label, time=day.astype(np.int64) * DAY_NS, protocol=np.full(count, 6))


def times(table: FlowTable, days: list[int]) -> FlowTable:
    from dataclasses import replace

    return replace(table, time=np.array(days, np.int64) * DAY_NS)


def known(trial: Trial) -> int:
    """Judged rows that equal a row to fit on."""
    seen, judged = trial.train.values[trial.fitting], trial.test.values[trial.judged]
    return int((judged[:, None] == seen[None]).all(axis=2).any(axis=1).sum())


def assert_apart(trial: Trial) -> None:
    """No row is in two parts."""
    assert trial.train is trial.test
    parts = np.concatenate([trial.fitting, trial.validation, trial.judged])
    assert len(np.unique(parts)) == len(parts)


def test_random_split_leaves_repeated_flows_out() -> None:
    (trial,) = random_split(flows(400, copies=50), shuffles=1)
    assert_apart(trial)
    assert len(trial.train) == 350
    assert (trial.name, trial.group, known(trial)) == ("random 70/15/15", "random split", 0)
    assert len(trial.judged) == pytest.approx(0.15 * 350, abs=2)


def test_shuffles_differ_and_are_named() -> None:
    first, second = random_split(flows(), shuffles=2)
    assert (first.name, second.name) == ("random 70/15/15, shuffle 1", "random 70/15/15, shuffle 2")
    assert first.group == second.group
    assert not np.array_equal(first.judged, second.judged)


def test_split_without_leaks_judges_the_last_of_each_class() -> None:
    (trial,) = without_leaks(flows(), shuffles=1)
    assert_apart(trial)
    assert known(trial) == 0
    for code in range(3):
        learned = trial.train.time[trial.fitting][trial.train.label[trial.fitting] == code]
        judged = trial.test.time[trial.judged][trial.test.label[trial.judged] == code]
        assert len(judged) and learned.max() <= judged.min()


def test_each_day_is_judged_by_the_others() -> None:
    table = flows(300)
    trials, left_out = unseen_days(table)
    assert left_out == []
    assert [trial.name for trial in trials] == [f"all days but 1970-01-0{day}" for day in (1, 2, 3)]
    for day, trial in enumerate(trials):
        assert_apart(trial)
        assert set(trial.test.time[trial.judged] // DAY_NS) == {day}
        assert day not in trial.train.time[trial.fitting] // DAY_NS
    assert sum(len(trial.judged) for trial in trials) == 300


def test_copies_are_learned_once_and_judged_each() -> None:
    # One flow, 40 times, on the first and on the last day.
    values = np.r_[np.random.default_rng(3).uniform(1, 9, (60, 2)), np.full((40, 2), 5.0)]
    table = times(flow_table(values, [0, 1] * 30 + [0] * 40), [0, 0, 1, 1] * 15 + [0, 1] * 20)
    (first, second), _ = unseen_days(table)
    for trial in (first, second):
        copies = (trial.train.values[trial.fitting] == 5).all(axis=1).sum()
        assert copies <= 1
        assert known(trial) == (20 if copies else 0)
        assert (trial.test.values[trial.judged] == 5).all(axis=1).sum() == 20


def test_flows_that_cannot_be_read_are_not_judged() -> None:
    table = flows(300)
    table.values[7, 1] = math.nan
    assert sum(len(trial.judged) for trial in unseen_days(table)[0]) == 299


def test_a_day_that_nothing_can_be_learned_for_is_left_out_and_named() -> None:
    # The only attacks are on the first day, so that no other day tells what they are.
    values = np.random.default_rng(3).uniform(1, 9, (60, 2))
    table = times(flow_table(values, [0, 1] * 10 + [0] * 40), [0] * 20 + [1] * 20 + [2] * 20)
    trials, left_out = unseen_days(table)
    assert [trial.name for trial in trials] == [f"all days but 1970-01-0{day}" for day in (2, 3)]
    assert left_out == ["all days but 1970-01-01: not judged, those days have no attacks to learn from"]


def test_a_day_that_leaves_only_constant_features_to_learn_from_is_left_out_and_named() -> None:
    # Only the first day's flows differ; the protocol and the port are no such features.
    values = np.r_[np.random.default_rng(3).uniform(1, 9, (20, 2)), np.full((40, 2), 5.0)]
    table = times(
        flow_table(values, [0, 1] * 30, protocol=[6, 6, 17, 17] * 15, port=np.arange(60)),
        [0] * 20 + [1] * 20 + [2] * 20,
    )
    trials, left_out = unseen_days(table)
    assert [trial.name for trial in trials] == [f"all days but 1970-01-0{day}" for day in (2, 3)]
    assert left_out == [
        "all days but 1970-01-01: not judged, those days have no feature that varies to learn from"
    ]
    with pytest.raises(TrainingError, match="no day can be judged; .* no feature that varies"):
        unseen_days(table.take(np.arange(20, 60)))


def test_days_of_which_none_can_be_judged_are_refused() -> None:
    values = np.random.default_rng(3).uniform(1, 9, (40, 2))
    table = times(flow_table(values, [1] * 20 + [0] * 20), [0] * 20 + [1] * 20)
    with pytest.raises(TrainingError, match=r"made\.csv: no day can be judged; .* no attacks .* no benign"):
        unseen_days(table)


def test_sets_keep_the_features_that_both_have() -> None:
    random = np.random.default_rng(2)
    train = flow_table(random.random((200, 3)), [0, 1] * 100, features=("a", "b", "c"))
    other = flow_table(random.random((50, 3)), [0, 2] * 25, features=("c", "x", "a"))
    (trial,) = across_sets(train, [("other", other)])
    assert trial.train.features == trial.test.features == ("a", "c")
    assert trial.test.values[:, 1].tolist() == other.values[:, 0].tolist()
    assert (trial.name, trial.group) == ("other", "other")
    assert len(trial.judged) == 50 and len(trial.fitting) == 170 and len(trial.validation) == 30
    assert not set(trial.fitting) & set(trial.validation)


def test_a_protocol_that_one_set_lacks_is_no_feature() -> None:
    train = flow_table(np.random.default_rng(1).random((40, 1)), [0, 1] * 20, protocol=np.full(40, 6))
    (trial,) = across_sets(train, [("other", flow_table([[0.5]], [0]))])
    assert (trial.train.protocol == -1).all()
    (trial,) = across_sets(train, [("other", flow_table([[0.5]], [0], protocol=[17]))])
    assert (trial.train.protocol == 6).all() and trial.test.protocol.tolist() == [17]


def test_sets_without_a_common_feature_are_refused() -> None:
    train = flow_table(np.random.default_rng(1).random((40, 1)), [0, 1] * 20, features=("a",))
    other = flow_table([[1.0]], [0], features=("b",))
    with pytest.raises(TrainingError, match=r"other: has no feature in common with made\.csv"):
        across_sets(train, [("other", other)])


def test_leaks_of_the_papers_split_and_none_of_ours() -> None:
    found = {(one.split, one.duplicates): one for one in leaks(flows(400, copies=100))}
    paper = found["random 70/15/15", "kept"]
    assert paper.judged == pytest.approx(60, abs=2) and 5 <= paper.twins < 40
    assert paper.near >= paper.twins
    assert found["random 70/15/15", "dropped"].twins == 0
    for duplicates in ("kept", "dropped"):
        ours = found["by time 70/15/15, groups whole", duplicates]
        assert (ours.twins, ours.near) == (0, 0)
