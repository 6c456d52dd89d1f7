"""Alerts as EVE JSON lines, the form Suricata writes.

Valid by the EVE schemas of Suricata 7 and of the current development version.  Own data stands in
`alert.metadata`, each value a list of strings: the one place that both leave open.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from ids_daemon.addresses import Address, pair_of, text_of
from ids_daemon.community_id import community_id
from ids_daemon.incidents import Alert
from ids_daemon.signatures import signature_of
from ids_daemon.techniques import NAMES

#: Bytes of a line with its LF: many readers take no longer one.
MAX_LINE = 16_384

_EVIDENCE_SENTENCES, _EVIDENCE_CHARACTERS = 8, 200
_NAME_CHARACTERS = 128

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ICMP, _TCP, _UDP, _ICMPV6, _SCTP = 1, 6, 17, 58, 132
_PROTOCOL_NAMES = {
    _ICMP: "ICMP",
    2: "IGMP",
    4: "IPIP",
    _TCP: "TCP",
    _UDP: "UDP",
    41: "IPv6",
    47: "GRE",
    50: "ESP",
    51: "AH",
    _ICMPV6: "IPv6-ICMP",
    89: "OSPF",
    103: "PIM",
    _SCTP: "SCTP",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One EVE event, as the object and as the line (UTF-8, LF at the end) that holds it."""

    object: dict[str, Any]
    line: bytes


