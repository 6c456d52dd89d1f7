"""Two workers see the packets of one, fragments and tunnels whole, and give its rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from capture import FLOW_DTYPE, FlowMeter, open_capture
from tests.live.net import Namespaces
from tests.live.test_replay_equals_live import odd_frames, pcap_of, until_watching, wait_until
from tests.packets import ethernet, frames_of, gre, ipv4, ipv6, tcp, tcp_frame, udp, write_pcapng

pytestmark = pytest.mark.root


def many_frames() -> list[bytes]:
    """Flows of 40 pairs of hosts: fragments, GRE both ways, IPv6, tags."""
    frames = odd_frames()
    for n in range(40):
        a, b = f"10.9.{n}.1", f"10.9.{n}.2"
        inside = ipv4(f"192.168.{n}.1", f"192.168.{n}.2", tcp(1000, 80, "S"))
        back = ipv4(f"192.168.{n}.2", f"192.168.{n}.1", tcp(80, 1000, "SA"))
        datagram = udp(1000, 53, bytes(1000))
        frames += [
            ethernet(ipv4(a, b, gre(inside), protocol=47)),
            ethernet(ipv4(b, a, gre(back, key=n), protocol=47)),
            ethernet(ipv4(a, b, datagram[:504], protocol=17, more_fragments=True)),
            ethernet(ipv4(a, b, datagram[504:], protocol=17, fragment_offset=504)),
            ethernet(ipv4(b, a, tcp(80, 4000, "SA")), vlans=(3, 4)),
            ethernet(ipv4(a, b, tcp(4000, 80, "S")), vlans=(3, 4)),
            ethernet(ipv6(f"fd00::{n + 1}", f"fd01::{n + 1}", tcp(1, 2))),
            ethernet(ipv6(f"fd01::{n + 1}", f"fd00::{n + 1}", tcp(2, 1))),
        ]
    return frames


SHARED = """
import json, sys, threading
from capture import CaptureWriter, FlowMeter, load_kernels, open_shared
load_kernels()
links, count, folder = sys.argv[1].split(","), int(sys.argv[2]), sys.argv[3]
with open_shared(links, 2) as live:
    def work(number, part):
        writer = CaptureWriter(f"{folder}/part{number}.pcapng", part.interfaces, part.link_types, 256)
        for batch in part:
            writer.write(batch)
            if sum(one.packets for one in live.parts) >= count:
                break
        writer.close()
    threads = [threading.Thread(target=work, args=one) for one in enumerate(live.parts)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps(live.counters()))
"""


def rows_of(*captures: Path) -> list[Any]:
    """The final rows of captures, each metered by itself, without what is another time each time."""
    rows = []
    for path in captures:
        meter = FlowMeter(capacity=4096, memory=4096, decapsulate=True, snapshots=False)
        with open_capture(path) as capture:
            records = [some for batch in capture for some in meter.process(batch)]
        records += meter.finish()
        for some in records:
            # The end of the capture, and what was new at its last second, each has for itself.
            for name in ("time_ns", "revision", *(name for name in FLOW_DTYPE.names if name[:4] == "new_")):
                some[name] = 0
            rows += [row.tobytes() for row in some]
    return sorted(rows)


@pytest.mark.parametrize("links", ["v0", "v0,v1"])
def test_two_workers_give_the_rows_of_one(namespaces: Namespaces, tmp_path: Path, links: str) -> None:
    frames = many_frames()
    sent_file = pcap_of(tmp_path / "sent.pcap", frames)
    names = links.split(",")
    count = len(frames) * len(names) + len(names)
    command = [sys.executable, "-c", SHARED, links, str(count), str(tmp_path)]
    with namespaces.spawned(namespaces.here, *command) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for name in names:
            namespaces.send_file(namespaces.there, name, sent_file, rate=20_000)
            namespaces.send(namespaces.here, (name, frames[0]))  # out of here, of a flow that came in
        out, error = process.communicate(timeout=60)
    assert error == ""
    assert json.loads(out)["kernel_packets"] == count
    parts = [tmp_path / f"part{number}.pcapng" for number in range(2)]
    packets = []
    for path in parts:
        with open_capture(path) as capture:
            packets.append(sum(len(batch) for batch in capture))
    assert sum(packets) == count and min(packets) > count / 10
    assert rows_of(*parts) == rows_of(joined(tmp_path / "one.pcapng", parts))


def joined(path: Path, parts: list[Path]) -> Path:
    """The packets of captures in one, by their times."""
    packets = []
    for part in parts:
        with open_capture(part) as capture:
            for batch in capture:
                columns = (batch.timestamp_ns.tolist(), frames_of(batch), batch.interface.tolist())
                packets += list(zip(*columns, strict=True))
    packets.sort(key=lambda packet: packet[0])
    times, frames, interfaces = zip(*packets, strict=True)
    names = ("v0", "v1")[: max(interfaces) + 1]
    return write_pcapng(path, frames, times, interfaces=interfaces, names=names, link_types=(1,) * len(names))


def test_run_with_two_workers_counts_all_packets_and_finds_the_scan(
    namespaces: Namespaces, tmp_path: Path
) -> None:
    frames = []
    for port in range(600):
        frames.append(tcp_frame("10.9.0.66", "10.9.0.1", 50_000, 1000 + port, "S"))
        frames.append(tcp_frame("10.9.0.1", "10.9.0.66", 1000 + port, 50_000, "RA"))
    frames += many_frames()
    sent_file = pcap_of(tmp_path / "sent.pcap", frames)
    config, stats, eve = (tmp_path / name for name in ("c.yaml", "stats.jsonl", "eve.jsonl"))
    config.write_text(
        f"outputs: {{eve: {{path: {eve}}}, stats: {{path: {stats}}}}}\ncapture: {{workers: 2}}\n"
    )
    command = [sys.executable, "-m", "ids_daemon", "run", "-i", "v0", "--config", str(config)]
    with namespaces.spawned(namespaces.here, *command) as run:
        until_watching(run)
        sent = namespaces.send_file(namespaces.there, "v0", sent_file, rate=5_000)
        wait_until(lambda: eve.exists() and b'"opened"' in eve.read_bytes(), "the alert")
        run.terminate()
        said = run.communicate(timeout=60)[1]
    assert run.returncode == 0
    assert f"{sent:,} packets (0 dropped by the kernel)" in said
    counters = json.loads(stats.read_text().splitlines()[-1])
    assert counters["capture"]["kernel_packets"] == counters["meter"]["packets_seen"] == sent
    lines = [json.loads(line) for line in eve.read_text().splitlines()]
    told = [line["alert"]["metadata"] for line in lines if line["event_type"] == "alert"]
    assert "10.9.0.66" in {actor for one in told for actor in one["actors"]}
