from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.scaling import Scaling

NO_COUNTERS = np.zeros((1, 1), np.float32)


def rows_of(*columns: list[float]) -> np.ndarray:
    """A table of present rows: the given columns, then `present`."""
    return np.array([*columns, [1.0] * len(columns[0])], np.float32).T


def fitted(*columns: list[float], kind: str = "log-minmax") -> Scaling:
    return Scaling.fit(rows_of(*columns), NO_COUNTERS, kind=kind)  # type: ignore[arg-type]


def test_column_goes_from_0_to_1_along_the_logarithm() -> None:
    scaled = fitted([0, 9, 99]).transform_rows(rows_of([0, 9, 99]))
    assert scaled[:, 0] == pytest.approx([0, 0.5, 1], abs=1e-6)


def test_minmax_has_no_logarithm() -> None:
    scaled = fitted([0, 9, 99], kind="minmax").transform_rows(rows_of([0, 9, 99]))
    assert scaled[:, 0] == pytest.approx([0, 9 / 99, 1], abs=1e-6)


def test_negative_values_keep_their_order() -> None:
    scaled = fitted([-99, -9, 0, 9, 99]).transform_rows(rows_of([-99, -9, 0, 9, 99]))
    assert scaled[:, 0] == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-6)


def test_values_beyond_those_of_training_are_clipped() -> None:
    scaled = fitted([5, 50]).transform_rows(rows_of([-1e30, 0, 5, 50, 51, 1e30]))
    assert scaled[:, 0].tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("kind", ["log-minmax", "minmax"])
def test_binary_column_stays_as_it_is(kind: str) -> None:
    scaling = fitted([0, 1, 0, 1], kind=kind)
    assert scaling.transform_rows(rows_of([1, 0]))[:, 0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("kind", ["log-minmax", "minmax"])
@pytest.mark.parametrize("only", [0.0, 7.0])
def test_column_with_one_value_becomes_0_whatever_comes(kind: str, only: float) -> None:
    scaling = fitted([only, only], kind=kind)
    assert scaling.transform_rows(rows_of([0, 1, 7, 1e20, -3]))[:, 0].tolist() == [0.0] * 5


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 3e38])
def test_what_is_no_number_counts_as_0(odd: float) -> None:
    scaling = fitted([odd, 1, 9])
    assert scaling.rows.low[0] == 0
    assert scaling.rows.high[0] == 9
    assert scaling.transform_rows(rows_of([odd, 0]))[:, 0].tolist() == [0.0, 0.0]


def test_one_wild_value_does_not_flatten_a_column() -> None:
    values = [float(v) for v in range(10_000)]
    scaling = fitted([*values, 1e12])
    assert scaling.rows.high[0] == pytest.approx(9990, abs=2)
    assert fitted([*values, 1e12], kind="minmax").rows.high[0] == np.float32(1e12)


def test_column_that_is_hardly_ever_set_keeps_its_range() -> None:
    assert fitted([0.0] * 100_000 + [40.0]).rows.high[0] == 40


def test_padded_rows_stay_zeros_and_do_not_count() -> None:
    window = np.zeros((1, 4, 2), np.float32)
    window[0, 2:] = [[-50, 1], [-40, 1]]
    scaling = Scaling.fit(window, NO_COUNTERS)
    assert (scaling.rows.low[0], scaling.rows.high[0]) == (-50, -40)
    scaled = scaling.transform_rows(window)
    assert scaled[0, :2].tolist() == [[0, 0], [0, 0]]
    assert scaled[0, 2:].tolist() == [[0, 1], [1, 1]]


def test_present_may_be_any_column() -> None:
    rows = np.array([[0, 0], [1, 5], [1, 50]], np.float32)
    scaling = Scaling.fit(rows, NO_COUNTERS, 0)
    assert (scaling.present, scaling.rows.low[1]) == (0, 5)
    assert scaling.transform_rows(rows).tolist() == [[0, 0], [1, 0], [1, 1]]


def test_counters_are_scaled_by_their_own_ranges() -> None:
    counters = np.array([[0, 3], [9, 3], [99, 3]], np.float32)
    scaling = Scaling.fit(rows_of([1, 2]), counters)
    assert scaling.transform_counters(counters)[:, 0] == pytest.approx([0, 0.5, 1], abs=1e-6)
    assert scaling.transform_counters(counters)[:, 1].tolist() == [0, 0, 0]


