"""Where a flow begins and ends: closes, the timeout, directions, what is carried on."""

from __future__ import annotations

import numpy as np
import pytest

from capture.columns import Close, Kind
from tests.capture.metering import (
    CLIENT,
    CLIENT_PORT,
    SERVER,
    SERVER_PORT,
    datagram,
    finals,
    flow,
    metered,
    reply,
    request,
    small_meter,
    timed_batch,
)
from tests.packets import at, udp_frame

HANDSHAKE = ((0.0, request("S")), (0.1, reply("SA")), (0.2, request("A")))
FINISHED = (*HANDSHAKE, (0.3, request("FA")), (0.4, reply("FA")), (0.5, request("A")))


def ready_at(records: np.ndarray) -> list[int]:
    return records["time_ns"][records["close"] == Close.READY].tolist()


def packets_of(records: np.ndarray) -> list[int]:
    return (records["total_fwd_packet"] + records["total_bwd_packets"]).astype(int).tolist()


def test_fin_from_both_sides_and_an_ack_close() -> None:
    assert ready_at(metered(*FINISHED)) == [at(0.5)]
    assert ready_at(metered(*FINISHED[:-1])) == []


def test_two_fins_of_one_side_do_not_close() -> None:
    packets = (*HANDSHAKE, (0.3, request("FA")), (0.4, request("FA")), (0.5, reply("A")))
    assert ready_at(metered(*packets)) == []


def test_a_fin_that_begins_a_flow_sets_no_state() -> None:
    assert ready_at(metered((0, request("FA")), (0.1, reply("FA")), (0.2, request("A")))) == []
    more = ((0, request("FA")), (0.1, reply("FA")), (0.2, request("FA")), (0.3, reply("A")))
    assert ready_at(metered(*more)) == [at(0.3)]


def test_rst_closes_at_once_but_not_as_the_first_packet() -> None:
    assert ready_at(metered(*HANDSHAKE, (0.3, reply("R")))) == [at(0.3)]
    assert ready_at(metered((0, request("R")), (0.1, reply("A")))) == []


def test_late_packets_join_a_closed_flow_and_tell_of_it_once() -> None:
    late = (*FINISHED, (0.6, reply("A")), (0.7, reply("R")), (0.8, request("FA")))
    records = metered(*late)
    assert ready_at(records) == [at(0.5)]
    assert packets_of(records[records["kind"] == Kind.FINAL]) == [9]


def test_syn_on_a_closed_flow_begins_another() -> None:
    first, second = finals(*FINISHED, (0.6, request("S")))
    assert (first["close"], second["close"]) == (Close.REOPENED, Close.END)
    assert packets_of(np.array([first, second])) == [6, 1]
    assert (first["time_ns"], second["total_tcp_flow_time"]) == (at(0.6), 0)


def test_syn_on_an_open_flow_joins_it() -> None:
    assert packets_of(finals(*HANDSHAKE, (0.3, request("S")))) == [4]


def test_reopened_from_the_other_side_turns_round_but_keeps_its_name() -> None:
    _, second = finals(*FINISHED, (0.6, reply("S")))
    assert (second["src_port"], second["key_reversed"]) == (SERVER_PORT, 1)


def test_syn_ack_on_a_closed_flow_keeps_direction_and_connection_time() -> None:
    _, second = finals(*FINISHED, (0.6, reply("SA")))
    assert (second["src_port"], second["total_bwd_packets"]) == (CLIENT_PORT, 1)
    assert second["total_tcp_flow_time"] == 600_000


@pytest.mark.parametrize(("last", "flows"), [(120.0, 1), (120.000001, 2)])
def test_timeout_is_just_over_120_seconds_from_the_start(last: float, flows: int) -> None:
    records = finals((0, datagram()), (60, datagram()), (last, datagram()))
    assert len(records) == flows
    assert records[0]["close"] == (Close.END if flows == 1 else Close.TIMEOUT)


