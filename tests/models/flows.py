"""Flow records for the tests of windows, one at a time or at random."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from zlib import crc32

import numpy as np

from capture.columns import FEATURES, FLOW_DTYPE, Kind

SYN, RST, ACK = 2, 4, 16
SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND


def at(second: float) -> int:
    """Packet time of a second of the capture."""
    return START_NS + round(second * 1e6) * 1000


def packed(address: str) -> np.ndarray:
    """16 bytes, IPv4 as ::ffff:a.b.c.d."""
    one = ipaddress.ip_address(address)
    whole = b"\0" * 10 + b"\xff\xff" + one.packed if one.version == 4 else one.packed
    return np.frombuffer(whole, np.uint8)


def halves(address: str) -> tuple[int, int]:
    whole = int.from_bytes(packed(address).tobytes(), "big")
    return whole >> 64, whole & ((1 << 64) - 1)


def record(
    source: str,
    destination: str,
    second: float,
    *,
    port: int = 22,
    protocol: int = 6,
    start: float | None = None,
    answer: float | None = None,
    packets: tuple[int, int] = (1, 0),
    payload: tuple[int, int] = (0, 0),
    before: np.void | None = None,
    flags: tuple[int, int] = (SYN, 0),
    icmp_type: int = -1,
    flow_id: int | None = None,
    second_sight: bool = False,
) -> np.void:
    """A record due at `second`, of a flow that began at `start` (the same where nothing is said).

    packets, payload: of the flow so far, forward and backward; `before` is its previous record.
    """
    start = (second if start is None else start) if before is None else start
    one = np.zeros(1, FLOW_DTYPE)[0]
    one["src"], one["dst"] = packed(source), packed(destination)
    one["dst_port"], one["protocol"], one["icmp_type"] = port, protocol, icmp_type
    one["time_ns"] = one["end_ns"] = at(second)
    one["start_ns"] = before["start_ns"] if before is not None else at(start or 0.0)
    one["answer_ns"] = 0 if answer is None else at(answer)
    one["flow_id"] = before["flow_id"] if before is not None else flow_id or crc32(
        repr((source, destination, port, protocol, one["start_ns"])).encode()
    )  # fmt: skip
    one["revision"] = 0 if before is None else before["revision"] + 1
    one["kind"] = Kind.SNAPSHOT
    one["total_fwd_packet"], one["total_bwd_packets"] = packets
    one["total_length_of_fwd_packet"], one["total_length_of_bwd_packet"] = payload
    one["fwd_ip_bytes"] = packets[0] * 40 + payload[0]
    one["bwd_ip_bytes"] = packets[1] * 40 + payload[1]
    for new, total in zip(
        ("new_fwd_packets", "new_bwd_packets", "new_fwd_bytes", "new_bwd_bytes"),
        ("total_fwd_packet", "total_bwd_packets", "total_length_of_fwd_packet", "total_length_of_bwd_packet"),
        strict=True,
    ):
        one[new] = one[total] - (before[total] if before is not None else 0)
    one["fwd_tcp_flags"], one["bwd_tcp_flags"] = flags if protocol == 6 else (0, 0)
    one["second_sight"] = second_sight
    return one


def table(records: Sequence[np.void]) -> np.ndarray:
    """Records as one array in emission order."""
    whole = np.array(records, FLOW_DTYPE)
    return whole[np.argsort(whole["time_ns"], kind="stable")]


#: Few enough of each that no table of a stream is ever full.
HOSTS = ("10.0.0.1", "10.0.0.2", "192.168.7.7", "203.0.113.1", "203.0.113.2", "fd00::5", "2001:db8::9")
NOBODY = ("224.0.0.251", "255.255.255.255", "ff02::fb")
SERVICES = ((6, 22), (6, 80), (17, 53), (17, 123), (6, 9999), (1, 0))


def random_records(flows: int, seed: int, hosts: int = len(HOSTS), seconds: float = 900.0) -> np.ndarray:
    """Flows between a few hosts in a few states each, answered at once, later, never or refused."""
    generator = np.random.default_rng(seed)
    found: list[np.void] = []
    for _ in range(flows):
        source, destination = generator.choice(HOSTS[:hosts], 2, replace=False)
        if generator.random() < 0.1:
            destination = generator.choice(NOBODY)
        protocol, port = SERVICES[generator.integers(len(SERVICES))]
        second = float(generator.random() ** 2 * seconds)
        fate = generator.choice(["answered", "later", "never", "refused", "reset"])
        before, packets, payload, start = None, (0, 0), (0, 0), second
        for state in range(generator.integers(1, 5)):
            answered = fate in ("answered", "refused", "reset") or (fate == "later" and state > 0)
            news = int(generator.integers(0, 20)) + (state == 0), int(generator.integers(1, 20)) * answered
            packets = packets[0] + news[0], packets[1] + news[1]
            if fate not in ("refused", "reset") and generator.random() < 0.7:
                payload = payload[0] + news[0] * 10, payload[1] + news[1] * 100
            flags = SYN | ACK, {"refused": RST, "reset": RST if state > 0 else ACK}.get(fate, SYN | ACK)
            before = record(
                str(source), str(destination), second, start=start, port=port, protocol=protocol,
                packets=packets, payload=payload, before=before, answer=start + 0.1 if answered else None,
                flags=flags if answered else (SYN, 0), icmp_type=8 if protocol == 1 else -1,
            )  # fmt: skip
            before["second_sight"] = generator.random() < 0.02
            found.append(before)
            second += float(generator.exponential(20.0)) + 0.5
    records = table(found)
    # The features that nothing but a row reads.
    read = {"total_fwd_packet", "total_bwd_packets", "total_length_of_fwd_packet",
            "total_length_of_bwd_packet", "icmp_type"}  # fmt: skip
    for name in FEATURES:
        if name not in read:
            records[name] = generator.exponential(1000.0, len(records))
    records["flow_bytes_s"][generator.random(len(records)) < 0.1] = np.inf
    records["fwd_iat_std"][generator.random(len(records)) < 0.1] = np.nan
    return records
