"""Packets to a pcapng file that `open_capture` reads back as they were."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence

import numpy as np

from capture.errors import CaptureError
from capture.files.kernels import (
    INTERFACE_BLOCK,
    MAXIMUM_BLOCK,
    SECTION_HEADER_BLOCK,
    STATISTICS_BLOCK,
    write_pcapng,
)
from capture.files.pcapng import BYTE_ORDER_MAGIC, QUIET_UNTIL
from capture.packets import PacketBatch

_NAME, _RESOLUTION, _APPLICATION = 2, 9, 4  # options of interfaces; of a section
_COMMENT, _END_TIME, _RECEIVED, _DROPPED = 1, 3, 4, 5  # options of statistics
_NANOSECONDS = 9


class CaptureWriter:
    """Makes the file and writes batches to it; CaptureError when it exists or cannot be written.

    names, link_types: of the interfaces that PacketBatch.interface counts in.  Tags that are not in
    the frame (PacketBatch.vlan) are not written: no source has such.  Every write is whole or taken
    back, so that the file can be read at any time.
    """

    def __init__(self, path: str, names: Sequence[str], link_types: Sequence[int], snaplen: int) -> None:
        self.path = path
        self.packets = 0  #: written so far
        self._interfaces = len(names)
        self._until_ns = -1
        self._size = 0
        self._out = np.empty(2 * MAXIMUM_BLOCK, np.uint8)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o640)
        except FileExistsError:
            raise CaptureError(f"{path}: exists already; name another file for the recording") from None
        except OSError as error:
            raise CaptureError(f"{path}: cannot be made: {error.strerror}; name another file") from None
        header = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1) + _option(_APPLICATION, b"ids-daemon")
        head = _block(SECTION_HEADER_BLOCK, header + _option(0, b""))
        for name, link_type in zip(names, link_types, strict=True):
            described = struct.pack("<HHI", link_type, 0, snaplen) + _option(_NAME, name.encode())
            described += _option(_RESOLUTION, bytes([_NANOSECONDS])) + _option(0, b"")
            head += _block(INTERFACE_BLOCK, described)
        try:
            self._append(memoryview(head))
        except CaptureError:
            os.close(self._descriptor)
            raise

    def write(self, batch: PacketBatch) -> None:
        """Append the packets, and remember how far time went by."""
        first = 0
        while first < len(batch):
            last, used = write_pcapng(
                batch.buffer,
                batch.offset,
                batch.captured_length,
                batch.wire_length,
                batch.timestamp_ns,
                batch.interface,
                first,
                self._out,
            )
            self._append(memoryview(self._out.data)[:used])
            self.packets += last - first
            first = last
        self._until_ns = max(self._until_ns, batch.until_ns)

    def close(self, counts: Sequence[tuple[int, int]] = ()) -> None:
        """Say how far time went by, with (packets, drops) of each interface, and close the file."""
        try:
            if self._until_ns >= 0:
                for number in range(self._interfaces):
                    packets, drops = counts[number] if counts else (0, 0)
                    self._append(memoryview(self._statistics(number, packets, drops)))
        except CaptureError:
            self.abandon()
            raise
        try:
            os.close(self._descriptor)
        except OSError as error:  # some file systems tell only now
            raise CaptureError(f"{self.path}: cannot be written any further: {error.strerror}") from None

    def abandon(self) -> None:
        """Close the file as it is, after a failure."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _statistics(self, number: int, packets: int, drops: int) -> bytes:
        time = struct.pack("<II", self._until_ns >> 32, self._until_ns & 0xFFFFFFFF)
        body = struct.pack("<I", number) + time + _option(_COMMENT, QUIET_UNTIL) + _option(_END_TIME, time)
        if packets:
            body += _option(_RECEIVED, struct.pack("<Q", packets)) + _option(
                _DROPPED, struct.pack("<Q", drops)
            )
        return _block(STATISTICS_BLOCK, body + _option(0, b""))

    def _append(self, data: memoryview) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise CaptureError(
                f"{self.path}: cannot be written any further: {error.strerror}; it has the first"
                f" {self.packets:,} packets"
            ) from None
        self._size += written


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + b"\0" * (-len(value) % 4)
