"""What is due next where packets come in any order of time."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from capture.columns import Kind
from capture.meter.due import WALK
from tests.capture.metering import Timed, records_of, small_meter, timed_batch
from tests.capture.test_meter_reference import ROOT
from tests.packets import START_NS, udp_frame


def strangers(seconds: np.ndarray) -> list[Timed]:
    """A flow of one packet at each of these times, in this order."""
    frames = (udp_frame(f"10.0.{n >> 8}.{n & 255}", "192.0.2.1", 1, 53) for n in range(len(seconds)))
    return list(zip(seconds.tolist(), frames, strict=True))


@pytest.mark.parametrize("order", ["random", "reversed", "zigzag"])
@pytest.mark.parametrize("sweep", [True, False])
def test_flows_end_in_order_of_start_whatever_order_they_came_in(order: str, sweep: bool) -> None:
    seconds = np.linspace(0, 0.9, 10 * WALK)
    if order == "random":
        np.random.default_rng(3).shuffle(seconds)
    elif order == "reversed":
        seconds = seconds[::-1]
    else:
        seconds = np.where(np.arange(len(seconds)) % 2, seconds, seconds[::-1])
    records = records_of(
        timed_batch([*strangers(seconds), (30.0, udp_frame("10.9.9.9", "192.0.2.1", 1, 53))]),
        small_meter(sweep=sweep),
    )
    starts = np.sort((START_NS + np.round(seconds * 1e9)).astype(np.int64))
    snapshots = records[records["kind"] == Kind.SNAPSHOT]
    assert abs(snapshots["start_ns"] - starts).max() < 1_000  # once each, a second after its start
    finals = records[records["kind"] == Kind.FINAL]["start_ns"]
    assert abs(finals[:-1] - starts).max() < 1_000 and finals[-1] == START_NS + 30 * 10**9


def test_late_flows_leave_from_anywhere() -> None:
    """Evicted by age, which is the order of coming, they leave the heap in no order of its own."""
    seconds = np.random.default_rng(5).permutation(np.linspace(0, 50, 20 * WALK))
    meter = small_meter(capacity=8 * WALK, snapshots=False, sweep=False)
    records = records_of(timed_batch(strangers(seconds)), meter)
    gone = records[records["kind"] == Kind.EVICTED]["start_ns"]
    kept = records[records["kind"] == Kind.FINAL]["start_ns"]
    told = (START_NS + np.round(seconds * 1e9)).astype(np.int64)
    assert abs(gone - told[: 12 * WALK]).max() < 1_000
    assert abs(kept - np.sort(told[12 * WALK :])).max() < 1_000


_COUNT = """
import numpy as np
from capture.meter import due
from capture.meter.state import allocate

compared = 0
original = due.starts_before
def counting(*arguments):
    global compared
    compared += 1
    return original(*arguments)
due.starts_before = counting
for count in (500, 2_000):
    compared = 0
    table = allocate(count, 1, 1, True)
    for at, start in enumerate(np.random.default_rng(1).permutation(count)):
        table.dues[at].start_ns = start
        due.due_insert(table, at, 0)
    for start in range(count):
        at = due.first_due(table)
        assert table.dues[at].start_ns == start
        due.due_remove(table, at)
    print(compared)
"""


def test_any_order_of_times_costs_the_logarithm_of_their_number() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _COUNT],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    few, many = map(int, done.stdout.split())
    assert 4 * few < many < 6 * few  # four times the flows; were each to walk past others, it were 16
