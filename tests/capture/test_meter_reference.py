"""Random traffic: the kernels against the slow reference, and against themselves in other chunkings."""

from __future__ import annotations

import ipaddress
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.columns import FEATURES, Close, Kind
from tests.capture.metering import records_of, small_meter
from tests.packets import (
    START_NS,
    batch_of,
    ethernet,
    frames_of,
    gre,
    icmp,
    ip,
    tcp,
    tcp_flags,
    udp,
    vxlan,
)
from tests.reference.flow_reference import FlowReference, Packet

ROOT = Path(__file__).parents[2]

#: Microseconds from one packet to the next: on, just below and just above every edge there is.
STEPS = (0, 1, 1_000, 300_000, 999_999, 1_000_000, 1_000_001, 5_000_000, 5_000_001, 20_000_000)
LONG_STEPS = (59_000_000, 119_999_999, 120_000_000, 120_000_001, 121_000_000, 300_000_000)
BACKWARDS = (-1, -500_000, -2_000_000)
FLAGS = ("S", "SA", "A", "A", "PA", "FA", "FA", "F", "R", "RA", "AU", "ASEC", "")
PAYLOADS = (0, 0, 1, 6, 100, 1_400)
ICMP_MESSAGES = ((8, 0), (0, 0), (3, 1), (3, 3), (11, 0))
#: Protocol and the two ends of each conversation; one has the same address at both.
CONVERSATIONS = (
    (6, ("10.0.0.1", 40_000), ("10.0.0.2", 80)),
    (6, ("10.0.0.2", 80), ("10.0.0.3", 80)),
    (6, ("2001:db8::1", 40_000), ("2001:db8::2", 443)),
    (6, ("10.0.0.9", 1_000), ("10.0.0.9", 2_000)),
    (17, ("10.0.0.1", 40_000), ("10.0.0.2", 80)),
    (17, ("2001:db8::2", 53), ("2001:db8::1", 5_353)),
    (1, ("10.0.0.1", 0), ("10.0.0.2", 0)),
    (58, ("2001:db8::1", 0), ("2001:db8::2", 0)),
    (47, ("10.0.0.1", 0), ("10.0.0.2", 0)),
)

#: How often a packet comes, and microseconds between: bulks are made of such bursts.
BURSTS = ((1, 0), (1, 0), (1, 0), (1, 0), (3, 1_000), (4, 300_000), (5, 0), (6, 1_000_000), (7, 1_000_001))


@st.composite
def events(draw: Any) -> list[tuple[Any, ...]]:
    """Packets and bursts of few conversations, so that their packets meet in the same flows."""
    conversations = draw(st.lists(st.sampled_from(CONVERSATIONS), min_size=1, max_size=3))
    event = st.tuples(
        st.sampled_from(STEPS * 4 + LONG_STEPS + BACKWARDS),
        st.sampled_from(conversations),
        st.booleans(),
        st.sampled_from(FLAGS),
        st.sampled_from(PAYLOADS),
        st.sampled_from(ICMP_MESSAGES),
        st.sampled_from(BURSTS),
    )
    return draw(st.lists(event, min_size=1, max_size=40))


def packed(address: str) -> bytes:
    parsed = ipaddress.ip_address(address)
    return parsed.packed if parsed.version == 6 else bytes(10) + b"\xff\xff" + parsed.packed


def build(event: tuple[Any, ...], time_ns: int, window: int) -> tuple[bytes, Packet]:
    """One event as a frame and as the packet that a decoder should see in it."""
    _, (protocol, client, server), back, flags, size, message, _ = event
    (source, source_port), (destination, destination_port) = (server, client) if back else (client, server)
    fields: dict[str, Any] = {"protocol": protocol}
    if protocol == 6:
        fields |= {"payload": size, "header": 20, "flags": tcp_flags(flags), "window": window}
        body = tcp(source_port, destination_port, flags, bytes(size), window=window)
    elif protocol == 17:
        fields |= {"payload": size, "header": 8}
        body = udp(source_port, destination_port, bytes(size))
    elif protocol == 47:
        fields["protocol"] = 0
        body = bytes(size)
    else:
        fields["icmp"] = message
        body = icmp(*message)
    packet = ip(source, destination, protocol, body)
    frame = ethernet(packet)
    return frame, Packet(
        time_ns=time_ns,
        source=(packed(source), source_port),
        destination=(packed(destination), destination_port),
        ip_bytes=len(packet),
        frame_bytes=len(frame),
        **fields,
    )


def traffic(drawn: list[tuple[Any, ...]]) -> tuple[Any, list[Packet]]:
    """The events as one PacketBatch and as packets for the reference."""
    time_ns, built = START_NS, []
    for number, event in enumerate(drawn):
        time_ns += event[0] * 1_000
        times, step = event[-1]
        for n in range(times):
            time_ns += step * 1_000 if n else 0
            built.append(build(event, time_ns, 1_000 + number))
    return batch_of([frame for frame, _ in built], [p.time_ns for _, p in built]), [p for _, p in built]


