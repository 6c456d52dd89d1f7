from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from capture import CaptureError, PacketBatch
from ids_daemon.eve import EveFormat, Event
from ids_daemon.incidents import Incidents
from ids_daemon.pipeline import Pipeline
from ids_daemon.sources import CaptureSequence, paced
from tests.ids_daemon.fakes import HOME, FakeFinding, FakeMeter, FakeScorer
from tests.packets import arp_frame, at, batch_of, frames_of, split, tcp_frame, write_pcap, write_pcapng

ATTACKER, VICTIM = "203.0.113.9", "10.0.0.5"


def scan(count: int = 40, first: float = 0.0) -> tuple[list[bytes], list[int]]:
    """SYN packets of one attacker to many ports, one every 10 ms."""
    frames = [tcp_frame(ATTACKER, VICTIM, 40_000 + n, n + 1, "S") for n in range(count)]
    return frames, [at(first + n / 100) for n in range(count)]


def pipeline(events: list[Event], quiet_s: float = 300.0) -> Pipeline:
    return Pipeline(
        FakeMeter(), FakeScorer(), Incidents(HOME, quiet_s), EveFormat("sensor-1", "model-1"), events.append
    )


def states(events: list[Event]) -> list[str]:
    return [event.object["alert"]["metadata"]["incident_state"][0] for event in events]


def test_packets_become_one_incident_and_every_stage_counts() -> None:
    events: list[Event] = []
    frames, times = scan()
    run = pipeline(events)
    run.run([batch_of([*frames, arp_frame("10.0.0.1", "10.0.0.2")], [*times, times[-1]])])
    assert states(events) == ["opened", "closed"]
    counters = run.counters()
    assert counters["pipeline"] == {
        "packets": 41,
        "wire_bytes": sum(map(len, frames)) + 42,
        "final_records": 40,
        "snapshot_records": 0,
        "evicted_records": 0,
        "findings": 36,
        "alerts_opened": 1,
        "alerts_escalated": 0,
        "alerts_closed": 1,
        "first_ns": at(0),
        "last_ns": at(0.39),
    }
    meter, incidents = counters["meter"], counters["incidents"]
    assert meter["packets_metered"] + meter["not_ip"] == counters["pipeline"]["packets"]
    assert counters["scorer"]["windows"] == counters["pipeline"]["final_records"]
    assert incidents["findings"] == counters["pipeline"]["findings"]
    assert incidents["opened"] == counters["pipeline"]["alerts_opened"]


def test_alerts_are_the_same_bytes_in_any_batching() -> None:
    frames, times = scan(200)
    later_frames, later_times = scan(30, first=1000)
    whole = batch_of(frames + later_frames, times + later_times)
    lines = []
    for seed in range(5):
        chance = random.Random(seed)
        pieces = split(whole, [chance.randint(1, 60) for _ in range(3 * seed)]) if seed else [whole]
        events: list[Event] = []
        pipeline(events, quiet_s=60).run(pieces)
        lines.append(b"".join(event.line for event in events))
    assert len(set(lines)) == 1
    assert lines[0].count(b"\n") == 5  # opened, escalated, closed; opened, closed


def test_records_of_many_packets_are_scored_together_and_others_at_once() -> None:
    class Scorer(FakeScorer):
        def push(self, records: np.ndarray) -> list[FakeFinding]:
            pushed.append(len(records))
            return super().push(records)

    def batches() -> Iterator[PacketBatch]:
        """400 packets in 10 ms each, the last of them followed by silence."""
        for number in range(12):
            frames = [tcp_frame(ATTACKER, VICTIM, 40_000 + n, n + 1, "S") for n in range(400)]
            yield batch_of(frames, [at(number / 100) + 25_000 * n for n in range(400)])
        yield batch_of([frames[0]], [at(0.12)])
        yield batch_of(frames, [at(0.13)] * 400)
        yield batch_of([], [], until_ns=at(0.14))

    lines, calls = [], []
    for waits in (False, True):
        pushed: list[int] = []
        events: list[Event] = []
        run = pipeline(events)
        run.scorer, run.waits = Scorer(), waits
        run.run(batches())
        lines.append(b"".join(event.line for event in events))
        calls.append(pushed)
    assert calls[0] == [400] * 12 + [1, 400]
    assert calls[1] == [2000, 2000, 801, 400]
    assert lines[0] == lines[1] != b""