def test_input_is_left_alone_and_output_is_float32() -> None:
    rows = rows_of([math.nan, 5, 9])
    before = rows.copy()
    scaled = fitted([0, 5, 9]).transform_rows(rows)
    np.testing.assert_array_equal(rows, before)
    assert scaled.dtype == np.float32
    assert not np.shares_memory(scaled, rows)


def test_window_is_scaled_the_same_alone_and_among_others() -> None:
    generator = np.random.default_rng(1)
    windows = np.exp(generator.normal(2, 3, (70, 16, 11))).astype(np.float32)
    windows[:, :, -1] = 1
    windows[::3, :9] = 0
    counters = np.exp(generator.normal(2, 3, (70, 13))).astype(np.float32)
    scaling = Scaling.fit(windows, counters)
    rows, counts = scaling.transform_rows(windows), scaling.transform_counters(counters)
    for one in range(70):
        np.testing.assert_array_equal(scaling.transform_rows(windows[one : one + 1])[0], rows[one])
        np.testing.assert_array_equal(scaling.transform_counters(counters[one : one + 1])[0], counts[one])


floats = st.floats(width=32, allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize("kind", ["log-minmax", "minmax"])
@given(
    seen=hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(5)), elements=floats),
    asked=hnp.arrays(np.float32, (6, 5), elements=floats),
)
def test_result_is_always_in_0_to_1(kind: str, seen: np.ndarray, asked: np.ndarray) -> None:
    scaling = Scaling.fit(seen, seen, kind=kind)  # type: ignore[arg-type]
    for scaled in (scaling.transform_rows(asked), scaling.transform_counters(asked)):
        assert ((scaled >= 0) & (scaled <= 1)).all()


@given(seen=hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(5)), elements=floats))
def test_json_gives_the_same_numbers_back(seen: np.ndarray) -> None:
    scaling = Scaling.fit(seen, seen)
    again = Scaling.from_json(json.loads(json.dumps(scaling.to_json())))
    for mine, other in ((scaling.rows, again.rows), (scaling.counters, again.counters)):
        assert mine.low.tobytes() == other.low.tobytes()
        assert mine.high.tobytes() == other.high.tobytes()
    assert (again.kind, again.present) == (scaling.kind, scaling.present)


GOOD = {
    "kind": "minmax",
    "present": 1,
    "rows": {"low": [0, 0], "high": [1, 1]},
    "counters": {"low": [0], "high": [2.5]},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "zscore"}, "kind 'zscore'"),
        ({"present": 2}, "present 2 is no row column"),
        ({"present": True}, "present True is no row column"),
        ({"rows": None}, "rows is missing"),
        ({"counters": {"low": [0], "high": [0, 1]}}, "counters: low and high differ in length"),
        ({"counters": {"low": [3], "high": [2]}}, "counters: low is above high in column 0"),
        ({"counters": {"low": ["0"], "high": [2]}}, "counters: low is not a list of numbers"),
        ({"counters": {"low": [0], "high": [10**400]}}, "counters: high holds a number that is not finite"),
        ({"counters": {"low": [0], "high": [math.nan]}}, "counters: high holds a number that is not finite"),
    ],
)
def test_data_that_is_no_scaling_is_refused(change: dict[str, object], said: str) -> None:
    assert Scaling.from_json(GOOD).rows.high.tolist() == [1, 1]
    with pytest.raises(ValueError, match=said):
        Scaling.from_json(GOOD | change)


def test_other_numbers_of_columns_are_refused() -> None:
    scaling = fitted([1, 2])
    with pytest.raises(ValueError, match="3 row columns, 2 were fitted"):
        scaling.transform_rows(np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="2 counters, 1 were fitted"):
        scaling.transform_counters(np.zeros((1, 2), np.float32))


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="scaling kind 'zscore': log-minmax or minmax wanted"):
        fitted([1, 2], kind="zscore")


ROLE = 1


