"""The set made for `./dev bench read` is the real one in rows and labels, and is read as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.read import DAYS, TRUE_ROWS, write_set


def test_the_days_have_the_rows_and_attacks_of_the_published_set() -> None:
    assert sum(rows for rows, _ in DAYS.values()) == TRUE_ROWS == 2_830_743
    assert sum(sum(attacks.values()) for _, attacks in DAYS.values()) == 557_646


def test_the_made_set_is_read_whole(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra [train]")
    from models.training.flows.reading import read_flows

    size = write_set(tmp_path, 4_000)
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir())
    table, report = read_flows([tmp_path])
    assert len(table) == sum(4_000 * rows // TRUE_ROWS for rows, _ in DAYS.values())
    assert [(file.form, file.unreadable, file.blank) for file in report.files] == [
        ("MachineLearningCSV", 0, 0)
    ] * 8
    assert len(table.features) == 76
    assert {"BENIGN", "DoS Hulk", "Port scan", "DDoS"} <= set(table.labels)
