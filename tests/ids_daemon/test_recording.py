"""A recording that cannot be written ends; what is captured goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from capture import CaptureError, CaptureWriter
from ids_daemon.recording import Recording
from tests.packets import at, batch_of, tcp_frame


def recording(path: Path, told: list[str]) -> Recording:
    live: Any = SimpleNamespace(
        interfaces=["eth7"],
        link_types=[1],
        snaplen=256,
        interface_counts=lambda: [SimpleNamespace(packets=3, drops=0)],
    )
    return Recording(str(path), live, told.append)


def test_a_disk_that_fails_ends_the_recording_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    batches = [batch_of([tcp_frame("10.0.0.1", "10.0.0.2", 1, 80, "S")], [at(n)]) for n in range(3)]
    written = []
    write = CaptureWriter.write

    def failing(self: CaptureWriter, batch: Any) -> None:
        if written:
            raise CaptureError("x.pcapng: cannot be written any further: No space left on device")
        written.append(batch)
        write(self, batch)

    monkeypatch.setattr(CaptureWriter, "write", failing)
    kept = recording(tmp_path / "x.pcapng", told)
    assert list(kept.of(batches)) == batches
    kept.close()
    assert kept.failed
    assert told == ["x.pcapng: cannot be written any further: No space left on device; capturing goes on"]


def test_a_whole_recording_has_not_failed(tmp_path: Path) -> None:
    told: list[str] = []
    kept = recording(tmp_path / "x.pcapng", told)
    list(kept.of([batch_of([tcp_frame("10.0.0.1", "10.0.0.2", 1, 80, "S")], [at(0)])]))
    kept.close()
    assert not kept.failed
    assert told == [f"{tmp_path}/x.pcapng: 1 packets recorded"]
