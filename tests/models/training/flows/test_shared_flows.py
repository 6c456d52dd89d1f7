"""Real pieces of every form beside the checkout: known counts come out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.errors import TrainingError
from models.training.flows.cleaning import clean, redundant
from models.training.flows.splits import leave_day_out, time_and_group
from models.training.flows.table import FlowTable

pytest.importorskip("pyarrow", reason="needs the extra [train]")

from models.training.flows.read_report import ReadReport
from models.training.flows.reading import read_flows

pytestmark = pytest.mark.shared
Read = Callable[[str], tuple[FlowTable, ReadReport]]


@pytest.fixture
def read(shared: Path) -> Read:
    folder = shared / "flows"
    if not folder.is_dir():
        pytest.skip("no flows beside the checkout")
    return lambda name: read_flows([folder / name], unlabelled="benign")


@pytest.mark.parametrize(
    ("name", "rows", "missing", "again"),
    [
        ("cicids2017-corrected-with-addresses", 43_419, 0, 624),
        ("cicids2017-original-random", 12_001, 14, 276),
        ("cicids2017-original-heads", 60_991, 68, 1_141),
        ("cicids2017-original-with-addresses-friday", 3_996, 3, 1),
        ("cicids2017-original-webattacks-thursday", 7_267, 0, 73),
        ("cicids2017-cleaned52-balanced", 12_000, 0, 0),
        ("cicids2017-original-attacks-77", 12_842, 9, 0),
        ("cse-cic-ids2018-0214", 5_594, 0, 1_894),
        ("other-lab-benign-2017-12-15", 6_677, 0, 4),
        ("other-lab-benign-2018-02-05", 1_690, 0, 1),
        ("other-attacks-unlabelled", 3_058, 0, 42),
    ],
)
def test_rows_missing_values_and_repetitions_are_those_known(
    read: Read, name: str, rows: int, missing: int, again: int
) -> None:
    table, report = read(f"{name}.parquet")
    (file,) = report.files
    assert (file.rows, file.missing, int(redundant(table).sum())) == (rows, missing, again)
    assert file.unknown == ()


@pytest.mark.parametrize(
    ("name", "said", "labels"),
    [
        ("cicflowmeter3-form", "CICFlowMeter 3", {"BENIGN": 100}),
        ("cleaned52-form", "cleaned", {"BENIGN": 100}),
        ("ids2018-form", "CSE-CIC-IDS2018", {"BENIGN": 50, "FTP brute force": 40, "SSH brute force": 30}),
        ("labelled-flows-ddos", "GeneratedLabelledFlows", {"DDoS": 60}),
        ("labelled-flows-head", "GeneratedLabelledFlows", {"BENIGN": 120}),
        ("made-corrected-attempted", "corrected", {"BENIGN": 16}),
        ("made-ids2018-repeated-header", "CSE-CIC-IDS2018", {"BENIGN": 15, "FTP brute force": 10}),
        ("made-labelled-flows-blank-rows", "GeneratedLabelledFlows", {"BENIGN": 10}),
        ("made-ml-csv-webattack-cp1252", "MachineLearningCSV", {"BENIGN": 20, "Web XSS": 3}),
        ("ml-csv-head", "MachineLearningCSV", {"BENIGN": 100}),
        ("ml-csv-inf-empty-pandas-resaved", "MachineLearningCSV", {"BENIGN": 8, "DoS Hulk": 6}),
        ("ml-csv-infinity", "MachineLearningCSV", {"BENIGN": 30}),
        ("ml-csv-webattack-replacement-char", "MachineLearningCSV", {"Web XSS": 3, "Web brute force": 2}),
        (
            "ml-csv-webattack-utf8-endash-encoded-addresses",
            "GeneratedLabelledFlows",
            {"BENIGN": 14, "Web brute force": 10, "Web XSS": 6, "Web SQL injection": 5},
        ),
    ],
)
def test_every_piece_is_read_as_its_form(read: Read, name: str, said: str, labels: dict[str, int]) -> None:
    _, report = read(f"raw/{name}.csv")
    (file,) = report.files
    assert file.form == said and file.unreadable == 0 and file.unknown == ()
    assert {key: file.labels.get(key) for key in labels} == labels


def test_what_was_put_into_the_made_pieces_is_counted(read: Read) -> None:
    reports = {
        name: read(f"raw/made-{name}.csv")[1].files[0]
        for name in (
            "labelled-flows-blank-rows",
            "ids2018-repeated-header",
            "ml-csv-webattack-cp1252",
            "corrected-attempted",
        )
    }
    assert reports["labelled-flows-blank-rows"].blank == 27
    assert reports["ids2018-repeated-header"].headers == 2
    assert reports["ml-csv-webattack-cp1252"].encoding == "cp1252"
    assert reports["corrected-attempted"].attempted == 16


@pytest.mark.parametrize("name", ["cicflowmeter4-form-needmanuallabel", "cicflowmeter-no-label-short-names"])
def test_pieces_that_nobody_labelled_are_refused(shared: Path, read: Read, name: str) -> None:
    with pytest.raises(TrainingError, match="nobody has labelled"):
        read_flows([shared / "flows" / "raw" / f"{name}.csv"])


def test_the_same_rows_of_two_forms_are_equal(read: Read) -> None:
    with_addresses, _ = read("raw/labelled-flows-head.csv")
    without, _ = read("raw/ml-csv-head.csv")
    assert with_addresses.features == without.features
    assert with_addresses.values[:100].tolist() == without.values[:100].tolist()
    assert with_addresses.port[:100].tolist() == without.port.tolist()


def test_the_corrected_set_has_its_days_classes_and_no_leak_by_time(read: Read) -> None:
    table, _ = read("cicids2017-corrected-with-addresses.parquet")
    cleaned, _ = clean(table)
    split = time_and_group(cleaned, 1)
    assert split.leaked == 0
    assert set(np.unique(cleaned.label[split.test]).tolist()) == set(range(len(table.labels)))
    days = leave_day_out(cleaned)
    assert [day.name[-10:] for day in days] == [f"2017-07-0{day}" for day in range(3, 8)]
    assert table.labels[1] == "Botnet" and len(table.labels) == 16
    assert str(np.datetime64(int(table.time[0]), "ns")) == "2017-07-03T11:57:51.590705000"
