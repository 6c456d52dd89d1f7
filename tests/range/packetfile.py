"""What tcpdump recorded: read it, count an attack's packets in it, write it as pcapng.zst."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import zstandard

from tests.packets import enhanced_packet, interface_description, section_header

_HEADER = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_MAGIC_MICROSECONDS = 0xA1B2C3D4

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Packet(NamedTuple):
    """One captured Ethernet frame."""

    time_us: int  #: since the epoch
    wire_length: int
    frame: bytes  #: as much as was captured


def read_pcap(path: Path) -> list[Packet]:
    """The packets of a pcap file in order of time, as tcpdump writes it on this machine.

    The kernel hands packets of several CPUs over in batches, now and then out of order.
    A last record that was cut is left out.  Raises ValueError for anything but tcpdump's format.
    """
    data = path.read_bytes()
    if len(data) < _HEADER.size or _HEADER.unpack_from(data)[0] != _MAGIC_MICROSECONDS:
        raise ValueError(f"{path}: not a little-endian pcap file with microseconds")
    packets = []
    at = _HEADER.size
    while at + _RECORD.size <= len(data):
        seconds, micros, captured, wire = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if at + captured > len(data):
            break
        packets.append(Packet(seconds * 1_000_000 + micros, wire, data[at : at + captured]))
        at += captured
    return sorted(packets, key=lambda packet: packet.time_us)


def write_pcapng(path: Path, packets: Iterable[Packet], snaplen: int) -> None:
    """One Ethernet interface named lan with microsecond stamps, compressed with zstd -19."""
    parts = [section_header(), interface_description(snaplen=snaplen, name="lan", resolution=6)]
    parts += [enhanced_packet(p.frame, p.time_us, wire_length=p.wire_length) for p in packets]
    path.write_bytes(zstandard.ZstdCompressor(level=19, write_checksum=True).compress(b"".join(parts)))


def ends_of(frame: bytes) -> tuple[Address, Address] | None:
    """Source and destination of an untagged IPv4 or IPv6 frame, else None."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) >= 34:
        return ipaddress.IPv4Address(frame[26:30]), ipaddress.IPv4Address(frame[30:34])
    if kind == b"\x86\xdd" and len(frame) >= 54:
        return ipaddress.IPv6Address(frame[22:38]), ipaddress.IPv6Address(frame[38:54])
    return None


def count_between(
    packets: Iterable[Packet], attackers: Sequence[str], victims: Sequence[str], start: float, end: float
) -> int:
    """Packets from attackers (none named: from anyone) to victims within [start, end] seconds."""
    sources = [ipaddress.ip_network(text) for text in attackers]
    targets = [ipaddress.ip_network(text) for text in victims]
    count = 0
    for packet in packets:
        if not start * 1e6 <= packet.time_us <= end * 1e6:
            continue
        ends = ends_of(packet.frame)
        if ends is None:
            continue
        from_attacker = not sources or any(ends[0] in network for network in sources)
        count += from_attacker and any(ends[1] in network for network in targets)
    return count
