"""Splits: shares, no row twice, leaks counted as one would by hand, none where none are promised."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.errors import TrainingError
from models.training.flows.splits import (
    Split,
    leave_day_out,
    near_twins,
    paper_matrix,
    paper_text,
    time_and_group,
)
from models.training.flows.table import FlowTable
from tests.models.training.flows.making import flow_table

DAY = 86_400_000_000_000


def many(count: int = 1000, kinds: int = 300, seed: int = 5, **columns: object) -> FlowTable:
    """Rows of few kinds, so that twins abound; labels by chance."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, kinds, count)
    return flow_table(
        np.column_stack([kind * 1000.0, kind % 7]), random.choice(3, count, p=[0.7, 0.2, 0.1]), **columns
    )


def leaks_by_hand(table: FlowTable, split: Split) -> int:
    seen = {(table.values[i].tobytes(), int(table.protocol[i])) for i in split.train}
    return sum((table.values[i].tobytes(), int(table.protocol[i])) in seen for i in split.test)


def shares(table: FlowTable, split: Split, label: int) -> list[float]:
    parts = [split.train, split.validation, split.test]
    counts = [int((table.label[part] == label).sum()) for part in parts]
    return [count / sum(counts) for count in counts]


@pytest.mark.parametrize(
    ("make", "expected"), [(paper_text, (0.70, 0.15, 0.15)), (paper_matrix, (0.595, 0.105, 0.30))]
)
def test_random_splits_keep_their_shares_in_every_class(
    make: Callable[[FlowTable, int], Split], expected: tuple[float, ...]
) -> None:
    table = many()
    split = make(table, 1)
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(1000))
    for label in range(3):
        np.testing.assert_allclose(shares(table, split, label), expected, atol=0.01)


@pytest.mark.parametrize("make", [paper_text, paper_matrix, time_and_group])
def test_a_seed_gives_its_own_split_every_time(
    make: Callable[[FlowTable, int], Split],
) -> None:
    table = many()
    one, same, other = make(table, 1), make(table, 1), make(table, 2)
    assert (one.train.tolist(), one.test.tolist()) == (same.train.tolist(), same.test.tolist())
    assert one.test.tolist() != other.test.tolist()


@pytest.mark.parametrize("make", [paper_text, paper_matrix])
def test_leaks_are_counted_as_by_hand(make: Callable[[FlowTable, int], Split]) -> None:
    table = many(protocol=np.arange(1000) % 2)
    split = make(table, 3)
    assert split.leaked == leaks_by_hand(table, split)
    assert 0 < split.leaked < len(split.test)


def test_a_class_of_one_row_is_trained_on() -> None:
    split = paper_text(flow_table(np.arange(40).reshape(20, 2), [0] * 19 + [1]), 1)
    assert 19 in split.train


def test_near_twins_agree_to_two_digits_of_every_feature_and_in_the_protocol() -> None:
    table = flow_table(
        [[1234, 0], [1201, 0], [1260, 0], [1201, 0.01], [-1234, 0], [1234, 0]],
        [0] * 6,
        protocol=[6, 6, 6, 6, 6, 17],
    )
    keys = near_twins(table)
    assert keys[0] == keys[1]
    assert len(set(keys.tolist())) == 5


@pytest.mark.parametrize("timed", [True, False])
def test_time_and_group_keeps_near_twins_on_one_side(timed: bool) -> None:
    table = many(**({"time": np.random.default_rng(1).permutation(1000)} if timed else {}))
    split = time_and_group(table, 1)
    assert split.leaked == 0 == leaks_by_hand(table, split)
    keys = near_twins(table)
    sides = [set(keys[part].tolist()) for part in (split.train, split.validation, split.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(1000))
    assert 0.05 < len(split.test) / 1000 < 0.25


def test_by_time_the_last_of_each_class_are_tested_on() -> None:
    time = np.random.default_rng(2).permutation(200) + 10
    label = np.arange(200) % 2
    table = flow_table(np.column_stack([np.arange(200) // 10, np.arange(200) % 10]), label, time=time)
    split = time_and_group(table, 1)
    for code in range(2):
        mine = [time[part[label[part] == code]] for part in (split.train, split.validation, split.test)]
        assert [len(part) for part in mine] == [70, 15, 15]
        assert mine[0].max() < mine[1].min() and mine[1].max() < mine[2].min()


def test_a_group_is_placed_by_its_first_row_in_time() -> None:
    values = np.array([[float(2**i)] for i in range(10)] + [[1.0]])
    time = [*range(10, 20), 99]
    split = time_and_group(flow_table(values, [0] * 11, time=time), 1)
    assert 0 in split.train and 10 in split.train


def test_days_are_dates_where_rows_have_times() -> None:
    day = np.repeat([0, 1, 2], 100)
    table = flow_table(np.arange(600).reshape(300, 2), np.arange(300) % 2, time=day * DAY + 5)
    splits = leave_day_out(table)
    assert [split.name for split in splits] == [
        "all days but 1970-01-01",
        "all days but 1970-01-02",
        "all days but 1970-01-03",
    ]
    for code, split in enumerate(splits):
        assert split.test.tolist() == np.flatnonzero(day == code).tolist()
        assert (len(split.train), len(split.validation)) == (170, 30)
        assert not np.isin(split.test, np.concatenate([split.train, split.validation])).any()


def test_a_few_misdated_rows_of_a_file_make_no_day_of_their_own() -> None:
    time = np.repeat([10 * DAY, 11 * DAY], 200)
    time[5], time[250] = 3, 10 * DAY
    table = flow_table(
        np.arange(400)[:, None], [0] * 400, time=time, file=np.arange(400) // 200, files=("a", "b")
    )
    assert [split.test.tolist() for split in leave_day_out(table)] == [
        list(range(200)),
        list(range(200, 400)),
    ]


def test_without_times_the_weekdays_in_the_names_of_files_are_days() -> None:
    files = ("monday-to-friday/Friday-Morning.csv", "x/friday-afternoon.csv", "Monday/flows.csv")
    table = flow_table(np.arange(12).reshape(6, 2), [0] * 6, file=[0, 0, 1, 1, 2, 2], files=files)
    assert [(split.name, split.test.tolist()) for split in leave_day_out(table)] == [
        ("all days but Friday", [0, 1, 2, 3]),
        ("all days but Monday", [4, 5]),
    ]


def test_without_times_and_weekdays_each_file_is_a_day() -> None:
    table = flow_table(np.arange(8).reshape(4, 2), [0] * 4, file=[0, 0, 1, 1], files=("a.csv", "b.csv"))
    assert [split.name for split in leave_day_out(table)] == ["all days but a.csv", "all days but b.csv"]


def test_one_day_alone_cannot_be_left_out() -> None:
    with pytest.raises(TrainingError, match="one day only"):
        leave_day_out(flow_table([[1, 2], [3, 4]], [0, 1]))


def test_near_twins_hold_over_the_range_of_float32() -> None:
    column = np.array([1e-45, 3.4e38, -3.4e38, 0, np.inf, -np.inf, np.nan, 99.6, 100.4, 1e-45], np.float32)
    keys = near_twins(flow_table(column[:, None], [0] * 10)).tolist()
    assert keys[0] == keys[9] and keys[7] == keys[8]
    assert len(set(keys)) == 8
