"""Where the bytes come from: compressed files, standard input, a file that still grows."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from capture.errors import CaptureError
from capture.files import open_capture
from capture.files.stream import ByteStream
from tests.packets import at, frames_of, pcap_bytes, pcapng_bytes, udp_frame, write_pcap

_RANDOM = random.Random(1)
FRAMES = [udp_frame("10.0.0.1", "10.0.0.2", port, 53, _RANDOM.randbytes(200)) for port in range(3000)]
TIMES = [at(index / 1000) for index in range(len(FRAMES))]

Compress = Callable[[bytes], bytes]
COMPRESSORS: list[tuple[str, Compress]] = [
    ("gzip", gzip.compress),
    ("xz", lzma.compress),
    ("zstd", zstandard.ZstdCompressor(write_checksum=True).compress),
]
every_compression = pytest.mark.parametrize(
    ("name", "compress"), COMPRESSORS, ids=lambda value: str(value)[:4]
)


def read(path: Path) -> tuple[list[bytes], str]:
    frames: list[bytes] = []
    try:
        with open_capture(path) as capture:
            for batch in capture:
                frames += frames_of(batch)
    except CaptureError as error:
        assert "\n" not in str(error)
        return frames, str(error)
    return frames, ""


@every_compression
def test_compression_is_told_by_the_content_not_the_name(tmp_path, name, compress):
    path = tmp_path / "capture.txt"
    path.write_bytes(compress(pcap_bytes(FRAMES, TIMES)))
    with open_capture(path) as capture:
        seen = [frame for batch in capture for frame in frames_of(batch)]
        assert seen == FRAMES
        assert capture.size_bytes == capture.position_bytes == path.stat().st_size


@every_compression
def test_several_compressed_streams_in_a_row_are_one_capture(tmp_path, name, compress):
    data = pcapng_bytes(FRAMES, TIMES)
    path = tmp_path / "parts"
    path.write_bytes(compress(data[:1000]) + compress(data[1000:1001]) + compress(data[1001:]))
    assert read(path) == (FRAMES, "")


@every_compression
def test_cut_compressed_stream_gives_the_packets_before_it_and_then_the_error(tmp_path, name, compress):
    packed = compress(pcap_bytes(FRAMES, TIMES))
    path = tmp_path / "cut"
    for length in (len(packed) // 2, len(packed) - 3):
        path.write_bytes(packed[:length])
        frames, error = read(path)
        assert frames == FRAMES[: len(frames)]
        assert f"cut: is cut in the middle of packet {len(frames) + 1}" in error or "is cut after" in error
        assert f"its {name} data ends in the middle of a stream" in error
        # What is unpacked late is a block of zstd (128 KiB) or less.
        assert len(frames) * 258 > length - (200 << 10)


@every_compression
def test_damaged_compressed_stream_is_told(tmp_path, name, compress):
    packed = bytearray(compress(pcap_bytes(FRAMES, TIMES)))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = bytes(64)
    path = tmp_path / "a.pcap"
    path.write_bytes(packed)
    frames, error = read(path)
    assert frames[:1000] == FRAMES[: len(frames[:1000])]
    assert "damaged" in error


@every_compression
def test_something_else_behind_the_compressed_stream_is_told(tmp_path, name, compress):
    path = tmp_path / "tail"
    path.write_bytes(compress(pcap_bytes(FRAMES, TIMES)) + b"and then some")
    frames, error = read(path)
    assert frames == FRAMES
    assert f"something else follows its {name} data" in error


@every_compression
def test_zero_padding_behind_the_compressed_stream_is_no_error(tmp_path, name, compress):
    path = tmp_path / "padded"
    path.write_bytes(compress(pcap_bytes(FRAMES, TIMES)) + bytes(512))
    assert read(path) == (FRAMES, "")


@every_compression
def test_cut_in_the_compressed_head_is_told(tmp_path, name, compress):
    path = tmp_path / "head"
    path.write_bytes(compress(pcap_bytes(FRAMES, TIMES))[:8])
    with pytest.raises(CaptureError, match=f"its {name} data ends in the middle"):
        open_capture(path)


def test_zstd_with_a_skippable_frame_first_is_recognised(tmp_path):
    path = tmp_path / "pzstd"
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    path.write_bytes(skippable + zstandard.compress(pcap_bytes(FRAMES, TIMES)))
    assert read(path) == (FRAMES, "")


def test_memory_stays_bounded_however_dense_the_compression(tmp_path):
    path = tmp_path / "dense"
    path.write_bytes(zstandard.compress(bytes(200 << 20)))
    assert path.stat().st_size < 20_000
    stream = ByteStream(path)
    target = memoryview(bytearray(1 << 20))
    total, largest = 0, 0
    while count := stream.readinto(target):
        total += count
        largest = max(largest, count)
    stream.close()
    assert total == 200 << 20
    assert largest <= 1 << 20
    assert stream.cut() == ""


def test_window_of_over_128_mib_is_refused(tmp_path):
    path = tmp_path / "long"
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path.write_bytes(stream.compress(pcap_bytes(FRAMES, TIMES)) + stream.flush())
    with pytest.raises(CaptureError, match="its zstd data is damaged"):
        open_capture(path)


PROGRAM = """
import sys
from capture.errors import CaptureError
from capture.files import open_capture
try:
    with open_capture("-") as capture:
        print(sum(len(batch) for batch in capture), capture.name, capture.size_bytes)
