"""The package's flows and rows to FLOW_DTYPE records."""

from __future__ import annotations

from typing import Any

import numpy as np
from cicflowmeter.features.context import PacketDirection
from cicflowmeter.flow import Flow

from capture.cicflowmeter.packets import MeteredPacket
from capture.columns import COLUMNS, FLOW_DTYPE, Close, Kind, feature_matrix
from capture.meter.hashing import flow_id

_TCP = 6
_RST = 0x04
_MAPPED = bytes(10) + b"\xff\xff"

#: Columns of whole numbers that the package gives with a fraction: float seconds x 1e6.
_ROUNDED = frozenset({"flow_duration", "fwd_iat_total", "bwd_iat_total"})
#: The same, real quotients where the definition divides whole numbers.
_CUT = frozenset(
    f"{way}_{name}_avg" for way in ("fwd", "bwd") for name in ("bytes_bulk", "packet_bulk", "bulk_rate")
)


class Records:
    """Collects flow records in the order they are written."""

    def __init__(self) -> None:
        self._features: list[list[float]] = []
        self._identities: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self._identities)

    def add(self, flow: Flow, row: dict[str, Any], kind: Kind, close: Close, time_ns: int) -> None:
        """Take a flow that has ended, and the package's row of it; written at `time_ns`."""
        forward = [packet for packet, way in flow.packets if way is PacketDirection.FORWARD]
        backward = [packet for packet, way in flow.packets if way is PacketDirection.REVERSE]
        first: MeteredPacket = flow.packets[0][0]
        identity = _identity(flow, first, forward, backward)
        identity |= {
            "end_ns": flow.packets[-1][0].time_ns,
            "time_ns": time_ns,
            "kind": kind,
            "close": close,
        }
        self._identities.append(identity)
        self._features.append(_features(first, forward, backward, row))

    def take(self) -> np.ndarray:
        """The records so far as an array of FLOW_DTYPE; the collection is empty afterwards."""
        records = np.zeros(len(self), FLOW_DTYPE)
        if len(self):
            feature_matrix(records)[:] = self._features
            for name in self._identities[0]:
                records[name] = [identity[name] for identity in self._identities]
        self._features = []
        self._identities = []
        return records


def _identity(
    flow: Flow, first: MeteredPacket, forward: list[MeteredPacket], backward: list[MeteredPacket]
) -> dict[str, Any]:
    """The fields of FLOW_DTYPE before the features; those that are not here stay 0."""
    source, destination = _MAPPED + flow.src_ip, _MAPPED + flow.dest_ip
    halves = np.frombuffer(source + destination, ">u8").astype(np.uint64)
    return {
        "flow_id": flow_id(*halves, flow.src_port, flow.dest_port, first.proto, first.time_ns),
        "start_ns": first.time_ns,
        "answer_ns": backward[0].time_ns if backward else 0,
        "fwd_ip_bytes": sum(packet.ip_length for packet in forward),
        "bwd_ip_bytes": sum(packet.ip_length for packet in backward),
        "fwd_frame_bytes": sum(packet.wire_length for packet in forward),
        "bwd_frame_bytes": sum(packet.wire_length for packet in backward),
        "new_fwd_packets": len(forward),
        "new_bwd_packets": len(backward),
        "new_fwd_bytes": sum(packet.data_length for packet in forward),
        "new_bwd_bytes": sum(packet.data_length for packet in backward),
        "src": np.frombuffer(source, np.uint8),
        "dst": np.frombuffer(destination, np.uint8),
        "src_port": flow.src_port,
        "dst_port": flow.dest_port,
        "interface": first.interface,
        "vlan": first.vlan,
        "protocol": first.proto,
        "csv_protocol": first.proto,
        "fwd_tcp_flags": _flags(forward),
        "bwd_tcp_flags": _flags(backward),
    }


def _features(
    first: MeteredPacket, forward: list[MeteredPacket], backward: list[MeteredPacket], row: dict[str, Any]
) -> list[float]:
    """The 81 features by COLUMNS; what the row lacks as the package's docstring has it."""
    lacking = {
        "fwd_rst_flags": _resets(forward, first),
        "bwd_rst_flags": _resets(backward, first),
        "icmp_code": -1,
        "icmp_type": -1,
        "total_tcp_flow_time": round(row["flow_duration"]) if first.proto == _TCP else 0,
    }
    features = []
    for column in COLUMNS:
        value = float(row[column.name_python] if column.name_python else lacking[column.field])
        if column.field in _ROUNDED:
            value = float(round(value))
        elif column.field in _CUT:
            value = float(int(value))
        features.append(value)
    return features


def _resets(packets: list[MeteredPacket], first: MeteredPacket) -> int:
    return sum(1 for packet in packets if packet.tcp_flags & _RST and packet is not first)


def _flags(packets: list[MeteredPacket]) -> int:
    flags = 0
    for packet in packets:
        flags |= packet.tcp_flags
    return flags
