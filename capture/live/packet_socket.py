"""One AF_PACKET socket on one interface, packet(7)."""

from __future__ import annotations

import errno
import socket
import struct
import time
from contextlib import suppress

from capture.errors import CaptureError
from capture.live.link import IFF_LOOPBACK, IFF_UP, interface_flags, interface_names, link_type_of

# <linux/if_packet.h>, <asm-generic/socket.h>; what Python's socket module does not name.
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP, _PACKET_STATISTICS, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 1, 6, 8, 23
_PACKET_MR_PROMISC = 1
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33
_ETH_P_ALL = 3
_TP_STATUS_VLAN_VALID = 1 << 4

_AUXDATA = struct.Struct("@IIIHHHH")  # struct tpacket_auxdata
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_LENGTH = socket.CMSG_SPACE(_AUXDATA.size) + socket.CMSG_SPACE(_TIMESPEC.size)

_VLAN_TAG_LENGTH = 4
#: What the kernel may hold for us while we are busy.
_KERNEL_BUFFER = 32 << 20


class PacketSocket:
    """Receives the frames of one interface.  Raises CaptureError when that is not possible."""

    def __init__(self, name: str, *, promiscuous: bool, own_traffic: bool) -> None:
        self.name = name
        self._packets = 0
        self._drops = 0
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
        try:
            self._configure(promiscuous, own_traffic)
        except BaseException:
            self._socket.close()
            raise

    def _configure(self, promiscuous: bool, own_traffic: bool) -> None:
        self._grow_buffer()
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        try:
            index = socket.if_nametoindex(self.name)
            flags = interface_flags(self.name)
        except OSError:
            known = ", ".join(interface_names())
            raise CaptureError(f"{self.name}: no such interface; there are {known}") from None
        if not flags & IFF_UP:
            raise CaptureError(f"{self.name}: is down; bring it up with `ip link set {self.name} up`")
        try:
            if flags & IFF_LOOPBACK or not own_traffic:
                # On a loopback every packet is seen going out and coming in: once is enough.
                self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            if promiscuous:
                request = struct.pack("@iHH8s", index, _PACKET_MR_PROMISC, 0, b"")
                self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)
            self._socket.bind((self.name, _ETH_P_ALL))
        except OSError as error:
            raise CaptureError(
                f"{self.name}: cannot be captured: {error.strerror}; a kernel of 4.20 or newer is needed"
            ) from None
        hardware_type = self._socket.getsockname()[3]
        self.link_type = link_type_of(self.name, hardware_type)

    def _grow_buffer(self) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _KERNEL_BUFFER)
        except PermissionError:
            # Without CAP_NET_ADMIN the kernel gives what net.core.rmem_max allows.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self, target: memoryview) -> tuple[int, int, int, int] | None:
        """Put the next frame into `target`, cut to its length.

        Returns (captured length, wire length, nanoseconds, VLAN id or -1), None when none waits.
        The time is the kernel's software stamp.  A tag that the kernel took off is part of the
        wire length, as it is in a recorded capture.
        """
        try:
            length, ancillary, _, _ = self._socket.recvmsg_into([target], _ANCILLARY_LENGTH, socket.MSG_TRUNC)
        except BlockingIOError:
            return None
        except OSError as error:
            self._raise_if_gone(error)
            return None
        wire, vlan, time_ns = length, -1, 0
        for level, kind, data in ancillary:
            if level == _SOL_PACKET and kind == _PACKET_AUXDATA and len(data) >= _AUXDATA.size:
                status, _, _, _, _, tag, _ = _AUXDATA.unpack_from(data)
                if status & _TP_STATUS_VLAN_VALID:
                    vlan = tag & 0x0FFF
                    wire += _VLAN_TAG_LENGTH
            elif level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, fraction = _TIMESPEC.unpack_from(data)
                time_ns = seconds * 1_000_000_000 + fraction
        # No stamp where the ancillary data did not come whole.
        return min(length, len(target)), wire, time_ns or time.time_ns(), vlan

    def _raise_if_gone(self, error: OSError) -> None:
        """An interface that went down may come up again; one that was removed will not."""
        if error.errno == errno.ENETDOWN:
            with suppress(OSError):
                socket.if_nametoindex(self.name)
                return
        raise CaptureError(
            f"{self.name}: capturing ended: {error.strerror}; see whether the interface was removed"
        )

    def statistics(self) -> tuple[int, int]:
        """(packets, drops) since the socket was opened; drops are part of the packets."""
        try:
            data = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        except OSError:
            if self._socket.fileno() >= 0:
                raise
            return self._packets, self._drops  # closed: the last counts stand
        packets, drops = struct.unpack("@II", data)
        # Reading sets the kernel's counters to zero.
        self._packets += packets
        self._drops += drops
        return self._packets, self._drops

    def close(self) -> None:
        self.statistics()
        self._socket.close()
