"""Frames, captures and packet batches for tests, made from bytes alone.

Layers nest from the outside in, each a function that returns bytes:

    ethernet(ipv4("10.0.0.1", "10.0.0.2", tcp(40000, 80, "S")))

and the `*_frame` functions build a whole frame for the usual case, IPv4 or IPv6 by the addresses:

    tcp_frame("10.0.0.1", "10.0.0.2", 40000, 80, "PA", b"GET /")

Lengths and checksums are right unless a test asks for a wrong length.  Times are nanoseconds
since the epoch; `at(1.5)` is 1.5 s after `START_NS`.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from capture.packets import PacketBatch

#: 2017-07-07 13:00:00 UTC, a moment in the data set's last day.
START_NS = 1_499_432_400 * 1_000_000_000

TCP_FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, "A": 0x10, "U": 0x20, "E": 0x40, "C": 0x80}

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_VLAN, ETHERTYPE_IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD


def at(seconds: float) -> int:
    """Packet time in nanoseconds, `seconds` after START_NS, whole microseconds."""
    return START_NS + round(seconds * 1_000_000) * 1_000


def checksum(data: bytes) -> int:
    """RFC 1071 internet checksum."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(
    payload: bytes,
    *,
    ether_type: int | None = None,
    vlans: Sequence[int] = (),
    source: str = "02:00:00:00:00:01",
    destination: str = "02:00:00:00:00:02",
    minimum: int = 0,
) -> bytes:
    """An Ethernet II frame without FCS; `vlans` from the outside in, all 0x8100.

    `ether_type` follows the payload's IP version unless given.  `minimum=60` pads as a card does.
    """
    if ether_type is None:
        ether_type = ETHERTYPE_IPV6 if payload[:1] and payload[0] >> 4 == 6 else ETHERTYPE_IPV4
    tags = b"".join(struct.pack("!HH", ETHERTYPE_VLAN, vlan) for vlan in vlans)
    frame = mac(destination) + mac(source) + tags + struct.pack("!H", ether_type) + payload
    return frame.ljust(minimum, b"\0")


