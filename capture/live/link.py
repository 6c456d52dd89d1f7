"""Network interfaces of this machine: which exist, and what their frames look like."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from typing import NamedTuple

from capture import link_types
from capture.errors import CaptureError

_SIOCGIFFLAGS, _SIOCGIFMTU = 0x8913, 0x8921
_IFREQ_LENGTH = 40

# <linux/rtnetlink.h>, <linux/if_link.h>.
_GETLINK, _REQUEST, _ERROR, _STATS64 = 18, 1, 2, 23
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_LINK_MESSAGE = struct.Struct("=BxHiII")  # struct ifinfomsg
_ATTRIBUTE = struct.Struct("=HH")
#: Places in struct rtnl_link_stats64.
_RX_ERRORS, _RX_DROPPED, _RX_FIFO_ERRORS, _RX_MISSED_ERRORS = 4, 6, 14, 15

#: Bits of `interface_flags`.
IFF_UP, IFF_LOOPBACK, IFF_RUNNING = 0x1, 0x8, 0x40

#: ARPHRD_ types of <linux/if_arp.h> to link types.
_ETHER, _LOOPBACK, _NONE, _RAWIP = 1, 772, 65534, 519
_LINK_TYPES = {
    _ETHER: link_types.ETHERNET,
    _LOOPBACK: link_types.ETHERNET,
    _NONE: link_types.RAW,  # tun, wireguard
    _RAWIP: link_types.RAW,
}

_NAMES = {
    24: "IEEE1394",
    32: "InfiniBand",
    256: "SLIP",
    280: "CAN",
    512: "PPP",
    768: "IPIP tunnel",
    769: "IPv6 tunnel",
    776: "SIT tunnel",
    778: "GRE tunnel",
    801: "IEEE802_11",
    802: "IEEE802_11_PRISM",
    803: "IEEE802_11_RADIOTAP",
    804: "IEEE802_15_4",
    823: "GRE over IPv6",
    824: "netlink monitor",
    826: "vsock monitor",
}


class DeviceCounts(NamedTuple):
    """Packets that an interface received but that went nowhere; what each means is up to its driver."""

    missed: int  #: came faster than they were fetched from it (rx_missed_errors)
    overruns: int  #: its own memory was full (rx_fifo_errors)
    errors: int  #: damaged on the way (rx_errors)
    #: Let go by driver or kernel (rx_dropped): for want of room with some drivers, but also what the
    #: kernel has no protocol for, after it was captured.
    drops: int

    def plus(self, other: DeviceCounts) -> DeviceCounts:
        return DeviceCounts(*(a + b for a, b in zip(self, other, strict=True)))

    def since(self, before: DeviceCounts) -> DeviceCounts:
        """What was added; a counter that went back began anew."""
        return DeviceCounts(*(a - b if a >= b else a for a, b in zip(self, before, strict=True)))


def device_counts(name: str) -> DeviceCounts:
    """What an interface has counted since it exists, by rtnetlink(7); OSError when it does not."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:  # without a number
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name) from None
    request = _LINK_MESSAGE.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    header = _HEADER.pack(_HEADER.size + len(request), _GETLINK, _REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as kernel:
        kernel.send(header + request)
        answer = kernel.recv(1 << 16)
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind == _ERROR:
        (number,) = struct.unpack_from("=i", answer, _HEADER.size)
        raise OSError(-number, os.strerror(-number), name)
    at = _HEADER.size + _LINK_MESSAGE.size
    while at < length:
        size, attribute = _ATTRIBUTE.unpack_from(answer, at)
        if attribute == _STATS64:
            counts = struct.unpack_from(f"={(size - _ATTRIBUTE.size) // 8}Q", answer, at + _ATTRIBUTE.size)
            places = (_RX_MISSED_ERRORS, _RX_FIFO_ERRORS, _RX_ERRORS, _RX_DROPPED)
            return DeviceCounts(*(counts[place] for place in places))
        at += -(-size // 4) * 4
    raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), name)


def interface_names() -> list[str]:
    """Names of the interfaces that exist, in the kernel's order."""
    return [name for _, name in socket.if_nameindex()]


def interface_flags(name: str) -> int:
    """The IFF_ flags of an interface; OSError when it does not exist."""
    return _asked(name, _SIOCGIFFLAGS, "H")


def interface_mtu(name: str) -> int:
    """Bytes of the longest packet that an interface sends; OSError when it does not exist."""
    return _asked(name, _SIOCGIFMTU, "i")


def _asked(name: str, request: int, form: str) -> int:
    """A number out of `struct ifreq`, netdevice(7)."""
    asked = struct.pack(f"{_IFREQ_LENGTH}s", name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        answer = fcntl.ioctl(any_socket, request, asked)
    (value,) = struct.unpack_from(form, answer, 16)
    return int(value)


def link_type_of(name: str, hardware_type: int) -> int:
    """The link type of an interface's frames by its ARPHRD_ number; CaptureError if it is not read."""
    link_type = _LINK_TYPES.get(hardware_type)
    if link_type is None:
        known = _NAMES.get(hardware_type)
        described = f"{hardware_type} ({known})" if known else str(hardware_type)
        raise CaptureError(
            f"{name}: interfaces of hardware type {described} are not read;"
            " name an Ethernet, loopback or tun interface"
        )
    return link_type
