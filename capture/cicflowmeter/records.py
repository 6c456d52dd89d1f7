"""The package's flows and rows to FLOW_DTYPE records."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
from cicflowmeter.features.context import PacketDirection
from cicflowmeter.flow import Flow

from capture.cicflowmeter.packets import MeteredPacket
from capture.columns import COLUMNS, FLOW_DTYPE, Close, Kind, feature_matrix

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
        self._identities: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self._identities)

    def add(self, flow: Flow, row: dict[str, Any], kind: Kind, close: Close, time_ns: int) -> None:
        forward = [packet for packet, way in flow.packets if way is PacketDirection.FORWARD]
        backward = [packet for packet, way in flow.packets if way is PacketDirection.REVERSE]
        first: MeteredPacket = flow.packets[0][0]
        last: MeteredPacket = flow.packets[-1][0]
        self._features.append(_features(first, forward, backward, row))
        self._identities.append(
            (
                flow_id(flow.src_ip, flow.dest_ip, flow.src_port, flow.dest_port, first.proto, first.time_ns),
                first.time_ns,
                last.time_ns,
                time_ns,
                backward[0].time_ns if backward else 0,
                sum(packet.ip_length for packet in forward),
                sum(packet.ip_length for packet in backward),
                sum(packet.wire_length for packet in forward),
                sum(packet.wire_length for packet in backward),
                len(forward),
                len(backward),
                sum(packet.data_length for packet in forward),
                sum(packet.data_length for packet in backward),
                np.frombuffer(_MAPPED + flow.src_ip, np.uint8),
                np.frombuffer(_MAPPED + flow.dest_ip, np.uint8),
                flow.src_port,
                flow.dest_port,
                first.interface,
                first.vlan,
                first.proto,
                first.proto,
                kind,
                close,
                _flags(forward),
                _flags(backward),
            )
        )

    def take(self) -> np.ndarray:
        """The records so far as an array of FLOW_DTYPE; the collection is empty afterwards."""
        records = np.zeros(len(self), FLOW_DTYPE)
        if len(self):
            feature_matrix(records)[:] = self._features
            for name, values in zip(_IDENTITY, zip(*self._identities, strict=True), strict=True):
                records[name] = values
        self._features = []
        self._identities = []
        return records


#: Fields of FLOW_DTYPE in the order of `Records.add`; the others stay 0.
_IDENTITY = (
    "flow_id",
    "start_ns",
    "end_ns",
    "time_ns",
    "answer_ns",
    "fwd_ip_bytes",
    "bwd_ip_bytes",
    "fwd_frame_bytes",
    "bwd_frame_bytes",
    "new_fwd_packets",
    "new_bwd_packets",
    "new_fwd_bytes",
    "new_bwd_bytes",
    "src",
    "dst",
    "src_port",
    "dst_port",
    "interface",
    "vlan",
    "protocol",
    "csv_protocol",
    "kind",
    "close",
    "fwd_tcp_flags",
    "bwd_tcp_flags",
)


def flow_id(src: bytes, dst: bytes, src_port: int, dst_port: int, protocol: int, start_ns: int) -> int:
    """51 bits of a hash of a flow's ends, protocol and start."""
    key = src + dst + struct.pack("!HHBq", src_port, dst_port, protocol, start_ns)
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 13


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