def test_a_quiet_link_closes_incidents_by_the_clock() -> None:
    events: list[Event] = []
    frames, times = scan()
    run = pipeline(events, quiet_s=60)
    seen_after: list[int] = []
    run.run(
        [batch_of(frames, times), *(batch_of([], [], until_ns=at(second)) for second in (30, 70))],
        after_batch=lambda: seen_after.append(len(events)),
    )
    assert seen_after == [1, 1, 2]
    assert run.meter.advanced_to == [at(30), at(70)]  # type: ignore[attr-defined]
    assert events[1].object["timestamp"] == "2017-07-07T13:01:00.390000+0000"


def test_stop_ends_the_run_and_closes_what_is_open() -> None:
    events: list[Event] = []
    frames, times = scan()
    wishes = iter([False, True])
    pipeline(events).run([batch_of(frames, times)] * 5, stop=wishes.__next__)
    assert states(events) == ["opened", "closed"]


def test_what_was_read_before_an_error_is_scored_and_told() -> None:
    def broken() -> Iterator[PacketBatch]:
        yield batch_of(*scan())
        raise CaptureError("x.pcap: cut")

    events: list[Event] = []
    with pytest.raises(CaptureError, match="cut"):
        pipeline(events).run(broken())
    assert states(events) == ["opened", "closed"]


def test_writers_take_every_record() -> None:
    class Rows:
        def __init__(self) -> None:
            self.count = 0

        def write(self, records: np.ndarray) -> None:
            self.count += len(records)

    rows, events = Rows(), []  # type: ignore[var-annotated]
    run = pipeline(events)
    run.writers = [rows]
    run.run([batch_of(*scan())])
    assert rows.count == 40


def test_captures_follow_each_other_and_a_bad_one_is_told(tmp_path: Path) -> None:
    first = write_pcap(tmp_path / "a.pcap", *scan(3))
    (tmp_path / "cut.pcap").write_bytes(first.read_bytes()[:-5])
    (tmp_path / "no.pcap").write_bytes(b"hello, world, this is no capture")
    paths = [str(tmp_path / name) for name in ("a.pcap", "cut.pcap", "no.pcap", "missing.pcap", "a.pcap")]
    lines: list[str] = []
    captures = CaptureSequence(paths, lines.append)
    assert sum(len(batch) for batch in captures) == 3 + 2 + 3 == captures.packets
    assert captures.problems == 3 == len(lines)
    assert all(path in line for path, line in zip(paths[1:4], lines, strict=True))
    assert captures.position_bytes == 2 * first.stat().st_size


def test_interface_names_are_those_that_all_captures_agree_on(tmp_path: Path) -> None:
    first = write_pcapng(tmp_path / "a.pcapng", *scan(1), names=["eth0"])
    other = write_pcapng(tmp_path / "b.pcapng", *scan(1), names=["wlan0"])
    plain = write_pcap(tmp_path / "c.pcap", *scan(1))
    names = []
    for paths in ([first], [first, first], [first, other, first], [plain]):
        captures = CaptureSequence([str(path) for path in paths], print)
        list(captures)
        names.append(captures.interface_name(0))
    assert names == ["eth0", "eth0", None, None]


class Clock:
    """Wall time that passes only by sleeping."""

    def __init__(self) -> None:
        self.time, self.sleeps = 0.0, []  # type: ignore[var-annotated]

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds


def test_pacing_gives_the_same_packets_at_their_own_pace() -> None:
    frames = [tcp_frame(ATTACKER, VICTIM, 1, n + 1) for n in range(6)]
    times = [at(second) for second in (0, 0.5, 0.6, 10, 4, 20)]
    clock = Clock()
    moments = []
    got: list[bytes] = []
    for piece in paced(
        [batch_of(frames[:3], times[:3]), batch_of([], []), batch_of(frames[3:], times[3:])],
        2.0,
        now=clock.now,
        sleep=clock.sleep,
    ):
        moments.append((round(clock.time, 6), len(piece)))
        got += frames_of(piece)
    assert got == frames
    # Half the time: 0 s, 0.25 and 0.3 s together, the empty one as it is, 5 s with the one that runs
    # backwards, 10 s.
    assert moments == [(0, 1), (0.25, 2), (0.25, 0), (5, 2), (10, 1)]


def test_pacing_that_is_behind_does_not_sleep() -> None:
    clock = Clock()
    batches = paced([batch_of(*scan())], 1e9, now=clock.now, sleep=clock.sleep)
    assert sum(len(piece) for piece in batches) == 40
    assert sum(clock.sleeps) < 1e-6
