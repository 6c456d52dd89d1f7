"""The bench of Table 1 runs to its end on a made set, and not twice over what it has done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.columns import COLUMNS
from tests.bench import train

NAMES = [column.name_2017 for column in COLUMNS if column.name_2017][:30]


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    """A folder with one of the sets: 300 flows, of which two columns tell the attacks."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'ids-daemon[train]'")
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'ids-daemon[train]'")
    from pyarrow import parquet

    random = np.random.default_rng(1)
    attack = random.random(300) < 0.3
    columns = {name: random.exponential(10.0, 300) for name in NAMES}
    columns["Flow Duration"][attack] += 500.0
    labels = np.where(attack, "DDoS", "BENIGN")
    parquet.write_table(
        arrow.table({**columns, "Label": labels.tolist()}), tmp_path / f"{train.SETS['friday']}.parquet"
    )
    return tmp_path


def test_every_set_at_hand_gets_its_table(flows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = flows / "out"
    command = ["--flows", str(flows), "--out", str(out), "--sets", "friday,2018", "--shuffles", "4"]
    command += ["--systems", "random-forest,1-nn"]
    for _ in range(2):
        assert train.main(command) == 0
    printed = capsys.readouterr().out
    assert len((out / "results.jsonl").read_text().splitlines()) == 4 * 2 * 2
    assert printed.count("friday text 1 random-forest: accuracy") == 1
    assert "2018: left out" in printed
    assert "friday, matrix (duplicates kept, 70/30), minmax: 4 shuffles" in printed
    forest = next(line for line in printed.splitlines() if "Random forest" in line)
    cells = [cell.strip() for cell in forest.split("│")[1:-1]]
    assert cells[0] == "Random forest" and cells[2] == "97.85"
    assert float(cells[1].split()[0]) > 97


def test_a_set_or_system_that_there_is_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--sets", "--systems", "--protocols", "--scales"):
        with pytest.raises(SystemExit):
            train.main(["--flows", "x", option, "magic"])
        assert "no magic: there are" in capsys.readouterr().err
