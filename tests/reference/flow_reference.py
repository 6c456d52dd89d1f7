"""The meter, slow and obvious: every flow keeps all its packets and is counted anew for each record.

Written from the definitions alone (FEATURES: the corrected CICFlowMeter, commit 13a0615, with the
daemon's sweep and snapshots), without a bound on live flows.  Packets come decoded.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from capture.columns import Close, Kind

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
SECOND = 1_000_000_000
DUE_S = (1, 5, 15, 30, 60, 121)
TCP = 6

End = tuple[bytes, int]  #: address (16 bytes) and port


@dataclass(frozen=True)
class Packet:
    """One packet as a decoder sees it."""

    time_ns: int
    source: End
    destination: End
    protocol: int  #: as CICFlowMeter writes it: 0 for all but TCP, UDP and ICMP
    payload: int = 0
    header: int = 0
    flags: int = 0
    window: int = 0
    icmp: tuple[int, int] = (-1, -1)  #: type, code
    ip_bytes: int = 0
    frame_bytes: int = 0

    @property
    def us(self) -> int:
        return self.time_ns // 1000

    @property
    def key(self) -> tuple[bytes, bytes, int, int, int]:
        """The same for both directions; in the order in which records of one start are given."""
        a, b = sorted((self.source, self.destination))
        return a[0], b[0], a[1], b[1], self.protocol


@dataclass
class Piece:
    """What is remembered of a key from one flow to the next."""

    source: End
    destination: End
    creator: End
    ready: bool
    last_us: int
    total_us: int


@dataclass
class Flow:
    source: End
    destination: End
    creator: End  #: who sent the packet that created the key
    carried_us: int = 0
    packets: list[Packet] = field(default_factory=list)
    state: str = "open"
    fins: set[bool] = field(default_factory=set)
    told: int = 0  #: packets that earlier records held
    revision: int = 0
    due: int = 0  #: index into DUE_S

    @property
    def start_ns(self) -> int:
        return self.packets[0].time_ns

    @property
    def due_ns(self) -> int:
        return self.start_ns + DUE_S[self.due] * SECOND

    @property
    def order(self) -> tuple[Any, ...]:
        return self.due_ns, self.start_ns, self.packets[0].key

    def is_backward(self, packet: Packet) -> bool:
        return packet.source[0] != self.source[0]

    def add(self, packet: Packet) -> bool:
        """Add a further packet; whether it made the flow READY."""
        self.packets.append(packet)
        before = self.state
        if packet.flags & FIN:
            self.fins.add(self.is_backward(packet))
            if self.state == "open":
                self.state = "first fin"
            elif self.state == "first fin" and len(self.fins) == 2:
                self.state = "second fin"
        elif packet.flags & RST:
            self.state = "ready"
        elif packet.flags & ACK and self.state == "second fin":
            self.state = "ready"
        return self.state == "ready" != before

    def cut_by(self, packet: Packet) -> Close | None:
        first = self.packets[0]
        if packet.us - first.us > 120_000_000:
            return Close.TIMEOUT
        if self.state == "ready" and packet.flags & SYN:
            return Close.REOPENED
        if first.icmp[0] >= 0 and packet.icmp[0] != first.icmp[0] and packet.icmp[1] != first.icmp[1]:
            return Close.ICMP
        return None

    @property
    def duration_us(self) -> int:
        return self.packets[-1].us - self.packets[0].us


class FlowReference:
    """`records` holds what was given so far, one dictionary a record.

    memory: the last endings that are known; None: all.
    """

    def __init__(self, *, snapshots: bool = True, sweep: bool = True, memory: int | None = None) -> None:
        self._snapshots = snapshots
        self._sweep = sweep
        self._flows: dict[Any, Flow] = {}
        self._pieces: dict[Any, Piece] = {}
        self._memory = memory
        self._endings: list[Any] = []  #: the key of each
        self._clock: int | None = None
        self.records: list[dict[str, Any]] = []

    def take(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            self._write_due(packet.time_ns)
            self._clock = max(self._clock or packet.time_ns, packet.time_ns)
            self._meter(packet)

    def finish(self) -> None:
        for flow in sorted(self._flows.values(), key=lambda flow: (flow.start_ns, flow.packets[0].key)):
            self._write(flow, Kind.FINAL, Close.END, self._clock)

    def _meter(self, packet: Packet) -> None:
        flow = self._flows.get(packet.key)
        if flow is not None:
            reason = flow.cut_by(packet)
            if reason is None:
                if flow.add(packet) and packet.protocol == TCP:
                    self._write(flow, Kind.SNAPSHOT, Close.READY, self._clock)
                return
            self._write(flow, Kind.FINAL, reason, self._clock)
            self._end(flow)
        self._start(packet)

    def _start(self, packet: Packet) -> None:
        flow = Flow(packet.source, packet.destination, packet.source)
        known = self._endings if self._memory is None else self._endings[-self._memory :]
        before = self._pieces[packet.key] if packet.key in known else None
        if before is not None:
            flow.creator = before.creator
            opens = packet.flags & SYN and not packet.flags & ACK
            if packet.protocol == TCP and not (before.ready and opens):
                flow.source, flow.destination = before.source, before.destination
                flow.carried_us = before.total_us + packet.us - before.last_us
        flow.packets.append(packet)
        self._flows[packet.key] = flow

    def _end(self, flow: Flow) -> None:
        last = flow.packets[-1]
        total = flow.carried_us + flow.duration_us
        self._pieces[last.key] = Piece(
            flow.source, flow.destination, flow.creator, flow.state == "ready", last.us, total
        )
        self._endings.append(last.key)
        del self._flows[last.key]

    def _write_due(self, until_ns: int) -> None:
        while True:
            due = [flow for flow in self._flows.values() if flow.due_ns <= until_ns and self._looks_at(flow)]
            if not due:
                return
            flow = min(due, key=lambda flow: flow.order)
            time_ns = max(flow.due_ns, self._clock or flow.due_ns)
            if flow.due == len(DUE_S) - 1:
                self._write(flow, Kind.FINAL, Close.EXPIRED, time_ns)
                self._end(flow)
            else:
                if len(flow.packets) > flow.told:
                    self._write(flow, Kind.SNAPSHOT, Close.NONE, time_ns)
                flow.due += 1
            self._clock = time_ns

    def _looks_at(self, flow: Flow) -> bool:
        return self._sweep or flow.due < len(DUE_S) - 1

    def _write(self, flow: Flow, kind: Kind, close: Close, time_ns: int | None) -> None:
        if kind != Kind.SNAPSHOT or self._snapshots:
            self.records.append(
                {
                    **identity(flow),
                    **features(flow),
                    "kind": int(kind),
                    "close": int(close),
                    "time_ns": time_ns,
                }
            )
        flow.told = len(flow.packets)
        flow.revision += 1


def identity(flow: Flow) -> dict[str, Any]:
    """The fields of a record before the features, but for kind, close and time."""
    sides = split_sides(flow, flow.packets)
    news = split_sides(flow, flow.packets[flow.told :])
    values: dict[str, Any] = {
        "start_ns": flow.start_ns,
        "end_ns": flow.packets[-1].time_ns,
        "answer_ns": min((p.time_ns for p in sides["bwd"][:1]), default=0),
        "src": flow.source[0],
        "dst": flow.destination[0],
        "src_port": flow.source[1],
        "dst_port": flow.destination[1],
        "csv_protocol": flow.packets[0].protocol,
        "revision": flow.revision,
        "key_reversed": int(flow.creator != flow.source),
    }
    for side, packets in sides.items():
        values[f"{side}_ip_bytes"] = sum(p.ip_bytes for p in packets)
        values[f"{side}_frame_bytes"] = sum(p.frame_bytes for p in packets)
        values[f"{side}_tcp_flags"] = math_or(p.flags for p in packets)
        values[f"new_{side}_packets"] = len(news[side])
        values[f"new_{side}_bytes"] = sum(p.payload for p in news[side])
    return values


def features(flow: Flow) -> dict[str, float]:
    """The 81 columns."""
    packets, first = flow.packets, flow.packets[0]
    sides = split_sides(flow, packets)
    fwd, bwd = sides["fwd"], sides["bwd"]
    later = split_sides(flow, packets[1:])
    n, duration, subflows = len(packets), flow.duration_us, subflows_of(packets)
    lengths = [p.payload for p in packets]
    x: dict[str, float] = {"flow_duration": duration}
    x["total_fwd_packet"], x["total_bwd_packets"] = len(fwd), len(bwd)
    for side, own in sides.items():
        sizes = [p.payload for p in own]
        x[f"total_length_of_{side}_packet"] = sum(sizes)
        x |= named(f"{side}_packet_length", sizes)
        x[f"{side}_segment_size_avg"] = x[f"{side}_packet_length_mean"]
        gaps = gaps_of(own)
        x[f"{side}_iat_total"] = sum(gaps)
        x |= named(f"{side}_iat", gaps)
        x[f"{side}_psh_flags"] = count(own, PSH)
        x[f"{side}_urg_flags"] = count(own, URG)
        x[f"{side}_rst_flags"] = count(later[side], RST)
        x[f"{side}_header_length"] = sum(p.header for p in own)
        x[f"{side}_packets_s"] = len(own) / (duration / 1e6) if duration > 0 else 0.0
        x[f"subflow_{side}_packets"] = len(own) // subflows if subflows else 0
        x[f"subflow_{side}_bytes"] = sum(sizes) // subflows if subflows else 0
    x |= named("packet_length", lengths)
    x["packet_length_variance"] = statistics.variance(lengths) if n > 1 else 0.0
    x["average_packet_size"] = x["packet_length_mean"]
    if duration == 0:
        x["flow_bytes_s"], x["flow_packets_s"] = math.inf if sum(lengths) else math.nan, math.inf
    else:
        x["flow_bytes_s"], x["flow_packets_s"] = sum(lengths) / (duration / 1e6), n / (duration / 1e6)
    x |= named("flow_iat", gaps_of(packets), empty=math.nan)
    for name, bit in zip(("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"), range(8), strict=True):
        x[f"{name}_flag_count"] = count(packets, 1 << bit)
    x["down_up_ratio"] = len(bwd) / len(fwd) if fwd else 0.0
    x |= bulks(flow)
    first_is_backward = flow.is_backward(first)
    x["fwd_init_win_bytes"] = 0 if first_is_backward else first.window
    x["bwd_init_win_bytes"] = bwd[-1].window if bwd else 0
    x["fwd_act_data_pkts"] = sum(p.payload > 0 for p in later["fwd"])
    x["fwd_seg_size_min"] = 0 if first_is_backward else min(p.header for p in fwd)
    active, idle = periods(packets)
    x |= named("active", active) | named("idle", idle)
    x["icmp_type"], x["icmp_code"] = first.icmp
    x["total_tcp_flow_time"] = flow.carried_us + duration if first.protocol == TCP else 0
    return x


def split_sides(flow: Flow, packets: Sequence[Packet]) -> dict[str, list[Packet]]:
    return {
        "fwd": [p for p in packets if not flow.is_backward(p)],
        "bwd": [p for p in packets if flow.is_backward(p)],
    }


def named(name: str, values: Sequence[int], empty: float = 0.0) -> dict[str, float]:
    """Mean, sample standard deviation, largest and smallest; `empty` for all where there are none."""
    if not values:
        return {f"{name}_{what}": empty for what in ("mean", "std", "max", "min")}
    return {
        f"{name}_mean": statistics.fmean(values),
        f"{name}_std": statistics.stdev(values) if len(values) > 1 else 0.0,
        f"{name}_max": max(values),
        f"{name}_min": min(values),
    }


def gaps_of(packets: Sequence[Packet]) -> list[int]:
    return [b.us - a.us for a, b in zip(packets, packets[1:], strict=False)]


def subflows_of(packets: Sequence[Packet]) -> int:
    """What the data-set version counts as subflows: the bracket of its division stands wrong."""
    before = [packets[0], *packets[:-1]]
    return sum(p.us - last.us / 1e6 > 1.0 for p, last in zip(packets, before, strict=True))


def count(packets: Sequence[Packet], flag: int) -> int:
    return sum(bool(p.flags & flag) for p in packets)


def math_or(values: Iterable[int]) -> int:
    result = 0
    for value in values:
        result |= value
    return result


def periods(packets: Sequence[Packet]) -> tuple[list[int], list[int]]:
    """Active and idle periods (FEATURES 4.2)."""
    active, idle = [], []
    start = end = packets[0].us
    for packet in packets[1:]:
        if packet.us - end > 5_000_000:
            if end - start > 0:
                active.append(end - start)
            idle.append(packet.us - end)
            start = packet.us
        end = packet.us
    return active, idle


@dataclass
class _Bulk:
    """The state machine of FEATURES 4.1, one direction."""

    start: int | None = None
    last: int | None = None
    run: list[int] = field(default_factory=list)
    bulks: int = 0
    packets: int = 0
    bytes: int = 0
    time: int = 0

    def see(self, packet: Packet, other: _Bulk) -> None:
        if self.start is not None and other.last is not None and other.last > self.start:
            self.start = None
        if packet.payload == 0:
            return
        if self.start is None or self.last is None or packet.us - self.last > 1_000_000:
            self.start, self.last, self.run = packet.us, packet.us, [packet.payload]
            return
        self.run.append(packet.payload)
        if len(self.run) == 4:
            self.bulks += 1
            self.packets += 4
            self.bytes += sum(self.run)
            self.time += packet.us - self.start
        elif len(self.run) > 4:
            self.packets += 1
            self.bytes += packet.payload
            self.time += packet.us - self.last
        self.last = packet.us


def bulks(flow: Flow) -> dict[str, float]:
    state = {False: _Bulk(), True: _Bulk()}
    for packet in flow.packets:
        backward = flow.is_backward(packet)
        state[backward].see(packet, state[not backward])
    x: dict[str, float] = {}
    for side, bulk in (("fwd", state[False]), ("bwd", state[True])):
        x[f"{side}_bytes_bulk_avg"] = bulk.bytes // bulk.bulks if bulk.bulks else 0
        x[f"{side}_packet_bulk_avg"] = bulk.packets // bulk.bulks if bulk.bulks else 0
        x[f"{side}_bulk_rate_avg"] = math.trunc(bulk.bytes / (bulk.time / 1e6)) if bulk.time else 0
    return x
