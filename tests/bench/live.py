"""Packets sent and packets seen, live, by the whole daemon and by what people use instead of a ring.

    ./dev bench live [--rates R,R,...] [--seconds S] [--workers N,N] [--soak S]

Makes two network namespaces joined by a veth pair and removes them; nothing leaves them.  A sender
of the project's own (sendmmsg) paces mixed traffic and a SYN flood at each rate (0: as fast as it goes)
from one to the other, where in turn listen: `ids-daemon run` with meter, windows, scoring and alerts,
scapy's AsyncSniffer, and a loop around recv().  Sender and listener share this machine's processors,
so what was really sent stands beside.  Then: processor time on a silent link, how long after its
stamp a packet is metered, how long after it is due a snapshot is there, and with --soak whether the
memory stays what it is.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.bench.traffic import write_mixed, write_syn_flood
from tests.live.net import Namespaces, reason_against
from tests.packets import START_NS, tcp_frame, write_pcap

OUT = Path("out/bench-live").absolute()
LINK = "v0"
PACKETS_OF_A_CAPTURE = 300_000
SNAPSHOTS, SNAPSHOT_ROUNDS = 25, 4
SCAPY_AT_MOST = 100_000  # packets a second: above it only loses more, and takes minutes to stop

_SCAPY = """
import json, signal, threading
from scapy.all import AsyncSniffer
seen, done = [0], threading.Event()
signal.signal(signal.SIGTERM, lambda *_: done.set())
sniffer = AsyncSniffer(iface="v0", store=False, prn=lambda packet: seen.__setitem__(0, seen[0] + 1),
                       started_callback=lambda: print("watching", flush=True))
sniffer.start()
done.wait()
sniffer.stop()
print(json.dumps({"seen": seen[0]}))
"""

_RECV = """
import json, signal, socket
class Done(Exception): pass
def stop(*_): raise Done
seen = 0
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3)) as listener:
    listener.bind(("v0", 3))
    signal.signal(signal.SIGTERM, stop)
    print("watching", flush=True)
    try:
        while True:
            listener.recv(65536)
            seen += 1
    except Done:
        pass
