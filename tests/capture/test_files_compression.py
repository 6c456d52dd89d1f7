"""Damaged compressed captures give every packet that can be unpacked before the damage."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from capture.errors import CaptureError
from capture.files import open_capture
from capture.files.compression import DamagedDataError, decoder_of
from capture.files.stream import ByteStream
from tests.packets import at, frames_of, pcap_bytes, udp_frame

_RANDOM = random.Random(7)


def _frame(number: int) -> bytes:
    """Some text, so that all kinds of codes are in the compressed data."""
    payload = b" ".join(b"%x" % _RANDOM.randrange(1 << _RANDOM.randrange(1, 40)) for _ in range(40))
    return udp_frame("10.0.0.1", "10.0.0.2", number, 53, payload)


FRAMES = [_frame(number) for number in range(2500)]
DATA = pcap_bytes(FRAMES, [at(number / 1000) for number in range(len(FRAMES))])
RECORD_ENDS = [24]
for _frame_bytes in FRAMES:
    RECORD_ENDS.append(RECORD_ENDS[-1] + 16 + len(_frame_bytes))

#: name: (pack, what unpacks it in this test, errors of that, bytes that may be lost beside it)
FORMATS: dict[str, tuple[Callable[[bytes], bytes], Callable[[], Any], type[Exception], int]] = {
    "gzip": (gzip.compress, lambda: zlib.decompressobj(wbits=31), zlib.error, 0),
    "xz": (lzma.compress, lzma.LZMADecompressor, lzma.LZMAError, 1023),
    "zstd": (
        zstandard.ZstdCompressor(write_checksum=True).compress,
        lambda: zstandard.ZstdDecompressor().decompressobj(),
        zstandard.ZstdError,
        0,
    ),
}


def by_single_bytes(decoder: Any, error: type[Exception], packed: bytes) -> bytes:
    """What a library unpacks when it is fed byte by byte until it fails."""
    given = []
    try:
        for place in range(len(packed)):
            given.append(decoder.decompress(packed[place : place + 1]))
            if decoder.eof:
                break
    except error:
        pass
    return b"".join(given)


def unpacked(path: Path) -> tuple[bytes, str]:
    """(bytes, error) of a ByteStream."""
    stream, target, given = ByteStream(path), memoryview(bytearray(1 << 20)), []
    try:
        while count := stream.readinto(target):
            given.append(bytes(target[:count]))
    except CaptureError as error:
        return b"".join(given), str(error)
    finally:
        stream.close()
    return b"".join(given), ""


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.77, 0.99])
@pytest.mark.parametrize("name", FORMATS)
def test_all_that_a_library_can_unpack_before_the_damage_is_given(
    tmp_path: Path, name: str, share: float
) -> None:
    pack, library, error, lost = FORMATS[name]
    packed = bytearray(pack(DATA))
    place = int(len(packed) * share)
    packed[place : place + 40] = b"\xff" * 40
    expected = by_single_bytes(library(), error, bytes(packed))
    path = tmp_path / "a.pcap"
    path.write_bytes(packed)
    given, problem = unpacked(path)
    assert given[: len(expected)] == expected[: len(given)]
    assert len(given) >= len(expected) - lost
    assert len(expected) > len(DATA) * share - (200 << 10)  # what zstd loses is a block, of 128 KiB at most
    assert problem.startswith(f"{path}: its {name} data is damaged before byte ")


@pytest.mark.parametrize("name", FORMATS)
def test_every_packet_before_the_damage_is_given(tmp_path: Path, name: str) -> None:
    pack, library, error, lost = FORMATS[name]
    packed = bytearray(pack(DATA))
    # A checksum or an end mark that is wrong: all packets lie before it.
    packed[-4:] = bytes(byte ^ 0x55 for byte in packed[-4:])
    assert by_single_bytes(library(), error, bytes(packed)) == DATA
    path = tmp_path / "a.pcap"
    path.write_bytes(packed)
    frames: list[bytes] = []
    with open_capture(path) as capture, pytest.raises(CaptureError, match=f"its {name} data is damaged"):
        for batch in capture:
            frames += frames_of(batch)
    whole = sum(end <= len(DATA) - lost for end in RECORD_ENDS[1:])
    assert whole <= len(frames) <= len(FRAMES)
    assert frames == FRAMES[: len(frames)]


@pytest.mark.parametrize("cut", [0, 1, 100, 65_535])
def test_gzip_gives_the_bytes_before_a_code_that_does_not_exist(cut: int) -> None:
    # Stored data, then a block of the reserved type 3: what can be unpacked is known to the byte.
    text = os.urandom(65_535 - cut)
    stored = b"\0" + struct.pack("<HH", len(text), ~len(text) & 0xFFFF) + text
    packed = gzip.compress(b"")[:10] + stored + b"\6"
    for most in (1, 7, 1 << 12, 1 << 20):
        decoder, given = decoder_of("gzip"), []
        with pytest.raises(DamagedDataError, match="invalid block type"):
            while True:
                given.append(decoder.decompress(packed if decoder.needs_input and not given else b"", most))
        assert b"".join(given) == text


@pytest.mark.parametrize("size", [0, 1, 5, 1 << 17, (1 << 17) + 1, 3_000_000])
@pytest.mark.parametrize("step", [1, 1000, 1 << 18])
def test_zstd_is_whole_whatever_pieces_it_comes_in(size: int, step: int) -> None:
    if step == 1 and size > 1 << 18:
        size = 1 << 18
    data = (bytes(size // 3) + DATA * 3)[:size]
    for options in ({}, {"write_checksum": True}, {"write_content_size": False}):
        packed = zstandard.ZstdCompressor(**options).compress(data)
        decoder, given, place = decoder_of("zstd"), [], 0
        while not decoder.eof:
            piece = packed[place : place + step] if decoder.needs_input else b""
            place += len(piece)
            given.append(decoder.decompress(piece, 1 << 16))
            assert len(given[-1]) <= 1 << 16
        assert b"".join(given) == data
        assert place + step > len(packed) >= place - len(decoder.unused_data)


def test_zstd_passes_over_a_long_skippable_frame_without_holding_it() -> None:
    decoder = decoder_of("zstd")
    packed = b"\x5a\x2a\x4d\x18" + struct.pack("<I", 1_000_000) + bytes(1_000_000) + b"next"
    for place in range(0, len(packed), 1 << 16):
        assert decoder.decompress(packed[place : place + (1 << 16)], 100) == b""
        assert decoder.eof == (place + (1 << 16) >= len(packed))
    assert decoder.unused_data == b"next"
