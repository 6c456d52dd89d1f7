"""Damaged captures and random bytes through reader and meter: only the package's own errors come out.

The seed is fixed; `./dev fuzz` sets IDS_FUZZ_SEED and IDS_FUZZ_ROUNDS (captures a test) to others.
"""

from __future__ import annotations

import gzip
import lzma
import os
import random
from pathlib import Path

import pytest
import zstandard

from capture.errors import CaptureError
from capture.files import open_capture
from capture.meter import FlowMeter
from tests.capture.conservation import meter_all
from tests.capture.test_meter_frames import SEEDS
from tests.packets import START_NS, pcap_bytes, pcapng_bytes

SEED = int(os.environ.get("IDS_FUZZ_SEED", "1"))
ROUNDS = int(os.environ.get("IDS_FUZZ_ROUNDS", "250"))

BY_LINK_TYPE: dict[int, list[bytes]] = {}
for _link_type, _frame in SEEDS:
    BY_LINK_TYPE.setdefault(_link_type, []).append(_frame)


def damaged(data: bytes, choose: random.Random, most: int) -> bytes:
    """Bytes changed, taken out, doubled, cut: each at most a few times."""
    result = bytearray(data)
    for _ in range(choose.randint(0, most)):
        if not result:
            break
        place = choose.randrange(len(result))
        kind = choose.randrange(5)
        if kind < 2:
            result[place] = choose.choice((0, 1, 0x45, 0x60, 0x7F, 0x80, 0xFF, choose.randrange(256)))
        elif kind == 2:
            result[place : place + 4] = choose.choice((bytes(4), b"\xff" * 4, b"\0\0\xff\xff"))
        elif kind == 3:
            del result[place : place + choose.randint(1, 8)]
        else:
            result[place:place] = result[place : place + choose.randint(1, 40)]
    if choose.random() < 0.2:
        del result[choose.randrange(len(result) + 1) :]
    return bytes(result)


def times(choose: random.Random, count: int) -> list[int]:
    """Mostly rising, at times far off: also before 1970 and near the end of 64 bits."""
    time_ns, drawn = START_NS, []
    for _ in range(count):
        time_ns += choose.choice((0, 1_000, 10**6, 10**9, 7 * 10**9, 125 * 10**9, -(10**9), -(10**12)))
        drawn.append(min(max(0, time_ns), (2**32 - 1) * 10**9))
    return drawn


def capture_of(choose: random.Random) -> bytes:
    """A capture file, damaged outside, inside, or not at all."""
    link_type = choose.choice(list(BY_LINK_TYPE))
    frames = [
        damaged(choose.choice(BY_LINK_TYPE[link_type]), choose, 3) for _ in range(choose.randint(0, 60))
    ]
    order = choose.choice("<>")
    if choose.random() < 0.5:
        data = pcap_bytes(
            frames, times(choose, len(frames)), link_type=link_type, byte_order=order,
            modified=choose.random() < 0.2, wire_lengths=[len(f) + choose.choice((0, 0, 9)) for f in frames],
        )  # fmt: skip
    else:
        interfaces = [choose.randrange(2) for _ in frames]
        types = (link_type, choose.choice((1, 101, 113)))
        data = pcapng_bytes(
            frames, times(choose, len(frames)), link_types=types, interfaces=interfaces, byte_order=order
        )
    if choose.random() < 0.3:
        data = damaged(data, choose, 6)
    pack = choose.choice((bytes, bytes, bytes, gzip.compress, lzma.compress, zstandard.compress))
    return pack(data) if choose.random() < 0.8 else damaged(pack(data), choose, 2)


def meter_for(choose: random.Random) -> FlowMeter:
    flag = [choose.random() < 0.5 for _ in range(5)]
    return FlowMeter(
        capacity=choose.choice((1, 3, 16, 256)),
        memory=choose.choice((1, 8, 64)),
        key_vlan=flag[0],
        count_cut=flag[1],
        decapsulate=flag[2],
        sweep=flag[3],
        snapshots=flag[4],
        seed=choose.randrange(1 << 62),
    )


def read_and_meter(data: bytes, path: Path, choose: random.Random) -> int:
    """Packets seen; fails when anything but a CaptureError of one line comes out, or a packet is lost."""
    path.write_bytes(data)
    meter = meter_for(choose)
    try:
        with open_capture(path) as capture:
            try:
                meter_all(capture, meter)
            finally:
                assert capture.packets == meter.stats.packets_seen
    except CaptureError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    return meter.stats.packets_seen


def test_damaged_captures_lose_no_packet_and_raise_only_capture_errors(tmp_path: Path) -> None:
    choose = random.Random(SEED)
    seen = [read_and_meter(capture_of(choose), tmp_path / "damaged", choose) for _ in range(ROUNDS)]
    assert sum(count > 0 for count in seen) > ROUNDS // 2


@pytest.mark.parametrize("head", ["", "d4c3b2a1020004000000000000000000ffff000001000000", "0a0d0d0a"])
def test_random_bytes_raise_only_capture_errors(head: str, tmp_path: Path) -> None:
    choose = random.Random(SEED)
    for _ in range(ROUNDS):
        data = bytes.fromhex(head) + choose.randbytes(choose.choice((0, 1, 20, 300, 5_000)))
        read_and_meter(data, tmp_path / "random", choose)


def test_the_same_seed_is_the_same_captures() -> None:
    first, again = (capture_of(random.Random(SEED)) for _ in range(2))
    assert first == again
