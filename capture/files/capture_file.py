"""A capture file as a source of packet batches."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping

import numpy as np

from capture import link_types
from capture.closing import Closing
from capture.errors import CaptureError
from capture.files import pcap, pcapng
from capture.files.compression import compression_of
from capture.files.kernels import PacketIndex
from capture.files.stream import ByteStream
from capture.files.window import Window
from capture.packets import PacketBatch

BATCH_PACKETS = 4096
#: How often a growing file is looked at.
_FOLLOW_INTERVAL_S = 0.1

#: First bytes of what is often taken for a capture, and what to do with it.
_LOOKS_LIKE = (
    (b"\x7fELF", "looks like a program (ELF)"),
    (b"PK\x03\x04", "looks like a zip archive: unpack it first"),
    (b"BZh", "looks like bzip2: unpack it first"),
    (b"\x5d\0\0", "looks like .lzma: unpack it first, `xz -dc` can"),
    (b"\x1f\x9d", "looks like .Z: unpack it first"),
    (b"\x04\x22\x4d\x18", "looks like lz4: unpack it first"),
    (b"snoop\0\0\0", "looks like Solaris snoop: convert it with `editcap -F pcap`"),
    (b"GMBU", "looks like Microsoft Network Monitor: convert it with `editcap -F pcap`"),
    (b"RTSS", "looks like Microsoft Network Monitor: convert it with `editcap -F pcap`"),
    (b"TRSNIFF data", "looks like NetXRay/Sniffer: convert it with `editcap -F pcap`"),
    (b"\xa1\xb2\xc3\xc4", "looks like a damaged pcap"),
    (b"\0\0\0\0", "begins with zeros: perhaps it was never written"),
)


class CaptureFile(Closing):
    """Iterate over it once to get its packets as PacketBatch of at most 4096; a context manager.

    A recorded live capture also has batches without packets, of the time that went by at its end.
    A batch and its arrays are overwritten by the next one.  Packet times are as the file has
    them, also where they run backwards.  When the file is cut or damaged, iteration gives all
    packets before that place and then raises CaptureError; so it does at the end when packets were
    left out, see `left_out`.

    With `follow`, the end of the file is no end: while nothing comes, an empty batch is given
    ten times a second, so that the consumer can see to what is due, until `close` is called.
    """

    def __init__(self, path: str | os.PathLike[str], *, follow: bool = False) -> None:
        self._stream = ByteStream(path)
        self._follow = follow and self._stream.size is not None
        self._window = Window(self._stream)
        self._index = PacketIndex.allocate(BATCH_PACKETS)
        self._no_vlan = np.full(BATCH_PACKETS, -1, np.int16)
        self._reader: pcap.PcapReader | pcapng.PcapngReader | None = None
        self._closing = threading.Event()
        self._reading = False
        self.packets = 0  #: given so far
        if not self._follow:
            try:
                self._reader = self._begin()
            except BaseException:
                self.close()
                raise

    @property
    def name(self) -> str:
        """The path as it was given, or `standard input`."""
        return self._stream.name

    @property
    def size_bytes(self) -> int | None:
        """Size of the file on disk, compressed as it may be; None for a pipe."""
        return self._stream.size

    @property
    def position_bytes(self) -> int:
        """How much of `size_bytes` was read."""
        return self._stream.position

    @property
    def interfaces(self) -> list[str]:
        """Names of the interfaces met so far, "" where unknown; PacketBatch.interface counts in it."""
        return self._reader.interfaces if self._reader else []

    @property
    def left_out(self) -> Mapping[tuple[int, str], int]:
        """(link type, interface's name) -> packets, of those interfaces of a pcapng that are not read."""
        return self._reader.left_out() if self._reader else {}

    def close(self) -> None:
        """End the iteration, also one that goes on in another thread, and close the file.

        A thread that waits for a pipe sees it when the next bytes come.
        """
        self._closing.set()
        # Either the reading thread sees the event before it reads on, or it is seen here reading.
        if not self._reading:
            self._stream.close()

    def __iter__(self) -> Iterator[PacketBatch]:
        try:
            yield from self._batches()
        except CaptureError as error:
            if self.left_out:
                raise CaptureError(f"{error}; before that {link_types.omission(self.left_out)}") from None
            raise
        if self.left_out and not self._closing.is_set():
            raise CaptureError(f"{self.name}: {link_types.omission(self.left_out)}")

    def _batches(self) -> Iterator[PacketBatch]:
        while not self._closing.is_set():
            if self._reader is not None:
                count, problem = self._reader.index(self._window)
                until_ns = self._reader.until_ns
                if count or until_ns >= 0:
                    self.packets += count
                    yield self._batch(count, until_ns)
                if problem:
                    raise CaptureError(f"{self.name}: {problem}")
                if self.size_bytes is None and not self.packets and not self._reader.readable:
                    # A pipe may go on for ever: whoever waits for packets of it hears of it now.
                    raise CaptureError(f"{self.name}: has no interface to read from, so it is not read on")
                if count == BATCH_PACKETS or until_ns >= 0:
                    continue
            if self._fill():
                if self._reader is None:
                    self._reader = self._begin()
            elif self._closing.is_set():
                return
            elif not self._follow:
                self._check_end()
                return
            else:
                yield self._batch(0)
                self._closing.wait(_FOLLOW_INTERVAL_S)

    def _batch(self, count: int, until_ns: int = -1) -> PacketBatch:
        index = self._index
        return PacketBatch(
            buffer=self._window.buffer,
            offset=index.offset[:count],
            captured_length=index.captured_length[:count],
            wire_length=index.wire_length[:count],
            timestamp_ns=index.timestamp_ns[:count],
            interface=index.interface[:count],
            vlan=self._no_vlan[:count],
            link_type=index.link_type[:count],
            until_ns=until_ns,
        )

    def _fill(self) -> bool:
        """Read on, unless closed; False when nothing came."""
        self._reading = True
        try:
            if self._closing.is_set():
                return False
            filled = self._window.fill()
            if self._follow and not filled:
                self._check_not_shorter()
            return filled
        finally:
            self._reading = False
            if self._closing.is_set():
                self._stream.close()

    def _begin(self) -> pcap.PcapReader | pcapng.PcapngReader | None:
        """Look at the file's header; None when a growing file has not all of it yet."""
        window = self._window
        reader: type[pcap.PcapReader] | type[pcapng.PcapngReader]
        while len(window) < 4 and self._fill():
            pass
        magic = window.peek(4)
        if pcap.byte_order_of(magic):
            reader, header_length = pcap.PcapReader, pcap.HEADER_LENGTH
        elif magic == pcapng.MAGIC:
            reader, header_length = pcapng.PcapngReader, pcapng.HEADER_LENGTH
        elif len(magic) < 4 and self._follow:
            return None
        else:
            raise CaptureError(f"{self.name}: {self._not_a_capture()}")
        while len(window) < header_length and self._fill():
            pass
        if len(window) < header_length:
            if self._follow:
                return None
            raise CaptureError(
                f"{self.name}: ends in its header, {len(window)} of {header_length} bytes;"
                " get a complete copy"
            )
        begun = reader(window, self._index)
        if begun.problem:
            raise CaptureError(f"{self.name}: {begun.problem}")
        return begun

    def _not_a_capture(self) -> str:
        head = self._window.peek(512)
        if not head:
            cut = self._stream.cut()
            return f"{cut}; get a complete copy" if cut else "is empty; a capture has a header at least"
        described = next((text for magic, text in _LOOKS_LIKE if head.startswith(magic)), "")
        if again := compression_of(head):  # what lies in a file is unpacked once
            described = f"is {again} within {self._stream.compression}: unpack it once before"
        if not described and not set(head) - set(range(32, 127)) - set(b"\t\n\r\f"):
            described = "looks like text"
        described = f" ({described})" if described else ""
        return f"is not a pcap or pcapng capture{described}; give a file that tcpdump or Wireshark wrote"

    def _check_end(self) -> None:
        """Raise CaptureError unless the data ended between two records."""
        assert self._reader is not None
        cut_stream, cut_record = self._stream.cut(), self._reader.cut(self._window)
        if cut_stream or cut_record:
            where = f"in the middle of {cut_record}" if cut_record else f"after packet {self.packets}"
            why = f": {cut_stream}" if cut_stream else ""
            raise CaptureError(
                f"{self.name}: is cut {where}{why}; get a complete copy, only what is before it was read"
            )

    def _check_not_shorter(self) -> None:
        size = self._stream.size
        if size is not None and size < self._stream.position:
            raise CaptureError(
                f"{self.name}: became shorter while it was followed ({size} bytes, after"
                f" {self._stream.position}); follow a file that is only appended to"
            )
