"""Classic pcap files, and what is said about files that are none."""

from __future__ import annotations

import errno
import gzip
import itertools
import lzma
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture.errors import CaptureError
from capture.files import BATCH_PACKETS, open_capture
from tests.packets import (
    arp_frame,
    at,
    frames_of,
    pcap_bytes,
    pcapng_bytes,
    tcp_frame,
    udp_frame,
    write_pcap,
    write_pcapng,
)

FRAMES = [
    tcp_frame("10.0.0.1", "10.0.0.2", 40000, 80, "S"),
    udp_frame("2001:db8::1", "2001:db8::2", 5353, 53, b"question"),
    arp_frame("10.0.0.1", "10.0.0.2"),
    tcp_frame("10.0.0.2", "10.0.0.1", 80, 40000, "SA"),
]
TIMES = [at(0), at(0.000001), at(2.5), at(1.0)]


def read(path: Path) -> tuple[list[bytes], list[int], str]:
    """All frames and times of a capture, and the error that ended it ("" when none)."""
    frames: list[bytes] = []
    times: list[int] = []
    try:
        with open_capture(path) as capture:
            for batch in capture:
                assert len(batch) <= BATCH_PACKETS
                frames += frames_of(batch)
                times += batch.timestamp_ns.tolist()
            assert capture.packets == len(frames)
    except CaptureError as error:
        return frames, times, str(error)
    return frames, times, ""


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("variant", [{}, {"nanoseconds": True}, {"modified": True}])
def test_every_pcap_variant_gives_frames_and_times(tmp_path, byte_order, variant):
    path = write_pcap(tmp_path / "a.pcap", FRAMES, TIMES, byte_order=byte_order, **variant)
    assert read(path) == (FRAMES, TIMES, "")


def test_nanoseconds_are_kept_and_microseconds_are_not_rounded(tmp_path):
    path = write_pcap(tmp_path / "ns.pcap", FRAMES[:1], [at(0) + 7], nanoseconds=True)
    assert read(path)[1] == [at(0) + 7]
    path = write_pcap(tmp_path / "us.pcap", FRAMES[:1], [at(0) + 1999])
    assert read(path)[1] == [at(0) + 1000]


def test_batch_says_link_type_interface_and_no_vlan(tmp_path):
    path = write_pcap(tmp_path / "raw.pcap", [b"E" + bytes(19)], [at(0)], link_type=101)
    with open_capture(path) as capture:
        (batch,) = capture
        assert batch.link_type.tolist() == [101]
        assert batch.interface.tolist() == [0]
        assert batch.vlan.tolist() == [-1]
        assert capture.interfaces == [""]
        assert capture.name == str(path)


def test_many_packets_come_in_batches_of_at_most_4096_across_chunks(tmp_path):
    frames = [udp_frame("10.0.0.1", "10.0.0.2", port, 53, bytes(port % 1400)) for port in range(10_000)]
    path = write_pcap(tmp_path / "many.pcap", frames, (at(index) for index in range(10_000)))
    assert path.stat().st_size > 7 << 20
    seen, times, error = read(path)
    assert seen == frames
    assert times == [at(index) for index in range(10_000)]
    assert error == ""


def test_position_reaches_the_size_on_disk(tmp_path):
    path = write_pcap(tmp_path / "a.pcap", FRAMES, TIMES)
    with open_capture(path) as capture:
        assert capture.size_bytes == path.stat().st_size
        list(capture)
        assert capture.position_bytes == capture.size_bytes


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_a_wire_length_that_no_packet_has_is_taken_as_the_largest(tmp_path, write):
    path = write(tmp_path / "a.pcap", FRAMES[:2], TIMES[:2], wire_lengths=[2**31 + 100, 2**32 - 1])
    with open_capture(path) as capture:
        (batch,) = capture
        assert batch.wire_length.tolist() == [2**20, 2**20]


def test_snaplen_cut_keeps_the_wire_length_and_never_less_than_captured(tmp_path):
    path = write_pcap(tmp_path / "a.pcap", FRAMES[:2], TIMES[:2], wire_lengths=[1500, 10])
    with open_capture(path) as capture:
        (batch,) = capture
        assert batch.captured_length.tolist() == [len(FRAMES[0]), len(FRAMES[1])]
        assert batch.wire_length.tolist() == [1500, len(FRAMES[1])]


def test_fcs_bits_of_the_link_type_are_masked(tmp_path):
    path = write_pcap(tmp_path / "fcs.pcap", FRAMES, TIMES, link_type=0x24000001)
    assert read(path)[0] == FRAMES


def test_header_alone_is_a_capture_without_packets(tmp_path):
    assert read(write_pcap(tmp_path / "none.pcap", [], [])) == ([], [], "")


@pytest.mark.parametrize(
    ("number", "name"),
    [(105, "IEEE802_11"), (127, "IEEE802_11_RADIOTAP"), (195, "IEEE802_15_4_WITHFCS"), (147, "USER0")],
)
def test_other_link_types_are_refused_by_name(tmp_path, number, name):
    path = write_pcap(tmp_path / "wifi.pcap", FRAMES, TIMES, link_type=number)
    with pytest.raises(CaptureError, match=rf"wifi\.pcap: link type {number} \({name}\) is not read; use"):
        open_capture(path)


