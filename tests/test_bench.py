"""The bench of the meter runs to its end on a small capture of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_meter_is_measured_beside_what_is_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.meter", "--packets", "2000", "--rounds", "1"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "140"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "ids-daemon's meter" in line]
    assert [row.split("│")[1].strip() for row in rows] == ["mixed", "SYN flood"]
    assert all(row.split("│")[3].strip() == "2,000" for row in rows)
    # Every peer is measured or said to be left out.
    for peer in ("cicflowmeter", "tcpdump", "argus", "NFStream"):
        assert peer in done.stdout
    assert "131,072 flows: 2,000 records" in done.stdout