print(json.dumps({"seen": seen}))
"""


@dataclass(frozen=True)
class Outcome:
    seen: int
    told_drops: str  #: what the listener itself says was lost
    cpu_s: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench live", description="Measure live capture.")
    parser.add_argument("--rates", default="20000,100000,300000,0", help="packets a second; 0: all it can")
    parser.add_argument("--seconds", type=float, default=5, help="of sending, at each rate")
    parser.add_argument("--workers", default="1", help="numbers of workers of the daemon")
    parser.add_argument("--idle", type=float, default=20, metavar="S", help="seconds of a silent link")
    parser.add_argument("--soak", type=float, default=0, metavar="S", help="seconds to watch the memory")
    parser.add_argument("--listen", choices=("latency", "snapshot"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.listen:
        listen(arguments.listen)
        return
    if reason := reason_against():
        print(f"bench live: skipped: {reason}")
        return
    for number in (signal.SIGTERM, signal.SIGHUP):  # the namespaces go, whatever ends this
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    OUT.mkdir(parents=True, exist_ok=True)
    captures = {"mixed": OUT / "mixed.pcap", "SYN flood": OUT / "flood.pcap"}
    write_mixed(captures["mixed"], PACKETS_OF_A_CAPTURE)
    write_syn_flood(captures["SYN flood"], PACKETS_OF_A_CAPTURE)
    console = Console(width=140)
    with Namespaces(links=1) as net:
        table = Table(
            "traffic", "listener", "asked a s", "sent a s", "sent", "seen", "lost", "told lost", "CPU s"
        )
        for label, capture in captures.items():
            for rate in map(float, arguments.rates.split(",")):
                for name, listener in listeners([int(n) for n in arguments.workers.split(",")]):
                    if "scapy" in name and not 0 < rate <= SCAPY_AT_MOST:
                        continue
                    row = [label, name, *compared(net, listener, capture, rate, arguments.seconds)]
                    table.add_row(*row)
                    print("; ".join(row), file=sys.stderr, flush=True)  # it takes minutes until the table
        console.print(table)
        console.print(idle(net, arguments.idle))
        console.print(latency(net, captures["mixed"]))
        console.print(snapshot(net))
        if arguments.soak:
            console.print(soak(net, captures["SYN flood"], arguments.soak))


Listener = Callable[[], tuple[list[str], Callable[[str], tuple[int, str]]]]


def listeners(workers: list[int]) -> list[tuple[str, Listener]]:
    """What listens: its name, and its command with how to read (seen, told lost) from its last words."""

    def counted(code: str) -> Listener:
        def command() -> tuple[list[str], Callable[[str], tuple[int, str]]]:
            return [sys.executable, "-c", code], lambda said: (json.loads(said.splitlines()[-1])["seen"], "-")

        return command

    return [
        *((f"ids-daemon, {n} worker{'s'[: n - 1]}", daemon(n)) for n in workers),
        ("recv() loop", counted(_RECV)),
        ("scapy AsyncSniffer", counted(_SCAPY)),
    ]


def daemon(workers: int) -> Listener:
    """The whole of `ids-daemon run`; what it saw and lost by its own counters."""
    config, stats = OUT / "config.yaml", OUT / "stats.jsonl"

    def command() -> tuple[list[str], Callable[[str], tuple[int, str]]]:
        stats.unlink(missing_ok=True)
        config.write_text(
            f"outputs: {{eve: {{path: {OUT}/eve.jsonl}}, stats: {{path: {stats}}}}}\n"
            f"capture: {{workers: {workers}}}\n"
        )
        words = [sys.executable, "-m", "ids_daemon", "run", "-i", LINK, "--config", str(config)]
        return words, read

    def read(said: str) -> tuple[int, str]:
        last = json.loads(stats.read_text().splitlines()[-1])
        capture = last["capture"]
        told = sum(capture[name] for name in ("kernel_drops", "unread", "interface_drops"))
        return last["meter"]["packets_seen"], f"{told:,}"

    return command


def compared(net: Namespaces, listener: Listener, capture: Path, rate: float, seconds: float) -> list[str]:
    """Send while a listener listens -> the cells of its row."""
    command, read = listener()
    with net.spawned(net.here, *command) as process:
        until_watching(process)
        count = int((rate or 600_000) * seconds)
        words = [LINK, str(capture), "--rate", str(rate), "--count", str(count)]
        done = net.run(net.there, sys.executable, "-m", "tests.live.sender", *words, timeout=300)
        sent = json.loads(done.stdout)
        time.sleep(1.0)
        process.terminate()
        said = process.stdout.read() if process.stdout else ""
        if process.stderr is not None:
            process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seen, told = read(said)
    lost = sent["sent"] - seen
    return [
        f"{rate:,.0f}" if rate else "all",
        f"{sent['sent'] / sent['seconds']:,.0f}",
        *(f"{sent['sent']:,}", f"{seen:,}", f"{lost:,} ({lost / sent['sent']:.1%})"),
        told,
        f"{usage.ru_utime + usage.ru_stime:.1f}",
    ]


def until_watching(process: subprocess.Popen[str]) -> None:
    """Wait for the listener's word that packets are let in: on either output."""
    assert process.stdout is not None and process.stderr is not None
    daemon_speaks = "ids_daemon" in process.args
    stream = process.stderr if daemon_speaks else process.stdout
    while "watching" not in (line := stream.readline()):
        if not line:
            raise SystemExit(f"bench live: a listener ended: {process.stderr.read()}")


