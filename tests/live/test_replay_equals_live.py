"""`run --record` and its replay: the same rows, snapshots and alerts, byte for byte."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from capture import FlowMeter, open_capture
from capture.files import CaptureFile
from ids_daemon.cli import main
from tests.live.net import ROOT, Namespaces
from tests.live.test_ring import taking
from tests.packets import (
    START_NS,
    ethernet,
    frames_of,
    icmp_frame,
    ipv4,
    ipv6,
    tcp,
    tcp_frame,
    udp,
    udp_frame,
    write_pcap,
)

pytestmark = pytest.mark.root
DEMO = ROOT / "tests" / "data" / "demo.pcapng.zst"


def odd_frames() -> list[bytes]:
    """IPv6, VLAN tags, fragments, ICMP and what is no IP, in some flows each."""
    frames = []
    for n in range(40):
        port = 40_000 + n % 7
        datagram = udp(port, 53, bytes(600))
        frames += [
            tcp_frame("2001:db8::1", "2001:db8::2", port, 443, ("S", "SA", "PA", "FA")[n % 4], bytes(n)),
            tcp_frame("10.9.0.1", "10.9.0.2", port, 80, "PA", bytes(10 * n), vlans=(n % 3 + 1,)),
            udp_frame("fd00::1", "fd00::2", port, 53, bytes(n), vlans=(5, 6)),
            ethernet(ipv4("10.9.0.3", "10.9.0.4", datagram[:304], protocol=17, more_fragments=True)),
            ethernet(ipv4("10.9.0.3", "10.9.0.4", datagram[304:], protocol=17, fragment_offset=304)),
            ethernet(ipv6("fd00::3", "fd00::4", b"\x11\0\0\x08\0\0\0\1" + datagram[:64], next_header=44)),
            icmp_frame("10.9.0.1", "10.9.0.2", 8 * (n % 2)),
            icmp_frame("fd00::1", "fd00::2", 128 + n % 2),
            ethernet(tcp(1, 2), ether_type=0x0806),
            ethernet(ipv4("10.9.0.5", "10.9.0.6", b"\0\1", protocol=17)),
        ]
    return frames


def demo_frames() -> list[bytes]:
    with open_capture(DEMO) as capture:
        return [frame for batch in capture for frame in frames_of(batch)]


def pcap_of(path: Path, frames: list[bytes]) -> Path:
    return write_pcap(path, frames, [START_NS] * len(frames))


def rows_of(capture: CaptureFile) -> bytes:
    meter, rows = FlowMeter(capacity=4096, memory=4096), []
    for batch in capture:
        rows += [records.tobytes() for records in meter.process(batch)]
        if batch.until_ns >= 0:
            rows += [records.tobytes() for records in meter.advance(batch.until_ns)]
    rows += [records.tobytes() for records in meter.finish()]
    return b"".join(rows)


def wait_until(ready: Any, what: str) -> None:
    end = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


def packets_in(path: Path) -> int:
    with open_capture(path) as capture:
        return sum(len(batch) for batch in capture)


@pytest.mark.parametrize("links", ["v0", "v0,v1"])
def test_rows_and_snapshots_of_a_recorded_run_are_those_of_its_replay(
    namespaces: Namespaces, tmp_path: Path, links: str
) -> None:
    """Packets come in over one or two links, and go out over the last, then the link is silent."""
    frames = odd_frames()
    capture = pcap_of(tmp_path / "sent.pcap", frames)
    record, rows = tmp_path / "live.pcapng", tmp_path / "rows"
    names = links.split(",")
    arguments = ("--record", str(record), "--rows", str(rows))
    with taking(namespaces.here, links, *arguments, snaplen=160) as taker:
        sent = sum(namespaces.send_file(namespaces.there, name, capture) for name in names)
        namespaces.send(namespaces.here, (names[-1], frames[0]))
        sent += 1
        wait_until(lambda: packets_in(record) == sent, "the recording")
        time.sleep(1.5)  # the snapshots after one second come from ticks
        result = taker.stop()
    assert result["counters"]["kernel_packets"] == result["given"] == sent
    assert result["told"] == [f"{record}: {sent:,} packets recorded"]
    with open_capture(record) as recorded:
        assert rows_of(recorded) == rows.read_bytes()
        assert recorded.interfaces == names
    meter = result["meter"]
    assert meter["snapshots"] > 0 and meter["fragments"] > 0 and meter["ipv6"] > 0
    assert meter["vlan_tagged"] == 80 * len(names)
    assert meter["packets_seen"] == sent


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump: apt-get install tcpdump")
def test_others_read_a_recording_of_cut_frames_with_their_tags_put_back(
    namespaces: Namespaces, tmp_path: Path
) -> None:
    inner = tcp_frame("10.0.0.1", "10.0.0.2", 40_000, 80, "S", payload=bytes(200))
    tagged = inner[:12] + b"\x81\x00\x00\x07" + inner[12:]
    record = tmp_path / "live.pcapng"
    with taking(namespaces.here, "v0", "--record", str(record), snaplen=128) as taker:
        namespaces.send(namespaces.there, ("v0", tagged))
        wait_until(lambda: packets_in(record) == 1, "the recording")
        taker.stop()
    read = subprocess.run(["tcpdump", "-enr", str(record)], capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    assert "vlan 7" in read.stdout


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump: apt-get install tcpdump")
def test_a_tcpdump_beside_it_has_the_same_packets(namespaces: Namespaces, tmp_path: Path) -> None:
    frames = odd_frames() + demo_frames()[:3_000]
    capture, record, other = (tmp_path / name for name in ("sent.pcap", "live.pcapng", "tcpdump.pcap"))
    pcap_of(capture, frames)
    tcpdump = ["tcpdump", "-i", "v0", "-s", "0", "-U", "-B", "65536", "-w", str(other), "-Z", "root"]
    with (
        namespaces.spawned(namespaces.here, *tcpdump) as beside,
        taking(namespaces.here, "v0", "--record", str(record)) as taker,
    ):
        assert beside.stderr is not None
        assert "listening on v0" in beside.stderr.readline()
        sent = namespaces.send_file(namespaces.there, "v0", capture, rate=20_000)
        wait_until(lambda: packets_in(record) == packets_in(other) == sent, "both recordings")
        taker.stop()
        beside.terminate()
        beside.communicate(timeout=30)

    def seen(path: Path) -> list[tuple[bytes, int]]:
        with open_capture(path) as opened:
            return [
                packet for batch in opened for packet in zip(frames_of(batch), batch.wire_length.tolist())
            ]

    assert seen(record) == seen(other) == [(frame, len(frame)) for frame in frames]


def test_alerts_of_a_recorded_run_are_those_of_its_replay(
    namespaces: Namespaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = pcap_of(tmp_path / "sent.pcap", demo_frames() + odd_frames())
    eve, record, config = (tmp_path / name for name in ("eve.jsonl", "live.pcapng", "config.yaml"))
    config.write_text(
        f"outputs: {{eve: {{path: {eve}}}, stats: {{path: {tmp_path}/stats.jsonl}}}}\n"
        "capture: {snaplen: 128}\nalerting: {quiet: 1.0}\n"
    )
    command = [sys.executable, "-m", "ids_daemon", "run", "-i", "v0", "--config", str(config)]
    with namespaces.spawned(namespaces.here, *command, "--record", str(record)) as run:
        said = until_watching(run)
        sent = namespaces.send_file(namespaces.there, "v0", capture, rate=20_000)
        wait_until(lambda: packets_in(record) == sent, "the recording")
        time.sleep(2.5)  # incidents close while the link is silent
        run.terminate()
        said += run.communicate(timeout=60)[1]
    assert f"{sent:,} packets (0 dropped by the kernel)" in said
    alerts = tmp_path / "alerts.jsonl"
    assert main(["replay", str(record), "--config", str(config), "--alerts", str(alerts), "--quiet"]) == 0
    live = b"".join(
        line for line in eve.read_bytes().splitlines(True) if json.loads(line)["event_type"] == "alert"
    )
    assert alerts.read_bytes() == live
    closed = [json.loads(line)["alert"]["metadata"].get("closed_by") for line in live.splitlines()]
    assert ["quiet"] in closed


@pytest.mark.parametrize("workers", [1, 2])
def test_what_came_before_the_end_is_metered_and_what_comes_later_not_let_in(
    namespaces: Namespaces, tmp_path: Path, workers: int
) -> None:
    frames = demo_frames()
    capture = pcap_of(tmp_path / "sent.pcap", frames)
    stats, config = tmp_path / "stats.jsonl", tmp_path / "config.yaml"
    config.write_text(
        f"outputs: {{eve: {{path: {tmp_path}/eve.jsonl}}, stats: {{path: {stats}, interval: 1}}}}\n"
        f"capture: {{workers: {workers}}}\n"
    )
    command = [sys.executable, "-m", "ids_daemon", "run", "-i", "v0", "--config", str(config)]
    sender = [sys.executable, "-m", "tests.live.sender", "v0", str(capture), "--count", str(10**9)]
    with namespaces.spawned(namespaces.here, *command) as run:
        until_watching(run)
        with namespaces.spawned(namespaces.there, *sender):
            wait_until(lambda: last_of(stats)["meter"]["packets_seen"], "packets")
            run.terminate()
            said = run.communicate(timeout=60)[1]
    counters = last_of(stats)
    seen = counters["meter"]["packets_seen"]
    assert counters["capture"]["unread"] == 0, said
    assert counters["capture"]["kernel_packets"] == seen + counters["capture"]["kernel_drops"]


def last_of(stats: Path) -> Any:
    """The last whole line of counters; no packets before there is one."""
    lines = stats.read_text().splitlines(True) if stats.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    return json.loads(whole[-1]) if whole else {"meter": {"packets_seen": 0}}


def until_watching(run: subprocess.Popen[str]) -> str:
    """What the daemon says until it captures."""
    assert run.stderr is not None
    said = ""
    while "watching" not in said:
        line = run.stderr.readline()
        assert line, said
        said += line
    return said
