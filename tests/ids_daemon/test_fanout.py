"""Workers give what one meter gives, in its order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from capture import FlowMeter, PacketBatch
from ids_daemon import fanout
from ids_daemon.fanout import FanOut
from ids_daemon.pipeline import PipelineStats
from tests.packets import at, batch_of, tcp_frame, udp_frame


def packets(count: int = 4_000) -> tuple[list[bytes], list[int], list[int]]:
    """Frames, times, and whose part each is: conversations of 60 hosts over three minutes."""
    rng = np.random.default_rng(5)
    frames, times, parts = [], [], []
    for n in range(count):
        host = int(rng.integers(60))
        ends = (f"10.0.0.{host}", "10.0.1.1", 40_000 + int(rng.integers(3)), 80)
        if rng.random() < 0.5:
            ends = (ends[1], ends[0], ends[3], ends[2])
        if host % 3:
            flags = ["S", "SA", "PA", "A", "FA", "R"][int(rng.integers(6))]
            frames.append(tcp_frame(*ends, flags, bytes(int(rng.integers(300)))))
        else:
            frames.append(udp_frame(*ends, bytes(int(rng.integers(300)))))
        times.append(at(180 * n / count) + n)
        parts.append(host % 4 // 2)
    return frames, times, parts


def pieces(frames: list[bytes], times: list[int], size: int, until_ns: int) -> list[PacketBatch]:
    batches = [
        batch_of(frames[i : i + size], times[i : i + size], until_ns=-1) for i in range(0, len(frames), size)
    ]
    return [*batches, batch_of([], [], until_ns=until_ns)]


def meter() -> FlowMeter:
    return FlowMeter(capacity=4096, memory=4096)


def drained(fan_out: FanOut, stats: PipelineStats) -> bytes:
    rows = []
    for batch in fan_out.ticks(stats):
        rows += [some.tobytes() for some in fan_out.process(batch)]
        rows += [some.tobytes() for some in fan_out.advance(batch.until_ns)]
    return b"".join([*rows, *(some.tobytes() for some in fan_out.finish())])


@pytest.mark.parametrize("sizes", [(7, 400), (150, 150)])
def test_records_of_two_workers_are_merged_into_those_of_one(sizes: tuple[int, int]) -> None:
    frames, times, parts = packets()
    end_ns = at(300)
    one, expected = meter(), []
    for batch in pieces(frames, times, 100, end_ns):
        expected += [some.tobytes() for some in one.process(batch)]
        if batch.until_ns >= 0:
            expected += [some.tobytes() for some in one.advance(batch.until_ns)]
    expected += [some.tobytes() for some in one.finish()]
    sources = []
    for part, size in enumerate(sizes):
        own = [i for i, number in enumerate(parts) if number == part]
        sources.append(pieces([frames[i] for i in own], [times[i] for i in own], size, end_ns))
    stats = PipelineStats()
    fan_out = FanOut(sources, [meter(), meter()])
    assert drained(fan_out, stats) == b"".join(expected)
    assert stats.packets == len(frames)
    assert (stats.first_ns, stats.last_ns) == (times[0], times[-1])
    assert fan_out.stats.as_dict() == one.stats.as_dict()
    assert fan_out.stats.not_metered() == one.stats.not_metered()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("worker")]


def test_a_record_waits_until_no_worker_can_have_an_older_one() -> None:
    frame = tcp_frame("10.0.0.1", "10.0.0.2", 1, 2, "S")
    go_on, seen = threading.Event(), threading.Event()

    def slow() -> Iterator[PacketBatch]:
        yield batch_of([], [], until_ns=at(0.5))
        assert go_on.wait(60)
        yield batch_of([], [], until_ns=at(9))
        assert seen.wait(60)  # its end, if it came first, would hide that time went on

    fast = [batch_of([frame], [at(0)]), batch_of([], [], until_ns=at(9))]
    fan_out = FanOut([fast, slow()], [meter(), meter()])
    due: list[Any] = []
    for batch in fan_out.ticks(PipelineStats()):
        if batch.until_ns == at(0.5):
            assert due == []
            go_on.set()
        for records in fan_out.advance(batch.until_ns):
            due += [(batch.until_ns, time) for time in records["time_ns"].tolist()]
        if batch.until_ns == at(9):
            seen.set()
    assert due == [(at(9), at(1))]


def test_small_steps_of_the_clock_are_merged_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "_PATIENCE_S", 60.0)
    steps = [batch_of([], [], until_ns=at(1) + 1_000_000 * n) for n in range(100)]
    fan_out = FanOut([steps, steps], [meter(), meter()])
    ticks = [batch.until_ns for batch in fan_out.ticks(PipelineStats())]
    assert ticks == sorted(ticks)
    assert all(later - earlier >= 20_000_000 for earlier, later in zip(ticks, ticks[1:], strict=False))


def test_what_ends_a_worker_ends_all_with_its_reason() -> None:
    def broken() -> Iterator[PacketBatch]:
        yield batch_of([], [], until_ns=at(1))
        raise ValueError("a fault of our own")

    fan_out = FanOut([broken(), [batch_of([], [], until_ns=at(1))]], [meter(), meter()])
    with pytest.raises(ValueError, match="a fault of our own"):
        for _ in fan_out.ticks(PipelineStats()):
            pass