except CaptureError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lzma.compress, zstandard.compress], ids=["plain", "gzip", "xz", "zstd"]
)
def test_standard_input_is_read(pack):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=pack(pcap_bytes(FRAMES, TIMES)),
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.decode() == "3000 standard input None\n"


def test_standard_input_that_is_empty_is_told():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=b"",
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.decode().startswith("standard input: is empty;")


def test_pipe_gives_packets_before_it_is_full(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = pcap_bytes(FRAMES[:2], TIMES[:2])
    goes_on = threading.Event()

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            pipe.write(data[:-10])
            goes_on.wait(30)
            pipe.write(data[-10:])

    writer = threading.Thread(target=write)
    writer.start()
    with open_capture(path) as capture:
        batches = iter(capture)
        assert frames_of(next(batches)) == FRAMES[:1]
        assert capture.size_bytes is None
        goes_on.set()
        assert frames_of(next(batches)) == FRAMES[1:2]
        assert next(batches, None) is None
    writer.join()


@pytest.mark.parametrize("with_ethernet", [False, True])
def test_pipe_without_an_interface_to_read_is_refused_at_its_first_packet(tmp_path, with_ethernet):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    link_types = (105, 1) if with_ethernet else (105,)
    data = pcapng_bytes(FRAMES[:3], TIMES[:3], link_types=link_types, interfaces=[0, 0, 0], names=("wlan0",))
    goes_on = threading.Event()

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            pipe.write(data)
            goes_on.wait(30)

    writer = threading.Thread(target=write)
    writer.start()
    with open_capture(path) as capture:
        if with_ethernet:  # packets of it may come, so this waits for the end
            goes_on.set()
        with pytest.raises(CaptureError) as raised:
            next(iter(capture))
        assert goes_on.is_set() == with_ethernet
        goes_on.set()
    writer.join()
    left_out = "3 packets were left out, as their link type is not read: 3 of 105 (IEEE802_11) on wlan0"
    assert left_out in str(raised.value)
    assert ("has no interface to read from, so it is not read on;" in str(raised.value)) != with_ethernet


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_growing_file_is_followed_from_before_its_header_on(tmp_path, pack):
    path = tmp_path / "grows.pcap"
    data = pack(pcap_bytes(FRAMES[:3], TIMES[:3]))
    seen: list[bytes] = []
    with path.open("wb", buffering=0) as growing, open_capture(path, follow=True) as capture:
        batches = iter(capture)
        for place in range(0, len(data), 97):
            growing.write(data[place : place + 97])
            while len(batch := next(batches)):
                seen += frames_of(batch)
        assert seen == FRAMES[:3]
        assert capture.position_bytes == capture.size_bytes == len(data)
        capture.close()
        assert next(batches, None) is None


def test_close_from_another_thread_ends_the_wait_for_more(tmp_path):
    path = write_pcap(tmp_path / "a.pcap", FRAMES[:1], TIMES[:1])
    capture = open_capture(path, follow=True)
    seen: list[int] = []
    waiting = threading.Event()

    def consume() -> None:
        for batch in capture:
            seen.append(len(batch))
            if not len(batch):
                waiting.set()

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert waiting.wait(30)
    capture.close()
    consumer.join(30)
    assert not consumer.is_alive()
    assert sum(seen) == 1


def test_followed_file_that_becomes_shorter_is_told(tmp_path):
    path = write_pcap(tmp_path / "a.pcap", FRAMES[:2], TIMES[:2])
    with open_capture(path, follow=True) as capture:
        batches = iter(capture)
        assert len(next(batches)) == 2
        os.truncate(path, 30)
        with pytest.raises(CaptureError, match="became shorter while it was followed"):
            next(batches)


def test_followed_file_that_is_no_capture_is_told(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a capture")
    with open_capture(path, follow=True) as capture, pytest.raises(CaptureError, match="looks like text"):
        next(iter(capture))
