"""pcapng: sections, interfaces, time units, blocks of every kind, and broken ones."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from capture.columns import Close, Kind
from capture.errors import CaptureError
from capture.files import open_capture
from capture.files.kernels import LAST_SECOND, nanoseconds
from capture.files.pcapng import MAXIMUM_INTERFACES, time_unit
from capture.link_types import ADVICE, omission
from capture.meter import FlowMeter
from tests.capture.conservation import meter_all
from tests.packets import (
    at,
    block,
    enhanced_packet,
    frames_of,
    interface_description,
    obsolete_packet,
    option,
    pcapng_bytes,
    section_header,
    simple_packet,
    tcp_frame,
    udp_frame,
)

FIRST = tcp_frame("10.0.0.1", "10.0.0.2", 40000, 80, "S")
SECOND = udp_frame("10.0.0.3", "10.0.0.4", 5000, 53, b"abc")
SECOND_NS = 1_000_000_000


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "a.pcapng"


def read(path: Path) -> tuple[list[bytes], list[int], list[int], str]:
    """(frames, times, interfaces, error) of a capture."""
    frames: list[bytes] = []
    times: list[int] = []
    interfaces: list[int] = []
    try:
        with open_capture(path) as capture:
            for batch in capture:
                frames += frames_of(batch)
                times += batch.timestamp_ns.tolist()
                interfaces += batch.interface.tolist()
    except CaptureError as error:
        assert "\n" not in str(error)
        return frames, times, interfaces, str(error)
    return frames, times, interfaces, ""


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_either_byte_order_is_read(path, byte_order):
    path.write_bytes(pcapng_bytes([FIRST, SECOND], [at(0) + 7, at(-1)], byte_order=byte_order))
    assert read(path) == ([FIRST, SECOND], [at(0) + 7, at(-1)], [0, 0], "")


def test_interfaces_have_names_link_types_and_numbers(path):
    path.write_bytes(
        pcapng_bytes(
            [FIRST, SECOND[14:], FIRST],
            [at(0), at(1), at(2)],
            link_types=(1, 101),
            interfaces=[0, 1, 0],
            names=("eth0", "tun0"),
        )
    )
    with open_capture(path) as capture:
        (batch,) = capture
        assert capture.interfaces == ["eth0", "tun0"]
        assert batch.interface.tolist() == [0, 1, 0]
        assert batch.link_type.tolist() == [1, 101, 1]


@pytest.mark.parametrize(
    ("resolution", "ticks", "expected_ns"),
    [
        (None, 1_500_000, 1_500_000_000),
        (0, 7, 7 * SECOND_NS),
        (3, 1_500, 1_500_000_000),
        (9, 1_500_000_001, 1_500_000_001),
        (12, 1_500_000_001_999, 1_500_000_001),
        (19, 15_000_000_019_999_999_999, 1_500_000_001),
        (0x80 | 10, 1536, 1_500_000_000),
        (0x80 | 32, 3 << 31, 1_500_000_000),
        (0x80 | 40, 3 << 39, 1_500_000_000),
        (127, 2**64 - 1, 1),
        (0xFF, 2**64 - 1, 0),
        (0, 2**64 - 1, LAST_SECOND * SECOND_NS),
    ],
)
def test_time_units_become_nanoseconds(path, resolution, ticks, expected_ns):
    path.write_bytes(
        section_header() + interface_description(resolution=resolution) + enhanced_packet(FIRST, ticks)
    )
    assert read(path)[1] == [expected_ns]


@pytest.mark.parametrize("offset_s", [-5, 1_000_000_000, -(2**63), 2**63 - 1])
def test_time_offset_is_added_and_far_times_are_clamped(path, offset_s):
    path.write_bytes(
        section_header() + interface_description(offset_s=offset_s) + enhanced_packet(FIRST, 2_000_001)
    )
    seconds = max(-LAST_SECOND, min(LAST_SECOND, 2 + offset_s))
    assert read(path)[1] == [seconds * SECOND_NS + 1_000]


def test_time_unit_of_the_usual_resolutions_is_exact():
    assert time_unit(6) == (1, 10**6)
    assert time_unit(9) == (1, 10**9)
    assert time_unit(12) == (1000, 10**9)
    assert time_unit(0x80 | 20) == (1, 2**20)
    coarsen, per_second = (np.uint64(number) for number in time_unit(6))
    ticks = 1_499_432_400_123_456
    assert nanoseconds(ticks >> 32, ticks & 0xFFFFFFFF, coarsen, per_second, 0) == ticks * 1000


def test_simple_and_obsolete_packet_blocks_are_read(path):
    path.write_bytes(
        section_header()
        + interface_description(snaplen=40, resolution=9)
        + simple_packet(FIRST[:40], wire_length=len(FIRST))
        + obsolete_packet(SECOND, at(3))
        + simple_packet(SECOND[:40], wire_length=45)
    )
    with open_capture(path) as capture:
        (batch,) = capture
        assert frames_of(batch) == [FIRST[:40], SECOND, SECOND[:40]]
        assert batch.wire_length.tolist() == [len(FIRST), len(SECOND), 45]
        # A simple packet has no time: it takes that of the packet before.
        assert batch.timestamp_ns.tolist() == [0, at(3), at(3)]


def test_sections_may_differ_in_byte_order_and_share_an_interface(path):
    one = pcapng_bytes([FIRST], [at(0)], names=("eth0",))
    other = pcapng_bytes([SECOND], [at(1)], names=("eth0",), byte_order=">")
    third = pcapng_bytes([SECOND], [at(2)], names=("eth1",))
    path.write_bytes(one + other + third)
    with open_capture(path) as capture:
        (batch,) = capture
        assert frames_of(batch) == [FIRST, SECOND, SECOND]
        assert batch.interface.tolist() == [0, 0, 1]
        assert capture.interfaces == ["eth0", "eth1"]


def test_other_blocks_are_skipped_also_when_longer_than_memory(path):
    long_block = block(0x0BAD, bytes(5 << 20))
    path.write_bytes(
        section_header()
        + interface_description(resolution=9)
        + block(4, bytes(8))
        + enhanced_packet(FIRST, at(0))
        + long_block
        + block(5, bytes(12))
        + enhanced_packet(SECOND, at(1))
    )
    assert read(path) == ([FIRST, SECOND], [at(0), at(1)], [0, 0], "")
    data = bytearray(path.read_bytes())
    end_of_long = data.index(long_block[:8]) + len(long_block)
    data[end_of_long - 4 : end_of_long] = struct.pack("<I", 16)
    path.write_bytes(data)
    frames, _, _, error = read(path)
    assert frames == [FIRST]
    assert "lengths differ" in error


def test_options_behind_a_frame_are_not_part_of_it(path):
    body = struct.pack("<IIIII", 0, at(0) >> 32, at(0) & 0xFFFFFFFF, len(SECOND), len(SECOND))
    body += SECOND + b"\0" * (-len(SECOND) % 4) + option(1, b"a comment") + option(0, b"")
    path.write_bytes(section_header() + interface_description(resolution=9) + block(6, body))
    assert read(path)[0] == [SECOND]


def test_section_without_packets_is_no_error(path):
    path.write_bytes(section_header())
    assert read(path) == ([], [], [], "")
    path.write_bytes(section_header() + interface_description(105))
    assert read(path) == ([], [], [], "")


def mixed(kinds: str, names: tuple[str, ...] = ("eth0", "wlan0", "usbmon1")) -> bytes:
    """A letter a packet: `e`thernet, `w`ireless, `u`sb; the times are seconds."""
    return pcapng_bytes(
        [FIRST] * len(kinds),
        [at(second) for second in range(len(kinds))],
        link_types=(1, 105, 220),
        interfaces=["ewu".index(kind) for kind in kinds],
        names=names,
    )


def test_packets_of_a_link_type_that_is_not_read_are_left_out_and_told_at_the_end(path):
    path.write_bytes(mixed("wewue"))
    frames, times, interfaces, error = read(path)
    assert (frames, times, interfaces) == ([FIRST, FIRST], [at(1), at(4)], [0, 0])
    assert error == (
        f"{path}: 3 packets were left out, as their link type is not read: 2 of 105 (IEEE802_11) on wlan0,"
        f" 1 of 220 (USB_LINUX_MMAPPED) on usbmon1; {ADVICE}"
    )
    path.write_bytes(mixed("w" + "e" * 5000))  # more than a batch
    frames, _, _, error = read(path)
    assert len(frames) == 5000 and "1 packet was left out, as its link type" in error
    path.write_bytes(mixed("www"))
    frames, _, _, error = read(path)
    assert frames == [] and "3 packets were left out" in error


def test_packets_left_out_are_added_up_over_sections(path):
    path.write_bytes(
        mixed("we") + mixed("ww", ("eth0", "wlan0", "")) + mixed("ue", ("a", "b", "")) + mixed("")
    )
    capture = open_capture(path)
    with capture, pytest.raises(CaptureError, match="4 packets were left out"):
        assert sum(map(len, capture)) == 2
    assert capture.left_out == {(105, "wlan0"): 3, (220, ""): 1}


def test_a_capture_that_is_cut_or_damaged_tells_of_packets_left_out_before(path):
    data = mixed("we")
    path.write_bytes(data[:-5])
    assert re.search(r"is cut in the middle .* was read; before that 1 packet was left out", read(path)[3])
    path.write_bytes(data + block(1, bytes(4)))
    frames, _, _, error = read(path)
    assert frames == [FIRST]
    assert re.search(r"damaged in an interface description .*; before that 1 packet was left out", error)


def test_a_packet_that_is_left_out_is_whole_and_tells_the_time_for_simple_ones(path):
    head = (
        section_header() + interface_description(1, resolution=9) + interface_description(105, resolution=9)
    )
    path.write_bytes(head + enhanced_packet(FIRST, at(7), interface=1) + simple_packet(SECOND))
    assert read(path)[:2] == ([SECOND], [at(7)])
    path.write_bytes(head + block(6, struct.pack("<IIIII", 1, 0, 0, 21, 21) + bytes(20)))
    assert "a length that cannot be" in read(path)[3]


def test_the_line_about_packets_left_out_stays_short_and_printable():
    many = {(105, f"wlan{number}\x1b[31m" + "x" * 100): 1000 for number in range(6)}
    line = omission(many)
    assert line.startswith("6,000 packets were left out")
    assert line.isprintable() and "wlan0?[31mxxx" in line and "wlan4" not in line
    assert "and 2 more; use a capture of" in line and len(line) < 500


def test_times_at_the_end_of_what_is_held_make_one_flow(path):
    stamps = [(LAST_SECOND - 1) * SECOND_NS // 1000, 2**63 // 1000, 2**64 - 1]
    blocks = [enhanced_packet(FIRST, stamp) for stamp in stamps]
    path.write_bytes(section_header() + interface_description() + b"".join(blocks))
    meter = FlowMeter(capacity=16, memory=16)
    with open_capture(path) as capture:
        records = meter_all(capture, meter)
    (flow,) = records[records["kind"] == Kind.FINAL]
    assert (flow["total_fwd_packet"], flow["close"]) == (3, Close.END)


def header_with(block_bytes: bytes) -> bytes:
    """A capture of one good packet, then these bytes."""
    return pcapng_bytes([FIRST], [at(0)]) + block_bytes


def with_lengths(first: int, last: int) -> bytes:
    return struct.pack("<II", 6, first) + bytes(28) + struct.pack("<I", last)


@pytest.mark.parametrize(
    ("tail", "complaint"),
    [
        (with_lengths(8, 8), "a length that cannot be"),
        (with_lengths(0, 0), "a length that cannot be"),
        (with_lengths(41, 41), "a length that cannot be"),
        (with_lengths(0xFFFFFFFC, 40), "a length that cannot be"),
        (with_lengths(40, 44), "its two lengths differ"),
        (block(6, bytes(16)), "a length that cannot be"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 21, 21) + bytes(20)), "a length that cannot be"),
        (block(1, bytes(4)), "damaged in an interface description"),
        (enhanced_packet(SECOND, 0, interface=1), "its interface 1 was not described"),
        (obsolete_packet(SECOND, 0, interface=513), "its interface 513 was not described"),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "no byte-order magic"),
        (block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 7, 0, -1)), "pcapng version 7.0"),
        (block(0x0A0D0D0A, struct.pack("<IHH", 0x1A2B3C4D, 1, 0)), "damaged in a section header"),
        (block(0x0BAD, bytes(100))[:-1], "is cut in the middle of a block"),
        (b"\6\0\0", "is cut in the middle of a block"),
    ],
)
def test_broken_block_ends_the_capture_after_the_packets_before(path, tail, complaint):
    path.write_bytes(header_with(tail))
    frames, _, _, error = read(path)
    assert frames == [FIRST]
    assert complaint in error
    assert "a.pcapng: " in error


def test_packet_without_any_interface_is_told(path):
    path.write_bytes(section_header() + simple_packet(FIRST))
    assert "its interface 0 was not described" in read(path)[3]


def test_number_of_interfaces_is_bounded(path):
    descriptions = b"".join(interface_description(name=f"i{n}") for n in range(MAXIMUM_INTERFACES + 1))
    path.write_bytes(section_header() + descriptions)
    assert f"more than {MAXIMUM_INTERFACES} interfaces" in read(path)[3]


def test_cut_at_every_byte_gives_the_whole_packets_before(path):
    whole = pcapng_bytes([FIRST, SECOND], [at(0), at(1)])
    second = whole.index(enhanced_packet(SECOND, at(1)))
    for length in range(second, len(whole)):
        path.write_bytes(whole[:length])
        frames, _, _, error = read(path)
        assert frames == [FIRST]
        assert ("is cut in the middle of a block" in error) == (length > second)
