"""A frame to what the package asks of a packet.

The package asks the same few things of a scapy packet again and again, and scapy answers each by
searching its layers or building the packet anew.  `MeteredPacket` holds the answers.  They come
from scapy's dissection, but for plain frames (untagged IPv4 without options, TCP or UDP), where
they stand at fixed places: dissecting costs ten times as much as all the rest.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from scapy.error import Scapy_Exception
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv46
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1Q, Ether, Loopback, LoopbackOpenBSD
from scapy.layers.ppp import HDLC, PPP
from scapy.packet import Packet, Padding, Raw
from scapy.utils import EDecimal

from capture.packets import PacketBatch

# scapy says on standard error what it thinks of every damaged packet; here they are counted.
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

_TCP, _UDP, _ICMPV6 = 6, 17, 58
_IPV4_TYPE, _ARP_TYPE, _IPV6_TYPE = 0x0800, 0x0806, 0x86DD

#: LINKTYPE_ -> place of the EtherType, start of the network layer.
_FRAMING = {1: (12, 14), 113: (14, 16), 276: (0, 20)}
#: LINKTYPE_ numbers of frames that begin with the IP header.
_RAW_IP = frozenset({12, 14, 101, 228, 229})
#: LINKTYPE_ -> the class by which scapy reads a frame.
_LINK_LAYERS: dict[int, Any] = {
    0: Loopback,
    1: Ether,
    9: PPP,
    50: HDLC,
    108: LoopbackOpenBSD,
    113: CookedLinux,
    276: CookedLinuxV2,
    **dict.fromkeys(_RAW_IP, IPv46),
}

_ETHER_TYPE = struct.Struct("!H")
_IPV4_HEADER = struct.Struct("!BxHxxHxBxx4s4s")  # version and length, total length, fragment, protocol, ends
_TCP_HEADER = struct.Struct("!HHxxxxxxxxBBHxxxx")  # ports, data offset, flags, window
_UDP_PORTS = struct.Struct("!HHxxxx")

_RAW_KINDS = {4: _IPV4_TYPE, 6: _IPV6_TYPE}
_LAYERS = {_TCP: frozenset({"TCP", TCP}), _UDP: frozenset({"UDP", UDP})}
_NETWORK_HEADER = {IP: 20, IPv6: 40}  # bytes without which there is no such header
_FLAG_LETTERS = ["".join(c for bit, c in enumerate("FSRPAUEC") if flags >> bit & 1) for flags in range(256)]

#: What scapy raises when the outermost layer cannot be read; deeper ones it makes into Raw itself.
_SCAPY_FAULTS = (struct.error, IndexError, KeyError, TypeError, ValueError, Scapy_Exception)


@dataclass(init=False, repr=False, eq=False, slots=True)
class MeteredPacket:
    """A TCP or UDP packet over IPv4, as the package sees a scapy packet, and what a record needs.

    `packet["IP"]`, `packet["TCP"]` and `packet[IP]` are the packet itself: no two of the layers
    that the package looks at have a field of the same name.
    """

    time: EDecimal  #: seconds since the epoch, as scapy's readers give it
    src: bytes  #: 4 bytes; the package only compares addresses
    dst: bytes
    sport: int
    dport: int
    proto: int  #: TCP or UDP, in a tunnel too
    ihl: int
    window: int
    length: int  #: captured bytes of the frame
    payload_length: int  #: bytes after the transport header to the end of the frame
    time_ns: int
    tcp_flags: int
    data_length: int  #: bytes of `payload_length` that belong to the IP packet
    ip_length: int
    wire_length: int
    interface: int
    vlan: int  #: -1 = untagged
    tunnelled: bool  #: the ports are those of a packet inside this one

    #: The package looks for FIN in the IP flags, where it never is.
    flags: ClassVar[str] = ""

    def __contains__(self, layer: object) -> bool:
        return layer in _LAYERS[self.proto]

    def __getitem__(self, layer: object) -> MeteredPacket:
        return self

    def __len__(self) -> int:
        return self.length

    @property
    def payload(self) -> range:
        """Something as long as the payload: nothing but its length is asked for."""
        return range(self.payload_length)

    def sprintf(self, _: str) -> str:
        """The one format the package uses is "%TCP.flags%"."""
        return _FLAG_LETTERS[self.tcp_flags]


def seconds(time_ns: int) -> EDecimal:
    """Packet time as the package takes it: exact, where a float would be off by up to 0.2 us."""
    return EDecimal(Decimal(time_ns).scaleb(-9))


def packets_of(batch: PacketBatch) -> Iterator[tuple[int, MeteredPacket | str]]:
    """Packet time in ns, and each packet of a batch or the name of the reason not to meter it."""
    view = batch.buffer.data
    columns = (
        batch.offset,
        batch.captured_length,
        batch.wire_length,
        batch.timestamp_ns,
        batch.interface,
        batch.vlan,
        batch.link_type,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for offset, captured, wire, time_ns, interface, vlan, link_type in rows:
        frame = view[offset : offset + captured]
        packet = plain_packet(frame, link_type)
        if packet is None:
            packet = dissected_packet(bytes(frame), link_type)
        if isinstance(packet, MeteredPacket):
            packet.time = seconds(time_ns)
            packet.time_ns = time_ns
            packet.length = captured
            packet.wire_length = max(wire, captured)
            packet.interface = interface
            packet.vlan = vlan if vlan >= 0 else packet.vlan
        yield time_ns, packet


def plain_packet(frame: memoryview, link_type: int) -> MeteredPacket | str | None:
    """The packet of a plain frame, or a reason that its EtherType tells; None: ask scapy."""
    if link_type in _RAW_IP:
        at = 0
        kind = _RAW_KINDS.get(frame[0] >> 4) if len(frame) >= 20 else None
    elif link_type in _FRAMING and len(frame) >= _FRAMING[link_type][1] + 20:
        kind_at, at = _FRAMING[link_type]
        (kind,) = _ETHER_TYPE.unpack_from(frame, kind_at)
    else:
        return None
    if kind == _ARP_TYPE:
        return "arp"
    if kind == _IPV6_TYPE and len(frame) >= at + 40 and frame[at] >> 4 == 6:
        return "ipv6" if frame[at + 6] in (_TCP, _UDP, _ICMPV6) else None
    if kind != _IPV4_TYPE:
        return None
    first, total, fragment, protocol, source, destination = _IPV4_HEADER.unpack_from(frame, at)
    end = min(len(frame), at + total) if total else len(frame)
    if first != 0x45 or fragment & 0x1FFF or protocol not in _LAYERS or end < at + 28:
        return None
    packet = MeteredPacket()
    if protocol == _UDP:
        header = 8
        packet.sport, packet.dport = _UDP_PORTS.unpack_from(frame, at + 20)
        packet.tcp_flags = packet.window = 0
    else:
        if end < at + 40:
            return None
        packet.sport, packet.dport, data_offset, packet.tcp_flags, packet.window = _TCP_HEADER.unpack_from(
            frame, at + 20
        )
        header = data_offset >> 4 << 2
        if header < 20 or end < at + 20 + header:
            return None
    packet.src = source
    packet.dst = destination
    packet.proto = protocol
    packet.ihl = 5
    packet.ip_length = total or len(frame) - at
    packet.payload_length = len(frame) - at - 20 - header
    packet.data_length = end - at - 20 - header
    packet.vlan = -1
    packet.tunnelled = False
    return packet


def dissected_packet(frame: bytes, link_type: int) -> MeteredPacket | str:
    """The packet as scapy reads it, down to the first TCP or UDP header; or the reason why not."""
    if link_type not in _LINK_LAYERS:
        return "link_type"
    if not frame:
        return "truncated"
    try:
        layers: Packet = _LINK_LAYERS[link_type](frame, stop_dissection_after=(TCP, UDP))
    except _SCAPY_FAULTS:
        return "truncated"
    ip = layers.getlayer(IP)
    protocol = _TCP if layers.haslayer(TCP) else _UDP
    transport = layers.getlayer(TCP if protocol == _TCP else UDP)
    if ip is None or transport is None:
        return _reason(layers, ip)
    packet = MeteredPacket()
    packet.src = _packed(ip.src)
    packet.dst = _packed(ip.dst)
    packet.sport = transport.sport
    packet.dport = transport.dport
    packet.proto = protocol
    packet.ihl = ip.ihl
    packet.window = transport.window if protocol == _TCP else 0
    packet.tcp_flags = int(transport.flags) & 0xFF if protocol == _TCP else 0
    packet.payload_length = len(transport.payload)
    header = transport.dataofs * 4 if protocol == _TCP else 8
    packet.ip_length = ip.len or len(ip)
    packet.data_length = min(packet.payload_length, max(0, packet.ip_length - ip.ihl * 4 - header))
    tag = layers.getlayer(Dot1Q)
    packet.vlan = tag.vlan if tag is not None else -1
    packet.tunnelled = transport.underlayer is not ip
    return packet


def _packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def _reason(layers: Packet, ip: Any) -> str:
    """Why a frame has no TCP or UDP over IPv4 that scapy could read."""
    if ip is not None:
        if ip.frag:
            return "fragments"
        return "truncated" if ip.proto in _LAYERS else "other_protocols"
    if layers.haslayer(ARP):
        return "arp"
    if layers.haslayer(IPv6):
        return "ipv6"
    last = layers.lastlayer()
    while isinstance(last, Padding) and last.underlayer is not None:
        last = last.underlayer
    if isinstance(last, Raw) and last.underlayer is not None:
        load = bytes(last)
        unread = last.underlayer.guess_payload_class(load)
        if unread in _NETWORK_HEADER:
            return "truncated" if len(load) < _NETWORK_HEADER[unread] else "malformed"
    return "not_ip"
