"""The options of commands that read labelled flows mean what they say."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from models.errors import TrainingError
from models.training.cli.data import add_data, read_data
from tests.models.training.flows.making import CORRECTED, rows, write

pytest.importorskip("pyarrow", reason="needs the extra [train]")


def read(*arguments: str) -> list[int]:
    parser = argparse.ArgumentParser()
    add_data(parser)
    table, report = read_data(parser.parse_args(arguments))
    assert report.rows == len(table)
    return table.label.tolist()


def test_data_is_files_with_options_for_their_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", CORRECTED, rows(CORRECTED, ["BENIGN", "DDoS", "DDoS - Attempted"]))
    assert read(str(path)) == [0, 1, 0]
    assert read(str(path), "--attempted", "attack") == [0, 1, 1]
    assert read(str(path), "--attempted", "drop") == [0, 1]


def test_unlabelled_flows_are_benign_on_demand_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", CORRECTED, rows(CORRECTED, ["NeedManualLabel"]))
    assert read(str(path), "--unlabelled", "benign") == [0]
    with pytest.raises(TrainingError, match="nobody has labelled"):
        read(str(path))


def test_reading_draws_no_bar_where_nobody_watches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read(str(write(tmp_path / "a.csv", CORRECTED, rows(CORRECTED, ["BENIGN"]))))
    assert capsys.readouterr() == ("", "")
