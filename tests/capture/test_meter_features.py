"""Features of one flow, by the examples that define them."""

from __future__ import annotations

import math

import pytest

from capture.columns import Close
from tests.capture.metering import (
    CLIENT,
    SERVER,
    datagram,
    finals,
    flow,
    records_of,
    reply,
    request,
    small_meter,
)
from tests.packets import at, batch_of, icmp_frame


def data(size: int) -> bytes:
    return datagram(bytes(size))


def test_bulk_example() -> None:
    record = flow(
        (0.0, data(100)), (0.1, data(100)), (0.2, data(100)), (0.25, datagram(back=True)), (0.3, data(100)),
        (0.9, data(200)), (1.0, datagram(b"x", back=True)), (1.1, data(10)), (1.2, data(10)), (1.3, data(10)),
        (2.300001, data(10)), (2.4, data(10)), (2.5, data(10)), (2.6, data(10)),
    )  # fmt: skip
    assert record["fwd_bytes_bulk_avg"] == 320
    assert record["fwd_packet_bulk_avg"] == 4
    assert record["fwd_bulk_rate_avg"] == 533
    assert record["bwd_bytes_bulk_avg"] == record["bwd_packet_bulk_avg"] == record["bwd_bulk_rate_avg"] == 0


def test_bulk_without_time_has_no_rate() -> None:
    record = flow(*[(0.0, data(10))] * 4)
    assert (record["fwd_bytes_bulk_avg"], record["fwd_bulk_rate_avg"]) == (40, 0)


def test_active_and_idle_example() -> None:
    record = flow(*((second, data(1)) for second in (0, 2, 4, 10, 11, 20)))
    assert record["active_mean"] == 2_500_000
    assert record["active_std"] == pytest.approx(2_121_320.3435596427)
    assert (record["active_max"], record["active_min"]) == (4_000_000, 1_000_000)
    assert record["idle_mean"] == 7_500_000
    assert record["idle_std"] == pytest.approx(2_121_320.3435596427)
    assert (record["idle_max"], record["idle_min"]) == (9_000_000, 6_000_000)


def test_a_gap_of_five_seconds_is_not_idle() -> None:
    record = flow((0, data(1)), (5, data(1)), (10.000001, data(1)))
    assert (record["idle_mean"], record["active_mean"]) == (5_000_001, 5_000_000)
    assert flow((0, data(1)), (5, data(1)))["idle_mean"] == 0


def test_a_single_packet_between_two_gaps_is_no_active_period() -> None:
    record = flow((0, data(1)), (6, data(1)), (12, data(1)))
    assert (record["idle_mean"], record["active_mean"], record["active_max"]) == (6_000_000, 0, 0)


def test_subflow_example() -> None:
    record = flow(
        (0.0, data(100)),
        (0.5, datagram(bytes(300), back=True)),
        (2.0, data(100)),
        (3.0, datagram(bytes(300), back=True)),
        (4.5, data(100)),
    )
    names = ("subflow_fwd_packets", "subflow_fwd_bytes", "subflow_bwd_packets", "subflow_bwd_bytes")
    assert [record[name] for name in names] == [0, 60, 0, 120]


def test_packets_at_the_very_start_of_1970_are_no_subflows() -> None:
    meter = small_meter()
    frames = [data(100)] * 4
    (record,) = records_of(batch_of(frames, [0, 1_000, 2_000, 9_000_000]), meter)
    assert (record["subflow_fwd_packets"], record["subflow_fwd_bytes"]) == (2, 200)
    (record,) = records_of(batch_of(frames[:2], [0, 0]), small_meter())
    assert (record["subflow_fwd_packets"], record["subflow_fwd_bytes"]) == (0, 0)


def test_one_packet_without_payload_has_nan_and_infinity() -> None:
    record = flow((0, request("S")))
    assert math.isnan(record["flow_bytes_s"])
    assert record["flow_packets_s"] == math.inf
    assert all(math.isnan(record[f"flow_iat_{what}"]) for what in ("mean", "std", "max", "min"))
    assert record["fwd_packets_s"] == record["fwd_iat_total"] == record["packet_length_std"] == 0
    assert (record["flow_duration"], record["total_fwd_packet"], record["total_bwd_packets"]) == (0, 1, 0)


def test_one_packet_with_payload_has_infinite_bytes() -> None:
    assert flow((0, data(3)))["flow_bytes_s"] == math.inf


