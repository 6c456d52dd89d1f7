"""Workers give what one meter gives, in its order."""

from __future__ import annotations

import errno
import itertools
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from capture import CaptureError, FlowMeter, PacketBatch
from ids_daemon import workers as module
from ids_daemon.pipeline import PipelineStats
from ids_daemon.workers import Workers
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


def drained(workers: Workers, stats: PipelineStats) -> bytes:
    rows = []
    for batch in workers.ticks(stats):
        rows += [some.tobytes() for some in workers.process(batch)]
        rows += [some.tobytes() for some in workers.advance(batch.until_ns)]
    return b"".join([*rows, *(some.tobytes() for some in workers.finish())])


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
    workers = Workers(sources, [meter(), meter()])
    assert drained(workers, stats) == b"".join(expected)
    assert stats.packets == len(frames)
    assert (stats.first_ns, stats.last_ns) == (times[0], times[-1])
    assert workers.stats.as_dict() == one.stats.as_dict()
    assert workers.stats.not_metered() == one.stats.not_metered()
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
    workers = Workers([fast, slow()], [meter(), meter()])
    due: list[Any] = []
    for batch in workers.ticks(PipelineStats()):
        if batch.until_ns == at(0.5):
            assert due == []
            go_on.set()
        for records in workers.advance(batch.until_ns):
            due += [(batch.until_ns, time_ns) for time_ns in records["time_ns"].tolist()]
        if batch.until_ns == at(9):
            seen.set()
    assert due == [(at(9), at(1))]


def flows(count: int) -> PacketBatch:
    """Packets a millisecond apart, each of a flow of its own; a second later each has a record."""
    frames = [tcp_frame("10.0.0.1", "10.0.0.2", 1 + n, 80, "S") for n in range(count)]
    return batch_of(frames, [at(0) + 1_000_000 * n for n in range(count)], until_ns=-1)


def steps(count: int, pause_s: float = 0.0) -> Iterator[PacketBatch]:
    """From one second on a batch without packets for each millisecond."""
    for n in range(count):
        time.sleep(pause_s)
        yield batch_of([], [], until_ns=at(1) + 1_000_000 * n)


def test_records_of_small_steps_of_the_clock_go_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 60.0)
    workers = Workers([itertools.chain([flows(100)], steps(120, 0.001)), steps(120)], [meter(), meter()])
    ticks, records = [], 0
    for batch in workers.ticks(PipelineStats()):
        ticks.append(batch.until_ns)
        records += sum(map(len, workers.advance(batch.until_ns)))
    assert len(ticks) > 1
    assert all(later - earlier >= 20_000_000 for earlier, later in itertools.pairwise(ticks))
    assert records + sum(map(len, workers.finish())) == 200


def test_time_that_brings_no_records_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 60.0)
    assert list(Workers([steps(200, 0.0005)], [meter()]).ticks(PipelineStats())) == []


def test_packets_are_taken_while_earlier_ones_are_scored() -> None:
    done = threading.Event()

    def source() -> Iterator[PacketBatch]:
        yield flows(10)
        yield from steps(1000)
        done.set()

    workers = Workers([source()], [meter()])
    for _ in workers.ticks(PipelineStats()):
        assert done.wait(60)  # as long as that takes the scorer


def test_records_that_pile_up_go_on_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [flows(3000), batch_of([], [], until_ns=at(9))]
    one = meter()
    expected = [some.tobytes() for batch in batches for some in one.process(batch)]
    expected += [some.tobytes() for some in one.advance(at(9))]
    expected += [some.tobytes() for some in one.finish()]
    monkeypatch.setattr(module, "_AT_ONCE", 256)
    workers, parts = Workers([batches], [meter()]), []
    for batch in workers.ticks(PipelineStats()):
        workers._workers[0].join()
        parts += list(workers.advance(batch.until_ns))
    rest = list(workers.finish())
    assert b"".join(some.tobytes() for some in parts + rest) == b"".join(expected)
    # The snapshots, a millisecond apart; the others are all of the time of the last ones.
    assert [len(part) for part in parts + rest] == [257] * 11 + [3173]


def test_a_worker_waits_while_too_many_of_its_records_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAITING", 100)
    waiting = []

    def source(number: int) -> Iterator[PacketBatch]:
        """Bursts of 50 flows two seconds apart: each brings the records of the one before."""
        for burst in range(200):
            frames = [tcp_frame("10.0.0.1", "10.0.0.2", 1 + n, 80, "S") for n in range(50)]
            yield batch_of(frames, [at(200 * burst)] * 50)
            waiting.append(workers._workers[number].count)

    workers = Workers([source(0), source(1)], [meter(), meter()])
    for batch in workers.ticks(PipelineStats()):
        time.sleep(0.02)  # a slow scorer; each worker hears of what the other puts
        list(workers.advance(batch.until_ns))
    assert 100 < max(waiting) <= 200


@pytest.mark.parametrize("number", [1, 2])
def test_records_go_on_when_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.02)
    monkeypatch.setattr(module, "_STANDSTILL_S", 0.1)
    gone_on = threading.Event()

    def source(host: str) -> Iterator[PacketBatch]:
        yield batch_of([], [], until_ns=at(3600))
        frames = [tcp_frame(host, "10.0.0.9", 1, 80, "S"), tcp_frame("10.0.0.9", host, 80, 1, "R")]
        yield batch_of(frames, [at(0), at(0.1)], until_ns=-1)
        yield batch_of([], [], until_ns=at(5))
        assert gone_on.wait(60)

    workers = Workers([source(f"10.0.0.{n}") for n in range(number)], [meter() for _ in range(number)])
    came = 0
    for batch in workers.ticks(PipelineStats()):
        came += sum(map(len, workers.advance(batch.until_ns)))
        if came >= number:
            gone_on.set()
    assert gone_on.is_set()


def test_every_batch_that_a_source_gave_is_metered_when_all_ends() -> None:
    given = []

    def endless() -> Iterator[PacketBatch]:
        while True:
            given.append(1)
            yield flows(1)

    stats = PipelineStats()
    workers = Workers([endless()], [meter()])
    next(workers.ticks(stats))
    workers.stop()
    assert stats.packets == len(given) == workers.stats.as_dict()["packets_seen"] > 0


def test_a_fault_of_the_system_ends_capturing_with_one_line() -> None:
    def broken() -> Iterator[PacketBatch]:
        yield flows(1)
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    workers = Workers([broken()], [meter()])
    with pytest.raises(CaptureError, match="^capturing has ended: Cannot allocate memory$"):
        for _ in workers.ticks(PipelineStats()):
            pass
    assert sum(map(len, workers.finish())) == 0


def test_what_ends_a_worker_ends_all_with_its_reason() -> None:
    def broken() -> Iterator[PacketBatch]:
        yield batch_of([], [], until_ns=at(1))
        raise ValueError("a fault of our own")

    workers = Workers([broken(), [batch_of([], [], until_ns=at(1))]], [meter(), meter()])
    with pytest.raises(ValueError, match="a fault of our own"):
        for _ in workers.ticks(PipelineStats()):
            pass
