"""Frame to packet: link layer, IPv4 and IPv6 headers, TCP, UDP, ICMP.  Pure kernels.

`decode` fills the scratch packet and returns one of the codes below.  Nothing is reassembled: a
fragment that has no transport header is metered without ports.  A tunnel is the outer flow here;
`tunnels` looks inside.
"""

from __future__ import annotations

import numpy as np

from capture.jit import helper
from capture.jit.primitives import u8, u16, u32, u64
from capture.meter.stats import INDEX

OK, ARP, NOT_IP, TRUNCATED, MALFORMED = 0, 1, 2, 3, 4

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
MAPPED = np.uint64(0x0000FFFF00000000)  # lower half of ::ffff:0.0.0.0

_IPV4 = INDEX["ipv4"]
_IPV6 = INDEX["ipv6"]
_FRAGMENTS = INDEX["fragments"]
_VLAN = INDEX["vlan_tagged"]
_CUT = INDEX["cut_by_snaplen"]
_SEGMENTED = INDEX["segmented_later"]


@helper
def network_layer(buffer, at, end, link_type, packet):
    """Where the network layer starts, and its EtherType (0 for none) -> (offset, type)."""
    if link_type == 1:  # Ethernet
        if end - at < 14:
            return at, -1
        at, kind = at + 14, u16(buffer, at + 12)
    elif link_type == 113:  # Linux cooked v1
        if end - at < 16:
            return at, -1
        at, kind = at + 16, u16(buffer, at + 14)
    elif link_type == 276:  # Linux cooked v2
        if end - at < 20:
            return at, -1
        at, kind = at + 20, u16(buffer, at)
    elif link_type == 0 or link_type == 108:  # BSD loopback: address family, either endian
        if end - at < 4:
            return at, -1
        family = u8(buffer, at) | u8(buffer, at + 1) | u8(buffer, at + 2) | u8(buffer, at + 3)
        at, kind = at + 4, 0
        if family == 2:
            kind = 0x0800
        elif family == 24 or family == 28 or family == 30 or family == 10:
            kind = 0x86DD
    elif link_type == 9 or link_type == 50:  # PPP, with or without HDLC framing
        if end - at < 2:
            return at, -1
        if link_type == 50 and (u8(buffer, at) == 0x0F or u8(buffer, at) == 0x8F):  # Cisco HDLC
            if end - at < 4:
                return at, -1
            at, kind = at + 4, u16(buffer, at + 2)
        else:
            if u8(buffer, at) == 0xFF and u8(buffer, at + 1) == 0x03:
                at += 2
            at, kind = ppp_protocol(buffer, at, end)
    else:  # raw IP
        if end - at < 1:
            return at, -1
        version = u8(buffer, at) >> 4
        kind = 0x0800 if version == 4 else 0x86DD if version == 6 else 0
    while kind == 0x8100 or kind == 0x88A8 or kind == 0x9100:
        if end - at < 4:
            return at, -1
        if packet.vlan < 0:
            packet.vlan = u16(buffer, at) & 0x0FFF
        at, kind = at + 4, u16(buffer, at + 2)
    if kind <= 1500 and end - at >= 8 and link_type in (1, 113, 276):  # 802.3 with a SNAP header
        if u16(buffer, at) == 0xAAAA and u8(buffer, at + 2) == 3 and u8(buffer, at + 3) == 0:
            at, kind = at + 8, u16(buffer, at + 6)
    if kind == 0x8864:  # PPPoE session
        if end - at < 8:
            return at, -1
        at, kind = ppp_protocol(buffer, at + 6, end)
    return at, kind


@helper
def ppp_protocol(buffer, at, end):
    """PPP protocol field, one or two bytes -> (offset after it, EtherType or 0)."""
    if end - at < 2:
        return at, -1
    if u8(buffer, at) & 1:
        protocol, at = u8(buffer, at), at + 1
    else:
        protocol, at = u16(buffer, at), at + 2
    return at, 0x0800 if protocol == 0x21 else 0x86DD if protocol == 0x57 else 0


@helper
def ipv6_transport(buffer, at, end, following):
    """Walk the extension headers -> (offset, protocol, 1 for a later fragment); offset -1: cut.

    However many there are: each takes 8 bytes of the packet, and whoever stops early is walked past.
    """
    while True:
        if following in (0, 43, 60, 135, 139, 140):
            if end - at < 8:
                return -1, following, 0
            following, at = u8(buffer, at), at + 8 + 8 * u8(buffer, at + 1)
        elif following == 51:  # authentication header counts in words of four bytes
            if end - at < 8:
                return -1, following, 0
            following, at = u8(buffer, at), at + 8 + 4 * u8(buffer, at + 1)
        elif following == 44:
            if end - at < 8:
                return -1, following, 0
            later = (u16(buffer, at + 2) >> 3) != 0
            following, at = u8(buffer, at), at + 8
            if later:
                return at, following, 1
        else:
            return at, following, 0


