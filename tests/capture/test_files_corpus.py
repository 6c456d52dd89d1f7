"""Captures of the world, and another reader as a witness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capture import link_types, open_capture
from capture.errors import CaptureError
from tests.packets import at, frames_of, tcp_frame, udp_frame, write_pcap, write_pcapng

CORPUS = Path(__file__).parents[2].parent / "shared" / "pcaps"


@pytest.mark.shared
@pytest.mark.skipif(not (CORPUS / "manifest.jsonl").exists(), reason="no capture corpus beside the checkout")
def test_every_capture_of_the_corpus_gives_its_packets_or_one_line():
    entries = [json.loads(line) for line in (CORPUS / "manifest.jsonl").read_text().splitlines()]
    wrong = []
    for entry in entries:
        packets, seen, error = 0, set(), ""
        try:
            with open_capture(CORPUS / entry["path"]) as capture:
                for batch in capture:
                    packets += len(batch)
                    seen.update(batch.link_type.tolist())
        except CaptureError as raised:
            error = str(raised)
        assert "\n" not in error
        if not _as_expected(entry, packets, sorted(seen), error):
            wrong.append((entry["path"], entry["packets"], packets, sorted(seen), error))
    assert wrong == []


def _as_expected(entry: dict[str, Any], packets: int, seen: list[int], error: str) -> bool:
    if set(entry["linktype"]) - link_types.SUPPORTED:
        return "is not read" in error and packets == 0
    if not entry["linktype"] or not entry["packets"]:
        return True  # broken on purpose: that it ended with packets or one line is what counts
    if packets == 0:
        return "version" in error  # two captures of versions that never existed
    return packets == entry["packets"] and seen == entry["linktype"]


@pytest.mark.parametrize("nanoseconds", [False, True])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_pcap_agrees_with_scapy(tmp_path, nanoseconds, byte_order):
    scapy = pytest.importorskip("scapy.utils", reason="scapy is not installed")
    frames = [tcp_frame("10.0.0.1", "10.0.0.2", 1000 + n, 80, "PA", bytes(n)) for n in range(300)]
    times = [at(n) + 7 * n for n in range(300)]
    path = write_pcap(tmp_path / "a.pcap", frames, times, nanoseconds=nanoseconds, byte_order=byte_order)
    unit = 1 if nanoseconds else 1000
    with scapy.RawPcapReader(str(path)) as witness:
        expected = [(data, (meta.sec * 10**9 + meta.usec * unit), meta.wirelen) for data, meta in witness]
    assert _packets(path) == expected


def test_pcapng_agrees_with_scapy(tmp_path):
    scapy = pytest.importorskip("scapy.utils", reason="scapy is not installed")
    frames = [udp_frame("10.0.0.1", "10.0.0.2", 1000 + n, 53, bytes(n)) for n in range(300)]
    times = [at(n) + 7 * n for n in range(300)]
    path = write_pcapng(tmp_path / "a.pcapng", frames, times)
    with scapy.RawPcapNgReader(str(path)) as witness:
        expected = [(data, meta.tshigh << 32 | meta.tslow, meta.wirelen) for data, meta in witness]
    assert _packets(path) == expected


def _packets(path: Path) -> list[tuple[bytes, int, int]]:
    packets: list[tuple[bytes, int, int]] = []
    with open_capture(path) as capture:
        for batch in capture:
            packets += zip(frames_of(batch), batch.timestamp_ns.tolist(), batch.wire_length.tolist())
    return packets
