"""Both meters against rows that the corrected CICFlowMeter itself wrote, where they are at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(("meter", "captures"), [("meter.py", "*"), ("reference.py", "own_*")])
def test_rows_are_those_of_cicflowmeter_but_for_named_deviations(
    shared: Path, meter: str, captures: str
) -> None:
    golden, compare = shared / "golden", shared / "tools" / "compare_golden.py"
    if not golden.is_dir() or not compare.is_file():
        pytest.skip(f"no golden rows in {shared.name}/")
    done = subprocess.run(
        [
            *(sys.executable, str(compare), str(golden), "--quiet", "--only", captures),
            *("--meter-many", f"{sys.executable} {HERE / meter} {{list}}"),
            *("--deviations", str(HERE / "deviations.txt")),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
