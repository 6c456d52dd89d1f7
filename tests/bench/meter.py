"""Packets a CPU second from a capture file to flow records, beside other tools in the same run.

    ./dev bench meter [--packets N] [--long N] [--capture FILE] [--rounds N]

Makes its captures (tests/bench/traffic.py) under out/bench-meter, or takes FILE instead of the
mixed one.  A figure is the CPU time, user and system, of reading and metering, the least of some
rounds in which all tools take turns.  Programs in Python say themselves what they spent once they
were loaded; of tcpdump and argus, which start in milliseconds, the whole process counts.  Ratios are
to tcpdump merely copying the capture.  Peers that are not installed are named with the line that
does it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from capture import FlowMeter, open_capture
from capture.cicflowmeter import CicFlowMeter
from tests.bench.traffic import write_many_flows, write_mixed, write_syn_flood

OUT = Path("out/bench-meter")
NFSTREAM = OUT / "nfstream" / "bin" / "python"
SLICE = 5_000  # packets for what takes minutes for more
MANY_FLOWS = 1 << 18
CAPACITY = 1 << 17
MARK = "tcpdump -w /dev/null"
OURS = "ids-daemon's meter"
#: CPU seconds below which the clock and the machine's noise say more than the program.
SHORTEST_S = 0.05

_NFSTREAM_RUN = """
import json, os, sys
from nfstream import NFStreamer
def spent():
    return sum(os.times()[:4])
began = spent()
records = sum(1 for _ in NFStreamer(sys.argv[1], statistical_analysis=True, n_dissections=0, n_meters=1))
print(json.dumps({"cpu_s": spent() - began, "records": records}))
"""


@dataclass(frozen=True)
class Tool:
    """A contestant: its command for a capture, or why it is left out."""

    name: str
    command: Callable[[Path], list[str]]
    missing: str = ""
    most: int = 0  #: packets it is given at most, 0: all


@dataclass(frozen=True)
class Cost:
    """What a run took; what only Python programs say of themselves is None for others."""

    cpu_s: float
    start_s: float | None = None  #: CPU seconds until the first packet was metered
    peak_mib: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench meter", description="Measure the meter.")
    parser.add_argument("--packets", type=int, default=1_000_000, metavar="N", help="of each capture made")
    parser.add_argument("--long", type=int, default=0, metavar="N", help="mixed traffic once more, so long")
    parser.add_argument("--capture", type=Path, metavar="FILE", help="instead of the mixed traffic")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--meter", nargs=3, metavar=("METER", "FILE", "CAPACITY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    few = OUT / "few.pcap"
    if arguments.meter:
        name, file, capacity = arguments.meter
        meter_file(name, file, int(capacity), few)
        return
    write_mixed(few, 10)
    run(arguments, few)


def run(arguments: argparse.Namespace, few: Path) -> None:
    """Make each capture in turn, measure, and print the table and what belongs to it."""
    console = Console(width=110)
    table = Table("capture", "tool", "packets", "CPU s", "packets a CPU s", "ratio", "peak MiB")
    cost_of(meter_command(few, CAPACITY))  # kernels are compiled before the clock starts
    start_s = min(cost_of(meter_command(few, CAPACITY)).start_s or 0.0 for _ in range(arguments.rounds))
    mixed, flood, many, longer = (OUT / f"{name}.pcap" for name in ("mixed", "flood", "many", "long"))
    label = "mixed"
    if arguments.capture:
        label, mixed = arguments.capture.name, without_blanks(arguments.capture)
    else:
        write_mixed(mixed, arguments.packets)
    compare(table, label, mixed, CAPACITY, peers(), arguments.rounds)
    write_syn_flood(flood, arguments.packets)
    compare(table, "SYN flood", flood, CAPACITY, [p for p in peers() if p.most != SLICE], arguments.rounds)
    flows = min(MANY_FLOWS, max(1, arguments.packets // 3))
    write_many_flows(many, arguments.packets, flows)
    compare(table, f"{flows:,} live flows", many, flows, [], arguments.rounds)
    if arguments.long:
        write_mixed(longer, arguments.long)
        compare(table, "mixed, long", longer, CAPACITY, [p for p in peers() if p.name == MARK], 1)
        longer.unlink()
    console.print(table)
    console.print(f"Warm start to the first packet metered: {start_s:.2f} CPU s")
    for ending in ("csv", "parquet"):
        rate = flows_a_second(flood, ending, arguments.rounds)
        console.print(f"ids-daemon flows -o F.{ending}, SYN flood: {rate:,.0f} flows a CPU s, start included")
    for tool in peers():
        if tool.missing:
            console.print(f"{tool.name}: left out, not installed; {tool.missing}")


def peers() -> list[Tool]:
    """Other tools on this machine, in the table or left out with the line that installs them."""
    cic = shutil.which("cicflowmeter", path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath)))
    return [
        program(MARK, "tcpdump", ["-nr"], "tcpdump"),
        program("argus", "argus", ["-r"], "argus-server"),
        Tool(
            "NFStream with statistics",
            lambda file: [str(NFSTREAM), "-c", _NFSTREAM_RUN, str(file)],
            ""
            if NFSTREAM.exists()
            else f"python3 -m venv {NFSTREAM.parents[1]} && {NFSTREAM} -m pip install nfstream",
            most=100_000,
        ),
        Tool(
            "cicflowmeter (Python)",
            lambda file: meter_command(file, CAPACITY, "cicflowmeter"),
            "" if cic else "pip install cicflowmeter",
            most=SLICE,
        ),
    ]


def program(label: str, name: str, read: list[str], package: str) -> Tool:
    """A program that takes a capture behind the arguments `read` and writes to -w."""
    path = shutil.which(
        name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    )
    return Tool(
        label,
        lambda file: [path or name, *read, str(file), "-w", "/dev/null"],
        "" if path else f"apt-get install {package}",
    )


def without_blanks(capture: Path) -> Path:
    """A name of the capture that argus does not take for several files."""
    if not any(letter.isspace() for letter in str(capture)):
        return capture
    link = OUT / "capture"
    link.unlink(missing_ok=True)
    link.symlink_to(capture.resolve())
    return link


def compare(table: Table, label: str, capture: Path, capacity: int, others: list[Tool], rounds: int) -> None:
    """A row for each tool that is here; the rounds go through all of them in turn."""
    tools = [Tool(OURS, lambda file: meter_command(file, capacity)), *(t for t in others if not t.missing)]
    files = {}
    for tool in tools:
        piece = OUT / f"first-{tool.most}.pcap"
        if not tool.most:
            files[tool.name] = capture
        elif copy_packets(capture, piece, tool.most):
            files[tool.name] = piece
    tools = [tool for tool in tools if tool.name in files]
    costs: dict[str, list[Cost]] = {tool.name: [] for tool in tools}
    for number in range(rounds):
        for tool in tools:
            if number == 0 or not tool.most:
                costs[tool.name].append(cost_of(tool.command(files[tool.name])))
    counts = {file: count_packets(file) for file in set(files.values())}
    least = {name: min(cost.cpu_s for cost in some) for name, some in costs.items()}
    rates = {name: counts[files[name]] / cpu_s for name, cpu_s in least.items() if cpu_s >= SHORTEST_S}
    for name, some in costs.items():
        rate, mark, peak = rates.get(name), rates.get(MARK), some[0].peak_mib
        table.add_row(
            label,
            name,
            f"{counts[files[name]]:,}",
            f"{least[name]:.3f}",
            f"{rate:,.0f}" if rate else "too short",
            f"{rate / mark:.3g}" if rate and mark else "",
            f"{peak:,.0f}" if peak else "",
        )
    table.add_section()


def cost_of(command: list[str]) -> Cost:
    """Run a command to its end; what it cost, by its own words where it has some."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as problem:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=problem)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        problem.seek(0)
        said, wrong = output.read(), problem.read()
    if process.returncode or b"Error:" in wrong:  # argus goes on without its file, and ends well
        raise SystemExit(
            f"{command[0]}: ended with {process.returncode}: {wrong[-500:].decode(errors='replace')}"
        )
    told = json.loads(said) if said.startswith(b"{") else {}
    whole = usage.ru_utime + usage.ru_stime
    return Cost(told.get("cpu_s", whole), told.get("start_s"), told.get("peak_mib"))


