"""Random and mutated frames: the decoder against the slow one, tunnels and link layers included."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.capture.metering import CLIENT, SERVER, records_of, small_meter
from tests.capture.test_meter_tunnels import TUNNELS
from tests.packets import (
    TCP,
    UDP,
    arp_frame,
    batch_of,
    ethernet,
    icmp_frame,
    ip,
    ipv4,
    ipv6,
    tcp,
    tcp_frame,
    udp,
)
from tests.reference.frames import Decoded, NotMetered, decode

V6 = ("2001:db8::1", "2001:db8::2")
PACKET = ip(CLIENT, SERVER, UDP, udp(1, 2, b"abc"))
FRAGMENT = bytes([UDP, 0, 0, 1, 0, 0, 0, 7])
EXTENSIONS = bytes([60, 0]) + bytes(6) + bytes([51, 0]) + bytes(6) + bytes([44, 1]) + bytes(10) + FRAGMENT

DEEP = PACKET
for _ in range(6):
    DEEP = ip(CLIENT, SERVER, 4, DEEP)

#: Link type and frame, each a start for mutations.
SEEDS: list[tuple[int, bytes]] = [
    *((1, frame) for frame in TUNNELS.values()),
    (1, ethernet(DEEP)),
    (1, tcp_frame(CLIENT, SERVER, 1, 2, "PA", b"xyz", options=bytes(8), minimum=80)),
    (1, tcp_frame(*V6, 1, 2, "S", vlans=[3, 4])),
    (1, icmp_frame(CLIENT, SERVER)),
    (1, icmp_frame(*V6, 128)),
    (1, arp_frame(CLIENT, SERVER)),
    (1, ethernet(ipv6(*V6, EXTENSIONS + udp(1, 2, b"abcdefgh"), next_header=0))),
    (1, ethernet(ipv6(*V6, bytes([60, *bytes(7)]) * 20 + EXTENSIONS + udp(1, 2, b"abc"), next_header=60))),
    (1, ethernet(ipv4(CLIENT, SERVER, b"y" * 40, protocol=UDP, fragment_offset=64, options=bytes(4)))),
    (1, ethernet(ipv4(CLIENT, SERVER, tcp(1, 2, "A", b"x" * 80), total_length=0))),
    (1, ethernet(b"\x11\0\0\1\0\x21\0\x21" + PACKET, ether_type=0x8864)),
    (1, ethernet(b"\xaa\xaa\x03\0\0\0\x08\0" + PACKET, ether_type=60)),
    (113, bytes(14) + b"\x08\0" + PACKET),
    (276, b"\x08\0" + bytes(18) + PACKET),
    (0, b"\x02\0\0\0" + PACKET),
    (108, b"\0\0\0\x1e" + ip(*V6, TCP, tcp(1, 2))),
    (9, b"\xff\x03\0\x21" + PACKET),
    (9, b"\x21" + PACKET),
    (50, b"\x0f\0\x08\0" + PACKET),
    (101, PACKET),
    (12, ip(*V6, UDP, udp(1, 2))),
]


@st.composite
def frames(draw: Any) -> tuple[int, bytes, int]:
    """(link type, captured bytes, wire length) of a seed with some bytes changed and cut."""
    link_type, seed = draw(st.sampled_from(SEEDS))
    frame = bytearray(seed)
    for place in draw(st.lists(st.integers(0, min(len(frame), 90) - 1), max_size=3)):
        frame[place] = draw(st.sampled_from((0, 1, 2, 4, 6, 8, 17, 41, 47, 58, 0x44, 0x45, 0x60, 0x81, 255)))
    wire = len(frame) + draw(st.sampled_from((0, 0, 0, 4, 1_000)))
    kept = len(frame) - draw(st.sampled_from((0, 0, 0, 1, 5, 13, 30, 60, 1_000)))
    return link_type, bytes(frame[: max(0, kept)]), wire


def assert_decoded(record: Any, expected: Decoded) -> None:
    packet = expected.packet
    assert (record["src"].tobytes(), record["dst"].tobytes()) == (packet.source[0], packet.destination[0])
    assert (record["src_port"], record["dst_port"]) == (packet.source[1], packet.destination[1])
    assert (record["protocol"], record["csv_protocol"]) == (expected.protocol, packet.protocol)
    assert (record["icmp_type"], record["icmp_code"]) == packet.icmp
    assert (record["fwd_ip_bytes"], record["fwd_frame_bytes"]) == (packet.ip_bytes, packet.frame_bytes)
    assert (record["total_length_of_fwd_packet"], record["fwd_header_length"]) == (
        packet.payload,
        packet.header,
    )
    assert (record["fwd_tcp_flags"], record["fwd_init_win_bytes"]) == (packet.flags, packet.window)
    assert record["vlan"] == expected.vlan


#: IP in IP, six deep; the third says that it is one byte long, so what is in it is not looked at.
SHORT_MIDDLE = ethernet(DEEP)[:56] + b"\0\1" + ethernet(DEEP)[58:]


@settings(max_examples=400)
@example((1, SHORT_MIDDLE, len(SHORT_MIDDLE)), False, True, -1)
@given(frames(), st.booleans(), st.booleans(), st.sampled_from((-1, -1, 7)))
def test_frames_are_decoded_as_by_the_slow_decoder(
    drawn: tuple[int, bytes, int], count_cut: bool, decapsulate: bool, vlan: int
) -> None:
    link_type, frame, wire = drawn
    options = {"count_cut": count_cut, "decapsulate": decapsulate}
    meter = METERS[count_cut, decapsulate]
    before = meter.stats.as_dict()
    batch = batch_of([frame], [0], link_type=link_type, vlan=vlan, wire_lengths=[max(wire, len(frame))])
    records = records_of(batch, meter)
    counted = {name: count - before[name] for name, count in meter.stats.as_dict().items()}
    names = ("decapsulated", "inner_not_ip", "inner_truncated", "inner_malformed", "tunnels_too_deep")
    try:
        expected = decode(frame, wire=wire, link_type=link_type, vlan=vlan, **options)
    except NotMetered as reason:
        assert len(records) == 0
        assert counted[str(reason)] == 1 == counted["packets_seen"]
        return
    (record,) = records
    assert_decoded(record, expected)
    assert {name: counted[name] for name in names} == {n: expected.counted.count(n) for n in names}
    assert counted["packets_metered"] == 1 == counted["ipv4"] + counted["ipv6"]


#: A meter for each setting: every frame makes a flow that the end of its batch writes.
METERS = {
    (count_cut, decapsulate): small_meter(count_cut=count_cut, decapsulate=decapsulate)
    for count_cut in (False, True)
    for decapsulate in (False, True)
}


def test_every_seed_is_a_packet_or_arp() -> None:
    for link_type, frame in SEEDS:
        if frame == arp_frame(CLIENT, SERVER):
            continue
        assert decode(frame, link_type=link_type).packet.ip_bytes > 0
