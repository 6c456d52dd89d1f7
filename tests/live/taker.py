"""Capture on interfaces of the namespace it runs in, meter, and tell what came, as one line of JSON.

    python -m tests.live.taker NAMES OPTIONS [--until N] [--frames] [--record F] [--rows F] [--pause S]

Says `ready` once packets are let in.  Ends at SIGTERM, or after N packets, those that the kernel
dropped counted; `--pause` waits after each
batch, as a machine that is too slow would; `--rows` takes the flow records as bytes.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from capture import CaptureError, FlowMeter, load_kernels, open_interface
from ids_daemon.recording import Recording
from tests.packets import frames_of


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names")
    parser.add_argument("options", type=json.loads)
    parser.add_argument("--until", type=int, default=1 << 62)
    parser.add_argument("--frames", action="store_true")
    parser.add_argument("--record")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--pause", type=float, default=0)
    arguments = parser.parse_args()
    load_kernels()
    told: list[str] = []
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))

    def tell(line: str) -> None:
        told.append(line)
        print(line, flush=True)

    try:
        live = open_interface(arguments.names.split(","), tell=tell, **arguments.options)
    except CaptureError as error:
        print(json.dumps(str(error)))
        return
    packets: list[object] = []
    rows: list[bytes] = []
    meter = FlowMeter(capacity=4096, memory=4096)
    with live:
        source, recording = live, None
        if arguments.record:
            recording = Recording(arguments.record, live, tell)
            source = recording.of(live)
        print("ready", flush=True)
        for batch in source:
            if arguments.frames:
                columns = (batch.wire_length, batch.vlan, batch.interface, batch.link_type)
                packets += [
                    [frame.hex(), *map(int, entry)] for frame, *entry in zip(frames_of(batch), *columns)
                ]
            rows += [records.tobytes() for records in meter.process(batch)]
            if batch.until_ns >= 0:
                rows += [records.tobytes() for records in meter.advance(batch.until_ns)]
            if len(batch):
                time.sleep(arguments.pause)
            if stopped or live.packets + live.counters()["kernel_drops"] >= arguments.until:
                break
        rows += [records.tobytes() for records in meter.finish()]
        if recording:
            recording.close()
    if arguments.rows:
        arguments.rows.write_bytes(b"".join(rows))
    result = {"packets": packets, "told": told, "counters": live.counters(), "meter": meter.stats.as_dict()}
    json.dump(result | {"given": live.packets}, sys.stdout)


if __name__ == "__main__":
    main()