def test_unnamed_link_type_is_refused_by_number(tmp_path):
    path = write_pcap(tmp_path / "a.pcap", FRAMES, TIMES, link_type=65000)
    with pytest.raises(CaptureError, match="link type 65000 is not read"):
        open_capture(path)


def test_missing_file_directory_and_empty_file_are_told_apart(tmp_path):
    with pytest.raises(CaptureError, match=r"gone\.pcap: no such file"):
        open_capture(tmp_path / "gone.pcap")
    with pytest.raises(CaptureError, match="is a directory"):
        open_capture(tmp_path)
    (tmp_path / "empty.pcap").touch()
    with pytest.raises(CaptureError, match=r"empty\.pcap: is empty"):
        open_capture(tmp_path / "empty.pcap")
    with pytest.raises(CaptureError, match="cannot be opened"):
        open_capture("a\0b")


def test_unreadable_file_is_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    path = write_pcap(tmp_path / "a.pcap", FRAMES, TIMES)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CaptureError, match="a.pcap: permission denied; make it readable"):
        open_capture(path)


@pytest.mark.parametrize(
    ("content", "guess"),
    [
        (b"time,src,dst\n1,2,3\n", "looks like text"),
        (b"\x7fELF" + bytes(60), "ELF"),
        (b"PK\x03\x04" + bytes(60), "zip archive"),
        (bytes(100), "begins with zeros"),
        (lzma.compress(b"x" * 60, lzma.FORMAT_ALONE), r"looks like \.lzma: unpack it first, `xz -dc` can"),
        (b"\x1f\x9d\x90" + bytes(60), r"looks like \.Z"),
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "is gzip within gzip: unpack it once before"),
        (lzma.compress(gzip.compress(b"x", mtime=0)), "is gzip within xz: unpack it once before"),
        (b"\x01\x02\x03", "is not a pcap or pcapng capture;"),
    ],
)
def test_what_is_no_capture_is_said_to_be_none(tmp_path, content, guess):
    path = tmp_path / "other.pcap"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=guess) as raised:
        open_capture(path)
    assert "\n" not in str(raised.value)


def test_cut_header_and_unknown_version_are_told(tmp_path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap_bytes(FRAMES, TIMES)[:23])
    with pytest.raises(CaptureError, match="ends in its header, 23 of 24 bytes"):
        open_capture(path)
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 9, 9, 0, 0, 65535, 1))
    with pytest.raises(CaptureError, match=r"pcap version 9\.9 is not known"):
        open_capture(path)


def test_cut_at_every_byte_gives_the_whole_packets_before_and_then_the_error(tmp_path):
    whole = pcap_bytes(FRAMES, TIMES)
    ends = list(itertools.accumulate((16 + len(frame) for frame in FRAMES), initial=24))
    path = tmp_path / "cut.pcap"
    for length in range(24, len(whole) + 1):
        path.write_bytes(whole[:length])
        frames, _, error = read(path)
        before = max(count for count, end in enumerate(ends) if end <= length)
        assert frames == FRAMES[:before]
        if length in ends:
            assert error == ""
        else:
            assert f"is cut in the middle of packet {before + 1} at byte {ends[before]};" in error


def test_absurd_length_and_zeros_end_the_capture_after_the_packets_before(tmp_path):
    path = tmp_path / "bad.pcap"
    path.write_bytes(pcap_bytes(FRAMES, TIMES) + struct.pack("<IIII", 1, 1, 0x7FFFFFFF, 60) + bytes(60))
    frames, _, error = read(path)
    assert frames == FRAMES
    assert "damaged in packet 5 at byte" in error
    assert "claims 2147483647 captured bytes" in error
    path.write_bytes(pcap_bytes(FRAMES, TIMES) + bytes(4096))
    frames, _, error = read(path)
    assert frames == FRAMES
    assert "damaged in packet 5" in error
    assert "zeros" in error


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    source=st.sampled_from([pcap_bytes(FRAMES, TIMES), pcapng_bytes(FRAMES, TIMES)]),
    damage=st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=4)), max_size=6),
    length=st.integers(0, 700),
)
def test_damaged_captures_end_with_one_line_and_stay_inside_the_buffer(tmp_path, source, damage, length):
    data = bytearray(source[:length])
    for place, value in damage:
        data[place : place + len(value)] = value
    path = tmp_path / "damaged"
    path.write_bytes(data)
    try:
        with open_capture(path) as capture:
            for batch in capture:
                ends = batch.offset + batch.captured_length
                assert batch.offset.min() >= 0
                assert ends.max() <= len(batch.buffer)
                assert (batch.wire_length >= batch.captured_length).all()
    except CaptureError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)


def test_kernels_give_the_same_without_numba(tmp_path):
    write_pcap(tmp_path / "a.pcap", FRAMES, TIMES, byte_order=">")
    (tmp_path / "b.pcapng").write_bytes(pcapng_bytes(FRAMES, TIMES))
    program = (
        "import sys; from capture.files import open_capture\n"
        "for path in sys.argv[1:]:\n"
        "    for batch in open_capture(path):\n"
        "        print(batch.timestamp_ns.tolist(), batch.offset.tolist(), batch.wire_length.tolist())\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, tmp_path / "a.pcap", tmp_path / "b.pcapng"]
    compiled, plain = (
        subprocess.run(
            command,
            env=os.environ | {"NUMBA_DISABLE_JIT": setting},
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        ).stdout
        for setting in ("0", "1")
    )
    assert compiled == plain
    assert str(TIMES) in plain
