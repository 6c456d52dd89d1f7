"""Frames to packets, slow and obvious: what the decoder should see, tunnels included.

A frame is cut into layers from the outside in; every layer is a slice of the one around it, with
the length that it should have beside the bytes that are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.reference.flow_reference import Packet

ETHERNET, PPP, PPP_HDLC, RAW, SLL, SLL2 = 1, 9, 50, 101, 113, 276
TAGS = (0x8100, 0x88A8, 0x9100)
IPV4, IPV6, ARP, PPPOE = 0x0800, 0x86DD, 0x0806, 0x8864
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
MAPPED = bytes(10) + b"\xff\xff"
DEEPEST = 4


class NotMetered(Exception):
    """The argument is the counter of the reason."""


@dataclass(frozen=True)
class Layer:
    """Some bytes of a frame and how many there were on the wire."""

    data: bytes
    wire: int

    def number(self, at: int, size: int = 2) -> int:
        if len(self.data) < at + size:
            raise NotMetered("truncated")
        return int.from_bytes(self.data[at : at + size], "big")

    def after(self, count: int) -> Layer:
        return Layer(self.data[count:], self.wire - count)

    def until(self, count: int) -> Layer:
        return Layer(self.data[:count], min(self.wire, count))


@dataclass
class Decoded:
    packet: Packet
    protocol: int  #: the true one
    vlan: int
    counted: list[str] = field(default_factory=list)  #: counters of tunnels


@dataclass(frozen=True)
class Ip:
    source: bytes
    destination: bytes
    protocol: int
    later_fragment: bool
    total: int
    body: Layer | None  #: None where headers before it are not whole
    whole: bool


def decode(
    frame: bytes,
    *,
    wire: int | None = None,
    link_type: int = ETHERNET,
    vlan: int = -1,
    time_ns: int = 0,
    count_cut: bool = True,
    decapsulate: bool = False,
) -> Decoded:
    """The packet that is metered for a frame; NotMetered with the reason where there is none."""
    outer = Layer(frame, max(wire or 0, len(frame)))
    layers = [(outer, link_type)]
    counted: list[str] = []
    if decapsulate:
        while True:
            inside = tunnel(*layers[-1])
            if inside is None:
                break
            if isinstance(inside, str):
                counted.append(inside)
                break
            if len(layers) > DEEPEST:
                counted.append("tunnels_too_deep")
                break
            layers.append(inside)
    while True:
        layer, link = layers[-1]
        try:
            decoded = decode_one(layer, link, time_ns, count_cut)
        except NotMetered as reason:
            if len(layers) == 1:
                raise
            counted.append(inner_reason(str(reason), layer))
            layers.pop()
            continue
        if len(layers) > 1:
            counted.append("decapsulated")
        tags = [vlan, *(link_layer(*around)[2] for around in layers)]
        vlan = next((tag for tag in tags if tag >= 0), -1)
        packet = replace(decoded.packet, frame_bytes=outer.wire)
        return Decoded(packet, decoded.protocol, vlan, counted)


def inner_reason(reason: str, layer: Layer) -> str:
    if reason in ("arp", "not_ip"):
        return "inner_not_ip"
    if reason == "malformed" or layer.wire <= len(layer.data):
        return "inner_malformed"
    return "inner_truncated"


def link_layer(layer: Layer, link_type: int) -> tuple[int, Layer, int]:
    """(EtherType or 0, what it names, outermost VLAN id or -1)."""
    vlan = -1
    if link_type == ETHERNET:
        kind, rest = layer.number(12), layer.after(14)
    elif link_type == SLL:
        kind, rest = layer.number(14), layer.after(16)
    elif link_type == SLL2:
        layer.number(18)
        kind, rest = layer.number(0), layer.after(20)
    elif link_type in (0, 108):
        layer.number(0, 4)
        family = layer.data[0] | layer.data[1] | layer.data[2] | layer.data[3]  # either byte order
        kind = IPV4 if family == 2 else IPV6 if family in (10, 24, 28, 30) else 0
        rest = layer.after(4)
    elif link_type == PPP_HDLC and layer.number(0) >> 8 in (0x0F, 0x8F):
        kind, rest = layer.number(2), layer.after(4)
    elif link_type in (PPP, PPP_HDLC):
        kind, rest = point_to_point(layer.after(2) if layer.number(0) == 0xFF03 else layer)
    else:
        kind, rest = {4: IPV4, 6: IPV6}.get(layer.number(0, 1) >> 4, 0), layer
    while kind in TAGS:
        vlan = rest.number(0) & 0xFFF if vlan < 0 else vlan
        kind, rest = rest.number(2), rest.after(4)
    snap = len(rest.data) >= 8 and rest.data[:4] == b"\xaa\xaa\x03\0"
    if kind <= 1500 and link_type in (ETHERNET, SLL, SLL2) and snap:
        kind, rest = rest.number(6), rest.after(8)
    if kind == PPPOE:
        rest.number(6)
        kind, rest = point_to_point(rest.after(6))
    return kind, rest, vlan


def point_to_point(layer: Layer) -> tuple[int, Layer]:
    size = 1 if layer.number(0) >> 8 & 1 else 2
    return {0x21: IPV4, 0x57: IPV6}.get(layer.number(0, size), 0), layer.after(size)


def network(layer: Layer, kind: int) -> Ip:
    """The IP header and what is behind it, to the end of the IP packet."""
    if kind == IPV4:
        layer.number(18)
        header = (layer.data[0] & 15) * 4
        if layer.data[0] >> 4 != 4 or header < 20:
            raise NotMetered("malformed")
        total = layer.number(2) or layer.wire
        if total < header:
            raise NotMetered("malformed")
        return Ip(
            MAPPED + layer.data[12:16],
            MAPPED + layer.data[16:20],
            layer.data[9],
            layer.number(6) & 0x1FFF != 0,
            total,
            layer.until(total).after(header),
            total <= len(layer.data),
        )
    layer.number(38)
    if layer.data[0] >> 4 != 6:
        raise NotMetered("malformed")
    following = layer.data[6]
    total = 40 + layer.number(4)
    if total == 40 and following != 59:
        total = layer.wire
    body: Layer | None = layer.until(total).after(40)
    later = False
    while following in (0, 43, 44, 51, 60, 135, 139, 140) and not later:
        if len(body.data) < 8:
            body = None
            break
        size = 8 if following == 44 else 8 + body.data[1] * (4 if following == 51 else 8)
        later = following == 44 and body.number(2) >> 3 != 0
        following, body = body.data[0], body.after(size)
    addresses = layer.data[8:24], layer.data[24:40]
    return Ip(*addresses, following, later, total, body, total <= len(layer.data))


def decode_one(layer: Layer, link_type: int, time_ns: int, count_cut: bool) -> Decoded:
    """The packet in a frame, tunnels being no more than a protocol."""
    kind, rest, vlan = link_layer(layer, link_type)
    if kind == ARP:
        raise NotMetered("arp")
    if kind not in (IPV4, IPV6):
        raise NotMetered("not_ip")
    ip = network(rest, kind)
    fields = {"time_ns": time_ns, "ip_bytes": ip.total, "frame_bytes": layer.wire}
    source_port = destination_port = 0
    short = "malformed" if ip.whole else "truncated"
    if ip.body is None:
        raise NotMetered(short)
    body, protocol = ip.body, 0
    least = {TCP: 16, UDP: 8, ICMP if kind == IPV4 else ICMPV6: 2}.get(ip.protocol)
    if least is not None and not ip.later_fragment:
        if len(body.data) < least:
            raise NotMetered(short)
        protocol = ip.protocol
        if protocol in (TCP, UDP):
            source_port, destination_port = body.number(0), body.number(2)
            there = body.wire if count_cut else len(body.data)
            header = 8
            if protocol == TCP:
                header = min((body.data[12] >> 4) * 4, there)
                if (body.data[12] >> 4) < 5:
                    raise NotMetered("malformed")
                fields |= {"flags": body.data[13], "window": body.number(14)}
            fields |= {"header": header, "payload": max(0, there - header)}
        else:
            fields["icmp"] = (body.data[0], body.data[1])
    ends = (ip.source, source_port), (ip.destination, destination_port)
    return Decoded(
        Packet(source=ends[0], destination=ends[1], protocol=protocol, **fields), ip.protocol, vlan
    )


def tunnel(layer: Layer, link_type: int) -> tuple[Layer, int] | str | None:
    """What is inside and its link type, the counter when it is nothing to read, None: no tunnel."""
    try:
        kind, rest, _ = link_layer(layer, link_type)
        ip = network(rest, kind) if kind in (IPV4, IPV6) else None
    except NotMetered:
        return None
    if ip is None or ip.body is None or ip.later_fragment:
        return None
    if ip.protocol in (4, 41):
        return ip.body, RAW
    if ip.protocol == 47 and len(ip.body.data) >= 4:
        return generic_encapsulation(ip.body)
    vxlan = ip.protocol == UDP and len(ip.body.data) >= 16
    if vxlan and ip.body.number(2) == 4789 and ip.body.data[8] & 8:
        return ip.body.after(16), ETHERNET
    return None


def generic_encapsulation(body: Layer) -> tuple[Layer, int] | str:
    """GRE: a header of 4 to 20 bytes."""
    flags, carried = body.number(0), body.number(2)
    version = flags & 7
    if version > 1 or flags & 0x4000:
        return "inner_not_ip"
    optional = [0x8000, 0x2000, 0x1000] + ([0x0080] if version == 1 else [])
    inside = body.after(4 + 4 * sum(flags & bit != 0 for bit in optional))
    if version == 1:
        return (inside, PPP) if carried == 0x880B and flags & 0x1000 else "inner_not_ip"
    if carried in (IPV4, IPV6):
        return inside, RAW
    if carried == 0x6558:
        return inside, ETHERNET
    if carried == 0x88BE:
        return inside.after(8 if flags & 0x1000 else 0), ETHERNET
    if carried == 0x22EB:
        if len(inside.data) < 12:
            return inside, ETHERNET
        return inside.after(20 if inside.data[11] & 1 else 12), ETHERNET
    return "inner_not_ip"
