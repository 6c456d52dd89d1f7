"""Classic pcap: one header, then records of one link type (draft-ietf-opsawg-pcap)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from capture import link_types
from capture.files.kernels import FULL, MAXIMUM_CAPTURED, MORE, ZEROS, PacketIndex, index_pcap
from capture.files.window import Window

HEADER_LENGTH = 24

#: magic: (record header bytes, nanoseconds of a unit of the fraction field)
_VARIANTS = {
    0xA1B2C3D4: (16, 1_000),
    0xA1B23C4D: (16, 1),
    0xA1B2CD34: (24, 1_000),  # A. Kuznetzov's: interface, protocol and packet type in each record
}


def byte_order_of(magic: bytes) -> str | None:
    """`<` or `>` when these 4 bytes begin a pcap file, else None."""
    if len(magic) == 4:
        for byte_order in "<>":
            if struct.unpack(byte_order + "I", magic)[0] in _VARIANTS:
                return byte_order
    return None


class PcapReader:
    """Indexes the records of a file; construct with the window at its header."""

    def __init__(self, window: Window, index: PacketIndex) -> None:
        byte_order = byte_order_of(window.peek(4)) or "<"
        header = struct.unpack(byte_order + "IHHiIII", window.peek(HEADER_LENGTH))
        magic, major, minor, *_, link_type = header
        self._record_header, self._fraction_ns = _VARIANTS[magic]
        self._big_endian = byte_order == ">"
        self.interfaces = [""]
        self.packets = 0
        self.until_ns = -1  # this format knows no time but a packet's
        self.readable = True
        self.problem = ""  #: why nothing of this file can be read
        # The upper half of the field holds the length of a frame check sequence.
        link_type &= 0xFFFF
        if major != 2:
            self.problem = f"pcap version {major}.{minor} is not known; give a file of version 2.4"
        elif link_type not in link_types.SUPPORTED:
            self.problem = link_types.refusal(link_type)
        window.start += HEADER_LENGTH
        self._index = index
        index.interface[:] = 0
        index.link_type[:] = link_type

    def index(self, window: Window) -> tuple[int, str]:
        """Fill the index from the window: (packets, what is wrong with the record after them)."""
        count, position, code = index_pcap(
            window.buffer,
            window.start,
            window.end,
            self._big_endian,
            self._record_header,
            self._fraction_ns,
            self._index,
        )
        window.start = position
        self.packets += count
        if code in (MORE, FULL):
            return count, ""
        if code == ZEROS:
            what = "nothing but zeros, as after a crash"
        else:
            (captured,) = struct.unpack(">I" if self._big_endian else "<I", window.peek(4, 8))
            what = f"it claims {captured} captured bytes, more than {MAXIMUM_CAPTURED}"
        return count, (
            f"damaged in packet {self.packets + 1} at {window.place()}: {what};"
            " get a good copy, only what is before it can be read"
        )

    def left_out(self) -> Mapping[tuple[int, str], int]:
        """None: a file of a link type that is not read is refused."""
        return {}

    def cut(self, window: Window) -> str:
        """At the end of the data: what is cut there, "" when nothing is."""
        return f"packet {self.packets + 1} at {window.place()}" if len(window) else ""
