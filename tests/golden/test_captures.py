"""The meter against rows that the definitions give, a small capture for each rule."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from capture import COLUMNS, CSV_HEADER
from tests.golden import meter, reference
from tests.golden.captures import CAPTURES, EXPECTED, pcap


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames == list(CSV_HEADER)
    return sorted(rows, key=by_start_and_key)


def by_start_and_key(row: dict[str, str]) -> list[str]:
    return [time_of(row), *list(row.values())[:6]]


def time_of(row: dict[str, str]) -> str:
    """CICFlowMeter leaves out a fraction of 0 and zeros behind milliseconds."""
    whole, _, fraction = row["Timestamp"].partition(".")
    return f"{whole}.{fraction:0<6}"


@pytest.mark.parametrize("name", CAPTURES)
def test_the_rows_of_a_capture_are_those_expected(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    meter.meter(str(pcap(name, tmp_path)), str(out))
    rows, expected = read(out), read(EXPECTED / f"{name}.csv")
    texts = list(CSV_HEADER[:6])
    assert [[row[column] for column in texts] for row in rows] == [
        [row[column] for column in texts] for row in expected
    ]
    assert [time_of(row) for row in rows] == [time_of(row) for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        for column in COLUMNS:
            exact = wanted[column.name] in ("NaN", "Infinity")
            got, value = row[column.name], float(wanted[column.name])
            same = got == wanted[column.name] if exact else float(got) == pytest.approx(value, rel=1e-9)
            assert same, f"{row['Flow ID']}, {column.name}: {got}, expected {wanted[column.name]}"
        assert row["Label"] == wanted["Label"]


@pytest.mark.parametrize("name", CAPTURES)
def test_the_slow_meter_still_gives_the_rows_expected(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    reference.write(pcap(name, tmp_path), out)
    assert out.read_text() == (EXPECTED / f"{name}.csv").read_text()


def test_every_file_of_expected_rows_has_its_capture() -> None:
    assert {path.stem for path in EXPECTED.iterdir()} == set(CAPTURES)
