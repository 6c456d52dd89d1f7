"""Seconds and memory to read the eight files of MachineLearningCSV at their true size.

    ./dev bench read [--rows N] [--keep]

Writes made files with the rows of the real ones (2,830,743 in 1.2 GB) under out/bench-read, or N
rows in all, reads them as `ids-train` does, cleans, splits and scales, and says what each step took,
in a process of its own so that the memory is that of the steps alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from capture.columns import COLUMNS

OUT = Path("out/bench-read")
TRUE_ROWS = 2_830_743
MARK_S, MARK_GB = 90.0, 4.0

#: Rows of the eight files and, of their attacks, label and rows.
DAYS: dict[str, tuple[int, dict[str, int]]] = {
    "Monday-WorkingHours": (529_918, {}),
    "Tuesday-WorkingHours": (445_909, {"FTP-Patator": 7_938, "SSH-Patator": 5_897}),
    "Wednesday-workingHours": (
        692_703,
        {
            "DoS Hulk": 231_073,
            "DoS GoldenEye": 10_293,
            "DoS slowloris": 5_796,
            "DoS Slowhttptest": 5_499,
            "Heartbleed": 11,
        },
    ),
    "Thursday-WorkingHours-Morning-WebAttacks": (
        170_366,
        {
            "Web Attack \x96 Brute Force": 1_507,
            "Web Attack \x96 XSS": 652,
            "Web Attack \x96 Sql Injection": 21,
        },
    ),
    "Thursday-WorkingHours-Afternoon-Infilteration": (288_602, {"Infiltration": 36}),
    "Friday-WorkingHours-Morning": (191_033, {"Bot": 1_966}),
    "Friday-WorkingHours-Afternoon-PortScan": (286_467, {"PortScan": 158_930}),
    "Friday-WorkingHours-Afternoon-DDos": (225_745, {"DDoS": 128_027}),
}
_POOL = 20_000  # different rows, but for port and duration


def write_set(folder: Path, rows: int) -> int:
    """The eight files with `rows` rows in all; returns their bytes."""
    random = np.random.default_rng(1)
    header, pool = _pool(random)
    size = 0
    for name, (true_rows, attacks) in DAYS.items():
        count = max(true_rows * rows // TRUE_ROWS, 1)
        path = folder / f"{name}.pcap_ISCX.csv"
        with path.open("w", encoding="latin-1", newline="\r\n") as file:
            file.write(header + "\n")
            file.writelines(_lines(random, pool, count, true_rows, attacks))
        size += path.stat().st_size
    return size


def _pool(random: np.random.Generator) -> tuple[str, list[str]]:
    """The header, and the middle of rows: every cell after port and duration."""
    names = [column for column in COLUMNS if column.name_2017]
    cells, header = [], [" Destination Port"]
    for column in names:
        values = np.exp(random.normal(4, 4, _POOL)) * (random.random(_POOL) < 0.6)
        text = [str(int(v)) if column.integer or v == 0 else f"{v:.10g}" for v in values]
        if column.field in ("flow_bytes_s", "flow_packets_s"):
            text[:20] = ["Infinity"] * 15 + ["NaN"] * 5
        cells.append(text)
        header.append(" " + column.name_2017)
        if column.name_2017 == "Avg Bwd Segment Size":
            cells.append(cells[header.index(" Fwd Header Length") - 1])
            header.append(" Fwd Header Length")
    return ",".join([*header, " Label"]), [",".join(row) for row in zip(*cells[1:], strict=True)]


def _lines(
    random: np.random.Generator, pool: list[str], count: int, true_rows: int, attacks: dict[str, int]
) -> Iterator[str]:
    names = ["BENIGN", *attacks]
    shares = np.array([true_rows - sum(attacks.values()), *attacks.values()]) / true_rows
    for start in range(0, count, 100_000):
        some = min(100_000, count - start)
        port, row = random.integers(0, 65_536, some).tolist(), random.integers(0, len(pool), some).tolist()
        duration = random.integers(0, 120_000_000, some).tolist()
        label = random.choice(len(names), some, p=shares).tolist()
        for i in range(some):
            yield f"{port[i]},{duration[i]},{pool[row[i]]},{names[label[i]]}\n"


def measure(folder: Path) -> None:
    """Run the steps; prints one line of JSON."""
    from models.training.flows.cleaning import clean
    from models.training.flows.preprocessing import Preprocessing
    from models.training.flows.reading import read_flows
    from models.training.flows.splits import paper_text, time_and_group

    steps: list[dict[str, Any]] = []
    began = time.perf_counter(), time.process_time()

    def done(step: str) -> None:
        nonlocal began
        now = time.perf_counter(), time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        steps.append({"step": step, "s": now[0] - began[0], "cpu_s": now[1] - began[1], "gb": peak})
        began = now

    table, report = read_flows([folder])
    done("read")
    rows = len(table)
    table, cleaning = clean(table)
    done("clean")
    split = paper_text(table, 1)
    done("split 70/15/15")
    time_and_group(table, 1)
    done("split by groups")
    fitted = Preprocessing.fit(table, split.train)
    done("fit preprocessing")
    fitted.transform(table, split.test)
    done("transform the test part")
    print(json.dumps({"rows": rows, "labels": report.labels, "kept": cleaning.kept, "steps": steps}))


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench read", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=TRUE_ROWS)
    parser.add_argument("--keep", action="store_true", help="leave the made files where they are")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure)
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    need = args.rows * 600
    if shutil.disk_usage(OUT).free < need:
        print(f"bench read: {OUT} has less than {need / 1e9:.1f} GB free", file=sys.stderr)
        return 1
    folder = OUT / "set"
    folder.mkdir(exist_ok=True)
    try:
        size = write_set(folder, args.rows)
        command = [sys.executable, "-m", "tests.bench.read", "--measure", str(folder)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    finally:
        if not args.keep:
            shutil.rmtree(folder)
    shown = Table("step", "seconds", "CPU seconds", "peak GB so far")
    for step in told["steps"]:
        shown.add_row(step["step"], f"{step['s']:.1f}", f"{step['cpu_s']:.1f}", f"{step['gb']:.2f}")
    Console().print(shown)
    print(f"{told['rows']:,} rows in {size / 1e9:.2f} GB, {told['kept']:,} kept")
    if args.rows == TRUE_ROWS:
        good = told["steps"][0]["s"] <= MARK_S and told["steps"][-1]["gb"] <= MARK_GB
        print(f"mark: read in {MARK_S:.0f} s, {MARK_GB:.0f} GB in all: {'held' if good else 'MISSED'}")
        if (load := os.getloadavg()[0]) > (os.cpu_count() or 1):
            print(f"others were at work: load {load:.0f} on {os.cpu_count()} cores, so go by CPU seconds")
        return 0 if good else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