def cpu_seconds(pid: int) -> float:
    """By the scheduler's own clock: the ticks of /proc/PID/stat miscount what a timer begins."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def idle(net: Namespaces, seconds: float) -> str:
    command, _ = daemon(1)()
    with net.spawned(net.here, *command) as process:
        until_watching(process)
        time.sleep(2)
        before = cpu_seconds(process.pid)
        time.sleep(seconds)
        used = cpu_seconds(process.pid) - before
        process.send_signal(signal.SIGTERM)
        process.communicate()
    return f"silent link: {used / seconds:.2%} of a processor over {seconds:.0f} s"


def latency(net: Namespaces, capture: Path) -> str:
    """From the kernel's stamp to the meter's update, at 5,000 packets a second."""
    command = [sys.executable, "-m", "tests.bench.live", "--listen", "latency"]
    with net.spawned(net.here, *command) as process:
        until_watching(process)
        words = [LINK, str(capture), "--rate", "5000", "--count", "50000"]
        net.run(net.there, sys.executable, "-m", "tests.live.sender", *words)
        time.sleep(0.5)
        process.terminate()
        said = process.communicate()[0]
    return f"from stamp to meter: {said.strip()}"


def snapshot(net: Namespaces) -> str:
    """Packets for less than a second, then silence: how late their snapshots of one second are."""
    command = [sys.executable, "-m", "tests.bench.live", "--listen", "snapshot"]
    with net.spawned(net.here, *command) as process:
        until_watching(process)
        for number in range(SNAPSHOT_ROUNDS):
            frames = [tcp_frame("10.0.0.1", "10.0.0.2", 1 + n, 1 + number, "S") for n in range(SNAPSHOTS)]
            some = write_pcap(OUT / "some.pcap", frames, [START_NS] * SNAPSHOTS)
            net.send_file(net.there, LINK, some, rate=30)
            time.sleep(1.3)
        said = process.communicate(timeout=60)[0]
    return f"a snapshot on a silent link: {said.strip()}"


def listen(what: str) -> None:
    """Inside the namespace: capture and meter, and say how late things were."""
    from capture import FlowMeter, Kind, load_kernels, open_interface

    load_kernels()
    meter, stopped = FlowMeter(), []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    late_ms: list[float] = []
    with open_interface([LINK], snaplen=256) as live:
        print("watching", flush=True)
        for batch in live:
            for _ in meter.process(batch):
                pass
            if len(batch) and what == "latency":
                late_ms += ((time.time_ns() - batch.timestamp_ns) / 1e6).tolist()
            if batch.until_ns >= 0:
                for records in meter.advance(batch.until_ns):
                    due = records["time_ns"][(records["kind"] == Kind.SNAPSHOT)]
                    late_ms += ((time.time_ns() - due) / 1e6).tolist() if what == "snapshot" else []
            if stopped or len(late_ms) == SNAPSHOTS * SNAPSHOT_ROUNDS and what == "snapshot":
                break
    middle, high = np.percentile(late_ms, [50, 99])
    print(f"median {middle:.1f} ms, p99 {high:.1f} ms, longest {max(late_ms):.1f} ms of {len(late_ms):,}")


def soak(net: Namespaces, capture: Path, seconds: float) -> str:
    """Memory during a flood of 50,000 packets a second: at a tenth of the time, and at the end."""
    command, _ = daemon(1)()

    def resident_mib(pid: int) -> float:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024

    with net.spawned(net.here, *command) as process:
        until_watching(process)
        count = int(50_000 * seconds)
        words = [LINK, str(capture), "--rate", "50000", "--count", str(count), "--seconds", str(2 * seconds)]
        with net.spawned(net.there, sys.executable, "-m", "tests.live.sender", *words) as sender:
            time.sleep(seconds / 10)
            early = resident_mib(process.pid)
            said = sender.communicate(timeout=2 * seconds + 60)[0]
        sent = json.loads(said)
        late = resident_mib(process.pid)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    return (
        f"memory after {seconds / 10:.0f} s of flood {early:,.0f} MiB, after {sent['seconds']:.0f} s and"
        f" {sent['sent']:,} packets {late:,.0f} MiB"
    )


if __name__ == "__main__":
    main()
