"""Counters that are told: at an interval, as EVE, and when packets are lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from capture import FlowMeter
from capture.cicflowmeter.meter import CicStats
from ids_daemon.config import StatsOutput
from ids_daemon.pipeline import PipelineStats
from ids_daemon.reports import Counters, LossWatch, Reports, losses_line, stats_event
from ids_daemon.statsfile import StatsFile
from tests.ids_daemon.shared import shared
from tests.packets import at, batch_of, tcp_frame, udp_frame


def counters(packets: int = 0, drops: int = 0) -> dict[str, Any]:
    return {
        "capture": {"kernel_packets": packets, "kernel_drops": drops},
        "pipeline": PipelineStats(packets=packets - drops, wire_bytes=100).as_dict(),
        "meter": FlowMeter(capacity=1, memory=1).stats.as_dict(),
        "sinks": {},
    }


def test_losses_are_told_when_they_begin_and_when_they_have_ended() -> None:
    told: list[str] = []
    watch = LossWatch(1.0, told.append)
    seen = [(1_000, 0), (2_000, 9), (3_000, 19), (4_000, 300), (5_000, 301), (6_000, 301), (7_000, 301)]
    said_at = []
    for packets, drops in seen:
        watch.look({"kernel_packets": packets, "kernel_drops": drops}, 10.0)
        said_at.append(len(told))
    assert said_at == [0, 0, 1, 1, 1, 2, 2]
    assert told[0].startswith("packets are lost: the kernel dropped 10 of 1,000 (1.0%) in 10 s, as they come")
    assert told[1] == "no packets are lost any longer; 292 were"


def test_what_the_interfaces_lose_is_told_in_words_of_its_own() -> None:
    told: list[str] = []
    watch = LossWatch(1.0, told.append)
    same = {"kernel_packets": 0, "kernel_drops": 0, "interface_missed": 0}
    watch.look(same | {"kernel_packets": 1_000, "interface_missed": 9}, 10.0)
    assert told == []  # 9 of 1,009
    lost = {"kernel_packets": 2_000, "interface_missed": 18, "interface_overruns": 1, "interface_errors": 2}
    watch.look(same | lost, 10.0)
    assert len(told) == 1
    assert told[0].startswith(
        "packets are lost before they can be seen: the interfaces counted 9 missed, 1 overruns, 2 damaged"
        " beside 1,000 packets seen in 10 s; `ethtool -S IF`"
    )
    watch.look(same | lost | {"kernel_packets": 3_000}, 10.0)
    assert told[1:] == ["the interfaces lose no packets any longer; 12 were lost"]


def test_without_a_threshold_each_loss_is_told_and_no_loss_is_none() -> None:
    told: list[str] = []
    watch = LossWatch(0.0, told.append)
    watch.look({"kernel_packets": 0, "kernel_drops": 0}, 10.0)
    assert told == []
    watch.look({"kernel_packets": 1_000_000, "kernel_drops": 1}, 10.0)
    assert len(told) == 1


def test_each_report_has_its_time(tmp_path: Path) -> None:
    now, told, emitted = [0.0], [], []
    path = tmp_path / "stats.jsonl"
    stats = StatsFile(StatsOutput(path=str(path)), told.append)

    def emit(counts: Counters, uptime_s: float) -> None:
        emitted.append((counts["capture"]["kernel_packets"], uptime_s))

    reports = Reports(
        lambda: counters(round(now[0]), round(now[0]) // 2),
        stats,
        60.0,
        LossWatch(1.0, told.append),
        emit,
        now=lambda: now[0],
    )
    for second in range(0, 130, 5):
        now[0] = float(second)
        reports.look()
    assert emitted == [(60, 60.0), (120, 120.0)]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["capture"]["kernel_packets"] for line in lines] == [60, 120]
    assert len(told) == 1 and "dropped 5 of 10 " in told[0]
    reports.last()
    assert emitted[-1] == (125, 125.0)


def test_the_stats_event_is_one_that_suricata_declares(tmp_path: Path) -> None:
    meter = FlowMeter(capacity=16, memory=16)
    frames = [tcp_frame("10.0.0.1", "10.0.0.2", 1, 2, "S", vlans=(7,)), udp_frame("fd00::1", "fd00::2", 1, 2)]
    for _ in meter.process(batch_of([*frames, frames[0][:20]], [at(0), at(1), at(2)])):
        pass
    counts = counters(5, 2) | {"meter": meter.stats.as_dict()}
    event = stats_event("gw", counts, 12.9, at(0))
    assert event.object == {
        "timestamp": "2017-07-07T13:00:00.000000+0000",
        "event_type": "stats",
        "host": "gw",
        "stats": {
            "uptime": 12,
            "capture": {"kernel_packets": 5, "kernel_drops": 2},
            "decoder": {
                "pkts": 3,
                "bytes": 100,
                "invalid": 1,
                "ipv4": 1,
                "ipv6": 1,
                "tcp": 1,
                "udp": 1,
                "arp": 0,
                "vlan": 1,
            },
            "flow": {"total": 2, "active": 2},
        },
    }
    assert json.loads(event.line) == event.object
    file = tmp_path / "eve.jsonl"
    file.write_bytes(event.line)
    check = [sys.executable, str(shared("tools") / "check_eve.py"), str(file)]
    for schema in ("eve-schema.json", "eve-schema-7.0.10.json"):
        check += ["--schema", str(shared("specs") / schema)]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stats_event_counts_flows_of_the_other_meter() -> None:
    counts = counters(5, 2) | {"meter": CicStats(flows_created=7, flows_expired=2).as_dict()}
    assert stats_event("gw", counts, 1, at(0)).object["stats"]["flow"] == {"total": 7, "active": 5}


def test_the_stats_event_of_another_meter_has_what_it_counts() -> None:
    counts = counters(5, 2) | {"meter": {"packets_seen": 3}}
    assert stats_event("gw", counts, 1, at(0)).object["stats"] == {
        "uptime": 1,
        "capture": {"kernel_packets": 5, "kernel_drops": 2},
        "decoder": {"pkts": 3, "bytes": 100, "invalid": 0},
    }


def test_the_end_of_a_run_names_what_was_left_out_by_reason() -> None:
    counts = counters(100, 7)
    assert losses_line(counts, {"arp": 0}) == ""
    counts["capture"] |= {
        "ring_freezes": 2,
        "unread": 1_000,
        "interface_missed": 7,
        "interface_errors": 9,
        "interface_drops": 8,
    }
    counts["meter"] |= {"flows_evicted": 4}
    counts["sinks"] = {"a": {"dropped": 5}, "b": {"dropped": 6}}
    assert losses_line(counts, {"arp": 3, "not_ip": 0, "malformed": 1}) == (
        "2 times the ring was full, 1,000 packets left in the ring, 7 packets missed by the interface, 9"
        " packets damaged on the way to the interface, 8 packets dropped by the interface's driver, or of"
        " no use to the system, 3 packets not metered (ARP), 1 packets not metered (malformed), 4 flows"
        " evicted, 11 alerts dropped"
    )
