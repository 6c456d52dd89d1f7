"""Missing values and repetitions go, and are counted by definitions that say what counts."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import TrainingError
from models.training.flows.cleaning import clean, redundant
from models.training.flows.twins import twins
from tests.models.training.flows.making import flow_table

NAN, INF = np.nan, np.inf


def test_rows_with_nan_or_an_infinity_go_and_are_counted_by_feature() -> None:
    table = flow_table([[1, 2], [NAN, 3], [INF, NAN], [4, -INF], [5, 6]], [0, 0, 1, 1, 2])
    kept, report = clean(table)
    assert kept.values.tolist() == [[1, 2], [5, 6]]
    assert kept.label.tolist() == [0, 2]
    assert report.missing == 3
    assert report.missing_in == {table.features[0]: 2, table.features[1]: 2}
    assert report.before == {"BENIGN": 2, "DDoS": 2, "Port scan": 1}
    assert report.after == {"BENIGN": 1, "Port scan": 1}


def test_a_row_that_repeats_one_before_goes_unless_its_label_or_port_differs() -> None:
    table = flow_table([[1, 2]] * 5 + [[1, 3]], [0, 0, 1, 0, 0, 0], port=[80, 80, 80, 443, 80, 80])
    kept, report = clean(table)
    assert redundant(table).tolist() == [False, True, False, False, True, False]
    assert kept.port.tolist() == [80, 80, 443, 80] and kept.label.tolist() == [0, 1, 0, 0]
    assert (report.redundant, report.twins, report.conflicting, report.kept) == (2, 2, 3, 4)


def test_repetitions_stay_where_wanted_but_are_counted() -> None:
    kept, report = clean(flow_table([[1, 2], [1, 2]], [0, 0]), drop_duplicates=False)
    assert (len(kept), report.redundant, report.dropped) == (2, 1, False)


def test_addresses_and_times_do_not_tell_repetitions_apart() -> None:
    table = flow_table([[1, 2], [1, 2]], [0, 0], source=[1, 2], destination=[3, 4], time=[5, 6])
    assert redundant(table).tolist() == [False, True]


def test_a_set_of_nothing_but_missing_values_is_refused_by_the_worst_feature() -> None:
    with pytest.raises(TrainingError, match="every flow holds NaN .* most of all in Total Fwd Packet"):
        clean(flow_table([[1, NAN], [INF, NAN]], [0, 1]))


def test_the_report_reads_as_text() -> None:
    _, report = clean(flow_table([[1, 2], [1, 2], [NAN, 0]], [0, 0, 1]))
    assert report.lines() == [
        "1 of 3 flows left out for NaN or an infinity (Flow Duration 1)",
        "1 flow left out, equal to one before in every feature, port and label",
        "of 1 flow kept, ports and labels aside,"
        " 0 equal to one before in every feature, 0 to one of another label",
        "class   read  kept",
        "BENIGN     2     1",
        "DDoS       1     0",
    ]


def test_equal_rows_have_equal_hashes_and_others_do_not() -> None:
    columns = [np.array([0.0, -0.0, NAN, NAN, 1.0]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])]
    hashed = twins(columns, np.array([6, 6, 6, 17, 6]))
    assert hashed[0] == hashed[1]
    assert len(set(hashed.tolist())) == 4


def test_values_that_float32_cannot_tell_apart_are_no_twins() -> None:
    hashed = twins([np.array([16_777_216.0, 16_777_217.0])])
    assert hashed[0] != hashed[1]
