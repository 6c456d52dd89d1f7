"""CicFlowMeter: the package cicflowmeter with the face of the native meter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from capture.columns import Close, Kind
from capture.errors import ExtraMissing
from capture.packets import PacketBatch

_PACKAGES = frozenset({"cicflowmeter", "scapy", "scipy", "requests"})

#: Reasons that keep a packet from being metered, as they stand in CicStats.
REASONS = (
    "arp",
    "not_ip",
    "ipv6",
    "other_protocols",
    "fragments",
    "truncated",
    "malformed",
    "link_type",
)


@dataclass(slots=True)
class CicStats:
    """Counters, named as the native meter's where they mean the same thing."""

    packets_seen: int = 0
    packets_metered: int = 0
    arp: int = 0  # not metered
    not_ip: int = 0  # not metered: any other protocol than IP
    ipv6: int = 0  # not metered
    other_protocols: int = 0  # not metered: neither TCP nor UDP
    fragments: int = 0  # not metered: later IP fragments, which have no ports
    truncated: int = 0  # not metered: a header that does not fit what was captured
    malformed: int = 0  # not metered: headers that contradict themselves
    link_type: int = 0  # not metered: a link type that scapy is not asked about
    tcp: int = 0  # metered, by kind
    udp: int = 0
    vlan_tagged: int = 0
    tunnelled: int = 0  # outer addresses with the inner ports, as the package has it
    cut_by_snaplen: int = 0  # only the captured bytes count
    flows_created: int = 0
    flows_expired: int = 0
    flows_evicted: int = 0  # at one of the bounds on memory
    flows_at_end: int = 0
    snapshots: int = 0  # the package gives none

    def not_metered(self) -> dict[str, int]:
        """Packets by the reason that kept them from being metered."""
        return {name: getattr(self, name) for name in REASONS}

    def as_dict(self) -> dict[str, int]:
        """All counters; packets_seen = packets_metered + the REASONS."""
        return asdict(self)


class CicFlowMeter:
    """Meters packets with the package; see `capture.cicflowmeter` for what its rows hold.

    Records come in the order the package writes them, the same in any chunking into batches;
    `time_ns` is the largest packet time seen when a flow was written, so it never decreases.

    The package keeps every packet of a flow: some 830 bytes a packet and 2 kB a flow.  At `capacity`
    flows, or `max_packets` packets in all of them, the flow begun first is written; at
    `max_packets_per_flow` the flow itself.  Such a record has `Kind.EVICTED`, and what follows of
    the flow makes a new one.

    Raises ExtraMissing where the package or scapy is not installed, ValueError for a bound
    below 1.
    """

    name = "cicflowmeter"

    def __init__(
        self, *, max_packets_per_flow: int = 50_000, capacity: int = 65_536, max_packets: int = 300_000
    ) -> None:
        for bound, value in (
            ("max_packets_per_flow", max_packets_per_flow),
            ("capacity", capacity),
            ("max_packets", max_packets),
        ):
            if value < 1:
                raise ValueError(f"{bound} is {value}: give a whole number of at least 1")
        try:
            from capture.cicflowmeter import packets, records, session
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in _PACKAGES:
                raise
            raise ExtraMissing(
                f"the cicflowmeter meter needs {missing}, which is not installed: "
                "pip install 'ids-daemon[reference]'"
            ) from error
        self.stats = CicStats()
        self._decode = packets.packets_of
        self._as_packet_time = packets.seconds
        self._records = records.Records()
        self._session = session.Session(self._emit, capacity, max_packets_per_flow, max_packets)
        self._now_ns: int | None = None

    def process(self, batch: PacketBatch) -> Iterator[np.ndarray]:
        """Meter a batch; yields the records of flows that ended, as arrays of FLOW_DTYPE."""
        stats = self.stats
        for time_ns, packet in self._decode(batch):
            stats.packets_seen += 1
            if self._now_ns is None or time_ns > self._now_ns:
                self._now_ns = time_ns
            if isinstance(packet, str):
                setattr(stats, packet, getattr(stats, packet) + 1)
                continue
            stats.packets_metered += 1
            stats.tcp += packet.proto == 6
            stats.udp += packet.proto == 17
            stats.vlan_tagged += packet.vlan >= 0
            stats.tunnelled += packet.tunnelled
            stats.cut_by_snaplen += packet.wire_length > packet.length
            self._session.add(packet)
        yield from self._taken()

    def advance(self, now_ns: int) -> Iterator[np.ndarray]:
        """Time goes on without packets: write the flows that were silent for over 240 s by `now_ns`.

        Does nothing until `now_ns` is later than every packet, so that a caller who passes the
        packets' own time after each batch changes no record.
        """
        if self._now_ns is not None and now_ns > self._now_ns:
            self._now_ns = now_ns
            self._session.write_silent(self._as_packet_time(now_ns))
        yield from self._taken()

    def finish(self) -> Iterator[np.ndarray]:
        """The end of the capture: write every flow still held."""
        self._session.garbage_collect(None)
        yield from self._taken()

    def _emit(self, flow: Any, row: dict[str, Any], kind: Kind, close: Close) -> None:
        if close is Close.END:
            self.stats.flows_at_end += 1
        elif close is Close.EVICTED:
            self.stats.flows_evicted += 1
        else:
            self.stats.flows_expired += 1
        self._records.add(flow, row, kind, close, self._now_ns or 0)

    def _taken(self) -> Iterator[np.ndarray]:
        self.stats.flows_created = self._session.created
        if len(self._records):
            yield self._records.take()
