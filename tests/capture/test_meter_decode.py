"""From frames to packets: link layers, IPv6, VLAN, fragments, cut and damaged headers."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from capture.link_types import SUPPORTED
from capture.meter import FlowMeter
from tests.capture.metering import CLIENT, SERVER, records_of, small_meter
from tests.packets import (
    TCP,
    UDP,
    batch_of,
    ethernet,
    icmp_frame,
    ip,
    ipv4,
    ipv6,
    tcp,
    tcp_frame,
    udp,
    udp_frame,
)

V6_CLIENT, V6_SERVER = "2001:db8::1", "2001:db8::2"


def one(frame: bytes, meter: FlowMeter | None = None, **options: object) -> np.void:
    """The record of the only flow that a frame makes."""
    (record,) = records_of(batch_of([frame], [0], **options), meter or small_meter())  # type: ignore[arg-type]
    return record


def refused(frame: bytes, reason: str, **options: object) -> None:
    meter = small_meter()
    assert len(records_of(batch_of([frame], [0], **options), meter)) == 0  # type: ignore[arg-type]
    assert (meter.stats.as_dict()[reason], meter.stats.packets_metered) == (1, 0)


def extension(following: int, words: int = 0) -> bytes:
    return bytes([following, words]) + bytes(6 + 8 * words)


def test_ipv6_extension_headers_are_walked() -> None:
    inner = extension(60) + extension(43, 1) + extension(51) + bytes([UDP, 1]) + bytes(10) + udp(1, 2, b"abc")
    record = one(ethernet(ipv6(V6_CLIENT, V6_SERVER, inner, next_header=0)))
    assert (record["protocol"], record["src_port"], record["dst_port"]) == (UDP, 1, 2)
    assert record["total_length_of_fwd_packet"] == 3
    assert record["src"].tobytes()[:4] == b"\x20\x01\x0d\xb8"


@pytest.mark.parametrize("count", [15, 16, 17, 150])
def test_no_number_of_extension_headers_hides_what_follows(count: int) -> None:
    inner = extension(60) * (count - 1) + extension(UDP) + udp(1, 2, b"abc")
    record = one(ethernet(ipv6(V6_CLIENT, V6_SERVER, inner, next_header=60)))
    assert (record["src_port"], record["dst_port"], record["protocol"]) == (1, 2, UDP)
    assert record["total_length_of_fwd_packet"] == 3
    # Nothing but headers, of which the last is not whole.
    refused(ethernet(ipv6(V6_CLIENT, V6_SERVER, extension(60) * count, next_header=60)), "malformed")


def test_ipv6_fragments() -> None:
    def fragment(offset: int, payload: bytes) -> bytes:
        header = struct.pack("!BBHI", UDP, 0, offset << 3 | 1, 7)
        return ethernet(ipv6(V6_CLIENT, V6_SERVER, header + payload, next_header=44))

    meter = small_meter()
    first, later = records_of(
        batch_of([fragment(0, udp(1, 2, b"abcdefgh")), fragment(2, b"x" * 8)], [0, 1]), meter
    )
    assert (first["src_port"], first["csv_protocol"], first["total_length_of_fwd_packet"]) == (1, UDP, 8)
    assert (later["src_port"], later["csv_protocol"], later["total_length_of_fwd_packet"]) == (0, 0, 0)
    assert (meter.stats.fragments, meter.stats.ipv6) == (1, 2)


def test_ipv4_fragments() -> None:
    whole = udp(1, 2, b"x" * 1_000, length=1_500)
    frames = [
        ethernet(ipv4(CLIENT, SERVER, whole, protocol=UDP, more_fragments=True)),
        ethernet(ipv4(CLIENT, SERVER, b"y" * 492, protocol=UDP, fragment_offset=1_008)),
    ]
    meter = small_meter()
    first, later = records_of(batch_of(frames, [0, 1]), meter)
    assert (first["src_port"], first["total_length_of_fwd_packet"]) == (1, 1_000)
    assert (later["csv_protocol"], later["protocol"], later["fwd_ip_bytes"]) == (0, UDP, 512)
    assert meter.stats.fragments == 1


@pytest.mark.parametrize("vlans", [[7], [7, 8], [7, 8, 9]])
def test_padding_behind_vlan_tags_is_no_payload(vlans: list[int]) -> None:
    meter = small_meter()
    record = one(tcp_frame(CLIENT, SERVER, 1, 2, "A", b"ab", vlans=vlans, minimum=72), meter)
    assert (record["total_length_of_fwd_packet"], record["vlan"]) == (2, 7)
    assert (record["fwd_ip_bytes"], record["fwd_frame_bytes"]) == (42, 72)
    assert meter.stats.vlan_tagged == 1


def test_a_tag_that_the_kernel_took_off_is_the_outer_one() -> None:
    assert one(udp_frame(CLIENT, SERVER, 1, 2, vlans=[8]), vlan=7)["vlan"] == 7


@pytest.mark.parametrize("tag", [0x88A8, 0x9100])
def test_provider_tags_are_known(tag: int) -> None:
    frame = udp_frame(CLIENT, SERVER, 1, 2)
    assert one(frame[:12] + struct.pack("!HH", tag, 5) + frame[12:])["vlan"] == 5


@pytest.mark.parametrize(("count_cut", "payload"), [(True, 1_000), (False, 42)])
def test_payload_that_the_snap_length_cut(count_cut: bool, payload: int) -> None:
    frame = tcp_frame(CLIENT, SERVER, 1, 2, "PA", b"x" * 1_000)
    meter = small_meter(count_cut=count_cut)
    record = one(frame[:96], meter, wire_lengths=[len(frame)])
    assert record["total_length_of_fwd_packet"] == payload
    assert (record["fwd_ip_bytes"], record["fwd_frame_bytes"]) == (1_040, 1_054)
    assert meter.stats.cut_by_snaplen == 1


@pytest.mark.parametrize("length", [54, 60, 64, 68, 78, 100])
@pytest.mark.parametrize("payload", [b"", b"x" * 30])
def test_options_that_the_snap_length_cut_are_header_all_the_same(length: int, payload: bytes) -> None:
    segment = tcp(1, 2, "A", payload, options=bytes(24))
    frame = ethernet(ipv4(CLIENT, SERVER, segment))
    seen, wire = frame[:length], [len(frame)]
    whole, cut = one(frame, wire_lengths=wire), one(seen, small_meter(count_cut=True), wire_lengths=wire)
    assert (whole["fwd_header_length"], whole["total_length_of_fwd_packet"]) == (44, len(payload))
    assert cut.tobytes() == whole.tobytes()
    captured = one(seen, small_meter(count_cut=False), wire_lengths=wire)  # as CICFlowMeter has it
    assert captured["fwd_header_length"] == min(44, len(seen) - 34)
    assert captured["total_length_of_fwd_packet"] == max(0, len(seen) - 34 - 44)


def test_segments_left_to_the_card_run_to_the_end_of_the_frame() -> None:
    meter = small_meter()
    segment = tcp(1, 2, "A", b"x" * 3_000)
    assert (
        one(ethernet(ipv4(CLIENT, SERVER, segment, total_length=0)), meter)["fwd_packet_length_max"] == 3_000
    )
    assert meter.stats.segmented_later == 1


def test_options_of_ip_and_tcp_are_no_payload() -> None:
    segment = tcp(1, 2, "A", b"abc", options=bytes(12))
    record = one(ethernet(ipv4(CLIENT, SERVER, segment, options=bytes(8))))
    assert (record["total_length_of_fwd_packet"], record["fwd_header_length"]) == (3, 32)


@pytest.mark.parametrize(
    ("link_type", "header"),
    [
        (101, b""),
        (228, b""),
        (0, b"\x02\0\0\0"),
        (108, b"\0\0\0\x02"),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
        (9, b"\x00\x21"),
        (9, b"\xff\x03\x21"),
        (50, b"\x0f\x00\x08\x00"),
    ],
)
def test_link_layers(link_type: int, header: bytes) -> None:
    record = one(header + ip(CLIENT, SERVER, UDP, udp(1, 2, b"abc")), link_type=link_type)
    assert (record["src_port"], record["total_length_of_fwd_packet"]) == (1, 3)


@pytest.mark.parametrize(
    ("link_type", "header"),
    [
        (101, b""),
        (12, b""),
        (14, b""),
        (229, b""),
        (0, b"\x1e\0\0\0"),  # AF_INET6 of macOS, FreeBSD, NetBSD and OpenBSD, Linux
        (0, b"\0\0\0\x1c"),
        (108, b"\0\0\0\x18"),
        (108, b"\0\0\0\x0a"),
        (113, bytes(14) + b"\x86\xdd"),
        (113, bytes(14) + b"\x81\0\0\x07\x86\xdd"),
        (276, b"\x86\xdd" + bytes(18)),
        (9, b"\x00\x57"),
        (9, b"\x57"),
        (50, b"\xff\x03\x00\x57"),
        (50, b"\x8f\x00\x86\xdd"),
    ],
)
def test_link_layers_of_ipv6(link_type: int, header: bytes) -> None:
    record = one(header + ip(V6_CLIENT, V6_SERVER, UDP, udp(1, 2, b"abc")), link_type=link_type)
    assert (record["src_port"], record["total_length_of_fwd_packet"]) == (1, 3)
    assert record["vlan"] == (7 if b"\x81" in header else -1)


def test_every_link_type_that_is_not_refused_is_decoded() -> None:
    tested = {0, 1, 9, 12, 14, 50, 101, 108, 113, 228, 229, 276}
    assert tested == SUPPORTED


@pytest.mark.parametrize("link_type", sorted(SUPPORTED))
def test_what_a_link_layer_carries_beside_ip_is_not_ip(link_type: int) -> None:
    refused(bytes([0x33, 0x33] * 40), "not_ip", link_type=link_type)


def test_pppoe_and_snap_carry_ip() -> None:
    packet = ip(CLIENT, SERVER, UDP, udp(1, 2, b"abc"))
    session = struct.pack("!BBHHH", 0x11, 0, 1, len(packet) + 2, 0x0021) + packet
    assert one(ethernet(session, ether_type=0x8864))["src_port"] == 1
    snap = b"\xaa\xaa\x03\0\0\0\x08\x00" + packet
    assert one(ethernet(snap, ether_type=len(snap)))["total_length_of_fwd_packet"] == 3


def test_a_tunnel_is_the_outer_flow() -> None:
    inner = ip("192.168.0.1", "192.168.0.2", TCP, tcp(1, 2))
    record = one(ethernet(ipv4(CLIENT, SERVER, inner, protocol=4)))
    assert (record["protocol"], record["csv_protocol"], record["src_port"]) == (4, 0, 0)
    assert record["src"].tobytes()[-4:] == bytes([10, 0, 0, 1])


def test_icmpv6_has_type_and_code() -> None:
    record = one(icmp_frame(V6_CLIENT, V6_SERVER, 128, 0))
    assert (record["icmp_type"], record["icmp_code"], record["csv_protocol"]) == (128, 0, 58)


def test_headers_that_are_not_whole_are_truncated() -> None:
    frame = tcp_frame(CLIENT, SERVER, 1, 2, "S")
    for length in (0, 13, 14, 33, 34, 49):
        refused(frame[:length], "truncated", wire_lengths=[len(frame)])
    refused(icmp_frame(CLIENT, SERVER)[:35], "truncated")
    cut = ethernet(ipv6(V6_CLIENT, V6_SERVER, b"\x3a", next_header=0, payload_length=8))
    refused(cut, "truncated")


def test_headers_that_contradict_themselves_are_malformed() -> None:
    segment = tcp(1, 2, "S")
    refused(ethernet(ipv4(CLIENT, SERVER, segment, total_length=19)), "malformed")
    refused(ethernet(b"\x44" + ipv4(CLIENT, SERVER, segment)[1:]), "malformed")
    refused(ethernet(ipv4(CLIENT, SERVER, segment[:12] + b"\x40" + segment[13:])), "malformed")
    refused(ethernet(b"\x50" + bytes(60), ether_type=0x86DD), "malformed")


def test_a_packet_too_short_for_its_own_headers_is_malformed_and_counted_nowhere_else() -> None:
    refused(ethernet(ipv4(CLIENT, SERVER, tcp(1, 2)[:12]), minimum=60), "malformed")
    refused(ethernet(ipv4(CLIENT, SERVER, udp(1, 2)[:7], protocol=UDP), minimum=60), "malformed")
    refused(ethernet(ipv6(V6_CLIENT, V6_SERVER, b"\x3a", next_header=0), minimum=80), "malformed")
    meter = small_meter()
    frames = [
        ethernet(ipv4(CLIENT, SERVER, tcp(1, 2)[:12] + b"\x10", total_length=0)),
        ethernet(ipv4(CLIENT, SERVER, tcp(1, 2)))[:45],
    ]
    records_of(batch_of(frames, [0, 1], wire_lengths=[len(frames[0]), 2_000]), meter)
    counted = meter.stats.as_dict()
    assert {name for name, count in counted.items() if count} == {"packets_seen", "malformed", "truncated"}


def test_the_other_versions_icmp_is_just_another_protocol() -> None:
    wrong = one(ethernet(ipv4(CLIENT, SERVER, b"\x80\x00\0\0", protocol=58)))
    assert (wrong["protocol"], wrong["csv_protocol"], wrong["icmp_type"]) == (58, 0, -1)
    wrong = one(ethernet(ipv6(V6_CLIENT, V6_SERVER, b"\x08\x00\0\0", next_header=1)))
    assert (wrong["protocol"], wrong["csv_protocol"], wrong["icmp_type"]) == (1, 0, -1)


def test_random_bytes_are_counted_and_never_read_past_their_end() -> None:
    random = np.random.default_rng(1)
    frames = []
    for _ in range(3_000):
        frame = bytearray(tcp_frame(CLIENT, SERVER, 1, 2, "S", b"x" * int(random.integers(0, 40))))
        for _ in range(int(random.integers(0, 6))):
            frame[int(random.integers(len(frame)))] = int(random.integers(256))
        frames.append(bytes(frame[: int(random.integers(0, len(frame) + 1))]))
    meter = small_meter(capacity=4_096)
    records = records_of(batch_of(frames, range(3_000)), meter)
    stats = meter.stats
    counted = stats.arp + stats.not_ip + stats.truncated + stats.malformed
    assert stats.packets_seen == 3_000 == stats.packets_metered + counted
    assert (records["total_length_of_fwd_packet"] >= 0).all()
