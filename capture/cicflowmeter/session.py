"""The package's FlowSession with bounds on its memory, and with the flow at hand when it is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from cicflowmeter.constants import EXPIRED_UPDATE
from cicflowmeter.features.context import PacketDirection
from cicflowmeter.flow import Flow
from cicflowmeter.flow_session import FlowSession

from capture.cicflowmeter.packets import MeteredPacket
from capture.columns import Close, Kind

#: The package's clean-up writes flows of this length, in seconds (a bare number in its source).
LONG_FLOW_S = 90

#: Takes a flow that has ended, the package's row of it, and why it was written.
Emit = Callable[[Flow, dict[str, Any], Kind, Close], None]


class _FlowTable(dict[Any, Flow]):
    """The package's dictionary of flows, by flow key and piece.

    It remembers the flow that was found or made last: the one that the packet at hand joins,
    which the package does not tell.
    """

    last_key: Any = None
    created: int = 0

    def get(self, key: Any, default: Any = None) -> Any:
        flow = super().get(key, default)
        if flow is not None:
            self.last_key = key
        return flow

    def __setitem__(self, key: Any, flow: Flow) -> None:
        super().__setitem__(key, flow)
        self.last_key = key
        self.created += 1


class Session(FlowSession):
    """Bounded: `capacity` flows, `max_packets_per_flow` packets in one, `max_packets` in all.

    Below the bounds flows begin and end as the package has it, all by packet time.  At the first
    and the last bound the oldest flow is written, at the second the flow itself, and what follows
    of it is a new flow.
    """

    # The base class opens what these name; nothing is ever written to it.
    output_mode = "csv"
    output = os.devnull

    def __init__(self, emit: Emit, capacity: int, max_packets_per_flow: int, max_packets: int) -> None:
        super().__init__()
        self.flows: _FlowTable = _FlowTable()
        self._emit = emit
        self._capacity = capacity
        self._max_packets_per_flow = max_packets_per_flow
        self._max_packets = max_packets
        self._held = 0  # packets in all flows

    def add(self, packet: MeteredPacket) -> None:
        """Meter one packet; writes the flows that end by it."""
        self._held += 1
        self.on_packet_received(packet)
        key = self.flows.last_key
        flow = dict.get(self.flows, key)
        if flow is not None and len(flow.packets) >= self._max_packets_per_flow:
            self._write(key, Kind.EVICTED, Close.EVICTED)
        while len(self.flows) > self._capacity or self._held > self._max_packets:
            self._write(next(iter(self.flows)), Kind.EVICTED, Close.EVICTED)

    @property
    def created(self) -> int:
        """Flows begun so far."""
        return self.flows.created

    def garbage_collect(self, latest_time: Any) -> None:
        """Write what is over at `latest_time` (seconds); None: everything.

        The package's own test, turned so that a table full of flows is walked in little time.
        """
        if latest_time is None:
            self._write_all(list(self.flows), Close.END)
            return
        silent_since = latest_time - EXPIRED_UPDATE
        over = [
            key
            for key, flow in self.flows.items()
            if flow.latest_timestamp <= silent_since
            or (len(flow.packets) > 1 and flow.duration >= LONG_FLOW_S)
        ]
        self._write_all(over, Close.EXPIRED)

    def write_silent(self, now: Any) -> None:
        """Write the flows that no packet after `now` (seconds) can join any more."""
        silent_since = now - EXPIRED_UPDATE
        over = [key for key, flow in self.flows.items() if flow.latest_timestamp < silent_since]
        self._write_all(over, Close.EXPIRED)

    def _write_all(self, keys: list[Any], close: Close) -> None:
        for key in keys:
            self._write(key, Kind.FINAL, close)

    def _write(self, key: Any, kind: Kind, close: Close) -> None:
        flow = self.flows.pop(key)
        self._held -= len(flow.packets)
        if all(direction is PacketDirection.REVERSE for _, direction in flow.packets):
            flow = _turned_round(flow)
        self._emit(flow, flow.get_data(), kind, close)


def _turned_round(flow: Flow) -> Flow:
    """A flow with backward packets only, from its sender's side.

    The package makes such flows after 240 s of silence, when the answering side speaks first, and
    raises ValueError when it has to write one.
    """
    turned = Flow(flow.packets[0][0], PacketDirection.FORWARD)
    for packet, _ in flow.packets:
        turned.add_packet(packet, PacketDirection.FORWARD)
    return turned