def test_the_first_packet_is_missing_where_the_reference_forgets_it() -> None:
    record = flow((0, request("RPA", b"x")), (0.1, request("RPA", b"x")), (0.2, reply("R")))
    assert (record["fwd_rst_flags"], record["bwd_rst_flags"], record["rst_flag_count"]) == (1, 1, 3)
    assert (record["fwd_act_data_pkts"], record["fwd_psh_flags"]) == (1, 2)


def test_backward_window_is_the_last_one() -> None:
    record = flow(
        (0, request("S", window=100)), (1, reply("SA", window=200)), (2, reply("A", window=0)),
        (3, request("A", window=300)),
    )  # fmt: skip
    assert (record["fwd_init_win_bytes"], record["bwd_init_win_bytes"]) == (100, 0)


def test_header_lengths_are_those_of_the_transport() -> None:
    record = flow((0, request("S", options=bytes(12))), (1, request("A")), (2, reply("A")))
    assert (record["fwd_header_length"], record["bwd_header_length"]) == (52, 20)
    assert record["fwd_seg_size_min"] == 20
    assert flow((0, data(9)))["fwd_header_length"] == 8


def test_statistics_of_lengths_and_gaps() -> None:
    record = flow((0, data(10)), (0.5, data(20)), (2.0, datagram(bytes(60), back=True)))
    assert (record["packet_length_mean"], record["average_packet_size"]) == (30, 30)
    assert record["packet_length_variance"] == pytest.approx(700)
    assert record["fwd_packet_length_std"] == pytest.approx(math.sqrt(50))
    assert (record["fwd_segment_size_avg"], record["bwd_segment_size_avg"]) == (15, 60)
    assert (record["flow_iat_mean"], record["flow_iat_max"], record["flow_iat_min"]) == (1e6, 1.5e6, 5e5)
    assert (record["flow_bytes_s"], record["flow_packets_s"]) == (45, 1.5)
    assert (record["down_up_ratio"], record["flow_duration"]) == (0.5, 2_000_000)


def test_times_that_run_backwards_are_used_as_they_are() -> None:
    record = flow((1, data(10)), (0.5, data(10)))
    assert (record["flow_duration"], record["flow_iat_min"], record["fwd_packets_s"]) == (
        -500_000,
        -500_000,
        0,
    )
    assert record["flow_bytes_s"] == -40


def test_echo_and_its_reply_are_one_flow() -> None:
    record = flow((0, icmp_frame(CLIENT, SERVER, 8, 0)), (0.1, icmp_frame(SERVER, CLIENT, 0, 0)))
    assert (record["total_fwd_packet"], record["total_bwd_packets"]) == (1, 1)
    assert (record["icmp_type"], record["icmp_code"], record["csv_protocol"]) == (8, 0, 1)
    assert (record["src_port"], record["dst_port"], record["total_length_of_fwd_packet"]) == (0, 0, 0)


def test_icmp_of_another_type_and_code_is_another_flow() -> None:
    first, second = finals((0, icmp_frame(CLIENT, SERVER, 8, 0)), (0.1, icmp_frame(SERVER, CLIENT, 3, 1)))
    assert (first["close"], first["icmp_type"]) == (Close.ICMP, 8)
    assert (second["close"], second["icmp_type"], second["icmp_code"]) == (Close.END, 3, 1)
    assert second["src"].tobytes()[-1] == 2  # a fresh flow: its sender is the source
    same_code = finals((0, icmp_frame(CLIENT, SERVER, 8, 0)), (0.1, icmp_frame(SERVER, CLIENT, 3, 0)))
    assert len(same_code) == 1


def test_identity_fields() -> None:
    record = flow((0, request("S")), (0.25, reply("SA")), (1.5, request("PA", b"xyz")))
    assert (record["start_ns"], record["end_ns"], record["answer_ns"]) == (at(0), at(1.5), at(0.25))
    assert (record["fwd_tcp_flags"], record["bwd_tcp_flags"]) == (0x1A, 0x12)
    assert (record["fwd_ip_bytes"], record["bwd_ip_bytes"]) == (83, 40)
    assert (record["fwd_frame_bytes"], record["bwd_frame_bytes"]) == (111, 54)
    assert record["src"].tobytes() == bytes(10) + b"\xff\xff\x0a\x00\x00\x01"
    assert (record["src_port"], record["dst_port"], record["protocol"]) == (40_000, 80, 6)
    assert 0 < record["flow_id"] < 1 << 51