def random_events(seed: int, count: int) -> list[tuple[Any, ...]]:
    """`count` events, of three conversations at a time."""
    choose = random.Random(seed).choice
    drawn: list[tuple[Any, ...]] = []
    while len(drawn) < count:
        conversations = [choose(CONVERSATIONS) for _ in range(3)]
        kinds = (conversations, (False, True), FLAGS, PAYLOADS, ICMP_MESSAGES, BURSTS)
        for _ in range(50):
            step = choose(STEPS * 12 + LONG_STEPS + BACKWARDS)
            drawn.append((step, *(choose(kind) for kind in kinds)))
    return drawn


def assert_same(records: np.ndarray, expected: list[dict[str, Any]]) -> None:
    assert [(r["kind"], r["close"], r["time_ns"]) for r in records] == [
        (r["kind"], r["close"], r["time_ns"]) for r in expected
    ]
    for number, (record, wanted) in enumerate(zip(records, expected, strict=True)):
        for name, value in wanted.items():
            got = record[name]
            if name in FEATURES:
                same = np.isclose(got, value, rtol=1e-9, atol=1e-9, equal_nan=True)
            elif isinstance(value, bytes):
                same = got.tobytes() == value
            else:
                same = int(got) == value
            assert same, f"record {number}, {name}: {got}, and {value} by the reference"
        assert set(FEATURES) <= set(wanted)


def expected_of(packets: list[Packet], **options: Any) -> list[dict[str, Any]]:
    reference = FlowReference(**options)
    reference.take(packets)
    reference.finish()
    return reference.records


@settings(max_examples=150)
@given(events(), st.booleans())
def test_records_are_those_of_the_reference(drawn: list[tuple[Any, ...]], sweep: bool) -> None:
    batch, packets = traffic(drawn)
    assert_same(records_of(batch, small_meter(sweep=sweep)), expected_of(packets, sweep=sweep))