def flows_a_second(capture: Path, ending: str, rounds: int) -> float:
    """Flows a CPU second of the command as a user gives it."""
    target = OUT / f"flows.{ending}"
    command = [sys.executable, "-m", "ids_daemon", "flows", str(capture), "--quiet", "-o", str(target)]
    flows = count_packets(capture)  # of a flood each packet is one
    cost_of(command)  # its kernels, too, are compiled before
    return flows / min(cost_of(command).cpu_s for _ in range(rounds))


def meter_command(file: Path, capacity: int, meter: str = "native") -> list[str]:
    return [sys.executable, "-m", "tests.bench.meter", "--meter", meter, str(file), str(capacity)]


def meter_file(name: str, file: str, capacity: int, few: Path) -> None:
    """Meter a capture once everything is loaded; prints what it took as one JSON object."""
    native = name == "native"
    meter_all(FlowMeter() if native else CicFlowMeter(), str(few))
    start_s = time.process_time()
    records = meter_all(FlowMeter(capacity=capacity) if native else CicFlowMeter(), file)
    cpu_s = time.process_time() - start_s
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak_kib = int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])
    told = {"cpu_s": cpu_s, "start_s": start_s, "records": records, "peak_mib": peak_kib / 1024}
    print(json.dumps(told))


def meter_all(meter: FlowMeter | CicFlowMeter, file: str) -> int:
    records = 0
    with open_capture(file) as capture:
        for batch in capture:
            records += sum(len(some) for some in meter.process(batch))
    return records + sum(len(some) for some in meter.finish())


def copy_packets(source: Path, target: Path, packets: int) -> bool:
    """Copy the first packets of a classic little-endian pcap; False when it is another kind of file."""
    with source.open("rb") as read, target.open("wb") as written:
        header = read.read(24)
        if header[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
            return False
        written.write(header)
        while packets and len(header := read.read(16)) == 16:
            packets -= 1
            written.write(header + read.read(int.from_bytes(header[8:12], "little")))
    return True


def count_packets(file: Path) -> int:
    with open_capture(file) as capture:
        return sum(len(batch) for batch in capture)


if __name__ == "__main__":
    main()
