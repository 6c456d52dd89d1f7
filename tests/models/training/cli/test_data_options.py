"""The options of commands that read labelled flows mean what they say."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from models.errors import TrainingError
from models.training.cli import main
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


@pytest.mark.parametrize("command", ["fit", "search", "evaluate"])
def test_labelled_captures_are_given_to_all_commands_alike(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "with --records: --records RECORDS folder of flow records of captures --labels LABELS who attacked"
        " whom and when: YAML or JSON lines, see `fit --help` --meter {native,cicflowmeter} what metered the"
        " records --folds FOLDS parts that origins are dealt into (default 5) --cut SECONDS cut benign"
        " captures into pieces of this length, each a capture of its own"
    ) in shown
