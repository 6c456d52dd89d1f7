"""Packets of every kind, from every kind of capture: each is metered or counted by its reason."""

from __future__ import annotations

import gzip
import lzma
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from capture.files import open_capture
from capture.meter.stats import REASONS
from tests.capture.conservation import meter_all
from tests.capture.metering import CLIENT, SERVER, small_meter
from tests.capture.test_meter_frames import SEEDS
from tests.packets import (
    UDP,
    at,
    ethernet,
    ip,
    pcap_bytes,
    pcapng_bytes,
    tcp_frame,
    udp,
)
from tests.reference.frames import NotMetered, decode

PACKET = ip(CLIENT, SERVER, UDP, udp(1, 2, b"abc"))
#: Frames of each link type: the seeds, and what is not metered or only in part.
FRAMES: dict[int, list[bytes]] = {}
for _link_type, _frame in SEEDS:
    FRAMES.setdefault(_link_type, []).extend([_frame, _frame[:-3], _frame[: len(_frame) // 2], _frame[:1]])
FRAMES[1] += [
    ethernet(b"\x44" + PACKET[1:]),
    ethernet(bytes(60), ether_type=0x88CC),
    *[tcp_frame(CLIENT, SERVER, 40_000, 80, flags) for flags in ("S", "SA", "FA", "A", "R", "S")] * 3,
]

CONTAINERS: dict[str, Callable[..., bytes]] = {
    "pcap": pcap_bytes,
    "pcap, big endian, nanoseconds": lambda *a, **k: pcap_bytes(*a, byte_order=">", nanoseconds=True, **k),
    "pcap, modified": lambda *a, **k: pcap_bytes(*a, modified=True, **k),
    "pcap.gz": lambda *a, **k: gzip.compress(pcap_bytes(*a, **k)),
    "pcap.xz": lambda *a, **k: lzma.compress(pcap_bytes(*a, **k)),
    "pcap.zst": lambda *a, **k: zstandard.compress(pcap_bytes(*a, **k)),
    "pcapng": lambda *a, link_type: pcapng_bytes(*a, link_types=(link_type,)),
    "pcapng, big endian": lambda *a, link_type: pcapng_bytes(*a, link_types=(link_type,), byte_order=">"),
}


def expected_counts(frames: list[bytes], link_type: int, **options: Any) -> Counter[str]:
    counts: Counter[str] = Counter()
    for frame in frames:
        try:
            decode(frame, link_type=link_type, **options)
            counts["packets_metered"] += 1
        except NotMetered as reason:
            counts[str(reason)] += 1
    return counts


@pytest.mark.parametrize("decapsulate", [False, True])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("link_type", FRAMES)
def test_every_packet_is_metered_or_counted(
    link_type: int, container: str, decapsulate: bool, tmp_path: Path
) -> None:
    frames = FRAMES[link_type]
    path = tmp_path / "capture"
    times = [at(number * 0.7) for number in range(len(frames))]
    path.write_bytes(CONTAINERS[container](frames, times, link_type=link_type))
    meter = small_meter(capacity=8, decapsulate=decapsulate)
    with open_capture(path) as capture:
        meter_all(capture, meter)
        assert capture.packets == len(frames) == meter.stats.packets_seen
    counts = expected_counts(frames, link_type, decapsulate=decapsulate)
    names = ("packets_metered", *REASONS)
    assert {name: getattr(meter.stats, name) for name in names} == {name: counts[name] for name in names}


def test_interfaces_of_several_link_types_are_metered_side_by_side(tmp_path: Path) -> None:
    """One flow seen on each: the interface is in its key."""
    headers = {1: ethernet(b"")[:12] + b"\x08\0", 101: b"", 113: bytes(14) + b"\x08\0", 9: b"\0\x21"}
    frames = [header + PACKET for header in headers.values()]
    path = tmp_path / "capture.pcapng"
    path.write_bytes(
        pcapng_bytes(frames * 2, [at(0)] * 8, link_types=tuple(headers), interfaces=[0, 1, 2, 3] * 2)
    )
    with open_capture(path) as capture:
        records = meter_all(capture, small_meter())
    assert sorted(records["interface"].tolist()) == [0, 1, 2, 3]
    assert records["total_fwd_packet"].tolist() == [2] * 4
