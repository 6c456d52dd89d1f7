"""Rows kept once make the same windows again."""

from __future__ import annotations

import numpy as np
import pytest

from models.scaling import Scaling
from models.training.windows import rows as module
from models.training.windows.dataset import capture_windows
from models.training.windows.rows import WindowRows
from models.window_columns import ROW_NAMES
from tests.models.flows import random_records
from tests.models.training.windows.test_dataset import label


def windows_of(seed: int) -> np.ndarray:
    capture = capture_windows(label(), random_records(200, seed))
    assert capture is not None
    return capture.windows.rows


def test_windows_come_back_bit_by_bit_from_fewer_rows() -> None:
    rows = windows_of(1)
    kept = WindowRows.of(rows)
    assert kept.dense().tobytes() == rows.tobytes()
    assert kept.shape == rows.shape and len(kept) == len(rows)
    flat = rows.reshape(-1, rows.shape[-1])
    assert len(kept.table) == len(np.unique(flat.view(np.uint32), axis=0)) < len(flat) / 3


def test_the_newest_rows_are_the_last_on_the_same_table() -> None:
    rows = windows_of(1)
    kept = WindowRows.of(rows)
    for count in (1, 8, rows.shape[1]):
        newest = kept.newest(count)
        assert newest.table is kept.table and newest.shape == (len(rows), count, rows.shape[2])
        assert newest.dense().tobytes() == rows[:, -count:].tobytes()


def test_rows_that_differ_in_a_sign_or_a_digit_are_two() -> None:
    rows = np.zeros((1, 4, 2), np.float32)
    rows[0, 1, 0], rows[0, 2, 0], rows[0, 3, 1] = -0.0, 1e-45, 1e-45
    kept = WindowRows.of(rows)
    assert len(kept.table) == 4
    assert kept.dense().tobytes() == rows.tobytes()


def test_rows_of_one_hash_are_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_hashes", lambda flat: np.zeros(len(flat), np.uint64))
    rows = windows_of(2)
    assert WindowRows.of(rows).dense().tobytes() == rows.tobytes()


def test_chosen_and_joined_windows_are_those_of_the_parts() -> None:
    first, second = windows_of(1), windows_of(2)
    one, other = WindowRows.of(first), WindowRows.of(second)
    both = WindowRows.joined([one, other])
    assert both.dense().tobytes() == np.concatenate([first, second]).tobytes()
    chosen = np.arange(0, len(both), 3)
    np.testing.assert_array_equal(both.take(chosen).dense(), both.dense()[chosen])
    again = WindowRows.joined([both.take(chosen), both])
    assert again.table is both.table and len(again) == len(chosen) + len(both)


def test_none_are_none() -> None:
    none = WindowRows.of(np.zeros((0, 16, 3), np.float32))
    assert none.shape == (0, 16, 3) and none.dense().shape == (0, 16, 3)


def test_scaling_is_the_same_as_of_whole_windows() -> None:
    rows = windows_of(3)
    kept, counters = WindowRows.of(rows), np.ones((len(rows), 2), np.float32)
    present = ROW_NAMES.index("present")
    whole = Scaling.fit(rows, counters, present)
    by_index = Scaling.fit(kept.table, counters, present, index=kept.index)
    assert by_index.to_json() == whole.to_json()
    # A row counts as often as windows have it.
    assert Scaling.fit(kept.table, counters, present).to_json() != whole.to_json()
