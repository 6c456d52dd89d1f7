"""Meter many captures for a comparison: `meter.py LIST`, a line `CAPTURE<tab>OUT.csv` each.

Settings are those of CICFlowMeter: captured bytes count, only a packet of its own ends a flow, and
rows are final ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a script from anywhere

from capture import FlowMeter, FlowWriter, open_capture  # noqa: E402


def meter(capture: str, out: str) -> None:
    flow_meter = FlowMeter(capacity=20_000, memory=20_000, count_cut=False, sweep=False, snapshots=False)
    with FlowWriter(out) as writer, open_capture(capture) as packets:
        for batch in packets:
            for records in flow_meter.process(batch):
                writer.write(records)
        for records in flow_meter.finish():
            writer.write(records)


if __name__ == "__main__":
    for line in Path(sys.argv[1]).read_text().splitlines():
        meter(*line.split("\t"))
