"""Packets a CPU second from a capture file to flow records, beside other tools in the same run.

    ./dev bench meter [--packets N] [--capture FILE] [--rounds N]

Makes its captures (mixed traffic, a SYN flood) under out/bench-meter, or takes FILE instead of
the mixed one.  Every figure is CPU time of a process of its own, the best of some rounds in which
all tools take turns; starting is taken off by a run over a few packets.  Ratios are to tcpdump
merely copying the capture.  Peers that are not installed are named with the line that does it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from capture import FlowMeter, open_capture
from tests.bench.traffic import write_mixed, write_syn_flood

OUT = Path("out/bench-meter")
NFSTREAM = OUT / "nfstream" / "bin" / "python"
SLICE = 5_000  # packets for what takes a second for a thousand
MARK = "tcpdump -w /dev/null"

_NFSTREAM_RUN = (
    "import sys; from nfstream import NFStreamer;"
    "print(sum(1 for _ in NFStreamer(source=sys.argv[1], statistical_analysis=True, n_meters=1)))"
)


@dataclass(frozen=True)
class Tool:
    """A contestant: its command for a capture, or why it is left out."""

    name: str
    command: Callable[[Path], list[str]]
    missing: str = ""
    slice_only: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench meter", description="Measure the meter.")
    parser.add_argument("--packets", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--capture", type=Path, metavar="FILE", help="instead of the mixed traffic")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--meter", nargs=2, metavar=("FILE", "CAPACITY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.meter:
        meter_file(arguments.meter[0], int(arguments.meter[1]))
        return
    OUT.mkdir(parents=True, exist_ok=True)
    few, mixed, flood, slice_ = (OUT / f"{name}.pcap" for name in ("few", "mixed", "flood", "slice"))
    write_mixed(few, 10)
    write_mixed(slice_, min(SLICE, arguments.packets))
    if arguments.capture:
        mixed = arguments.capture
    else:
        write_mixed(mixed, arguments.packets)
    write_syn_flood(flood, arguments.packets)
    ours = Tool("ids-daemon's meter", lambda file: meter_command(file, 1 << 17))
    measured(ours, few)  # kernels are compiled before the clock starts
    table = Table("capture", "tool", "packets", "start, CPU s", "CPU s", "a CPU s", "ratio")
    console = Console(width=100)
    for label, capture in (("mixed" if not arguments.capture else mixed.name, mixed), ("SYN flood", flood)):
        tools = [ours, *(peer for peer in peers() if capture is mixed or not peer.slice_only)]
        compare(table, label, capture, slice_, few, tools, arguments.rounds)
    console.print(table)
    for tool in peers():
        if tool.missing:
            console.print(f"{tool.name}: left out, not installed; {tool.missing}")
    for capacity in (1 << 17, 1 << 18):
        told = subprocess.run(meter_command(flood, capacity), capture_output=True, text=True, check=True)
        console.print(f"SYN flood into a table for {capacity:,} flows: {told.stdout.strip()}")


def peers() -> list[Tool]:
    """Other tools on this machine, in the table or left out with the line that installs them."""
    cic = shutil.which("cicflowmeter", path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath)))
    found = shutil.which
    return [
        Tool(
            MARK,
            lambda file: ["tcpdump", "-r", str(file), "-w", "/dev/null"],
            "" if found("tcpdump") else "apt-get install tcpdump",
        ),
        Tool(
            "argus",
            lambda file: ["argus", "-r", str(file), "-w", "/dev/null"],
            "" if found("argus") else "apt-get install argus-server",
        ),
        Tool(
            "NFStream with statistics",
            lambda file: [str(NFSTREAM), "-c", _NFSTREAM_RUN, str(file)],
            ""
            if NFSTREAM.exists()
            else f"python3 -m venv {NFSTREAM.parents[1]} && {NFSTREAM} -m pip install nfstream",
        ),
        Tool(
            "cicflowmeter (Python)",
            lambda file: [str(cic), "-f", str(file), "-c", str(OUT / "cicflowmeter.csv")],
            "" if cic else "pip install cicflowmeter",
            slice_only=True,
        ),
    ]


def compare(
    table: Table, label: str, capture: Path, slice_: Path, few: Path, tools: list[Tool], rounds: int
) -> None:
    """A row for each tool that is here; the rounds go through all of them in turn."""
    tools = [tool for tool in tools if not tool.missing]
    wholes = dict.fromkeys((tool.name for tool in tools), float("inf"))
    starts = dict(wholes)
    for number in range(rounds):
        for tool in tools:
            if tool.slice_only and number:
                continue
            file = slice_ if tool.slice_only else capture
            wholes[tool.name] = min(wholes[tool.name], measured(tool, file))
            starts[tool.name] = min(starts[tool.name], measured(tool, few))
    counts = {path: count_packets(path) for path in (capture, slice_)}
    rates = {}
    for tool in tools:
        working = wholes[tool.name] - starts[tool.name]
        if working > wholes[tool.name] / 10:  # else the capture is too small beside the start
            rates[tool.name] = counts[slice_ if tool.slice_only else capture] / working
    mark = rates.get(MARK)
    for tool in tools:
        rate = rates.get(tool.name)
        ratio = f"{rate / mark:.3g}" if rate and mark else "-"
        count = counts[slice_ if tool.slice_only else capture]
        times = (f"{starts[tool.name]:.2f}", f"{wholes[tool.name]:.2f}")
        table.add_row(label, tool.name, f"{count:,}", *times, f"{rate:,.0f}" if rate else "-", ratio)


def measured(tool: Tool, file: Path) -> float:
    """CPU seconds of the tool's process and of those that it waited for."""
    process = subprocess.Popen(tool.command(file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(tool.command(file))}: ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def meter_command(file: Path, capacity: int) -> list[str]:
    return [sys.executable, "-m", "tests.bench.meter", "--meter", str(file), str(capacity)]


def meter_file(file: str, capacity: int) -> None:
    """Meter a capture; says how many records it made and this process's peak memory."""
    meter, records = FlowMeter(capacity=capacity), 0
    with open_capture(file) as capture:
        for batch in capture:
            records += sum(len(some) for some in meter.process(batch))
    records += sum(len(some) for some in meter.finish())
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak_kib = int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])
    print(f"{records:,} records, peak memory {peak_kib / 1024:,.0f} MiB")


def count_packets(file: Path) -> int:
    with open_capture(file) as capture:
        return sum(len(batch) for batch in capture)


if __name__ == "__main__":
    main()
