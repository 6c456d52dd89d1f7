"""The bounds of the meter: who goes when the table is full, what is remembered, what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from capture.columns import FLOW_DTYPE, Close, Kind
from capture.meter import FlowMeter, MeterStats
from capture.meter.state import SIGHTS
from capture.meter.stats import REASONS
from capture.packets import PacketBatch
from tests.capture.metering import datagram, records_of, reply, request, small_meter, timed_batch
from tests.packets import arp_frame, at, batch_of, ethernet, tcp_frame, udp_frame

Timed = tuple[float, bytes]


def probe(number: int) -> bytes:
    return tcp_frame("203.0.113.9", "10.0.0.5", 50_000, number, "S")


def session(number: int, flags: str = "A") -> bytes:
    return tcp_frame("10.0.0.1", "10.0.0.2", number, 80, flags)


def evicted(packets: list[Timed], capacity: int) -> list[int]:
    """Client or probed port of each evicted flow, in order."""
    records = records_of(timed_batch(packets), small_meter(capacity=capacity))
    assert set(records["close"][records["kind"] == Kind.EVICTED]) <= {Close.EVICTED}
    gone = records[records["kind"] == Kind.EVICTED]
    return [int(r["dst_port"] if r["src_port"] == 50_000 else r["src_port"]) for r in gone]


def test_flows_of_one_packet_go_first_the_oldest_before() -> None:
    packets = [(0, session(1)), (0.1, session(1)), *((number, probe(number)) for number in range(1, 5))]
    assert evicted(packets, capacity=3) == [1, 2]


def test_then_go_closed_flows_then_the_one_idle_longest() -> None:
    frames = [session(1), session(1), session(2), session(2), session(3), session(3, "R"), session(1)]
    packets = [(number / 10, frame) for number, frame in enumerate(frames)]
    assert evicted([*packets, (0.7, probe(4))], capacity=3) == [3]
    both = [*packets, (0.7, session(4)), (0.8, session(4)), (0.9, probe(5))]
    assert evicted(both, capacity=3) == [3, 2]


def test_a_flood_of_spoofed_sources_does_not_push_out_sessions() -> None:
    sessions = [(n / 100, session(1 + n % 50)) for n in range(100)]
    flood = [
        (2 + n / 10_000, tcp_frame(f"198.51.{n // 250}.{n % 250}", "10.0.0.5", 1, 80, "S"))
        for n in range(5_000)
    ]
    meter = small_meter(capacity=128)
    records = records_of(timed_batch([*sessions, *flood, (3, session(1))]), meter)
    assert meter.stats.flows_evicted == 5_000 - (128 - 50)
    kept = records[
        (records["close"] == Close.END) & (records["dst_port"] == 80) & (records["total_fwd_packet"] > 1)
    ]
    assert sorted(kept["src_port"]) == list(range(1, 51))


def test_an_evicted_flow_that_goes_on_keeps_direction_and_connection_time() -> None:
    packets = [(0, request("S")), (1, reply("SA")), (2, session(9)), (3, reply("PA", b"x"))]
    records = records_of(timed_batch(packets), small_meter(capacity=1))
    last = records[-1]
    assert [r["kind"] for r in records if r["kind"] != Kind.SNAPSHOT] == [Kind.EVICTED] * 2 + [Kind.FINAL]
    assert (last["src_port"], last["total_bwd_packets"], last["total_tcp_flow_time"]) == (
        40_000,
        1,
        3_000_000,
    )


@pytest.mark.parametrize("server", ["10.0.0.2", "10.0.0.0"])
def test_reminders_are_bounded_and_each_replaced_one_is_counted(server: str) -> None:
    meter = small_meter(memory=8)
    ended = [
        (number / 10 + part / 100, tcp_frame("10.0.0.1", server, 1_000 + number, 80, flags))
        for number in range(9)
        for part, flags in enumerate("SR")
    ]
    list(meter.process(timed_batch(ended)))
    list(meter.advance(int(2e18)))
    assert (meter.stats.flows_expired, meter.stats.reminders_replaced) == (9, 1)


def test_the_oldest_reminder_goes_and_the_others_still_hold() -> None:
    meter = small_meter(memory=8)
    begun = [(number / 10, tcp_frame("10.0.0.1", "10.0.0.2", 1_000 + number, 80, "S")) for number in range(9)]
    list(meter.process(timed_batch(begun)))
    list(meter.advance(at(130)))
    answers = [(131, tcp_frame("10.0.0.2", "10.0.0.1", 80, 1_000 + number, "A")) for number in range(9)]
    records = records_of(timed_batch(answers), meter)
    sources = {int(max(r["src_port"], r["dst_port"])): int(r["src_port"]) for r in records}
    assert sources == {1_000: 80} | {1_000 + number: 1_000 + number for number in range(1, 9)}


def outcomes(batch: PacketBatch, **options: int) -> tuple[bytes, dict[str, int]]:
    meter = small_meter(**options)
    return records_of(batch, meter).tobytes(), meter.stats.as_dict()


def test_what_is_forgotten_does_not_depend_on_the_seed() -> None:
    """Clients whose servers speak on after their flows ended, more of them than can be remembered."""
    chosen = np.random.default_rng(2).integers(1, 255, (100, 3))
    clients = [f"10.{a}.{b}.{c}" for a, b, c in chosen]
    asked = [(n / 100, tcp_frame(c, "192.0.2.1", 1_000, 80, "A", b"a")) for n, c in enumerate(clients)]
    answers = [(200 + n / 100, tcp_frame("192.0.2.1", c, 80, 1_000, "A")) for n, c in enumerate(clients)]
    batch = timed_batch([*asked, *answers])
    first, counts = outcomes(batch, memory=64, seed=1)
    # Each answer's flow finds its client's reminder but for the 36 clients that went first.
    assert counts["reminders_replaced"] >= 36
    turned = np.frombuffer(first, FLOW_DTYPE)
    turned = turned[(turned["kind"] != Kind.SNAPSHOT) & (turned["src_port"] == 80)]
    assert len(turned) == 36
    for seed in range(2, 6):
        assert outcomes(batch, memory=64, seed=seed) == (first, counts)


@pytest.mark.parametrize(("between", "recognised"), [(SIGHTS - 1, 1), (SIGHTS, 0)])
def test_the_newest_flows_are_kept_for_a_second_sight(between: int, recognised: int) -> None:
    """As many as there is room for, whatever the seed."""
    frames = [udp_frame("10.0.0.1", "192.0.2.1", 1_000, 53)]
    frames += [udp_frame(f"10.1.{n >> 8}.{n & 255}", "192.0.2.1", 1_000, 53) for n in range(between)]
    batch = batch_of([*frames, frames[0]], np.arange(between + 2), interface=[0] * (between + 1) + [1])
    for seed in range(3):
        meter = small_meter(capacity=2 * SIGHTS, seed=seed)
        records_of(batch, meter)
        assert meter.stats.second_sights == recognised


@pytest.mark.parametrize("bounds", [{"capacity": 0}, {"memory": 0}])
def test_bounds_below_one_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="capacity and memory must be at least 1"):
        FlowMeter(**bounds)


def test_every_packet_is_metered_or_counted_under_a_reason() -> None:
    frames = [
        request("S"),
        datagram(b"x"),
        arp_frame("10.0.0.1", "10.0.0.2"),
        ethernet(b"\x42" * 40, ether_type=0x88CC),
        request("S")[:40],
        ethernet(b"\x41" + bytes(40), ether_type=0x0800),
    ]
    meter = small_meter()
    records_of(batch_of(frames, range(len(frames))), meter)
    stats = meter.stats
    assert [getattr(stats, name) for name in REASONS] == [1, 1, 1, 1]
    assert (stats.packets_seen, stats.packets_metered, stats.tcp, stats.udp, stats.ipv4) == (6, 2, 1, 1, 2)
    assert stats.packets_seen == stats.packets_metered + sum(stats.as_dict()[name] for name in REASONS)


def test_after_the_end_of_a_capture_the_meter_knows_no_flow_and_no_key() -> None:
    meter = small_meter(capacity=2)
    cut = [(0.0, request("S")), (130.0, request()), (130.1, reply("A", b"x"))]  # a reminder, two directions
    assert records_of(timed_batch(cut), meter)["src_port"][-1] == 40_000
    assert meter.live == 0
    more = [(131, reply("A", b"y")), (131.1, session(1)), (131.2, session(2))]
    again = records_of(timed_batch(more), meter)
    final = again[again["kind"] != Kind.SNAPSHOT]
    assert final["src_port"].tolist() == [80, 1, 2]
    assert final["total_fwd_packet"].tolist() == [1, 1, 1] and not final["total_bwd_packets"].any()
    assert final["kind"].tolist() == [Kind.EVICTED, Kind.FINAL, Kind.FINAL]
    assert (meter.stats.flows_created, meter.stats.flows_at_end, meter.stats.flows_evicted) == (5, 3, 1)


def test_unknown_counters_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="packets_lost"):
        _ = MeterStats(np.zeros(25, np.int64)).packets_lost


def two_interfaces(gap: float, meter: FlowMeter) -> np.ndarray:
    frames = [udp_frame("10.0.0.1", "192.0.2.1", 1_000, 53)] * 2
    return records_of(batch_of(frames, [0, round(gap * 1e9)], interface=[0, 1]), meter)


def test_a_flow_seen_on_a_second_interface_is_metered_and_marked() -> None:
    meter = small_meter()
    records = two_interfaces(0.0999, meter)
    assert records["interface"].tolist() == [0, 1]
    assert records["second_sight"].tolist() == [0, 1]
    assert meter.stats.second_sights == 1


def test_a_flow_seen_later_than_100_ms_is_its_own() -> None:
    meter = small_meter()
    assert two_interfaces(0.1, meter)["second_sight"].tolist() == [0, 0]
    assert meter.stats.second_sights == 0


@pytest.mark.parametrize(("key_vlan", "flows"), [(False, 1), (True, 2)])
def test_the_vlan_is_in_the_key_only_when_asked_for(key_vlan: bool, flows: int) -> None:
    frames = [udp_frame("10.0.0.1", "10.0.0.2", 1, 2, vlans=[vlan]) for vlan in (7, 8)]
    records = records_of(batch_of(frames, [0, 1]), small_meter(key_vlan=key_vlan))
    assert records["vlan"].tolist() == [7, 8][:flows]