def ipv4(
    source: str,
    destination: str,
    payload: bytes,
    *,
    protocol: int = TCP,
    ttl: int = 64,
    identification: int = 1,
    fragment_offset: int = 0,
    more_fragments: bool = False,
    options: bytes = b"",
    total_length: int | None = None,
) -> bytes:
    """`fragment_offset` in bytes (a multiple of 8); `total_length` to lie about it."""
    header_length = 20 + len(options)
    if total_length is None:
        total_length = header_length + len(payload)
    fragment = fragment_offset // 8 | (0x2000 if more_fragments else 0)
    addresses = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(destination).packed
    first = (0x40 | header_length // 4, 0, total_length, identification, fragment, ttl, protocol)
    header = struct.pack("!BBHHHBBH", *first, 0) + addresses + options
    return struct.pack("!BBHHHBBH", *first, checksum(header)) + addresses + options + payload


def ipv6(
    source: str,
    destination: str,
    payload: bytes,
    *,
    next_header: int = TCP,
    hop_limit: int = 64,
    payload_length: int | None = None,
) -> bytes:
    """Extension headers, where wanted, are part of `payload`, and `next_header` names the first."""
    if payload_length is None:
        payload_length = len(payload)
    addresses = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(destination).packed
    return struct.pack("!IHBB", 6 << 28, payload_length, next_header, hop_limit) + addresses + payload


def tcp_flags(flags: str | int) -> int:
    """`"SA"` or a number to the flags byte."""
    return flags if isinstance(flags, int) else sum(TCP_FLAGS[letter] for letter in flags)


def tcp(
    source_port: int,
    destination_port: int,
    flags: str | int = "A",
    payload: bytes = b"",
    *,
    sequence: int = 0,
    acknowledgement: int = 0,
    window: int = 65535,
    options: bytes = b"",
) -> bytes:
    """A segment with checksum 0 (`tcp_frame` fills it in); `options` a multiple of 4 bytes."""
    data_offset = (20 + len(options)) // 4
    header = struct.pack(
        "!HHIIBBHHH",
        *(source_port, destination_port, sequence, acknowledgement),
        *(data_offset << 4, tcp_flags(flags), window, 0, 0),
    )
    return header + options + payload


def udp(source_port: int, destination_port: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    if length is None:
        length = 8 + len(payload)
    return struct.pack("!HHHH", source_port, destination_port, length, 0) + payload


def icmp(icmp_type: int, code: int = 0, payload: bytes = b"\0\1\0\1") -> bytes:
    """An ICMP or ICMPv6 message; `payload` from byte 4 on (identifier and sequence of an echo)."""
    return struct.pack("!BBH", icmp_type, code, 0) + payload


def gre(
    payload: bytes,
    carried: int = ETHERTYPE_IPV4,
    *,
    checksum_field: bool = False,
    key: int | None = None,
    sequence: int | None = None,
    acknowledgement: int | None = None,
    version: int = 0,
    flags: int = 0,
) -> bytes:
    """A GRE header with the optional fields that are given, and what it carries; `flags` are added."""
    fields = b"\0\0\0\0" if checksum_field else b""
    flags |= version | (0x8000 if checksum_field else 0)
    for bit, value in ((0x2000, key), (0x1000, sequence), (0x0080, acknowledgement)):
        if value is not None:
            flags |= bit
            fields += struct.pack("!I", value)
    return struct.pack("!HH", flags, carried) + fields + payload


def vxlan(frame: bytes, network: int = 1, *, flags: int = 0x08) -> bytes:
    """A UDP datagram to the VXLAN port with a frame inside."""
    return udp(50_000, 4_789, struct.pack("!BxxxI", flags, network << 8) + frame)


_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}


def ip(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """An IPv4 or IPv6 packet, by the addresses, with the transport checksum filled in."""
    address = ipaddress.ip_address(source)
    pseudo = address.packed + ipaddress.ip_address(destination).packed
    pseudo += struct.pack("!IHBB", len(payload), 0, 0, protocol)
    place = _CHECKSUM_AT.get(protocol)
    if place is not None and len(payload) >= place + 2:
        covered = payload if protocol == ICMP else pseudo + payload
        value = checksum(covered)
        if protocol == UDP and value == 0:
            value = 0xFFFF
        payload = payload[:place] + struct.pack("!H", value) + payload[place + 2 :]
    if address.version == 6:
        return ipv6(source, destination, payload, next_header=protocol)
    return ipv4(source, destination, payload, protocol=protocol)


def tcp_frame(
    source: str,
    destination: str,
    source_port: int,
    destination_port: int,
    flags: str | int = "A",
    payload: bytes = b"",
    *,
    vlans: Sequence[int] = (),
    window: int = 65535,
    options: bytes = b"",
    minimum: int = 0,
) -> bytes:
    segment = tcp(source_port, destination_port, flags, payload, window=window, options=options)
    return ethernet(ip(source, destination, TCP, segment), vlans=vlans, minimum=minimum)


def udp_frame(
    source: str,
    destination: str,
    source_port: int,
    destination_port: int,
    payload: bytes = b"",
    *,
    vlans: Sequence[int] = (),
    minimum: int = 0,
) -> bytes:
    datagram = udp(source_port, destination_port, payload)
    return ethernet(ip(source, destination, UDP, datagram), vlans=vlans, minimum=minimum)


def icmp_frame(
    source: str,
    destination: str,
    icmp_type: int = 8,
    code: int = 0,
    payload: bytes = b"\0\1\0\1",
    *,
    vlans: Sequence[int] = (),
    minimum: int = 0,
) -> bytes:
    """ICMP between IPv4 addresses, ICMPv6 between IPv6 ones."""
    protocol = ICMPV6 if ":" in source else ICMP
    message = icmp(icmp_type, code, payload)
    return ethernet(ip(source, destination, protocol, message), vlans=vlans, minimum=minimum)


def arp_frame(source: str, destination: str) -> bytes:
    """An ARP request: who has `destination`, tell `source`."""
    body = struct.pack("!HHBBH", 1, ETHERTYPE_IPV4, 6, 4, 1) + mac("02:00:00:00:00:01")
    body += ipaddress.IPv4Address(source).packed + bytes(6) + ipaddress.IPv4Address(destination).packed
    return ethernet(body, ether_type=ETHERTYPE_ARP, destination="ff:ff:ff:ff:ff:ff")


def batch_of(
    frames: Sequence[bytes],
    times_ns: Iterable[int],
    *,
    interface: int | Sequence[int] = 0,
    vlan: int | Sequence[int] = -1,
    link_type: int | Sequence[int] = 1,
    wire_lengths: Sequence[int] | None = None,
    until_ns: int = -1,
) -> PacketBatch:
    """The frames as one PacketBatch; scalars hold for every packet."""
    count = len(frames)
    lengths = np.array([len(frame) for frame in frames], np.uint32)
    offset = np.zeros(count, np.int64)
    offset[1:] = np.cumsum(lengths[:-1])
    return PacketBatch(
        buffer=np.frombuffer(b"".join(frames), np.uint8).copy(),
        offset=offset,
        captured_length=lengths,
        wire_length=lengths.copy() if wire_lengths is None else np.array(wire_lengths, np.uint32),
        timestamp_ns=np.array(list(times_ns), np.int64).reshape(count),
        interface=np.broadcast_to(np.asarray(interface, np.uint16), count).copy(),
        vlan=np.broadcast_to(np.asarray(vlan, np.int16), count).copy(),
        link_type=np.broadcast_to(np.asarray(link_type, np.uint16), count).copy(),
        until_ns=until_ns,
    )


def frames_of(batch: PacketBatch) -> list[bytes]:
    """The captured bytes of each packet of a batch, copied out of its buffer."""
    ends = batch.offset + batch.captured_length.astype(np.int64)
    return [batch.buffer[start:end].tobytes() for start, end in zip(batch.offset, ends, strict=True)]


def split(batch: PacketBatch, sizes: Sequence[int]) -> list[PacketBatch]:
    """The batch cut into pieces of `sizes` packets (the last takes the rest), sharing its buffer."""
    edges = [0, *np.cumsum(sizes).tolist(), len(batch)]
    return [
        PacketBatch(
            batch.buffer,
            *(getattr(batch, name)[first:last] for name in PacketBatch.__slots__[1:-1]),
        )
        for first, last in zip(edges, edges[1:], strict=False)
        if last > first
    ]


def pcap_bytes(
    frames: Sequence[bytes],
    times_ns: Iterable[int],
    *,
    link_type: int = 1,
    byte_order: str = "<",
    nanoseconds: bool = False,
    snaplen: int = 262144,
    wire_lengths: Sequence[int] | None = None,
    modified: bool = False,
) -> bytes:
    """A classic pcap file; `modified` writes the a1b2cd34 variant with 24-byte record headers."""
    magic = 0xA1B2CD34 if modified else 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    unit = 1 if nanoseconds else 1000
    parts = [struct.pack(byte_order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link_type)]
    for index, (frame, time_ns) in enumerate(zip(frames, times_ns, strict=True)):
        seconds, fraction = divmod(time_ns, 1_000_000_000)
        wire = len(frame) if wire_lengths is None else wire_lengths[index]
        parts.append(struct.pack(byte_order + "IIII", seconds, fraction // unit, len(frame), wire))
        if modified:
            parts.append(struct.pack(byte_order + "IHBB", 2, 0x0800, 0, 0))
        parts.append(frame)
    return b"".join(parts)


def block(block_type: int, body: bytes, byte_order: str = "<") -> bytes:
    """A pcapng block: the body padded to 4 bytes between its two lengths."""
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(byte_order + "I", len(body) + 12)
    return struct.pack(byte_order + "I", block_type) + length + body + length


def option(code: int, value: bytes, byte_order: str = "<") -> bytes:
    """A pcapng option, padded; `option(0, b"")` ends the options."""
    return struct.pack(byte_order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def section_header(byte_order: str = "<", length: int = -1) -> bytes:
    return block(0x0A0D0D0A, struct.pack(byte_order + "IHHq", 0x1A2B3C4D, 1, 0, length), byte_order)


def interface_description(
    link_type: int = 1,
    *,
    byte_order: str = "<",
    snaplen: int = 0,
    name: str = "",
    resolution: int | None = None,
    offset_s: int | None = None,
) -> bytes:
    """`resolution` is the if_tsresol byte (9 = ns, 0x80 | n = 2^-n s); without it microseconds."""
    options = b""
    if name:
        options += option(2, name.encode(), byte_order)
    if resolution is not None:
        options += option(9, bytes([resolution]), byte_order)
    if offset_s is not None:
        options += option(14, struct.pack(byte_order + "q", offset_s), byte_order)
    if options:
        options += option(0, b"", byte_order)
    return block(1, struct.pack(byte_order + "HHI", link_type, 0, snaplen) + options, byte_order)


def enhanced_packet(
    frame: bytes, ticks: int, *, interface: int = 0, byte_order: str = "<", wire_length: int | None = None
) -> bytes:
    """An EPB; `ticks` in the interface's own resolution."""
    wire = len(frame) if wire_length is None else wire_length
    header = struct.pack(byte_order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), wire)
    return block(6, header + frame, byte_order)


def simple_packet(frame: bytes, *, byte_order: str = "<", wire_length: int | None = None) -> bytes:
    """An SPB: no time, interface 0, cut to that interface's snap length by whoever wrote it."""
    wire = len(frame) if wire_length is None else wire_length
    return block(3, struct.pack(byte_order + "I", wire) + frame, byte_order)


def obsolete_packet(
    frame: bytes, ticks: int, *, interface: int = 0, byte_order: str = "<", wire_length: int | None = None
) -> bytes:
    """The Packet Block (type 2) that the EPB replaced."""
    wire = len(frame) if wire_length is None else wire_length
    header = struct.pack(
        byte_order + "HHIIII", interface, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), wire
    )
    return block(2, header + frame, byte_order)


def pcapng_bytes(
    frames: Sequence[bytes],
    times_ns: Iterable[int],
    *,
    link_types: Sequence[int] = (1,),
    interfaces: Sequence[int] | None = None,
    names: Sequence[str] = (),
    byte_order: str = "<",
    wire_lengths: Sequence[int | None] | None = None,
) -> bytes:
    """One section of EPBs with nanosecond stamps; `interfaces` says whose each frame is."""
    parts = [section_header(byte_order)]
    for index, link_type in enumerate(link_types):
        name = names[index] if index < len(names) else ""
        parts.append(interface_description(link_type, byte_order=byte_order, name=name, resolution=9))
    for index, (frame, time_ns) in enumerate(zip(frames, times_ns, strict=True)):
        interface = 0 if interfaces is None else interfaces[index]
        wire = None if wire_lengths is None else wire_lengths[index]
        parts.append(
            enhanced_packet(frame, time_ns, interface=interface, byte_order=byte_order, wire_length=wire)
        )
    return b"".join(parts)


def write_pcap(path: Path, frames: Sequence[bytes], times_ns: Iterable[int], **options: object) -> Path:
    """`pcap_bytes` to a file; returns its path."""
    path.write_bytes(pcap_bytes(frames, times_ns, **options))  # type: ignore[arg-type]
    return path


def write_pcapng(path: Path, frames: Sequence[bytes], times_ns: Iterable[int], **options: object) -> Path:
    """`pcapng_bytes` to a file; returns its path."""
    path.write_bytes(pcapng_bytes(frames, times_ns, **options))  # type: ignore[arg-type]
    return path
