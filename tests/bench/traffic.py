"""Seeded captures for benches, as classic pcap.

    write_mixed(path, packets, seed)    conversations of TCP and UDP, a realistic mix of sizes
    write_syn_flood(path, packets, seed)    every packet a flow of its own
    write_many_flows(path, packets, flows, seed)    so many flows alive at once, packets all over them

The same arguments give the same bytes.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

_START_S = 1_700_000_000
_ETHERNET, _RECORD, _IP = 14, 16, 20
_TCP, _UDP = 6, 17
_FIN_ACK, _SYN, _SYN_ACK, _ACK, _PSH_ACK = 0x11, 0x02, 0x12, 0x10, 0x18
_MEAN_PACKETS, _LASTING_US = 18, 250_000  # of a conversation
_CHUNK = 1 << 16

#: What a packet is before it becomes bytes.
_PACKET = np.dtype(
    [
        ("time_us", np.int64),
        ("source", np.uint32),
        ("destination", np.uint32),
        ("source_port", np.uint16),
        ("destination_port", np.uint16),
        ("payload", np.uint16),
        ("protocol", np.uint8),
        ("flags", np.uint8),
    ]
)


def write_mixed(path: Path, packets: int, seed: int = 1) -> None:
    """Conversations that begin all over the capture's time, 100,000 packets a second together."""
    rng = np.random.default_rng(seed)
    conversations = packets // _MEAN_PACKETS + 1
    length = np.minimum(rng.geometric(1 / _MEAN_PACKETS, conversations), 400)
    length[0] += max(0, packets - int(length.sum()))
    owner = np.repeat(np.arange(conversations), length)
    ordinal = np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length)
    duration_us = packets * 10
    # A long capture has more conversations, not longer ones; in a short one they fit in.
    lasting_us = min(_LASTING_US, duration_us / 40)
    gap = rng.exponential(lasting_us / _MEAN_PACKETS, len(owner))
    since = np.cumsum(gap)
    since -= since[np.flatnonzero(ordinal == 0)][owner]
    begun = rng.uniform(0, duration_us, conversations)

    is_udp = (rng.random(conversations) < 0.15)[owner]
    back = rng.random(len(owner)) < 0.5
    back[ordinal == 0], back[ordinal == 1] = False, True
    client = (0x0A000000 + rng.integers(1, 2_000, conversations))[owner]
    server = (0xC6120000 + rng.integers(1, 5_000, conversations))[owner]
    client_port = rng.integers(32_768, 61_000, conversations)[owner]
    server_port = rng.choice([443, 80, 22, 53, 8883], conversations, p=[0.7, 0.12, 0.05, 0.1, 0.03])[owner]
    size = rng.choice(3, len(owner), p=[0.42, 0.22, 0.36])
    payload = np.select([size == 0, size == 1], [0, rng.integers(20, 700, len(owner))], 1_448)
    last = ordinal == length[owner] - 1
    flags = np.select(
        [ordinal == 0, ordinal == 1, last, payload > 0], [_SYN, _SYN_ACK, _FIN_ACK, _PSH_ACK], _ACK
    )

    made = np.zeros(len(owner), _PACKET)
    made["time_us"] = begun[owner] + since
    made["source"], made["destination"] = np.where(back, server, client), np.where(back, client, server)
    made["source_port"] = np.where(back, server_port, client_port)
    made["destination_port"] = np.where(back, client_port, server_port)
    made["payload"] = np.where(~is_udp & ((ordinal < 2) | last), 0, payload)
    made["protocol"], made["flags"] = np.where(is_udp, _UDP, _TCP), flags
    _write(path, made[np.argsort(made["time_us"], kind="stable")][:packets])