@helper
def decode(buffer, start, captured, wire, link_type, count_cut, packet, counters):
    """Decode one frame into `packet` -> OK or the reason why it is not metered.

    packet.vlan, .interface and .time_ns are set by the caller.  `count_cut`: payload that the
    snap length cut off counts (by the IP and wire length); else only captured bytes do.
    """
    captured_end = start + captured
    at, kind = network_layer(buffer, start, captured_end, link_type, packet)
    if kind == -1:
        return TRUNCATED
    if kind == 0x0806:
        return ARP
    if kind != 0x0800 and kind != 0x86DD:
        return NOT_IP
    wire_end = start + max(wire, captured)
    fragment = 0
    segmented = False
    if kind == 0x0800:
        if captured_end - at < 20:
            return TRUNCATED
        if u8(buffer, at) >> 4 != 4 or (u8(buffer, at) & 15) < 5:
            return MALFORMED
        header = (u8(buffer, at) & 15) * 4
        total = u16(buffer, at + 2)
        if total == 0:
            total = wire_end - at
            segmented = True
        if total < header:
            return MALFORMED
        fragment = 1 if u16(buffer, at + 6) & 0x1FFF else 0
        protocol = u8(buffer, at + 9)
        packet.src_hi = 0
        packet.dst_hi = 0
        packet.src_lo = MAPPED | np.uint64(u32(buffer, at + 12))
        packet.dst_lo = MAPPED | np.uint64(u32(buffer, at + 16))
        transport = at + header
    else:
        if captured_end - at < 40:
            return TRUNCATED
        if u8(buffer, at) >> 4 != 6:
            return MALFORMED
        total = 40 + u16(buffer, at + 4)
        if total == 40 and u8(buffer, at + 6) != 59:
            total = wire_end - at
            segmented = True
        packet.src_hi = u64(buffer, at + 8)
        packet.src_lo = u64(buffer, at + 16)
        packet.dst_hi = u64(buffer, at + 24)
        packet.dst_lo = u64(buffer, at + 32)
        transport, protocol, fragment = ipv6_transport(
            buffer, at + 40, min(captured_end, at + total), u8(buffer, at + 6)
        )
    ip_end = at + total
    packet.ip_bytes = total
    packet.frame_bytes = wire_end - start
    end = min(ip_end, wire_end)
    cut = end > captured_end
    if cut and not count_cut:
        end = captured_end
    icmp = ICMP if kind == 0x0800 else ICMPV6
    code = TRUNCATED
    if transport >= 0:
        code = transport_layer(
            buffer, transport, min(captured_end, ip_end), end, protocol, icmp, fragment, packet
        )
    if code == TRUNCATED and ip_end <= captured_end:
        return MALFORMED  # all of the packet is here, and it is too short for its headers
    if code != OK:
        return code
    counters[_IPV4 if kind == 0x0800 else _IPV6] += 1
    counters[_FRAGMENTS] += fragment
    if packet.vlan >= 0:
        counters[_VLAN] += 1
    if cut:
        counters[_CUT] += 1
    if segmented:
        counters[_SEGMENTED] += 1
    return OK


@helper
def transport_layer(buffer, at, available_end, end, protocol, icmp, fragment, packet):
    """Ports, flags, header and payload length.  `available_end` bounds what can be read, `end`
    what counts as header and payload; `icmp` is the protocol number of ICMP under this version of IP."""
    packet.protocol = protocol
    packet.src_port = 0
    packet.dst_port = 0
    packet.payload = 0
    packet.header = 0
    packet.window = 0
    packet.tcp_flags = 0
    packet.icmp_type = -1
    packet.icmp_code = -1
    packet.csv_protocol = 0
    if fragment:
        return OK
    available = available_end - at
    if protocol == TCP:
        if available < 16:
            return TRUNCATED
        header = (u8(buffer, at + 12) >> 4) * 4
        if header < 20:
            return MALFORMED
        header = min(header, end - at)  # the whole, where `end` lies behind what was captured
        packet.csv_protocol = TCP
        packet.tcp_flags = u8(buffer, at + 13)
        packet.window = u16(buffer, at + 14)
    elif protocol == UDP:
        if available < 8:
            return TRUNCATED
        header = 8
        packet.csv_protocol = UDP
    elif protocol == icmp:
        if available < 2:
            return TRUNCATED
        packet.csv_protocol = protocol
        packet.icmp_type = u8(buffer, at)
        packet.icmp_code = u8(buffer, at + 1)
        return OK
    else:
        return OK
    packet.src_port = u16(buffer, at)
    packet.dst_port = u16(buffer, at + 2)
    packet.header = header
    packet.payload = max(0, end - at - header)
    return OK