@pytest.mark.parametrize("sweep", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_long_traffic_has_the_records_of_the_reference(seed: int, sweep: bool) -> None:
    batch, packets = traffic(random_events(seed, 1_000))
    assert_same(records_of(batch, small_meter(sweep=sweep)), expected_of(packets, sweep=sweep))


@pytest.mark.parametrize("order", ["sorted", "any"])
@pytest.mark.parametrize("memory", [1, 2, 3, 8, 64])
def test_the_last_endings_are_known_as_to_the_reference(memory: int, order: str) -> None:
    random_ = random.Random(memory)
    choose = random_.choice
    conversations = [(choose((6, 6, 17)), (f"10.0.1.{n}", 1_000), ("10.0.0.1", 80)) for n in range(70)]
    kinds = ((False, True), FLAGS, PAYLOADS, ICMP_MESSAGES, BURSTS)
    times = [START_NS + random_.randrange(900_000) * 1_000_000 for _ in range(700)]
    if order == "sorted":
        times.sort()
    built = [
        build((0, choose(conversations), *(choose(kind) for kind in kinds)), time_ns, number)
        for number, time_ns in enumerate(times)
    ]
    batch = batch_of([frame for frame, _ in built], times)
    expected = expected_of([p for _, p in built], memory=memory)
    assert_same(records_of(batch, small_meter(memory=memory)), expected)
    # More is known to a longer memory, so the bound was met.
    kept = [r["total_tcp_flow_time"] for r in expected]
    assert kept != [r["total_tcp_flow_time"] for r in expected_of([p for _, p in built])]


@pytest.mark.parametrize("sweep", [True, False])
def test_many_flows_whose_times_come_in_any_order_have_the_records_of_the_reference(sweep: bool) -> None:
    choose = random.Random(11).choice
    ends = [(f"10.0.1.{n}", 1_000 + n) for n in range(120)]
    conversations = [(choose((6, 17)), end, ("10.0.0.1", 80)) for end in ends]
    kinds = (conversations, (False, True), FLAGS, PAYLOADS, ICMP_MESSAGES, BURSTS)
    built = [
        build((0, *(choose(kind) for kind in kinds)), START_NS + choose(range(150_000)) * 1_000_000, number)
        for number in range(1_000)
    ]
    batch = batch_of([frame for frame, _ in built], [p.time_ns for _, p in built])
    assert_same(records_of(batch, small_meter(sweep=sweep)), expected_of([p for _, p in built], sweep=sweep))


def test_random_traffic_reaches_every_rule() -> None:
    """What the tests above compare is there to be compared."""
    records = [r for seed in range(2) for r in expected_of(traffic(random_events(seed, 1_000))[1])]
    assert [name for name in FEATURES if not any(record[name] for record in records)] == []
    closes = {Close(record["close"]) for record in records}
    assert closes == set(Close) - {Close.EVICTED}
    reset = [r["fwd_tcp_flags"] | r["bwd_tcp_flags"] for r in records if r["close"] == Close.READY]
    assert {bool(flags & tcp_flags("R")) for flags in reset} == {True, False}
    assert any(r["fwd_packet_bulk_avg"] and r["bwd_packet_bulk_avg"] for r in records)
    assert any(r["active_std"] and r["idle_std"] for r in records)
    assert any(r["total_tcp_flow_time"] > max(r["flow_duration"], 0) for r in records)
    assert any(r["key_reversed"] for r in records) and any(r["flow_duration"] < 0 for r in records)
    assert max(r["revision"] for r in records if r["kind"] == Kind.SNAPSHOT) >= 4


def test_tunnelled_traffic_has_the_records_of_the_reference() -> None:
    batch, packets = traffic(random_events(7, 500))
    ends = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8:f::1", "2001:db8:f::2")}
    tunnels = (
        lambda frame, outer: ip(*outer, 41 if frame[14] >> 4 == 6 else 4, frame[14:]),
        lambda frame, outer: ip(*outer, 47, gre(frame, 0x6558, key=1)),
        lambda frame, outer: ip(*outer, 17, vxlan(frame)),
    )
    choose = random.Random(1).choice
    frames = []
    for frame in frames_of(batch):
        for _ in range(choose((0, 1, 2, 4))):
            frame = ethernet(choose(tunnels)(frame, ends[choose((4, 6))]))
        frames.append(frame)
    expected = [replace(p, frame_bytes=len(frame)) for p, frame in zip(packets, frames, strict=True)]
    meter = small_meter(decapsulate=True)
    records = records_of(batch_of(frames, batch.timestamp_ns), meter)
    assert_same(records, expected_of(expected))
    assert meter.stats.decapsulated > 300


@given(
    events(), st.lists(st.integers(1, 20), max_size=8), st.sampled_from([1, 2, 3, 5, 1_000]), st.booleans()
)
def test_any_chunking_gives_the_same_bytes(
    drawn: list[tuple[Any, ...]], sizes: list[int], capacity: int, sweep: bool
) -> None:
    batch, _ = traffic(drawn)
    whole = records_of(batch, small_meter(capacity=capacity, seed=1, sweep=sweep))
    pieces = records_of(batch, small_meter(capacity=capacity, seed=2, sweep=sweep), sizes)
    assert pieces.tobytes() == whole.tobytes()


@given(events(), st.sampled_from([1, 2, 3, 1_000]), st.booleans())
def test_final_records_are_the_same_without_snapshots(
    drawn: list[tuple[Any, ...]], capacity: int, sweep: bool
) -> None:
    batch, _ = traffic(drawn)
    with_snapshots = records_of(batch, small_meter(capacity=capacity, sweep=sweep))
    assert (
        records_of(batch, small_meter(capacity=capacity, sweep=sweep, snapshots=False)).tobytes()
        == with_snapshots[with_snapshots["kind"] != Kind.SNAPSHOT].tobytes()
    )


@given(events(), st.sampled_from([1, 2, 3, 1_000]), st.booleans())
def test_no_packet_is_lost_or_told_twice(drawn: list[tuple[Any, ...]], capacity: int, sweep: bool) -> None:
    batch, packets = traffic(drawn)
    meter = small_meter(capacity=capacity, sweep=sweep)
    records = records_of(batch, meter)
    told = records["new_fwd_packets"].sum(dtype=int) + records["new_bwd_packets"].sum(dtype=int)
    assert told == len(packets) == meter.stats.packets_metered
    told = records["new_fwd_bytes"].sum(dtype=int) + records["new_bwd_bytes"].sum(dtype=int)
    assert told == sum(p.payload for p in packets)
    stats = meter.stats
    ended = stats.flows_expired + stats.flows_cut + stats.flows_evicted + stats.flows_at_end
    assert ended == stats.flows_created == (records["kind"] != Kind.SNAPSHOT).sum()
    assert stats.snapshots == (records["kind"] == Kind.SNAPSHOT).sum()


@given(events())
def test_records_come_in_the_order_in_which_they_are_due(drawn: list[tuple[Any, ...]]) -> None:
    records = records_of(traffic(drawn)[0], small_meter())
    assert (np.diff(records["time_ns"]) >= 0).all()


def test_kernels_run_unjitted_without_a_warning() -> None:
    kinds = ("features", "flows", "decode", "tunnels")
    tests = [f"tests/capture/test_meter_{kind}.py" for kind in kinds]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:]
