"""A slow attack during a spoofed flood: the flood pushes out nobody but itself, all the way to the alerts."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import numpy as np
import pytest

from capture import open_capture
from ids_daemon.cli import main
from tests.packets import tcp_frame, write_pcap

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "tests" / "data" / "demo.pcapng.zst"
FLOODED = "192.168.50.22"
#: Both attack 192.168.50.30: one guesses passwords from 02:31:50 to 02:31:53, the other holds
#: connections open from 02:32:13 to 02:32:25.
GUESSER, SLOW_HEADERS = "198.51.100.71", "198.51.100.92"
FLOODS_S = (1_795_660_309, 1_795_660_334)  # each begins before the attack has shown itself
SECONDS, RATE = 5, 100_000
THRESHOLD = 3.8  # at which the guesser is found without a flood
CAPACITY = 16_384  # flows: the flood alone fills the table six times a second


def demo_packets() -> tuple[list[bytes], list[int]]:
    frames: list[bytes] = []
    times: list[int] = []
    with open_capture(DEMO) as source:
        for batch in source:
            data = batch.buffer.tobytes()
            for offset, length in zip(batch.offset.tolist(), batch.captured_length.tolist(), strict=True):
                frames.append(data[offset : offset + length])
            times += batch.timestamp_ns.tolist()
    return frames, times


def spoofed_floods() -> tuple[list[bytes], list[int]]:
    """SYNs to one port, each from an address of its own that never comes again."""
    count = len(FLOODS_S) * SECONDS * RATE
    frame = np.frombuffer(tcp_frame("198.18.0.0", FLOODED, 1024, 80, "S"), np.uint8)
    frames = np.tile(frame, (count, 1))
    first = int(ipaddress.ip_address("198.18.0.0"))
    sources = first + np.random.default_rng(1).permutation(1 << 24)[:count]
    frames[:, 26:30] = sources.astype(">u4").view(np.uint8).reshape(-1, 4)
    steps = np.arange(SECONDS * RATE) * (1_000_000_000 // RATE)
    times = np.concatenate([begin * 1_000_000_000 + steps for begin in FLOODS_S])
    return [row.tobytes() for row in frames], times.tolist()


@pytest.mark.slow
def test_a_guesser_and_a_slow_attack_are_found_during_a_spoofed_flood_of_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, times = demo_packets()
    more, when = spoofed_floods()
    order = np.argsort(np.array(times + when), kind="stable").tolist()
    frames, times = frames + more, times + when
    capture = write_pcap(tmp_path / "flooded.pcap", [frames[i] for i in order], [times[i] for i in order])
    alerts = tmp_path / "alerts.jsonl"
    monkeypatch.setenv("IDS_FLOW__CAPACITY", str(CAPACITY))
    monkeypatch.setenv("IDS_ALERTING__THRESHOLD", str(THRESHOLD))
    assert main(["replay", str(capture), "--alerts", str(alerts), "--quiet"]) == 0
    told = [json.loads(line)["alert"]["metadata"] for line in alerts.read_text().splitlines()]
    opened = [one for one in told if one["incident_state"] == ["opened"]]
    found = {one["actors"][0]: one["family"] for one in opened}
    assert found.get(GUESSER) == ["bruteforce"]
    assert found.get(SLOW_HEADERS) == ["dos"]
    assert any(one["targets"] == [FLOODED] and one["family"] == ["dos"] for one in opened)
    # A million spoofed addresses are not a million incidents.
    assert len(opened) < 12
