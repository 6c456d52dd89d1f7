"""The slow meter's rows of captures: `reference.py LIST`, as meter.py.

Decoder and flows are those of tests/reference, settings those of CICFlowMeter.  Beside the rows that
CICFlowMeter wrote it shows that the slow meter is right, minutes for what takes the meter seconds.
"""

from __future__ import annotations

import csv
import ipaddress
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a script from anywhere

from capture import COLUMNS, CSV_HEADER, open_capture  # noqa: E402
from tests.packets import frames_of  # noqa: E402
from tests.reference.flow_reference import FlowReference  # noqa: E402
from tests.reference.frames import MAPPED, NotMetered, decode  # noqa: E402

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows(capture: str | Path) -> list[list[str]]:
    """The rows of a capture's flows by start and key, without the header."""
    meter = FlowReference(snapshots=False, sweep=False)
    with open_capture(capture) as batches:
        for batch in batches:
            lengths = batch.wire_length.tolist(), batch.timestamp_ns.tolist(), batch.link_type.tolist()
            for frame, wire, time_ns, link_type in zip(frames_of(batch), *lengths, strict=True):
                try:
                    seen = decode(frame, wire=wire, link_type=link_type, time_ns=time_ns, count_cut=False)
                except NotMetered:
                    continue
                meter.take([seen.packet])
    meter.finish()
    return sorted((row(record) for record in meter.records), key=lambda row: (row[6], row[:6]))


def row(record: dict[str, Any]) -> list[str]:
    source, destination = address(record["src"]), address(record["dst"])
    ports = record["src_port"], record["dst_port"]
    key = [source, destination, *ports]
    if record["key_reversed"]:
        key = [destination, source, ports[1], ports[0]]
    protocol = record["csv_protocol"]
    time = EPOCH + timedelta(microseconds=record["start_ns"] // 1_000)
    return [
        "-".join(map(str, [*key, protocol])),
        *map(str, (source, ports[0], destination, ports[1], protocol)),
        time.strftime("%Y-%m-%d %H:%M:%S.%f"),
        *(number(record[column.field], column.integer) for column in COLUMNS),
        "NeedManualLabel",
    ]


def address(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed[12:] if packed[:12] == MAPPED else packed))


def number(value: float, integer: bool) -> str:
    if integer and value == int(value):
        return str(int(value))
    return {"nan": "NaN", "inf": "Infinity"}.get(repr(float(value)), repr(float(value)))


def write(capture: str | Path, out: str | Path) -> None:
    with Path(out).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_HEADER)
        writer.writerows(rows(capture))


if __name__ == "__main__":
    for line in Path(sys.argv[1]).read_text().splitlines():
        write(*line.split("\t"))
