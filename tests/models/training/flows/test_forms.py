"""A file is understood by its header, or refused in one line that says what it is."""

from __future__ import annotations

import pytest

from capture.columns import COLUMNS, CSV_HEADER, FEATURES, FLOW_DTYPE
from models.errors import TrainingError
from models.training.flows.forms import form_of
from tests.models.training.flows.making import CORRECTED, IDS2018, LABELLED, ML_CSV

NOT_IN_2017 = ("Fwd RST Flags", "Bwd RST Flags", "ICMP Code", "ICMP Type", "Total TCP Flow Time")
PYTHON = ["src_ip", "dst_ip", "dst_port", "protocol", "timestamp", *(c.name_python for c in COLUMNS), "label"]


@pytest.mark.parametrize(
    ("header", "name", "features"),
    [
        (ML_CSV, "MachineLearningCSV", 76),
        (LABELLED, "GeneratedLabelledFlows", 76),
        (CORRECTED, "corrected", 81),
        (IDS2018, "CSE-CIC-IDS2018", 76),
        (CSV_HEADER, "CICFlowMeter 4", 81),
        (PYTHON, "CICFlowMeter, short names", 76),
    ],
)
def test_every_form_is_known_by_its_header(header: list[str], name: str, features: int) -> None:
    form = form_of("a.csv", header)
    assert (form.name, len(form.features), form.width) == (name, features, len(header))
    assert form.absent == (() if features == 81 else NOT_IN_2017)
    assert header[form.roles["label"]].strip().lower() == "label"


@pytest.mark.parametrize("spelling", ["name", "name_2017", "name_2018", "name_python", "field"])
def test_each_spelling_of_a_feature_means_that_feature(spelling: str) -> None:
    named = [(column.field, getattr(column, spelling)) for column in COLUMNS if getattr(column, spelling)]
    form = form_of("a.csv", [name for _, name in named])
    assert [(name, named[place][0]) for name, place in zip(form.features, form.places)] == [
        (name, name) for name, _ in named
    ]


def test_features_come_in_their_own_order_whatever_the_order_of_the_columns() -> None:
    header = [column.name for column in reversed(COLUMNS)]
    form = form_of("a.csv", header)
    assert form.features == FEATURES
    assert form.places == tuple(range(len(header) - 1, -1, -1))


@pytest.mark.parametrize("second", [" Fwd Header Length", " Fwd Header Length.1"])
def test_the_first_of_two_columns_of_one_name_counts(second: str) -> None:
    header = [second if i > 50 and name == " Fwd Header Length" else name for i, name in enumerate(ML_CSV)]
    form = form_of("a.csv", header)
    assert form.double == (second.strip(),)
    assert form.places[form.features.index("fwd_header_length")] == ML_CSV.index(" Fwd Header Length")


def test_ports_addresses_ids_and_times_are_no_features() -> None:
    form = form_of("a.csv", LABELLED)
    identity = {LABELLED.index(name) for name in LABELLED[:7]}
    assert not identity & set(form.places)
    assert form.unknown == ()


def test_unknown_columns_are_named_and_those_without_a_name_by_their_place() -> None:
    assert form_of("a.csv", ["", "Colour", *ML_CSV]).unknown == ("column 1", "Colour")


def test_a_table_of_something_else_is_refused_with_its_columns() -> None:
    with pytest.raises(TrainingError, match=r"iris.csv: no file of flows: 0 of its 2 .*\(sepal, kind\)"):
        form_of("iris.csv", ["sepal", "kind"])


def test_a_file_of_another_flow_tool_is_refused() -> None:
    header = ["Flow Duration", "Protocol", "Label", "IN_BYTES", "OUT_BYTES", "TCP_FLAGS"]
    with pytest.raises(TrainingError, match="not flows as CICFlowMeter writes them: 1 of its 6 columns"):
        form_of("netflow.csv", header)


def test_records_of_our_meter_are_sent_to_their_own_option() -> None:
    with pytest.raises(TrainingError, match="flow records of our own meter.*--records"):
        form_of("a.parquet", FLOW_DTYPE.names or ())