class EveFormat:
    """Turns alerts into events; holds what all lines of a sensor share.

    `model` names the bundle that scored.  `interface_name` gives the name of a flow record's
    interface index, or None where it has none (most captures).
    """

    def __init__(
        self,
        sensor: str,
        model: str,
        seed: int = 0,
        interface_name: Callable[[int], str | None] = lambda index: None,
    ) -> None:
        self._sensor = sensor
        self._model = model[:_NAME_CHARACTERS]
        self._seed = seed
        self._interface_name = interface_name

    def event(self, alert: Alert) -> Event:
        """The event of an alert, at most MAX_LINE bytes: longer host lists are cut to fit."""
        entry = self._object(alert)
        line = encode(entry)
        metadata = entry["alert"]["metadata"]
        while len(line) > MAX_LINE and max(map(len, metadata.values())) > 1:
            longest = max(metadata, key=lambda key: len(metadata[key]))
            metadata[longest] = metadata[longest][: len(metadata[longest]) // 2]
            line = encode(entry)
        return Event(entry, line)

    def _object(self, alert: Alert) -> dict[str, Any]:
        flow = alert.flow
        source, destination = pair_of(flow["src"].tobytes(), flow["dst"].tobytes())
        protocol = int(flow["protocol"])
        entry: dict[str, Any] = {"timestamp": stamp(alert.time_ns), "flow_id": int(flow["flow_id"])}
        interface = self._interface_name(int(flow["interface"]))
        if interface:
            entry["in_iface"] = interface
        entry["event_type"] = "alert"
        if flow["vlan"] >= 0:
            entry["vlan"] = [int(flow["vlan"])]
        ends = _ends(source, destination, flow)
        entry.update(_tuple(*(ends if alert.actor_first else ends[::-1])))
        entry["proto"] = _PROTOCOL_NAMES.get(protocol, str(protocol))
        numbers = int(flow["src_port"]), int(flow["dst_port"])
        if protocol in (_ICMP, _ICMPV6):
            numbers = _byte(flow["icmp_type"]), _byte(flow["icmp_code"])
            entry["icmp_type"], entry["icmp_code"] = numbers
        entry["community_id"] = community_id(protocol, source, destination, *numbers, seed=self._seed)
        entry["host"] = self._sensor
        entry["alert"] = self._alert(alert, *(ends if alert.actor_first else ends[::-1]))
        entry["flow"] = _flow(flow, source, destination)
        return entry

    def _alert(self, alert: Alert, actor: _End, target: _End) -> dict[str, Any]:
        signature = signature_of(alert.family)
        return {
            "action": "allowed",
            "gid": 1,
            "signature_id": signature.signature_id,
            "rev": signature.rev,
            "signature": signature.signature,
            "category": signature.category,
            "severity": signature.severity,
            "source": actor.as_side(),
            "target": target.as_side(),
            "metadata": self._metadata(alert),
        }

    def _metadata(self, alert: Alert) -> dict[str, list[str]]:
        """Lists of strings, none of them empty."""
        metadata = {
            "incident_id": [alert.incident_id],
            "incident_update": [str(alert.update)],
            "incident_state": [str(alert.state)],
            "closed_by": [str(alert.ending)] if alert.ending else [],
            "family": [alert.family],
            "score": [f"{alert.score:.4f}"],
            "threshold": [f"{alert.threshold:.4f}"],
            "actors": [text_of(host) for host in alert.actors],
            "targets": [text_of(host) for host in alert.targets],
            "actors_total": [str(alert.actors_total)],
            "targets_total": [str(alert.targets_total)],
            "flows": [str(alert.flows)],
            "first_seen": [stamp(alert.first_seen_ns)],
            "last_seen": [stamp(alert.last_seen_ns)],
            "evidence": _sentences(alert.evidence),
            "model": [self._model],
            "mitre_technique_id": [alert.technique] if alert.technique else [],
            "mitre_technique_name": [NAMES[alert.technique]] if alert.technique else [],
        }
        return {key: values for key, values in metadata.items() if values}


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a flow; `port` is None where the protocol has none."""

    address: Address
    port: int | None

    def as_side(self) -> dict[str, Any]:
        side: dict[str, Any] = {"ip": str(self.address)}
        if self.port is not None:
            side["port"] = self.port
        return side


def encode(entry: dict[str, Any]) -> bytes:
    """An event as one line: compact, keys in the order they were put in, UTF-8, LF."""
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def stamp(time_ns: int) -> str:
    """EVE's time: UTC, exactly six digits, a zone without colon; rounded down."""
    moment = _EPOCH + timedelta(microseconds=time_ns // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


def _ends(source: Address, destination: Address, flow: np.void) -> tuple[_End, _End]:
    if flow["protocol"] in (_TCP, _UDP, _SCTP):
        return _End(source, int(flow["src_port"])), _End(destination, int(flow["dst_port"]))
    return _End(source, None), _End(destination, None)


def _tuple(first: _End, second: _End) -> dict[str, Any]:
    fields = {"src_ip": str(first.address), "src_port": first.port}
    fields |= {"dest_ip": str(second.address), "dest_port": second.port}
    return {key: value for key, value in fields.items() if value is not None}


def _flow(flow: np.void, source: Address, destination: Address) -> dict[str, Any]:
    """Counters as seen from the flow's initiator, whom `src_ip` names; bytes as on the wire."""
    return {
        "pkts_toserver": int(flow["total_fwd_packet"]),
        "pkts_toclient": int(flow["total_bwd_packets"]),
        "bytes_toserver": int(flow["fwd_frame_bytes"]),
        "bytes_toclient": int(flow["bwd_frame_bytes"]),
        "start": stamp(int(flow["start_ns"])),
        "src_ip": str(source),
        "dest_ip": str(destination),
    }


def _byte(value: Any) -> int:
    """An ICMP type or code; a message cut before it counts as 0."""
    return int(value) if 0 <= value <= 255 else 0


def _sentences(evidence: Sequence[str]) -> list[str]:
    """The first sentences, each printable and of bounded length."""
    clean = ("".join(c if c.isprintable() else " " for c in sentence).strip() for sentence in evidence)
    cut = (s if len(s) <= _EVIDENCE_CHARACTERS else s[: _EVIDENCE_CHARACTERS - 1] + "…" for s in clean if s)
    return list(cut)[:_EVIDENCE_SENTENCES]
