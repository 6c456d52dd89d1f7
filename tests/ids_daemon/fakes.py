"""Stand-ins for what `models` gives, and findings about flows that never were."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from capture import FLOW_DTYPE, Kind, PacketBatch
from ids_daemon.addresses import Networks, packed_of
from ids_daemon.eve import EveFormat, Event
from ids_daemon.incidents import Alert, Incidents
from tests.packets import at, frames_of

HOME = Networks(["10.0.0.0/8", "fc00::/7"])
ATTACKER, VICTIM = "203.0.113.9", "10.0.0.5"


@dataclass(frozen=True)
class FakeFinding:
    """The fields of models' Finding."""

    time_ns: int
    role: str
    host: bytes
    score: float
    threshold: float
    family: str
    family_share: float
    evidence: tuple[str, ...]
    counterparts: tuple[tuple[bytes, int], ...]
    flow: np.void
    flows: int


def flow_record(
    source: str = ATTACKER,
    destination: str = VICTIM,
    *,
    second: float = 0.0,
    protocol: int = 6,
    ports: tuple[int, int] = (40_000, 22),
    icmp: tuple[int, int] = (-1, -1),
    vlan: int = -1,
    flow_id: int | None = None,
    answered: bool = False,
) -> np.void:
    """One flow record of `second` seconds into the capture."""
    record = np.zeros(1, FLOW_DTYPE)
    row = record[0]
    row["src"] = np.frombuffer(packed_of(source), np.uint8)
    row["dst"] = np.frombuffer(packed_of(destination), np.uint8)
    row["src_port"], row["dst_port"] = ports if protocol in (6, 17) else (0, 0)
    row["protocol"], row["vlan"] = protocol, vlan
    row["start_ns"] = row["end_ns"] = row["time_ns"] = at(second)
    row["answer_ns"] = at(second) if answered else 0
    row["icmp_type"], row["icmp_code"] = icmp
    row["total_fwd_packet"], row["fwd_frame_bytes"] = 3, 180
    row["total_bwd_packets"], row["bwd_frame_bytes"] = 2, 120
    row["kind"] = Kind.FINAL
    row["flow_id"] = (
        crc32(repr((source, destination, second, ports)).encode()) if flow_id is None else flow_id
    )
    return record[0]


def finding(
    second: float = 0.0,
    *,
    role: str = "actor",
    actor: str = ATTACKER,
    target: str = VICTIM,
    others: Sequence[tuple[str, int]] = (),
    family: str = "scan",
    share: float = 0.9,
    score: float = 4.0,
    evidence: tuple[str, ...] = ("failed connections to 42 services in 60 s (usual: below 6)",),
    flows: int = 8,
    **flow: Any,
) -> FakeFinding:
    """A finding about `actor` or `target`; `others` are further counterparts with their row counts."""
    host, counterpart = (actor, target) if role == "actor" else (target, actor)
    counterparts = [(counterpart, max([8, *(rows for _, rows in others)])), *others]
    return FakeFinding(
        time_ns=at(second),
        role=role,
        host=packed_of(host),
        score=score,
        threshold=3.0,
        family=family,
        family_share=share,
        evidence=evidence,
        counterparts=tuple((packed_of(text), rows) for text, rows in counterparts),
        flow=flow_record(actor, target, second=second, **flow),
        flows=flows,
    )


def tell_all(incidents: Incidents, findings: Sequence[FakeFinding], end: float | None = None) -> list[Alert]:
    """All alerts of findings and of the end."""
    alerts = [alert for one in findings for alert in incidents.add(one)]
    return alerts + list(incidents.finish(None if end is None else at(end)))


def alert(**options: Any) -> Alert:
    """The opening alert of a finding."""
    return next(Incidents(HOME).add(finding(**options)))


def event(**options: Any) -> Event:
    """The event of a finding's opening alert."""
    return EveFormat("sensor-1", "model-1").event(alert(**options))


class Counted:
    def __init__(self, **counters: int) -> None:
        self.counters = counters

    def as_dict(self) -> dict[str, int]:
        return dict(self.counters)


class MeterCounted(Counted):
    def not_metered(self) -> dict[str, int]:
        return {"not_ip": self.counters["not_ip"]}


@dataclass
class FakeScorer:
    """Finds a scan wherever a host has started `flows` flows to one other host."""

    flows: int = 5
    stats: Counted = field(default_factory=lambda: Counted(windows=0))
    description: str = "model-1: counts flows"
    _seen: dict[bytes, int] = field(default_factory=dict)

    def push(self, records: np.ndarray) -> list[FakeFinding]:
        found = []
        for record in records[records["revision"] == 0]:
            host = record["src"].tobytes()
            self._seen[host] = self._seen.get(host, 0) + 1
            self.stats.counters["windows"] += 1
            if self._seen[host] >= self.flows:
                found.append(
                    FakeFinding(
                        time_ns=int(record["time_ns"]),
                        role="actor",
                        host=host,
                        score=0.5 + self._seen[host],
                        threshold=4.0,
                        family="scan",
                        family_share=0.8,
                        evidence=(f"{self._seen[host]} flows",),
                        counterparts=((record["dst"].tobytes(), self.flows),),
                        flow=record,
                        flows=self.flows,
                    )
                )
        return found


def events_of(lines: bytes) -> list[dict[str, Any]]:
    """The objects of JSON lines."""
    return [json.loads(line) for line in lines.splitlines()]


class FakeMeter:
    """Every packet of Ethernet, IPv4 and TCP is a flow of its own; the rest is not metered."""

    name = "fake"

    def __init__(self) -> None:
        self.stats = MeterCounted(packets_metered=0, not_ip=0)
        self.advanced_to: list[int] = []
        self.clock_ns = -1

    def process(self, batch: PacketBatch) -> Iterator[np.ndarray]:
        records = []
        for frame, time_ns in zip(frames_of(batch), batch.timestamp_ns, strict=True):
            if frame[12:14] != b"\x08\x00":
                self.stats.counters["not_ip"] += 1
                continue
            self.stats.counters["packets_metered"] += 1
            source, destination = (socket.inet_ntoa(frame[place : place + 4]) for place in (26, 30))
            ports = int.from_bytes(frame[34:36], "big"), int.from_bytes(frame[36:38], "big")
            self.clock_ns = max(self.clock_ns, int(time_ns))
            second = (int(time_ns) - at(0)) / 1e9
            records.append(flow_record(source, destination, second=second, ports=ports))
        if records:
            yield np.array(records, FLOW_DTYPE)

    def advance(self, now_ns: int) -> Iterator[np.ndarray]:
        self.advanced_to.append(now_ns)
        return iter(())

    def finish(self) -> Iterator[np.ndarray]:
        return iter(())
