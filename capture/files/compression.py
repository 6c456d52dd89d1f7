"""Compressed streams: gzip, xz, zstd, told by their first bytes.

A decoder gives what can be unpacked before a damage, of xz all but less than 1 KiB, then raises
DamagedDataError: the libraries throw away what the failing call had unpacked.  Memory is bounded whatever
the data says: output comes in pieces, and a window or dictionary of over 128 MiB is refused.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Generator
from itertools import repeat
from typing import Any, Protocol

import zstandard

#: Enough bytes to know the compression.
MAGIC_LENGTH = 6

_MEMORY_LIMIT = 1 << 27
_GZIP, _XZ, _ZSTD = b"\x1f\x8b\x08", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
#: What is unpacked of xz at a time.  Its decoder cannot be copied, so less than this is lost before a
#: damage.  Smaller steps take longer: these some 5 %, half of them twice that.
_XZ_STEP = 1024
#: What is passed over of a skippable frame of zstd at a time.
_SKIPPED = 1 << 16
_ZSTD_RLE_BLOCK = 1


class DamagedDataError(Exception):
    """Compressed data that cannot be unpacked any further."""


class Decoder(Protocol):
    """One compressed stream; the face of lzma.LZMADecompressor, but for what `decompress` raises."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def compression_of(head: bytes) -> str:
    """`gzip`, `xz`, `zstd` or "" by the first bytes of a file or of what follows a stream."""
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_XZ):
        return "xz"
    # Parallel compressors put a skippable frame (RFC 8878, 3.1.2) before the first real one.
    if head.startswith(_ZSTD) or _is_skippable(head):
        return "zstd"
    return ""


def decoder_of(compression: str) -> Decoder:
    """A decoder for one stream of what `compression_of` named."""
    if compression == "gzip":
        return _GzipDecoder()
    return _XzDecoder() if compression == "xz" else _ZstdDecoder()


class _GzipDecoder:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)
        self._damage = ""

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail and not self.eof and not self._damage

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        output = b""
        if not self._damage:
            data = self._stream.unconsumed_tail + data
            before = self._stream.copy()
            try:
                return self._stream.decompress(data, max_length)
            except zlib.error as error:
                self._damage = str(error)
                output = _until_damage(before, data)
        if not output:
            raise DamagedDataError(self._damage)
        return output


def _until_damage(stream: Any, data: bytes) -> bytes:
    """What a decompressobj gives of data that it cannot unpack, up to the byte that it fails at."""
    given = []
    while len(data) > 1:
        half, attempt = len(data) // 2, stream.copy()
        try:
            given.append(attempt.decompress(data[:half]))
        except zlib.error:
            data = data[:half]
        else:
            stream, data = attempt, data[half:]
    return b"".join(given)


class _XzDecoder:
    """Unpacks in small steps, of which a damage costs the last one."""

    def __init__(self) -> None:
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT)
        self._damage = ""

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return self._stream.needs_input and not self._damage

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        pieces: list[bytes] = []
        room = max_length
        try:
            while room and not self._damage:
                pieces.append(self._stream.decompress(data, min(_XZ_STEP, room)))
                data, room = b"", room - len(pieces[-1])
                if self._stream.needs_input or self._stream.eof:
                    break
        except lzma.LZMAError as error:
            self._damage = str(error)
        output = b"".join(pieces)
        if self._damage and not output:
            raise DamagedDataError(self._damage)
        return output


class _ZstdDecoder:
    """Hands over block by block (RFC 8878, 3.1.1), since zstandard gives all output of its input at once.

    A block gives at most 128 KiB, and of a damaged one nothing can be unpacked.
    """

    def __init__(self) -> None:
        self._stream = zstandard.ZstdDecompressor(max_window_size=_MEMORY_LIMIT).decompressobj()
        self._parts = _parts_of_zstd()
        self._part_length = next(self._parts)
        self._waiting = memoryview(b"")
        self._unpacked = memoryview(b"")

    @property
    def eof(self) -> bool:
        return self._stream.eof and not self._unpacked

    @property
    def needs_input(self) -> bool:
        return len(self._waiting) < self._part_length and not self._unpacked and not self.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data + bytes(self._waiting)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._waiting = memoryview(bytes(self._waiting) + data)
        while not self._unpacked and len(self._waiting) >= self._part_length and not self._stream.eof:
            part = bytes(self._waiting[: self._part_length])
            self._waiting = self._waiting[self._part_length :]
            try:
                self._unpacked = memoryview(self._stream.decompress(part))
                self._part_length = self._parts.send(part)
            except zstandard.ZstdError as error:
                raise DamagedDataError(str(error)) from None
        output, self._unpacked = self._unpacked[:max_length], self._unpacked[max_length:]
        return bytes(output)


def _parts_of_zstd() -> Generator[int, bytes, None]:
    """Lengths of the parts of one frame, each at least 1; is sent the part that it gave the length of."""
    head = yield 5
    if _is_skippable(head):
        left = int.from_bytes(head[4:] + (yield 3), "little")
        while left:
            left -= len((yield min(left, _SKIPPED)))
    else:
        head += yield zstandard.frame_header_size(head) - len(head)
        last = False
        while not last:
            word = int.from_bytes((yield 3), "little")
            last, kind, length = bool(word & 1), word >> 1 & 3, word >> 3
            if length:
                yield 1 if kind == _ZSTD_RLE_BLOCK else length
        if zstandard.get_frame_parameters(head).has_checksum:
            yield 4
    yield from repeat(1)


def _is_skippable(head: bytes) -> bool:
    return head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5