def write_syn_flood(path: Path, packets: int, seed: int = 1) -> None:
    """Spoofed sources, one target, 100,000 packets a second; no two packets of one flow."""
    number = np.arange(packets)
    # An odd factor permutes the numbers below 2^40: sources and ports look random, none twice.
    mixed = (number * (2 * seed + 0x5DEECE66D) + seed) % (1 << 40)
    made = np.zeros(packets, _PACKET)
    made["time_us"] = number * 10
    made["source"], made["source_port"] = 0x0B000000 + (mixed >> 16), 1_024 + (mixed & 0x7FFF)
    made["source"] ^= (mixed >> 15 & 1).astype(np.uint32) << 30
    made["destination"], made["destination_port"] = 0xC6120001, 80
    made["protocol"], made["flags"] = _TCP, _SYN
    _write(path, made)


def write_many_flows(path: Path, packets: int, flows: int, seed: int = 1) -> None:
    """Every flow begins, then each packet is of any of them, in either direction; 100,000 a second."""
    rng = np.random.default_rng(seed)
    flow = rng.integers(0, flows, packets)
    flow[:flows] = np.arange(min(flows, packets))
    back = (rng.random(packets) < 0.5) & (np.arange(packets) >= flows)
    client, server = 0x0A000000 + flow, np.full(packets, 0xC6120001)
    made = np.zeros(packets, _PACKET)
    made["time_us"] = np.arange(packets) * 10
    made["source"], made["destination"] = np.where(back, server, client), np.where(back, client, server)
    made["source_port"], made["destination_port"] = np.where(back, 443, 40_000), np.where(back, 40_000, 443)
    made["payload"] = np.where(rng.random(packets) < 0.5, 0, rng.integers(1, 200, packets))
    made["protocol"], made["flags"] = _TCP, _ACK
    _write(path, made)


def _write(path: Path, packets: npt.NDArray[np.void]) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for first in range(0, len(packets), _CHUNK):
            file.write(_records(packets[first : first + _CHUNK]).tobytes())


def _records(p: npt.NDArray[np.void]) -> npt.NDArray[np.uint8]:
    """Record headers, frames and payloads (zeros) of packets; checksums are left to the card."""
    is_tcp = p["protocol"] == _TCP
    transport = np.where(is_tcp, 20, 8)
    ip_length = _IP + transport + p["payload"].astype(np.int64)
    frame = _ETHERNET + ip_length
    start = np.cumsum(_RECORD + frame) - (_RECORD + frame)
    out = np.zeros(int((_RECORD + frame).sum()), np.uint8)

    def put(
        at: int, values: npt.ArrayLike, size: int, order: str, chosen: npt.NDArray[np.bool_] | None = None
    ) -> None:
        """One field of all packets, or of the chosen ones, `at` bytes behind their start."""
        places = start if chosen is None else start[chosen]
        field = np.broadcast_to(np.asarray(values), len(p)) if np.ndim(values) == 0 else np.asarray(values)
        field = field if chosen is None else field[chosen]
        digits = np.ascontiguousarray(field.astype(f"{order}u{size}")).view(np.uint8).reshape(-1, size)
        for i in range(size):
            out[places + at + i] = digits[:, i]

    put(0, _START_S + p["time_us"] // 1_000_000, 4, "<")
    put(4, p["time_us"] % 1_000_000, 4, "<")
    put(8, frame, 4, "<")
    put(12, frame, 4, "<")
    put(_RECORD + 12, 0x0800, 2, ">")
    ip = _RECORD + _ETHERNET
    put(ip, 0x45, 1, ">")
    put(ip + 2, ip_length, 2, ">")
    put(ip + 8, 64, 1, ">")
    put(ip + 9, p["protocol"], 1, ">")
    put(ip + 12, p["source"], 4, ">")
    put(ip + 16, p["destination"], 4, ">")
    put(ip + 20, p["source_port"], 2, ">")
    put(ip + 22, p["destination_port"], 2, ">")
    put(ip + 32, 0x50, 1, ">", is_tcp)
    put(ip + 33, p["flags"], 1, ">", is_tcp)
    put(ip + 34, 64_240, 2, ">", is_tcp)
    put(ip + 24, 8 + p["payload"], 2, ">", ~is_tcp)
    return out
