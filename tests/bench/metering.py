"""Packets a CPU second from a capture to flow records, on one thread.

    ./dev bench metering [CAPTURE] [--packets N]

Reads CAPTURE (default: the demo capture) once, then meters its packets again and again, each pass
shifted in time behind the last one, until N are done.  Kernels are compiled before the clock starts.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from capture import FlowMeter, PacketBatch, open_capture

DEMO = Path(__file__).parents[1] / "data" / "demo.pcapng.zst"
#: Between two passes: every flow of the last one has expired.
PAUSE_NS = 130 * 1_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench metering", description="Measure the meter.")
    parser.add_argument("capture", nargs="?", default=str(DEMO), metavar="CAPTURE")
    parser.add_argument("--packets", type=int, default=5_000_000, metavar="N")
    arguments = parser.parse_args()

    began = time.process_time()
    batches = read(arguments.capture)
    read_s = time.process_time() - began
    count = sum(len(batch) for batch in batches)
    if not count:
        parser.error(f"{arguments.capture}: holds no packets to measure with")
    meter_all(FlowMeter(), batches)

    meter = FlowMeter()
    passes = max(1, arguments.packets // count)
    period = int(max(batch.timestamp_ns.max() for batch in batches)) - int(batches[0].timestamp_ns[0])
    records, spent = 0, 0.0
    for number in range(passes):
        shifted = [
            replace(batch, timestamp_ns=batch.timestamp_ns + number * (period + PAUSE_NS))
            for batch in batches
        ]
        began = time.process_time()
        records += meter_all(meter, shifted)
        spent += time.process_time() - began
    packets = passes * count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{arguments.capture}: {count:,} packets, read in {read_s:.2f} s of CPU (compiling included)")
    print(f"{packets:,} packets metered in {spent:.2f} s of CPU: {packets / spent:,.0f} packets a second")
    print(f"{records:,} records: {records / spent:,.0f} a second; peak memory {peak:,.0f} MiB")


def read(path: str) -> list[PacketBatch]:
    """The batches of a capture, copied out of the source's buffers."""
    with open_capture(path) as capture:
        return [copy_of(batch) for batch in capture]


def copy_of(batch: PacketBatch) -> PacketBatch:
    first, end = int(batch.offset.min()), int((batch.offset + batch.captured_length).max())
    arrays = {name: np.array(getattr(batch, name)) for name in PacketBatch.__slots__ if name != "buffer"}
    arrays["offset"] -= first
    return PacketBatch(buffer=batch.buffer[first:end].copy(), **arrays)


def meter_all(meter: FlowMeter, batches: list[PacketBatch]) -> int:
    return sum(len(records) for batch in batches for records in meter.process(batch))


if __name__ == "__main__":
    main()
