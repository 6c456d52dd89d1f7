"""The bench of live capture runs to its end, and counts what it sent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.net import reason_against

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.root
def test_live_capture_is_measured_beside_what_is_installed(tmp_path: Path) -> None:
    if reason := reason_against():
        pytest.skip(reason)
    options = ["--rates", "2000", "--seconds", "0.5", "--idle", "1", "--workers", "2", "--soak", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.live", *options],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line
    ]
    ours = [row for row in rows if row[1].startswith("ids-daemon")]
    assert [row[0] for row in ours] == ["mixed", "SYN flood"]
    assert {(row[4], row[5], row[6], row[7]) for row in ours} == {("1,000", "1,000", "0 (0.0%)", "0")}
    assert {row[1].split()[0] for row in rows} >= {"recv()", "scapy"}
    assert re.search(r"silent link: [\d.]+% of a processor", done.stdout)
    assert re.search(r"from stamp to meter: median [\d.]+ ms, p99 .* of 50,000", done.stdout)
    assert "a snapshot on a silent link: median" in done.stdout
    assert "MiB, after 2 s and 100,000 packets" in done.stdout
