"""FlowMeter: packets in, flow records out."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np

from capture.columns import FLOW_DTYPE, ROW_DTYPE, WHOLE_RECORD
from capture.jit import structured
from capture.meter import kernels
from capture.meter import registers as r
from capture.meter.state import allocate, empty
from capture.meter.stats import MeterStats
from capture.packets import PacketBatch

RECORDS_A_CALL = 1024


class FlowMeter:
    """Meters packets into bidirectional flows with the features of CICFlowMeter.

    Time is packet time only.  Records come in the order in which they are due, the same in any
    chunking of the packets; every array yielded belongs to the caller.

    capacity: flows held at once; at the brim one-packet flows go first, then finished ones, then
        the one idle longest (`stats.flows_evicted`).
    memory: keys of ended flows whose direction and connection time are remembered.
    key_vlan: the VLAN id is part of a flow's key.
    count_cut: payload that a snap length cut off counts, by the lengths in the headers; False
        counts captured bytes only, as CICFlowMeter does.
    decapsulate: meter what is inside IP in IP, GRE and VXLAN instead of the tunnel.
    sweep: write a flow once its start is 121 s before the largest packet time; False waits for the
        next packet of its key, for room in the table or for the end, as CICFlowMeter does, so that
        times which run backwards find their flows.
    snapshots: yield provisional records of live flows; final records are the same without.
    seed: key of the hash table's hash; never changes a result, random by default.
    """

    name = "native"

    def __init__(
        self,
        *,
        capacity: int = 1 << 17,
        memory: int = 1 << 17,
        key_vlan: bool = False,
        count_cut: bool = True,
        decapsulate: bool = False,
        sweep: bool = True,
        snapshots: bool = True,
        seed: int | None = None,
    ) -> None:
        if capacity < 1 or memory < 1:
            raise ValueError("capacity and memory must be at least 1")
        self._table = allocate(capacity, memory, secrets.randbits(62) if seed is None else seed, sweep)
        self._options = kernels.Options(key_vlan, count_cut, decapsulate, snapshots)
        self._out = np.zeros(RECORDS_A_CALL, FLOW_DTYPE)
        self._rows = structured(self._out.view(ROW_DTYPE))
        self.stats = MeterStats(self._table.counters)

    @property
    def clock_ns(self) -> int:
        """Largest packet time seen; very small before the first packet."""
        return int(self._table.registers[r.CLOCK])

    @property
    def live(self) -> int:
        """Flows in the table."""
        return len(self._table.flows) - int(self._table.registers[r.FREE])

    def process(self, batch: PacketBatch) -> Iterator[np.ndarray]:
        """Meter a batch; yields arrays of FLOW_DTYPE.  Must be iterated to the end."""
        first = 0
        arrays = kernels.Batch(
            batch.buffer,
            batch.offset,
            batch.captured_length,
            batch.wire_length,
            batch.timestamp_ns,
            batch.interface,
            batch.vlan,
            batch.link_type,
        )
        while first < len(batch):
            first, written = kernels.process(self._table, arrays, first, self._options, self._rows)
            if written:
                yield self._taken(written)

    def advance(self, now_ns: int) -> Iterator[np.ndarray]:
        """Move the clock on a quiet link: flows end and snapshots appear without a packet."""
        done = False
        while not done:
            written, done = kernels.advance(self._table, now_ns, self._options.snapshots, self._rows)
            if written:
                yield self._taken(written)

    def finish(self) -> Iterator[np.ndarray]:
        """The end of the capture: every live flow is written, by start and key; then nothing is known."""
        order = np.empty(self.live, np.int32)
        kernels.live_flows(self._table, order, self._table.due_ends[:, 0].copy())
        first = 0
        while first < len(order):
            first, written = kernels.write_remaining(self._table, order, first, self._rows)
            yield self._taken(written)
        empty(self._table)

    def _taken(self, count: int) -> np.ndarray:
        """A copy of the first records."""
        return self._out[:count].view(WHOLE_RECORD).copy().view(FLOW_DTYPE)