def test_connection_time_is_carried_over_the_pieces() -> None:
    seconds = ((0, request("S")), (0.001, reply("SA")), (100, request()), (130, reply()), (135, request()))
    records = finals(*seconds, (300, request()))
    assert records["flow_duration"].tolist() == [100e6, 5e6, 0]
    assert records["total_tcp_flow_time"].tolist() == [100e6, 135e6, 300e6]
    assert records["src_port"].tolist() == [CLIENT_PORT] * 3
    assert records["close"].tolist() == [Close.EXPIRED, Close.EXPIRED, Close.END]


def test_a_piece_that_the_server_begins_keeps_the_client_as_source() -> None:
    first, second = finals((0, request("S")), (1, reply("SA")), (120.5, reply("PA", b"x")))
    assert (second["src_port"], second["total_fwd_packet"], second["total_bwd_packets"]) == (
        CLIENT_PORT,
        0,
        1,
    )
    assert (second["fwd_seg_size_min"], second["bwd_init_win_bytes"]) == (0, 65535)
    assert second["total_tcp_flow_time"] == 120_500_000
    assert (first["close"], second["key_reversed"]) == (Close.TIMEOUT, 0)


def test_udp_after_a_timeout_takes_its_sender_as_source() -> None:
    _, second = finals((0, datagram()), (120.5, datagram(back=True)))
    assert (second["src_port"], second["key_reversed"], second["total_tcp_flow_time"]) == (SERVER_PORT, 1, 0)


def test_the_sweep_writes_a_flow_121_seconds_after_its_start() -> None:
    meter = small_meter()
    assert list(meter.process(timed_batch([(0, datagram()), (60, datagram())]))) != []
    assert list(meter.advance(at(121) - 1)) == []
    (records,) = meter.advance(at(121))
    assert (records[0]["kind"], records[0]["close"]) == (Kind.FINAL, Close.EXPIRED)
    assert (records[0]["time_ns"], records[0]["end_ns"]) == (at(121), at(60))
    assert (meter.live, meter.stats.flows_expired) == (0, 1)


def test_another_flow_moves_the_clock_for_the_sweep() -> None:
    other = request("S")
    first, second = finals((0, datagram()), (121, other))
    assert (first["close"], first["time_ns"], second["close"]) == (Close.EXPIRED, at(121), Close.END)


def test_a_closed_flow_stays_until_the_sweep() -> None:
    record = flow(*FINISHED, (119, request("A")))
    assert (record["close"], packets_of(np.array([record]))) == (Close.END, [7])


def test_without_the_sweep_a_flow_waits_for_a_packet_of_its_own() -> None:
    packets = ((0, datagram()), (300, request("S")), (60, datagram()), (120, datagram()))
    assert packets_of(finals(*packets, sweep=False)) == [3, 1]
    assert packets_of(finals(*packets)) == [1, 2, 1]
    first, _, second = finals(*packets, (130, datagram()), sweep=False)[[0, 1, 2]]
    assert (first["close"], first["total_fwd_packet"]) == (Close.TIMEOUT, 3)
    assert (second["close"], second["total_fwd_packet"]) == (Close.END, 1)
    meter = small_meter(sweep=False)
    list(meter.process(timed_batch([(0, datagram())])))
    list(meter.advance(at(1_000)))
    assert (meter.live, meter.clock_ns) == (1, at(1_000))


def test_without_the_sweep_a_flow_past_its_expiry_makes_room_before_others_are_evicted() -> None:
    other = [udp_frame(CLIENT, SERVER, port, 53) for port in range(3)]
    records = finals(
        (0, datagram()), (1, datagram()), (90, other[0]), (121, other[1]), (122, other[2]),
        sweep=False, capacity=2,
    )  # fmt: skip
    assert [(r["src_port"], r["close"]) for r in records] == [
        (CLIENT_PORT, Close.EXPIRED),
        (0, Close.EVICTED),
        (1, Close.END),
        (2, Close.END),
    ]
    assert records["time_ns"].tolist() == [at(121), at(122), at(122), at(122)]


def test_a_straggler_behind_the_sweep_is_counted() -> None:
    meter = small_meter()
    given = list(meter.process(timed_batch([(0, datagram()), (121, request("S")), (60, datagram())])))
    assert [record["close"] for record in given[0]] == [Close.NONE, Close.EXPIRED]
    assert meter.stats.stragglers == 1
