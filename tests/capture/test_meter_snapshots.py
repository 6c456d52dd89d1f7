"""Provisional records of living flows: when they are due, what they show, in which order."""

from __future__ import annotations

import numpy as np

from capture.columns import Close, Kind
from tests.capture.metering import CLIENT, SERVER, datagram, metered, reply, request, small_meter, timed_batch
from tests.packets import at, icmp_frame, udp_frame


def snapshots(*packets: tuple[float, bytes]) -> np.ndarray:
    records = metered(*packets)
    return records[records["kind"] == Kind.SNAPSHOT]


def test_snapshots_come_at_1_5_15_30_and_60_seconds() -> None:
    records = snapshots(*((second / 2, datagram(b"x")) for second in range(240)))
    assert records["time_ns"].tolist() == [at(second) for second in (1, 5, 15, 30, 60)]
    assert records["total_fwd_packet"].tolist() == [2, 10, 30, 60, 120]
    assert records["revision"].tolist() == [0, 1, 2, 3, 4]
    assert set(records["close"]) == {Close.NONE}


def test_a_snapshot_shows_the_state_before_the_packet_at_its_time() -> None:
    records = snapshots((0, datagram()), (0.999999, datagram()), (1.0, datagram()), (2.0, datagram()))
    assert records["total_fwd_packet"].tolist() == [2]


def test_without_news_there_is_no_snapshot() -> None:
    records = snapshots((0, datagram()), (16, datagram()), (100, datagram()))
    assert records["time_ns"].tolist() == [at(1), at(30)]
    assert records["new_fwd_packets"].tolist() == [1, 1]


def test_a_flow_of_one_packet_is_told_of_after_a_second() -> None:
    first, last = metered((0, request("S")), (1.5, icmp_frame(CLIENT, SERVER)))[:2]
    assert (first["kind"], first["time_ns"], first["total_fwd_packet"]) == (Kind.SNAPSHOT, at(1), 1)
    assert (last["kind"], last["new_fwd_packets"]) == (Kind.FINAL, 0)


def test_the_end_of_a_connection_is_told_at_once() -> None:
    records = metered((0, request("S")), (0.25, reply("RA")), (2, request("A")))
    assert [(r["kind"], r["close"], r["time_ns"]) for r in records] == [
        (Kind.SNAPSHOT, Close.READY, at(0.25)),
        (Kind.FINAL, Close.END, at(2)),
    ]
    assert records["new_bwd_packets"].tolist() == [1, 0]
    assert records["new_fwd_packets"].tolist() == [1, 1]


def test_all_records_of_a_flow_have_its_id_and_rising_revisions() -> None:
    records = metered((0, datagram(b"ab")), (3, datagram(b"c")), (200, request("S")))
    of_flow = records[records["start_ns"] == at(0)]
    assert len(set(of_flow["flow_id"])) == 1
    assert of_flow["revision"].tolist() == [0, 1, 2]
    assert of_flow["new_fwd_bytes"].tolist() == [2, 1, 0]


def test_records_due_at_one_time_come_by_start_and_key() -> None:
    later = udp_frame("10.0.0.1", "10.0.0.9", 1, 2)
    sooner = udp_frame("10.0.0.8", "10.0.0.7", 9, 9)
    old = udp_frame("10.9.9.9", "10.9.9.8", 5, 5)
    records = metered((0, later), (0, sooner), (-4, old), (0.5, old), (1, datagram()))
    due = [(r["time_ns"], r["start_ns"], r["src_port"]) for r in records if r["kind"] == Kind.SNAPSHOT]
    # `old` began four seconds before: it is due at -3 s, told of when the clock has passed that, and
    # due again at 1 s, where it stands before the two others by its earlier start
    assert due == [
        (at(0), at(-4), 5),
        (at(1), at(-4), 5),
        (at(1), at(0), 1),
        (at(1), at(0), 9),
    ]


def test_a_quiet_link_is_told_of_by_the_clock_alone() -> None:
    meter = small_meter()
    assert list(meter.process(timed_batch([(0, datagram())]))) == []
    (records,) = meter.advance(at(1))
    assert (records[0]["kind"], records[0]["time_ns"]) == (Kind.SNAPSHOT, at(1))
    assert meter.clock_ns == at(1)
    assert list(meter.advance(at(0.5))) == [] and meter.clock_ns == at(1)


def test_more_records_than_one_call_holds_are_all_given() -> None:
    frames = [udp_frame("10.0.0.1", f"10.1.{n // 250}.{n % 250}", 1, n) for n in range(9_000)]
    meter = small_meter(capacity=9_000, memory=9_000)
    assert list(meter.process(timed_batch([(0, frame) for frame in frames]))) == []
    given = list(meter.process(timed_batch([(1, frames[0])])))
    assert sum(len(records) for records in given) == 9_000
    assert sum(len(records) for records in meter.finish()) == 9_000
    assert meter.live == 0
