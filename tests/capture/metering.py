"""Packets through the meter, for tests: frames and seconds in, records out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from capture.columns import FLOW_DTYPE, Kind
from capture.meter import FlowMeter
from capture.packets import PacketBatch
from tests.packets import at, batch_of, split, tcp_frame, udp_frame

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
CLIENT_PORT, SERVER_PORT = 40_000, 80

Timed = tuple[float, bytes]  #: seconds after the start, frame


def small_meter(**options: Any) -> FlowMeter:
    return FlowMeter(**{"capacity": 1024, "memory": 1024, "seed": 1, **options})


def request(flags: str = "A", payload: bytes = b"", **options: Any) -> bytes:
    """A TCP packet of the client."""
    return tcp_frame(CLIENT, SERVER, CLIENT_PORT, SERVER_PORT, flags, payload, **options)


def reply(flags: str = "A", payload: bytes = b"", **options: Any) -> bytes:
    """A TCP packet of the server."""
    return tcp_frame(SERVER, CLIENT, SERVER_PORT, CLIENT_PORT, flags, payload, **options)


def datagram(payload: bytes = b"", *, back: bool = False) -> bytes:
    """A UDP packet of the client, or back to it."""
    if back:
        return udp_frame(SERVER, CLIENT, SERVER_PORT, CLIENT_PORT, payload)
    return udp_frame(CLIENT, SERVER, CLIENT_PORT, SERVER_PORT, payload)


def timed_batch(packets: Sequence[Timed], **options: Any) -> PacketBatch:
    return batch_of([frame for _, frame in packets], [at(second) for second, _ in packets], **options)


def records_of(batch: PacketBatch, meter: FlowMeter, sizes: Sequence[int] = ()) -> np.ndarray:
    """All records of a capture, metered in pieces of `sizes` packets."""
    given = [records for piece in split(batch, sizes) for records in meter.process(piece)]
    return np.concatenate([np.zeros(0, FLOW_DTYPE), *given, *meter.finish()])


def metered(*packets: Timed, **options: Any) -> np.ndarray:
    """All records of a capture of these packets."""
    return records_of(timed_batch(packets), small_meter(**options))


def finals(*packets: Timed, **options: Any) -> np.ndarray:
    """The records that are no snapshots."""
    records = metered(*packets, **options)
    return records[records["kind"] != Kind.SNAPSHOT]


def flow(*packets: Timed, **options: Any) -> np.void:
    """The one final record that these packets make."""
    (record,) = finals(*packets, **options)
    return record
