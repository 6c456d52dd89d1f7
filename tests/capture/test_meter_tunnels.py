"""Tunnels: the outer flow, or with `decapsulate` the packet inside, whatever is inside."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from capture.meter import FlowMeter
from tests.capture.metering import CLIENT, SERVER, records_of, small_meter
from tests.packets import (
    TCP,
    UDP,
    arp_frame,
    batch_of,
    ethernet,
    gre,
    ip,
    ipv4,
    ipv6,
    tcp,
    tcp_frame,
    udp,
    udp_frame,
    vxlan,
)

OUTER = ("192.0.2.1", "192.0.2.2")
OUTER_6 = ("2001:db8::1", "2001:db8::2")
INNER = ip(CLIENT, SERVER, UDP, udp(1, 2, b"abc"))
INNER_6 = ip("2001:db8:a::1", "2001:db8:a::2", UDP, udp(1, 2, b"abc"))
INNER_FRAME = udp_frame(CLIENT, SERVER, 1, 2, b"abc", minimum=60)
GRE, IP_IN_IP, IPV6_IN_IP = 47, 4, 41
PPP_IP = b"\xff\x03\x00\x21" + INNER


def around(protocol: int, payload: bytes, *, six: bool = False, **options: int) -> bytes:
    """A frame with an outer IP header."""
    if six:
        return ethernet(ipv6(*OUTER_6, payload, next_header=protocol))
    return ethernet(ipv4(*OUTER, payload, protocol=protocol, **options))  # type: ignore[arg-type]


def decapsulated(frame: bytes, **options: object) -> tuple[np.void, FlowMeter]:
    meter = small_meter(decapsulate=True)
    (record,) = records_of(batch_of([frame], [0], **options), meter)  # type: ignore[arg-type]
    return record, meter


def counted(meter: FlowMeter) -> dict[str, int]:
    """The counters of tunnels that are not 0."""
    stats = meter.stats.as_dict()
    assert stats["packets_metered"] == stats["ipv4"] + stats["ipv6"] == stats["packets_seen"]
    names = ("decapsulated", "inner_not_ip", "inner_truncated", "inner_malformed", "tunnels_too_deep")
    return {name: stats[name] for name in names if stats[name]}


TUNNELS = {
    "ip in ip": around(IP_IN_IP, INNER),
    "6in4": around(IPV6_IN_IP, INNER_6),
    "4in6": around(IP_IN_IP, INNER, six=True),
    "6in6": around(IPV6_IN_IP, INNER_6, six=True),
    "gre": around(GRE, gre(INNER)),
    "gre, IPv6 inside": around(GRE, gre(INNER_6, 0x86DD)),
    "gre, checksum": around(GRE, gre(INNER, checksum_field=True)),
    "gre, key": around(GRE, gre(INNER, key=7)),
    "gre, sequence": around(GRE, gre(INNER, sequence=7)),
    "gre, all": around(GRE, gre(INNER, checksum_field=True, key=7, sequence=8), six=True),
    "gre, Ethernet": around(GRE, gre(INNER_FRAME, 0x6558, key=7)),
    "gre of PPTP": around(GRE, gre(PPP_IP, 0x880B, version=1, key=7, sequence=1)),
    "gre of PPTP, acknowledging": around(
        GRE, gre(PPP_IP[2:], 0x880B, version=1, key=7, sequence=1, acknowledgement=1)
    ),
    "erspan I": around(GRE, gre(INNER_FRAME, 0x88BE)),
    "erspan II": around(GRE, gre(b"\x10" + bytes(7) + INNER_FRAME, 0x88BE, sequence=1)),
    "erspan III": around(GRE, gre(b"\x20" + bytes(11) + INNER_FRAME, 0x22EB, sequence=1)),
    "erspan III, sub-header": around(
        GRE, gre(b"\x20" + bytes(10) + b"\x01" + bytes(8) + INNER_FRAME, 0x22EB, sequence=1)
    ),
    "vxlan": around(UDP, vxlan(INNER_FRAME)),
    "vxlan over IPv6": around(UDP, vxlan(INNER_FRAME), six=True),
    "ip options outside": around(GRE, gre(INNER), options=bytes(8)),  # type: ignore[arg-type]
    "gre in vxlan in ip": around(
        IP_IN_IP, ip(*OUTER, UDP, vxlan(ethernet(ip(*OUTER, GRE, gre(INNER)), vlans=[5])))
    ),
}


@pytest.mark.parametrize("name", TUNNELS)
def test_the_packet_inside_is_metered(name: str) -> None:
    record, meter = decapsulated(TUNNELS[name])
    assert (record["src_port"], record["dst_port"], record["protocol"]) == (1, 2, UDP)
    assert (record["total_length_of_fwd_packet"], record["fwd_header_length"]) == (3, 8)
    six = "6" in name and name != "4in6" and "over" not in name
    assert record["src"].tobytes()[:2] == (b"\x20\x01" if six else b"\0\0")
    assert record["fwd_ip_bytes"] == (51 if six else 31)
    assert record["fwd_frame_bytes"] == len(TUNNELS[name])
    assert counted(meter) == {"decapsulated": 1}
    assert (meter.stats.udp, meter.stats.ipv6) == (1, int(six))


@pytest.mark.parametrize("name", TUNNELS)
def test_without_being_asked_the_outer_flow_is_metered(name: str) -> None:
    (record,) = records_of(batch_of([TUNNELS[name]], [0]), small_meter())
    outer_6 = name in ("4in6", "6in6", "gre, all", "vxlan over IPv6")
    assert record["src"].tobytes()[-4:] == (b"\0\0\0\1" if outer_6 else bytes([192, 0, 2, 1]))
    assert record["csv_protocol"] == (UDP if name.startswith("vxlan") else 0)


def test_both_directions_of_a_tunnel_are_one_inner_flow() -> None:
    there = tcp_frame(CLIENT, SERVER, 40_000, 80, "S")
    back = tcp_frame(SERVER, CLIENT, 80, 40_000, "SA")
    frames = [
        ethernet(ip(*OUTER, UDP, vxlan(there))),
        ethernet(ip(OUTER[1], OUTER[0], UDP, vxlan(back))),
        there,
    ]
    (record,) = records_of(batch_of(frames, [0, 1, 2]), small_meter(decapsulate=True))
    assert (record["total_fwd_packet"], record["total_bwd_packets"], record["syn_flag_count"]) == (2, 1, 3)


def test_the_outermost_vlan_is_recorded() -> None:
    inner = udp_frame(CLIENT, SERVER, 1, 2, vlans=[9])
    assert decapsulated(ethernet(ip(*OUTER, UDP, vxlan(inner)), vlans=[7]))[0]["vlan"] == 7
    assert decapsulated(ethernet(ip(*OUTER, UDP, vxlan(inner))))[0]["vlan"] == 9
    arp = ethernet(arp_frame(CLIENT, SERVER)[14:], ether_type=0x0806, vlans=[9])
    assert decapsulated(ethernet(ip(*OUTER, UDP, vxlan(arp))))[0]["vlan"] == -1


def test_padding_of_the_inner_and_of_the_outer_frame_is_no_payload() -> None:
    frame = ethernet(ipv4(*OUTER, INNER + b"trailer", protocol=IP_IN_IP), minimum=100)
    record, _ = decapsulated(frame)
    assert record["total_length_of_fwd_packet"] == 3


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (around(UDP, vxlan(arp_frame(CLIENT, SERVER))), "inner_not_ip"),
        (around(GRE, gre(b"", 0x0000)), "inner_not_ip"),  # a keepalive
        (around(GRE, gre(INNER, flags=0x4000)), "inner_not_ip"),  # source routed
        (around(GRE, gre(INNER, version=3)), "inner_not_ip"),
        (around(GRE, gre(b"", 0x880B, version=1, key=7, acknowledgement=1)), "inner_not_ip"),
        (around(GRE, gre(b"\xff\x03\x00\xfd", 0x880B, version=1, key=7, sequence=1)), "inner_not_ip"),
        (around(IP_IN_IP, b"\x55" * 40), "inner_not_ip"),
        (around(IP_IN_IP, b"\x44" + INNER[1:]), "inner_malformed"),
        (around(IP_IN_IP, INNER[:19]), "inner_malformed"),
        (around(IPV6_IN_IP, INNER_6[:43]), "inner_malformed"),
        (around(GRE, gre(INNER, key=1)[:6]), "inner_malformed"),
        (around(GRE, gre(b"\x20", 0x22EB, sequence=1)), "inner_malformed"),
        (around(UDP, vxlan(INNER_FRAME[:10])), "inner_malformed"),
    ],
)
def test_a_tunnel_whose_inside_cannot_be_metered_is_the_outer_flow(frame: bytes, reason: str) -> None:
    record, meter = decapsulated(frame)
    assert record["src"].tobytes()[-4:] == bytes([192, 0, 2, 1])
    assert counted(meter) == {reason: 1}


@pytest.mark.parametrize("captured", [34, 38, 42, 57, 61])
def test_an_inside_that_the_snap_length_cut_is_the_outer_flow(captured: int) -> None:
    record, meter = decapsulated(TUNNELS["gre"][:captured], wire_lengths=[len(TUNNELS["gre"])])
    assert record["protocol"] == GRE
    assert counted(meter) == ({"inner_truncated": 1} if captured >= 38 else {})


def test_payload_that_the_snap_length_cut_counts_by_the_inner_header() -> None:
    whole = ethernet(ipv4(*OUTER, gre(ip(CLIENT, SERVER, TCP, tcp(1, 2, "A", bytes(1_000)))), protocol=GRE))
    record, meter = decapsulated(whole[:100], wire_lengths=[len(whole)])
    assert (record["total_length_of_fwd_packet"], meter.stats.cut_by_snaplen) == (1_000, 1)


def test_what_is_no_vxlan_stays_udp() -> None:
    for datagram in (vxlan(INNER_FRAME, flags=0), vxlan(INNER_FRAME)[:15], udp(4_789, 50_000, bytes(80))):
        record, meter = decapsulated(ethernet(ip(*OUTER, UDP, datagram)))
        assert (record["protocol"], counted(meter)) == (UDP, {})


def test_a_later_fragment_of_a_tunnel_is_not_entered() -> None:
    record, meter = decapsulated(around(IP_IN_IP, INNER, fragment_offset=64))
    assert (record["protocol"], record["csv_protocol"], counted(meter)) == (IP_IN_IP, 0, {})
    header = struct.pack("!BBHI", IP_IN_IP, 0, 8 << 3 | 1, 7)
    record, meter = decapsulated(ethernet(ipv6(*OUTER_6, header + INNER, next_header=44)))
    assert (record["protocol"], counted(meter)) == (IP_IN_IP, {})


def test_the_first_fragment_of_a_tunnel_counts_its_own_bytes() -> None:
    inner = ip(CLIENT, SERVER, UDP, udp(1, 2, bytes(1_000)))
    record, meter = decapsulated(around(IP_IN_IP, inner[:128], more_fragments=True))
    assert (record["src_port"], record["total_length_of_fwd_packet"]) == (1, 100)
    assert counted(meter) == {"decapsulated": 1}


def test_tunnels_in_tunnels_are_entered_four_deep() -> None:
    def nested(depth: int) -> bytes:
        packet = INNER
        for level in range(depth):
            packet = ipv4(f"192.0.2.{level}", "192.0.2.99", packet, protocol=IP_IN_IP)
        return ethernet(packet)

    record, meter = decapsulated(nested(4))
    assert (record["src_port"], counted(meter)) == (1, {"decapsulated": 1})
    record, meter = decapsulated(nested(6))
    assert (record["protocol"], record["src"].tobytes()[-1]) == (IP_IN_IP, 1)
    assert counted(meter) == {"decapsulated": 1, "tunnels_too_deep": 1}


def test_a_bad_packet_two_tunnels_deep_is_the_flow_of_the_inner_tunnel() -> None:
    frame = around(IP_IN_IP, ip(CLIENT, SERVER, GRE, gre(b"\x44" + bytes(40))))
    record, meter = decapsulated(frame)
    assert (record["protocol"], record["src"].tobytes()[-4:]) == (GRE, bytes([10, 0, 0, 1]))
    assert counted(meter) == {"decapsulated": 1, "inner_malformed": 1}


def test_a_frame_that_is_not_metered_keeps_its_reason() -> None:
    for frame, reason in (
        (arp_frame(CLIENT, SERVER), "arp"),
        (ethernet(b"x" * 40, ether_type=0x88CC), "not_ip"),
        (TUNNELS["gre"][:33], "truncated"),
        (ethernet(b"\x44" + bytes(40), ether_type=0x0800), "malformed"),
    ):
        meter = small_meter(decapsulate=True)
        assert len(records_of(batch_of([frame], [0]), meter)) == 0
        stats = {name: count for name, count in meter.stats.as_dict().items() if count}
        assert stats == {"packets_seen": 1, reason: 1}
