"""Preprocessing is fitted on training rows alone and says what it left out and why."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from capture.columns import FEATURES
from models.errors import TrainingError
from models.training.flows.preprocessing import PROTOCOLS, Preprocessing
from tests.models.training.flows.making import flow_table

RNG = np.random.default_rng(3)
TRAIN = np.arange(4)
PLAIN: dict[str, Any] = {"drop_constant": False, "drop_correlated": None}


def test_ranges_are_those_of_the_training_rows_and_others_are_clipped() -> None:
    table = flow_table([[0, 5], [10, 7], [4, 6], [2, 9], [20, 0], [-5, 8]], [0] * 6)
    fitted = Preprocessing.fit(table, TRAIN, **PLAIN)
    expected = [[0, 0], [1, 0.5], [0.4, 0.25], [0.2, 1], [1, 0], [0, 0.75]]
    np.testing.assert_allclose(fitted.transform(table), expected, rtol=1e-6)


def test_rows_are_chosen_by_index_in_the_order_given() -> None:
    table = flow_table(RNG.normal(size=(50, 4)), [0] * 50)
    fitted = Preprocessing.fit(table, np.arange(30), **PLAIN)
    rows = np.array([40, 3, 3])
    assert fitted.transform(table, rows).tolist() == fitted.transform(table)[rows].tolist()
    assert fitted.transform(table).dtype == np.float32


def test_values_outside_training_change_nothing_that_is_fitted() -> None:
    values = RNG.normal(size=(40, 6))
    other = values.copy()
    other[20:] = 1e6
    fits = [Preprocessing.fit(flow_table(v, [0, 1] * 20), np.arange(20), best=3) for v in (values, other)]
    assert fits[0].to_json() == fits[1].to_json()


def test_constant_features_go_and_are_named() -> None:
    table = flow_table([[1, 5], [2, 5], [4, 5], [3, 5], [2, 6]], [0] * 5)
    fitted = Preprocessing.fit(table, TRAIN)
    assert fitted.features == (FEATURES[0],)
    assert fitted.report == {FEATURES[1]: "constant"}


def test_of_two_features_that_go_together_the_later_goes() -> None:
    a, b = RNG.normal(size=(2, 500))
    table = flow_table(np.column_stack([a, b, -3 * a + 1, b + 0.5 * RNG.normal(size=500)]), [0] * 500)
    fitted = Preprocessing.fit(table, np.arange(500))
    assert fitted.features == (FEATURES[0], FEATURES[1], FEATURES[3])
    assert fitted.report == {FEATURES[2]: "|r| above 0.99 with Flow Duration"}
    looser = Preprocessing.fit(table, np.arange(500), drop_correlated=0.8)
    assert looser.features == (FEATURES[0], FEATURES[1])


def test_correlations_are_those_of_numpy_over_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.training.flows import preprocessing

    monkeypatch.setattr(preprocessing, "_ROWS", 7)
    values = (RNG.normal(size=(100, 3)) + 1e4).astype(np.float32)
    np.testing.assert_allclose(
        preprocessing._correlations(values, np.arange(3)), np.corrcoef(values.T.astype(np.float64)), atol=1e-9
    )


def test_the_features_that_tell_most_of_the_label_are_kept_in_their_order() -> None:
    pytest.importorskip("sklearn", reason="needs the extra [train]")
    label = RNG.integers(0, 2, 2000)
    noise = RNG.normal(size=(2000, 4))
    table = flow_table(noise + np.outer(label, [0, 3, 0.0, 1]), label)
    fitted = Preprocessing.fit(table, np.arange(2000), best=2)
    assert fitted.features == (FEATURES[1], FEATURES[3])
    assert set(fitted.report.values()) == {"not among the 2 that tell most of the label"}


def test_the_protocol_is_one_hot_and_an_unknown_one_all_zero() -> None:
    table = flow_table(RNG.normal(size=(7, 2)), [0] * 7, protocol=[6, 17, 1, 58, 47, 0, -1])
    fitted = Preprocessing.fit(table, TRAIN, **PLAIN)
    assert fitted.names == (*FEATURES[:2], *PROTOCOLS)
    eye = np.eye(4).tolist()
    assert fitted.transform(table)[:, 2:].tolist() == [
        eye[0],
        eye[1],
        eye[2],
        eye[2],
        eye[3],
        eye[3],
        [0.0] * 4,
    ]


def test_the_protocol_is_left_out_where_no_training_row_has_one() -> None:
    table = flow_table(RNG.normal(size=(5, 2)), [0] * 5, protocol=[-1] * 4 + [6])
    assert Preprocessing.fit(table, TRAIN, **PLAIN).names == FEATURES[:2]


def test_json_gives_back_the_same_preprocessing() -> None:
    table = flow_table(RNG.lognormal(sigma=5, size=(30, 5)), [0, 1] * 15, protocol=[6, 17] * 15)
    fitted = Preprocessing.fit(table, np.arange(20))
    again = Preprocessing.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again.names == fitted.names and again.report == fitted.report
    assert again.transform(table).tobytes() == fitted.transform(table).tobytes()


def test_features_are_found_by_name_whatever_their_places() -> None:
    table = flow_table(RNG.normal(size=(10, 3)), [0] * 10)
    fitted = Preprocessing.fit(table, TRAIN, **PLAIN)
    turned = table.narrowed(table.features[::-1])
    assert fitted.transform(turned).tobytes() == fitted.transform(table).tobytes()


def test_what_a_table_lacks_is_named() -> None:
    table = flow_table(RNG.normal(size=(10, 3)), [0] * 10, protocol=[6] * 10)
    fitted = Preprocessing.fit(table, TRAIN, **PLAIN)
    bare = flow_table(table.values[:, :1], [0] * 10)
    with pytest.raises(TrainingError, match="lacks Total Fwd Packet, Total Bwd packets, Protocol, which"):
        fitted.transform(bare)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ["flow_duration", "port"]}, "unknown features: port"),
        ({"features": ["flow_duration"]}, "2 ranges for 1 features"),
        ({"features": []}, "none or named twice"),
        ({"features": ["flow_duration"] * 2}, "none or named twice"),
        ({"scale": "pickle"}, "unknown scale: 'pickle'"),
        ({"protocol": 1}, "protocol is neither true nor false"),
        ({"columns": None}, "no mapping"),
    ],
)
def test_json_of_something_else_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    fitted = Preprocessing.fit(flow_table(RNG.normal(size=(10, 2)), [0] * 10), TRAIN, **PLAIN)
    with pytest.raises(ValueError, match=message):
        Preprocessing.from_json(fitted.to_json() | change)


def test_missing_values_in_training_are_refused_but_are_zero_later() -> None:
    table = flow_table([[2, 0], [4, 1], [6, 2], [8, 3], [np.nan, np.inf]], [0] * 5)
    with pytest.raises(TrainingError, match="NaN or an infinity in Flow Duration; clean the data first"):
        Preprocessing.fit(table, np.arange(5))
    fitted = Preprocessing.fit(table, TRAIN, **PLAIN)
    assert fitted.transform(table)[4].tolist() == [0, 1]


def test_nothing_that_varies_is_one_clear_line() -> None:
    with pytest.raises(TrainingError, match="every feature is constant"):
        Preprocessing.fit(flow_table([[1, 2]] * 4, [0] * 4), TRAIN)


def test_the_report_reads_as_text() -> None:
    table = flow_table([[1, 5], [2, 5], [4, 5], [3, 5]], [0] * 4)
    assert Preprocessing.fit(table, TRAIN).lines() == [
        "1 features kept, no protocol; 1 left out",
        "  constant: Total Fwd Packet",
    ]