def rarities(benign: np.ndarray, weight: np.ndarray | None = None) -> Scaling:
    """Scaling of (value, is_actor) counters by their rarity."""
    weight = np.ones(len(benign)) if weight is None else weight
    return Scaling.fit(rows_of([0, 1]), benign.astype(np.float32), role=ROLE, benign=weight)


def counters_of(values: list[float], actor: float = 1.0) -> np.ndarray:
    return np.array([[value, actor] for value in values], np.float32)


def test_a_counter_becomes_the_decades_of_its_rarity_over_three() -> None:
    scaling = rarities(counters_of(list(range(1, 1001))))
    # 1,000 of 1,000 reach 1, 100 reach 901, 10 reach 991, one reaches 1000, none reaches 1e6.
    scaled = scaling.transform_counters(counters_of([0, 1, 901, 991, 1000, 1e6]))
    assert scaled[:, 0] == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1], abs=1e-6)
    assert scaled[:, ROLE].tolist() == [1.0] * 6


def test_between_two_levels_the_logarithm_counts() -> None:
    scaling = rarities(counters_of([0.0] * 9 + [99.0]))
    # One in ten reaches 99: the levels below it are at 99 as well, and those above are out of reach.
    assert scaling.transform_counters(counters_of([9, 98, 99]))[:, 0] == pytest.approx(
        [0.5 / 30, math.log(99) / math.log(100) / 30, 10 / 30], abs=1e-6
    )
    beyond = scaling.transform_counters(counters_of([99, 1e3, 1e6, 1e37]))[:, 0]
    assert (np.diff(beyond) > 0).all() and beyond[-1] < 11 / 30


def test_roles_are_scaled_apart_and_one_never_seen_is_usual() -> None:
    scaling = rarities(np.concatenate([counters_of([1] * 99 + [50]), counters_of([50] * 100, actor=0)]))
    assert scaling.transform_counters(counters_of([50]))[0, 0] == pytest.approx(2 / 3)
    assert scaling.transform_counters(counters_of([50], actor=0))[0, 0] == 0
    only_actors = rarities(counters_of([1] * 100))
    assert only_actors.transform_counters(counters_of([1e9], actor=0))[0].tolist() == [0, 0]


def test_rarity_goes_by_the_weight_of_windows() -> None:
    values = counters_of([1, 7, 1e6])
    scaling = rarities(values, np.array([0.9, 0.1, 0.0]))  # the last one is an attack's
    assert scaling.transform_counters(values)[:2, 0] == pytest.approx([0, 1 / 3], abs=1e-6)


@given(hnp.arrays(np.float32, (40, 2), elements=st.floats(0, 1e6, width=32)))
def test_rarity_rises_with_the_value_and_comes_back_from_json(seen: np.ndarray) -> None:
    seen[:, ROLE] = seen[:, ROLE] > 10
    scaling = rarities(seen)
    again = Scaling.from_json(json.loads(json.dumps(scaling.to_json())))
    for actor in (0.0, 1.0):
        asked = counters_of(sorted(seen[:, 0].tolist()), actor)
        scaled = scaling.transform_counters(asked)
        assert (np.diff(scaled[:, 0]) >= -1e-6).all()
        assert scaled.min() >= 0 and scaled.max() <= 1
        assert again.transform_counters(asked).tobytes() == scaled.tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"levels": None}, "counters: levels is not a pair of lists"),
        ({"levels": [[[0.0] * 31] * 2]}, "counters: levels is not a pair of lists"),
        (
            {"levels": [[[0.0] * 31] * 2, [[0.0] * 31]]},
            "counters: levels of actors and targets differ in length",
        ),
        ({"levels": [[[0.0] * 30] * 2] * 2}, "counters: levels: 31 a counter wanted"),
        ({"levels": [[[1.0] * 30 + [0.5]] * 2] * 2}, "counters: levels fall"),
        ({"levels": [[["x"] * 31] * 2] * 2}, "counters: levels is not a list of numbers"),
        ({"role": 2}, "counters: role 2 is no counter"),
        ({"role": True}, "counters: role True is no counter"),
    ],
)
def test_data_that_is_no_rarity_is_refused(change: dict[str, object], said: str) -> None:
    data = rarities(counters_of([1, 2])).to_json()
    data["counters"] |= change
    with pytest.raises(ValueError, match=said):
        Scaling.from_json(data)
