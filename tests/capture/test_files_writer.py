"""Packets written to a pcapng file come back as they were, and so does the time after them."""

from __future__ import annotations

import os
import resource
import signal
import struct
from pathlib import Path

import pytest

from capture import CaptureError, CaptureWriter, FlowMeter, PacketBatch, open_capture
from capture.columns import Close
from tests.packets import (
    at,
    batch_of,
    block,
    frames_of,
    interface_description,
    option,
    section_header,
    tcp_frame,
    udp_frame,
)

FRAMES = [
    tcp_frame("10.0.0.1", "10.0.0.2", 40_000, 80, "S"),
    udp_frame("10.0.0.1", "10.0.0.2", 40_000, 53, b"odd")[:57],
    tcp_frame("2001:db8::1", "2001:db8::2", 40_000, 80, "SA", bytes(5_000), vlans=(7,)),
]


def written(path: Path, *batches: PacketBatch) -> Path:
    writer = CaptureWriter(str(path), ["lan", "wan"], [1, 1], 256)
    for batch in batches:
        writer.write(batch)
    writer.close([(9, 1), (0, 0)])
    return path


def test_packets_come_back_with_their_interface_lengths_and_nanoseconds(tmp_path: Path) -> None:
    times = [at(0) + 1, at(1) + 987_654_321, at(0.5) + 7]
    batch = batch_of(FRAMES, times, interface=[0, 1, 1], wire_lengths=[54, 100, 9_000])
    with open_capture(written(tmp_path / "a.pcapng", batch)) as capture:
        (back,) = capture
        assert capture.interfaces == ["lan", "wan"]
        assert frames_of(back) == FRAMES
        assert back.timestamp_ns.tolist() == times
        assert back.interface.tolist() == [0, 1, 1]
        assert back.wire_length.tolist() == [54, 100, 9_000]
        assert back.link_type.tolist() == [1, 1, 1]
        assert back.until_ns == -1


def test_more_than_the_writer_holds_at_once_is_written(tmp_path: Path) -> None:
    frames = [bytes([n % 256]) * 60_000 for n in range(100)]
    path = written(tmp_path / "a.pcapng", batch_of(frames, [at(n) for n in range(100)]))
    with open_capture(path) as capture:
        assert [frame for batch in capture for frame in frames_of(batch)] == frames


def test_flows_that_end_while_the_link_is_silent_end_so_in_the_replay(tmp_path: Path) -> None:
    source = [batch_of(FRAMES, [at(0), at(1), at(2)]), batch_of([], [], until_ns=at(90))]
    source.append(batch_of([], [], until_ns=at(122.5)))

    meter = FlowMeter(capacity=16, memory=16)
    with open_capture(written(tmp_path / "a.pcapng", *source)) as capture:
        back = list(capture)
        assert [len(batch) for batch in back if batch.until_ns < 0] == []
        assert {batch.until_ns for batch in back} == {at(122.5)}
    with open_capture(tmp_path / "a.pcapng") as capture:
        ended = []
        for batch in capture:
            ended += [some.copy() for some in meter.process(batch)]
            ended += list(meter.advance(batch.until_ns))
        ended += list(meter.finish())
    finals = [int(row["close"]) for some in ended for row in some if row["kind"] == 0]
    assert finals == [Close.EXPIRED, Close.EXPIRED, Close.END]


def test_the_end_time_in_other_peoples_captures_is_no_packet_time(tmp_path: Path) -> None:
    time = struct.pack("<II", at(500) >> 32, at(500) & 0xFFFFFFFF)
    for comment in (b"Counters provided by dumpcap", b""):
        statistics = struct.pack("<I", 0) + time + option(1, comment) + option(3, time) + option(0, b"")
        path = tmp_path / "dumpcap.pcapng"
        described = interface_description(resolution=9)
        path.write_bytes(section_header() + described + block(5, statistics) + block(5, b"odd") + described)
        with open_capture(path) as capture:
            assert list(capture) == []


def test_no_file_is_overwritten_and_no_place_is_told(tmp_path: Path) -> None:
    path = tmp_path / "kept.pcapng"
    path.write_bytes(b"precious")
    with pytest.raises(CaptureError, match="kept.pcapng: exists already; name another file"):
        CaptureWriter(str(path), ["lan"], [1], 256)
    assert path.read_bytes() == b"precious"
    with pytest.raises(CaptureError, match="nowhere/a.pcapng: cannot be made: No such file or directory"):
        CaptureWriter(str(tmp_path / "nowhere" / "a.pcapng"), ["lan"], [1], 256)


def test_what_does_not_fit_is_taken_back_so_that_the_file_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "full.pcapng"
    writer = CaptureWriter(str(path), ["lan"], [1], 256)
    writer.write(batch_of(FRAMES, [at(0), at(1), at(2)]))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal_before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path) + 100, before[1]))
        with pytest.raises(CaptureError, match="cannot be written any further: File too large; it has the f"):
            writer.write(batch_of(FRAMES, [at(3), at(4), at(5)]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, signal_before)
    writer.abandon()
    with open_capture(path) as capture:
        assert [frame for batch in capture for frame in frames_of(batch)] == FRAMES
