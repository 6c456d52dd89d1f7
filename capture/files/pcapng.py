"""pcapng: sections of blocks, each section with interfaces of its own (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from capture import link_types
from capture.files import kernels
from capture.files.kernels import INTERFACE_DTYPE, PacketIndex, index_pcapng
from capture.files.window import Window

MAGIC = b"\x0a\x0d\x0d\x0a"
#: Type, length and byte-order magic of a section header: enough to know the byte order.
HEADER_LENGTH = 12

#: In all sections together; captures have a handful.
MAXIMUM_INTERFACES = 4096

BYTE_ORDER_MAGIC = 0x1A2B3C4D
_OPTION_END, _OPTION_NAME, _OPTION_RESOLUTION, _OPTION_OFFSET = 0, 2, 9, 14
_OPTION_COMMENT, _OPTION_END_TIME = 1, 3
#: The comment on interface statistics of which the end time is packet time: a live capture went on
#: without a packet until then.  In other files it is when somebody stopped a tool.
QUIET_UNTIL = b"no packet came until isb_endtime"
_DAMAGED = "get a good copy, only what is before it can be read"


def time_unit(resolution: int) -> tuple[int, int]:
    """if_tsresol to (coarsen, per_second) of INTERFACE_DTYPE.

    Units finer than what nanoseconds and 64-bit products hold are made coarser first: at most
    10^9 (decimal) or 2^32 (binary) of them in a second are left.
    """
    exponent = resolution & 0x7F
    if resolution & 0x80:
        kept, base = min(exponent, 32), 2
    else:
        kept, base = min(exponent, 9), 10
    return min(base ** (exponent - kept), 2**64 - 1), base**kept


class PcapngReader:
    """Indexes the packets of all sections; construct with the window at the first header."""

    def __init__(self, window: Window, index: PacketIndex) -> None:
        self.interfaces: list[str] = []  #: names over all sections, in order of appearance
        self.packets = 0
        self.until_ns = -1  #: what the last `index` met after its packets, see PacketBatch
        self.problem = ""
        self._index = index
        self._big_endian = False
        self._last_ns = 0
        # (number in its section, name, link type) -> place in `interfaces`: a file joined from
        # several captures of one interface has one interface.
        self._identities: dict[tuple[int, str, int], int] = {}
        self._left_out: Counter[tuple[int, str]] = Counter()
        self._described = np.zeros(MAXIMUM_INTERFACES, INTERFACE_DTYPE)
        self._in_section = 0
        # A block of no interest that is longer than the window.
        self._skip = 0
        self._skip_length = 0

    def index(self, window: Window) -> tuple[int, str]:
        """Fill the index from the window: (packets, what is wrong with the block after them)."""
        count, problem, going = 0, "", True
        self.until_ns = -1
        while going and not problem:
            if self._skip_length:
                going, problem = self._skip_on(window)
                continue
            count, window.start, code, last_ns = index_pcapng(
                window.buffer,
                window.start,
                window.end,
                self._big_endian,
                self._described[: self._in_section],
                count,
                self._last_ns,
                self._index,
            )
            self._last_ns = int(last_ns)
            if code in (kernels.MORE, kernels.FULL):
                break
            if code == kernels.SECTION:
                going, problem = self._begin_section(window)
            elif code == kernels.INTERFACE:
                problem = self._describe_interface(window)
            elif code == kernels.STATISTICS:
                self._read_statistics(window)
                going = self.until_ns < 0
            elif code == kernels.SKIP:
                self._skip_length = self._u32(window, 4)
                self._skip = self._skip_length - 4
            else:
                problem = self._problem(window, code, self.packets + count + 1)
        self.packets += count
        return count, problem

    def cut(self, window: Window) -> str:
        """At the end of the data: what is cut there, "" when nothing is."""
        if not len(window) and not self._skip_length:
            return ""
        return f"a block at {window.place()}, after packet {self.packets}"

    def left_out(self) -> Mapping[tuple[int, str], int]:
        """(link type, interface's name) -> its packets so far, for those that are not read."""
        described = self._described[: self._in_section]
        for one in described[described["left_out"] > 0]:
            self._left_out[int(one["link_type"]), self.interfaces[one["index"]]] += int(one["left_out"])
        described["left_out"] = 0
        return self._left_out

    @property
    def readable(self) -> bool:
        """False once packets were left out in a section in which no interface is read."""
        described = self._described[: self._in_section]
        return bool(described["supported"].any()) or not self.left_out()

    def _u32(self, window: Window, ahead: int) -> int:
        order = ">I" if self._big_endian else "<I"
        return int(struct.unpack(order, window.peek(4, ahead))[0])

    def _skip_on(self, window: Window) -> tuple[bool, str]:
        """Pass over the rest of a long block: (go on with what is in the window, problem)."""
        passed = min(self._skip, len(window))
        window.start += passed
        self._skip -= passed
        if self._skip or len(window) < 4:
            return False, ""
        length, self._skip_length = self._skip_length, 0
        if self._u32(window, 0) != length:
            return False, f"damaged in a block that ends at {window.place()}: its lengths differ; {_DAMAGED}"
        window.start += 4
        return True, ""

    def _begin_section(self, window: Window) -> tuple[bool, str]:
        """A Section Header Block; what is behind its fixed part is passed over like any block."""
        head = window.peek(28)
        if len(head) < 16:
            return False, ""
        for byte_order in "<>":
            length, magic, major, minor = struct.unpack(byte_order + "IIHH", head[4:16])
            if magic == BYTE_ORDER_MAGIC:
                break
        else:
            return False, f"damaged in a section header at {window.place()}: no byte-order magic; {_DAMAGED}"
        if major != 1:
            return False, (
                f"pcapng version {major}.{minor} at {window.place()} is not known; give a file of version 1.0"
            )
        if length < 28 or length % 4:
            return False, f"damaged in a section header at {window.place()}: length {length}; {_DAMAGED}"
        self._big_endian = byte_order == ">"
        self.left_out()  # before those of the next section take their places
        self._in_section = 0
        self._skip, self._skip_length = length - 4, length
        return True, ""

    def _describe_interface(self, window: Window) -> str:
        """An Interface Description Block, whole in the window; returns the problem with it."""
        order = ">" if self._big_endian else "<"
        length = self._u32(window, 4)
        if length < 20:
            return f"damaged in an interface description at {window.place()}: length {length}; {_DAMAGED}"
        body = window.peek(length - 12, 8)
        link_type, _, snaplen = struct.unpack(order + "HHI", body[:8])
        name, resolution, offset_s = _interface_options(body[8:], order)
        identity = (self._in_section, name, link_type)
        index = self._identities.get(identity)
        if index is None:
            index = len(self.interfaces)
            if index == MAXIMUM_INTERFACES:
                return (
                    f"more than {MAXIMUM_INTERFACES} interfaces at {window.place()};"
                    " split it with `editcap` or `tshark -i`"
                )
            self._identities[identity] = index
            self.interfaces.append(name)
        coarsen, per_second = time_unit(resolution)
        supported = link_type in link_types.SUPPORTED
        self._described[self._in_section] = (
            link_type,
            index,
            supported,
            snaplen,
            0,
            coarsen,
            per_second,
            offset_s,
        )
        self._in_section += 1
        window.start += length
        return ""

    def _read_statistics(self, window: Window) -> None:
        """An Interface Statistics Block, whole in the window: of interest is a time that went by."""
        order = ">" if self._big_endian else "<"
        length = self._u32(window, 4)
        number = self._u32(window, 8) if length >= 24 else self._in_section
        options = dict(_options(window.peek(max(length - 24, 0), 20), order))
        window.start += length
        end = options.get(_OPTION_END_TIME, b"")
        if options.get(_OPTION_COMMENT) != QUIET_UNTIL or len(end) != 8 or number >= self._in_section:
            return
        high, low = struct.unpack(order + "II", end)
        coarsen, per_second, offset_s = (
            int(self._described[number][name]) for name in ("coarsen", "per_second", "offset_s")
        )
        units = (high << 32 | low) // coarsen
        until_ns = units * 1_000_000_000 // per_second + offset_s * 1_000_000_000
        self.until_ns = min(until_ns, kernels.LAST_SECOND * 1_000_000_000)

    def _problem(self, window: Window, code: int, packet: int) -> str:
        """The kernel's code about the block at the window's start, in words."""
        if code == kernels.UNDECLARED:
            obsolete = self._u32(window, 0) == kernels.PACKET_BLOCK
            simple = self._u32(window, 0) == kernels.SIMPLE_PACKET_BLOCK
            number = 0 if simple else self._u32(window, 8)
            if obsolete:
                number = number >> 16 if self._big_endian else number & 0xFFFF
            return (
                f"damaged in packet {packet} at {window.place()}: its interface {number} was not"
                f" described; {_DAMAGED}"
            )
        what = "its two lengths differ" if code == kernels.TRAILER else "a length that cannot be"
        return f"damaged in a block at {window.place()}, after packet {packet - 1}: {what}; {_DAMAGED}"


def _interface_options(data: bytes, order: str) -> tuple[str, int, int]:
    """(if_name, if_tsresol, if_tsoffset) of an interface's options; defaults "", 6, 0."""
    name, resolution, offset_s = "", 6, 0
    for code, value in _options(data, order):
        if code == _OPTION_NAME:
            name = value.rstrip(b"\0").decode("utf-8", "replace")
        elif code == _OPTION_RESOLUTION and len(value) == 1:
            resolution = value[0]
        elif code == _OPTION_OFFSET and len(value) == 8:
            offset_s = struct.unpack(order + "q", value)[0]
    return name, resolution, offset_s


def _options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(code, value) of the options of a block that are whole."""
    position = 0
    while position + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, position)
        value = data[position + 4 : position + 4 + length]
        if code == _OPTION_END:
            break
        if len(value) == length:
            yield code, value
        position += 4 + length + -length % 4
