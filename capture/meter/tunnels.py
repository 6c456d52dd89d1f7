"""Tunnels: the packet inside IP in IP, GRE and VXLAN.  Pure kernels.

`decode_inside` takes the place of `decode` where tunnels are to be entered.  It goes inwards as far
as there is a tunnel that it knows, decodes what it finds there as if it had come alone, and turns
back a step where that cannot be metered: a packet is never lost for what it carries.

Sources: RFC 2003 and 4213 (IP in IP), RFC 2784 and 2890 (GRE), RFC 2637 (GRE of PPTP), RFC 7348
(VXLAN), draft-foschiano-erspan (ERSPAN).
"""

from __future__ import annotations

from capture.jit import helper
from capture.jit.primitives import u8, u16
from capture.meter.decode import (
    ARP,
    MALFORMED,
    NOT_IP,
    OK,
    UDP,
    decode,
    ipv6_transport,
    network_layer,
)
from capture.meter.stats import INDEX

MAX_DEPTH = 4  # tunnels in tunnels; what is deeper is the flow of the fifth

IPV4_IN_IP, IPV6_IN_IP, GRE = 4, 41, 47
VXLAN_PORT = 4789
VXLAN_HAS_ID = 0x08

#: What is inside, as a link type of `network_layer`; or why nothing can be.
ETHERNET, PPP, RAW = 1, 9, 101
NO_TUNNEL, NOT_READ = -1, -2

_CHECKSUM, _ROUTING, _KEY, _SEQUENCE, _ACKNOWLEDGEMENT = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080

_DECAPSULATED, _TOO_DEEP = INDEX["decapsulated"], INDEX["tunnels_too_deep"]
_INNER_NOT_IP, _INNER_TRUNCATED = INDEX["inner_not_ip"], INDEX["inner_truncated"]
_INNER_MALFORMED = INDEX["inner_malformed"]


@helper
def gre_payload(buffer, at, readable):
    """What a GRE header at `at` carries -> (offset, link type)."""
    if readable - at < 4:
        return at, NO_TUNNEL
    flags, carried = u16(buffer, at), u16(buffer, at + 2)
    version = flags & 7
    if version > 1 or flags & _ROUTING:
        return at, NOT_READ
    at += 4
    if flags & _CHECKSUM:
        at += 4
    if flags & _KEY:
        at += 4
    if flags & _SEQUENCE:
        at += 4
    if version == 1:  # PPTP: a packet without a sequence number acknowledges and carries nothing
        if flags & _ACKNOWLEDGEMENT:
            at += 4
        return at, PPP if carried == 0x880B and flags & _SEQUENCE else NOT_READ
    if carried == 0x0800 or carried == 0x86DD:
        return at, RAW
    if carried == 0x6558:  # transparent Ethernet bridging
        return at, ETHERNET
    if carried == 0x88BE:  # ERSPAN: type I has neither sequence number nor header of its own
        return at + (8 if flags & _SEQUENCE else 0), ETHERNET
    if carried == 0x22EB:  # ERSPAN type III, with a sub-header when its last bit says so
        if readable - at < 12:
            return at, ETHERNET
        return at + (20 if u8(buffer, at + 11) & 1 else 12), ETHERNET
    return at, NOT_READ


@helper
def tunnel_in(buffer, start, captured_end, wire_end, link_type, packet):
    """The tunnel that a frame is -> (offset of what is inside, its end, its link type).

    The end is where the outer IP packet ends, which may lie behind what was captured.  A later
    fragment is no tunnel: it begins anywhere in what is inside.
    """
    at, kind = network_layer(buffer, start, captured_end, link_type, packet)
    if kind == 0x0800:
        if captured_end - at < 20 or u8(buffer, at) >> 4 != 4 or (u8(buffer, at) & 15) < 5:
            return at, wire_end, NO_TUNNEL
        if u16(buffer, at + 6) & 0x1FFF:
            return at, wire_end, NO_TUNNEL
        total, protocol = u16(buffer, at + 2), u8(buffer, at + 9)
        end = wire_end if total == 0 else min(at + total, wire_end)
        header = (u8(buffer, at) & 15) * 4
        if (total if total != 0 else wire_end - at) < header:
            return at, wire_end, NO_TUNNEL
        at += header
    elif kind == 0x86DD:
        if captured_end - at < 40 or u8(buffer, at) >> 4 != 6:
            return at, wire_end, NO_TUNNEL
        total = u16(buffer, at + 4)
        end = wire_end if total == 0 else min(at + 40 + total, wire_end)
        at, protocol, later = ipv6_transport(buffer, at + 40, min(captured_end, end), u8(buffer, at + 6))
        if at < 0 or later:
            return at, wire_end, NO_TUNNEL
    else:
        return at, wire_end, NO_TUNNEL
    readable = min(captured_end, end)
    if protocol == IPV4_IN_IP or protocol == IPV6_IN_IP:
        return at, end, RAW
    if protocol == GRE:
        at, inside = gre_payload(buffer, at, readable)
        return at, end, inside
    if protocol == UDP and readable - at >= 16:
        if u16(buffer, at + 2) == VXLAN_PORT and u8(buffer, at + 8) & VXLAN_HAS_ID:
            return at + 16, end, ETHERNET
    return at, end, NO_TUNNEL


@helper
def innermost(buffer, at, captured_end, end, link_type, packet, limit):
    """Go inwards by at most `limit` tunnels -> (tunnels, offset, end, link type, what stopped it).

    What stopped it is NO_TUNNEL, NOT_READ, or the link type of a tunnel beyond the limit.
    """
    depth = 0
    while True:
        inner_at, inner_end, inside = tunnel_in(buffer, at, captured_end, end, link_type, packet)
        if inside < 0 or depth == limit:
            return depth, at, end, link_type, inside
        depth, at, end, link_type = depth + 1, inner_at, inner_end, inside


@helper
def decode_inside(buffer, start, captured, wire, link_type, count_cut, packet, counters):
    """`decode`, of the innermost packet that can be metered; frame bytes are those of the frame."""
    captured_end = start + captured
    frame_end = start + max(wire, captured)
    vlan = packet.vlan
    limit = MAX_DEPTH
    while True:
        packet.vlan = vlan
        depth, at, end, inner_link, stopped = innermost(
            buffer, start, captured_end, frame_end, link_type, packet, limit
        )
        if limit == MAX_DEPTH:
            if stopped == NOT_READ:
                counters[_INNER_NOT_IP] += 1
            elif stopped >= 0:
                counters[_TOO_DEEP] += 1
        readable = max(0, min(captured_end, end) - at)
        code = decode(buffer, at, readable, end - at, inner_link, count_cut, packet, counters)
        if depth == 0:
            return code
        if code == OK:
            packet.frame_bytes = frame_end - start
            counters[_DECAPSULATED] += 1
            return OK
        if code == ARP or code == NOT_IP:
            counters[_INNER_NOT_IP] += 1
        elif code == MALFORMED or end - at <= readable:
            counters[_INNER_MALFORMED] += 1
        else:
            counters[_INNER_TRUNCATED] += 1
        limit = depth - 1
