"""A labelled capture corpus as flow records, metered once and kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from capture import CaptureError, CicFlowMeter, FlowMeter, FlowWriter, open_capture
from capture.columns import FLOW_DTYPE
from models.training.windows.labels import CaptureLabel


def meter_corpus(corpus: Path, labels: Sequence[CaptureLabel], out: Path, meter: str = "native") -> None:
    """Write OUT/PATH.parquet for every labelled capture below `corpus` that has none yet."""
    started, packets = time.monotonic(), 0
    for number, label in enumerate(labels, 1):
        target = out / f"{label.path}.parquet"
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        records, seen = meter_capture(corpus / label.path, meter)
        packets += seen
        with FlowWriter(target, records=True, meter=meter) as writer:
            writer.write(records)
        if number % 100 == 0:
            print(f"metered {number} of {len(labels)} captures", flush=True)
    if packets:
        print(f"{packets} packets metered in {time.monotonic() - started:.0f} s")


def meter_capture(path: Path, meter: str) -> tuple[np.ndarray, int]:
    """All records of a capture in emission order, and its packets; of a broken one what is whole."""
    flow_meter = CicFlowMeter() if meter == "cicflowmeter" else FlowMeter()
    parts: list[np.ndarray] = []
    try:
        with open_capture(path) as source:
            for batch in source:
                parts += flow_meter.process(batch)
    except CaptureError as error:
        print(error)
    parts += flow_meter.finish()
    records = np.concatenate(parts) if parts else np.zeros(0, FLOW_DTYPE)
    return records, flow_meter.stats.packets_seen
