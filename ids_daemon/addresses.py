"""Addresses as flow records hold them (16 bytes, IPv4 as ::ffff:a.b.c.d) and as people read them."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = bytes(10) + b"\xff\xff"
_SIOCGIFADDR = 0x8915


def address_of(packed: bytes) -> Address:
    """The address of 16 bytes; an IPv4-mapped one as IPv4."""
    if packed.startswith(_MAPPED):
        return ipaddress.IPv4Address(packed[12:])
    return ipaddress.IPv6Address(packed)


def text_of(packed: bytes) -> str:
    """The short form: dotted quad, or RFC 5952."""
    return str(address_of(packed))


def packed_of(text: str) -> bytes:
    """16 bytes of an address in text; ValueError when it is none."""
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else _MAPPED + address.packed


def pair_of(first: bytes, second: bytes) -> tuple[Address, Address]:
    """Both ends of a flow in one IP version: IPv4 only when both are IPv4-mapped."""
    if first.startswith(_MAPPED) and second.startswith(_MAPPED):
        return ipaddress.IPv4Address(first[12:]), ipaddress.IPv4Address(second[12:])
    return ipaddress.IPv6Address(first), ipaddress.IPv6Address(second)


class Networks:
    """A set of networks that an address can be asked to lie in."""

    def __init__(self, networks: Iterable[str]) -> None:
        """ValueError for what is no network in CIDR form."""
        self._networks: list[Network] = [ipaddress.ip_network(text) for text in networks]

    def __contains__(self, packed: bytes) -> bool:
        address = address_of(packed)
        return any(address in network for network in self._networks)


def own_addresses(interfaces: Sequence[str]) -> list[str]:
    """The addresses of this machine on the named interfaces; what has none contributes none.

    The first IPv4 address by ioctl, every IPv6 address from /proc/net/if_inet6.
    """
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for name in interfaces:
            request = struct.pack("16s240x", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:  # EADDRNOTAVAIL or ENODEV: a sniffing port often has no address
                continue
            found.append(str(ipaddress.IPv4Address(answer[20:24])))
    table = Path("/proc/net/if_inet6")
    if table.exists():
        for line in table.read_text("ascii").splitlines():
            digits, *_, name = line.split()
            if name in interfaces:
                found.append(str(ipaddress.IPv6Address(bytes.fromhex(digits))))
    return found
