"""One AF_PACKET socket with a TPACKET_V3 ring on one interface, packet(7)."""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from capture import link_types
from capture.errors import CaptureError
from capture.live import bpf
from capture.live.link import (
    IFF_LOOPBACK,
    IFF_UP,
    interface_flags,
    interface_mtu,
    interface_names,
    link_type_of,
)
from capture.live.spreading import by_addresses

# <linux/if_packet.h>, <asm-generic/socket.h>; what Python's socket module does not name.
_SOL_PACKET = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION, _IGNORE_OUTGOING = 1, 5, 6, 10, 23
_FANOUT, _FANOUT_DATA = 18, 22
_FANOUT_CBPF, _FANOUT_UNIQUE_ID = 6, 0x2000
_MR_PROMISC = 1
_TPACKET_V3 = 2
_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 3

_RING_REQUEST = struct.Struct("@7I")  # struct tpacket_req3
_RING_COUNTS = struct.Struct("@3I")  # struct tpacket_stats_v3
#: Only checked by the kernel: a block holds packets of any size up to its own.
_FRAME_BYTES = 2048

#: Bytes that an Ethernet frame may have beyond the MTU: its header, two VLAN tags.
_ETHERNET_BYTES = 14 + 2 * 4


@dataclass(frozen=True, slots=True)
class RingOptions:
    """How interfaces are captured; see `open_interface`."""

    promiscuous: bool = True
    own_traffic: bool = True
    snaplen: int = 262_144
    filter: str = ""
    ring_bytes: int = 32 << 20
    block_bytes: int = 512 << 10
    block_timeout_ms: int = 10

    @property
    def blocks(self) -> int:
        return self.ring_bytes // self.block_bytes


class RingCounts(NamedTuple):
    """What the kernel counted; all 32 bits wide, so to be asked before 2^32 packets have gone by."""

    packets: int  #: seen, dropped ones included
    drops: int  #: lost because the ring was full
    freezes: int  #: times the ring became full

    def plus(self, other: RingCounts) -> RingCounts:
        return RingCounts(*(a + b for a, b in zip(self, other, strict=True)))


class PacketSocket:
    """A ring that fills with the frames of one interface.  CaptureError when that is not possible."""

    def __init__(self, name: str, options: RingOptions) -> None:
        self.name = name
        self._options = options
        try:
            # Protocol 0: no packet of another interface comes in before `bind`.
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
            )
        except PermissionError:
            raise CaptureError(
                f"{name}: capturing needs the capability CAP_NET_RAW; run as root, or give it"
                " with AmbientCapabilities=CAP_NET_RAW or setcap cap_net_raw+ep"
            ) from None
        except OSError as error:
            raise CaptureError(
                f"{name}: this system has no packet sockets ({error.strerror}); read recorded"
                " captures with `ids-daemon replay`"
            ) from None
        try:
            self._configure()
        except BaseException:
            self._socket.close()
            raise

    def _configure(self) -> None:
        options = self._options
        try:
            self.index = socket.if_nametoindex(self.name)
            flags = interface_flags(self.name)
            mtu = interface_mtu(self.name)
        except OSError:
            known = ", ".join(interface_names())
            raise CaptureError(f"{self.name}: no such interface; there are {known}") from None
        if not flags & IFF_UP:
            raise CaptureError(f"{self.name}: is down; bring it up with `ip link set {self.name} up`")
        self._make_ring()
        try:
            self._attach(bpf.NOTHING)
            if flags & IFF_LOOPBACK or not options.own_traffic:
                # On a loopback every packet is seen going out and coming in: once is enough.
                self._socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            if options.promiscuous:
                request = struct.pack("@iHH8s", self.index, _MR_PROMISC, 0, b"")
                self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, request)
            self._socket.bind((self.name, _ETH_P_ALL))
        except OSError as error:
            raise CaptureError(
                f"{self.name}: cannot be captured: {error.strerror}; a kernel of 4.20 or newer is needed"
            ) from None
        hardware_type = self._socket.getsockname()[3]
        self.link_type = link_type_of(self.name, hardware_type)
        self.mtu = mtu
        self._program = bpf.compile_filter(options.filter, self.link_type, options.snaplen)

    def _make_ring(self) -> None:
        options = self._options
        request = _RING_REQUEST.pack(
            *(options.block_bytes, options.blocks),
            *(_FRAME_BYTES, options.block_bytes // _FRAME_BYTES * options.blocks),
            *(options.block_timeout_ms, 0, 0),
        )
        try:
            self._socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
            self._socket.setsockopt(_SOL_PACKET, _RX_RING, request)
        except OSError as error:
            size = f"{options.ring_bytes >> 20} MiB"
            if error.errno == errno.ENOMEM:
                problem = f"no memory for a ring of {size}; set capture.ring_mib lower"
            else:
                problem = f"the kernel gives no ring of {size}: {error.strerror}"
            raise CaptureError(f"{self.name}: {problem}") from None

    def lead(self) -> int:
        """Begin a group of sockets that share the packets by their addresses; its number."""
        self._fan_out((_FANOUT_CBPF | _FANOUT_UNIQUE_ID) << 16)
        described, kept = bpf.packed(by_addresses())
        self._socket.setsockopt(_SOL_PACKET, _FANOUT_DATA, described)
        del kept  # the kernel has copied it
        return self._socket.getsockopt(_SOL_PACKET, _FANOUT) & 0xFFFF

    def join(self, group: int) -> None:
        """Share the packets with the group."""
        self._fan_out(group | _FANOUT_CBPF << 16)

    def _fan_out(self, request: int) -> None:
        try:
            self._socket.setsockopt(_SOL_PACKET, _FANOUT, struct.pack("@I", request))
        except OSError as error:
            raise CaptureError(
                f"{self.name}: its packets cannot be shared by workers: {error.strerror};"
                " set capture.workers to 1"
            ) from None

    def start(self) -> None:
        """Begin to take packets: those that the filter matches."""
        try:
            self._attach(self._program)
        except OSError as error:
            raise CaptureError(f"{self.name}: the kernel refuses the filter: {error.strerror}") from None

    def stop(self) -> None:
        """Take no further packets; harmless when it is gone."""
        with suppress(OSError):
            self._attach(bpf.NOTHING)

    def _attach(self, program: list[bpf.Instruction]) -> None:
        described, kept = bpf.packed(program)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
        del kept  # the kernel has copied it

    @property
    def longest_frame(self) -> int:
        """Bytes of the longest frame that this link carries, by its MTU."""
        return self.mtu + (_ETHERNET_BYTES if self.is_ethernet else 0)

    @property
    def is_ethernet(self) -> bool:
        return self.link_type == link_types.ETHERNET

    def fileno(self) -> int:
        return self._socket.fileno()

    def take_error(self) -> None:
        """Forget the error that has `poll` return at once, such as an interface that went down."""
        if self._socket.fileno() >= 0:
            self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def new_counts(self) -> RingCounts:
        """What was counted since the last call; nothing once closed."""
        if self._socket.fileno() < 0:
            return RingCounts(0, 0, 0)
        data = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, _RING_COUNTS.size)
        return RingCounts(*_RING_COUNTS.unpack(data))

    def close(self) -> None:
        self._socket.close()
