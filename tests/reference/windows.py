"""Windows from their definitions, slowly: whole histories in plain Python, nothing ever pushed out.

A fading counter is the sum of what it counts, each times e^(-age / fade).  Distinct peers, ports
and pairs are then the sum over those ever seen, by the age of their last sight.
"""

from __future__ import annotations

import ipaddress
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.window_columns import (
    COUNTER_NAMES,
    COUNTERS,
    FADES,
    FLOW_FEATURES,
    ROW_NAMES,
    WINDOW,
)

SECOND = 1_000_000_000
WEB = {80, 443, 8080, 8443, 8000, 8888}
LOGIN = {20, 21, 22, 23, 25, 88, 110, 143, 389, 445, 465, 587, 636, 993, 995, 1433, 2222, 2323, 3306,
         3389, 5432, 5900, 5985, 5986}  # fmt: skip
CHATTER = {67, 68, 69, 123, 137, 138, 161, 162, 546, 547, 1900, 3702, 5350, 5351, 5353, 5355, 17500}
MULTICAST = [ipaddress.ip_network(n) for n in ("::ffff:224.0.0.0/100", "::ffff:0.0.0.0/104", "ff00::/8")]
NOBODY = [ipaddress.ip_address(a) for a in ("::ffff:255.255.255.255", "::")]


def service(protocol: int, port: int) -> str:
    if protocol not in (6, 17):
        return "other"
    for name, ports in (("dns", {53}), ("web", WEB), ("login", LOGIN), ("chatter", CHATTER)):
        if port in ports:
            return name
    return "known" if port < 1024 else "other"


def is_multicast(address: ipaddress.IPv6Address) -> bool:
    return address in NOBODY or any(address in network for network in MULTICAST)


def has_failed(record: np.void, multicast: bool) -> bool:
    if multicast:
        return False
    if record["answer_ns"] == 0:
        return True
    flags, payload = record["bwd_tcp_flags"], ("total_length_of_fwd_packet", "total_length_of_bwd_packet")
    return bool(
        record["protocol"] == 6 and flags & 4 and not flags & 2 and sum(record[name] for name in payload) == 0
    )


@dataclass
class Pair:
    """All that is known of (peer, port, protocol) within a stream."""

    peer: Any
    port: Any
    flows: list[int] = field(default_factory=list)  #: when each entered
    start_ns: int = 0  #: of the newest flow
    failed_ns: int = 0
    count: int = 0
    gap: float = -1.0
    gap_mean: float = 0.0
    gap_square: float = 0.0
    gap_deviation: float = 0.0
    bytes_mean: float = 0.0
    bytes_square: float = 0.0
    newest: int = -1  #: its newest flow's id, payload, and the payload of the flow before
    payload: float = 0.0
    payload_before: float = -1.0

    def enter(self, record: np.void, now: int) -> None:
        payload = float(record["total_length_of_fwd_packet"])
        self.gap = -1.0
        if self.count == 0:
            self.bytes_mean, self.bytes_square = payload, payload**2
        else:
            self.gap = max(0.0, (int(record["start_ns"]) - self.start_ns) / 1e6)
            rate = max(1 / 8, 1 / self.count)
            if self.count == 1:
                self.gap_mean, self.gap_square = self.gap, self.gap**2
            else:
                self.gap_deviation += rate * (abs(self.gap - self.gap_mean) - self.gap_deviation)
                self.gap_mean += rate * (self.gap - self.gap_mean)
                self.gap_square += rate * (self.gap**2 - self.gap_square)
            self.bytes_mean += rate * (payload - self.bytes_mean)
            self.bytes_square += rate * (payload**2 - self.bytes_square)
            self.payload_before = self.payload
        self.count += 1
        self.flows.append(now)
        self.start_ns, self.newest, self.payload = int(record["start_ns"]), int(record["flow_id"]), payload

    def summary(self) -> list[float]:
        def variation(square: float, mean: float) -> float:
            return math.sqrt(max(0.0, square - mean**2)) / mean if mean > 0 else 0.0

        deviation = self.gap_deviation / self.gap_mean if self.gap_mean > 0 else 0.0
        gaps = variation(self.gap_square, self.gap_mean)
        return [self.count, gaps, deviation, self.gap_mean, variation(self.bytes_square, self.bytes_mean)]


@dataclass
class Row:
    flow_id: int
    peer: ipaddress.IPv6Address
    pair: Pair
    first_contact: bool
    values: dict[str, float]
    failed_ns: int = 0  #: when its failure was counted, 0: it has not failed
    counted_pair: bool = False


class Stream:
    """One host in one role."""

    def __init__(self, host: ipaddress.IPv6Address, role: int) -> None:
        self.host, self.role = host, role
        self.rows: list[Row] = []  #: all there ever were
        self.pairs: dict[Any, Pair] = {}
        self.sums: dict[str, list[tuple[int, float]]] = defaultdict(list)  #: (when, how much)
        self.failures = [dict.fromkeys(FADES, 0.0), dict.fromkeys(FADES, 0.0)]  #: flows, pairs
        self.now = self.due_ns = self.events = self.since_due = 0
        self.trw = self.unicast = self.answered = 0.0
        self.top: Pair | None = None
        self.new: Pair | None = None
        self.start_ns = 0

    def move(self, now: int) -> None:
        """Failures can be taken back and the test is clipped: these two go step by step."""
        for failures in self.failures:
            for fade in FADES:
                failures[fade] *= math.exp(-(now - self.now) / SECOND / fade)
        self.trw *= math.exp(-(now - self.now) / SECOND / FADES[-1])
        self.now = now

    def faded(self, when: int, fade: int) -> float:
        return math.exp(-(self.now - when) / SECOND / fade)

    def distinct(self, key: str, fade: int) -> float:
        """Peers or ports by the age of their last sight."""
        last: dict[Any, int] = {}
        for pair in self.pairs.values():
            last[getattr(pair, key)] = max(last.get(getattr(pair, key), 0), pair.flows[-1])
        return sum(self.faded(when, fade) for when in last.values())

    def most(self, key: str, fade: int) -> float:
        """The largest number of pairs that a peer or a port has, by the age of their last sights."""
        by_key: dict[Any, float] = defaultdict(float)
        for pair in self.pairs.values():
            by_key[getattr(pair, key)] += self.faded(pair.flows[-1], fade)
        return max(by_key.values(), default=0.0)

    def most_flows(self, fade: int, login: bool = False) -> float:
        pairs = [p for p in self.pairs.values() if not login or service(*p.port[:2]) == "login"]
        return max((sum(self.faded(when, fade) for when in p.flows) for p in pairs), default=0.0)

    def counter(self, name: str, fade: int) -> float:
        match name:
            case "peers" | "ports":
                return self.distinct(name[:-1], fade)
            case "pairs":
                return sum(self.faded(pair.flows[-1], fade) for pair in self.pairs.values())
            case "failed_flows":
                return self.failures[0][fade]
            case "failed_pairs":
                return self.failures[1][fade]
            case "max_flows_pair":
                return self.most_flows(fade)
            case "login_pair":
                return self.most_flows(fade, login=True)
            case "max_ports_peer":
                return self.most("peer", fade)
            case "max_peers_port":
                return self.most("port", fade)
            case _:
                return sum(amount * self.faded(when, fade) for when, amount in self.sums[name])

    def add(self, name: str, amount: float) -> None:
        self.sums[name].append((self.now, float(amount)))

    def count_traffic(self, record: np.void) -> None:
        packets = int(record["new_fwd_packets"]), int(record["new_bwd_packets"])
        payload = int(record["new_fwd_bytes"]), int(record["new_bwd_bytes"])
        for name, amount in zip(("packets_fwd", "packets_bwd"), packets, strict=True):
            self.add(name, amount)
        for name, amount in zip(("bytes_fwd", "bytes_bwd"), payload, strict=True):
            self.add(name, amount)
        if record["answer_ns"] == 0:
            self.add("oneway_packets", packets[0])
        if record["dst_port"] == 53:
            self.add("dns_packets", sum(packets))
            self.add("dns_bytes_fwd", payload[0])
            self.add("dns_bytes_bwd", payload[1])
        if record["protocol"] in (1, 58):
            self.add("icmp_packets", sum(packets))
            share = sum(packets) / (record["total_fwd_packet"] + record["total_bwd_packets"])
            self.add("icmp_bytes", (int(record["fwd_ip_bytes"]) + int(record["bwd_ip_bytes"])) * share)

    def enter(self, record: np.void, peer: ipaddress.IPv6Address, multicast: bool, link: list[float]) -> bool:
        """Take a record; whether a window falls due."""
        self.move(int(record["time_ns"]))
        self.count_traffic(record)
        known = [row for row in self.rows[-WINDOW:] if row.flow_id == record["flow_id"]]
        if known:
            self.update(known[0], record, multicast)
        elif record["revision"] == 0 or self.events == 0:
            self.begin(record, peer, multicast, link)
        self.events += 1
        self.since_due += 1
        quiet = self.now - self.due_ns
        due = (
            self.events.bit_count() == 1 or quiet >= 10 * SECOND or (self.since_due >= 8 and quiet >= SECOND)
        )
        if due:
            self.since_due, self.due_ns = 0, self.now
        return due

    def begin(self, record: np.void, peer: ipaddress.IPv6Address, multicast: bool, link: list[float]) -> None:
        protocol, number = int(record["protocol"]), int(record["dst_port"])
        port = (protocol, number, int(record["icmp_type"]) if protocol in (1, 58) else 0)
        values = {
            "new_peer": peer not in {pair.peer for pair in self.pairs.values()},
            "new_port": port not in {pair.port for pair in self.pairs.values()},
            "new_pair": (peer, port) not in self.pairs,
            "gap": max(0.0, (int(record["start_ns"]) - self.start_ns) / 1e6) if self.events else 0.0,
        }
        pair = self.pairs.setdefault((peer, port), Pair(peer, port))
        pair.enter(record, self.now)
        self.add("flows", 1)
        kind = service(protocol, number)
        if kind in ("dns", "web", "login"):
            self.add(f"{kind}_flows", 1)
        self.start_ns, self.new = int(record["start_ns"]), pair
        if self.top is None or self.top.count <= pair.count:
            self.top = pair
        row = Row(int(record["flow_id"]), peer, pair, bool(values["new_pair"]), {})
        self.rows.append(row)
        failed = has_failed(record, multicast)
        if not multicast:
            self.unicast += 1
            self.answered += record["answer_ns"] != 0
            if row.first_contact:
                step = math.log(4.0) if failed else -math.log(4.0)
                self.trw = min(60.0, max(0.0, self.trw + step))
            if record["answer_ns"] == 0 and protocol == 17:
                self.add("udp_oneway", 1)
            if record["answer_ns"] == 0 and protocol == 6 and record["fwd_tcp_flags"] & 2:
                self.add("syn_unanswered", 1)
        if failed:
            self.fail(row)
        names = {6: "is_tcp", 17: "is_udp", 1: "is_icmp", 58: "is_icmp"}
        values |= {names.get(protocol, "is_other_protocol"): 1, f"service_{kind}": 1}
        for name in ("peers_600", "ports_600", "flows_10", "flows_60", "peers_60", "ports_60"):
            values[name] = self.counter(*_split(name))
        values["same_pair_60"] = sum(self.faded(when, 60) for when in pair.flows)
        values["same_pair_600"] = sum(self.faded(when, 600) for when in pair.flows)
        values["gap_pair"] = max(0.0, pair.gap)
        values["gap_pair_ratio"] = pair.gap / pair.gap_mean if pair.gap >= 0 and pair.gap_mean > 0 else 0
        values["failed_pairs_60"] = self.failures[1][60]
        values["failed_share_60"] = self.failures[0][60] / self.counter("flows", 60)
        values["multicast_peer"] = multicast
        values["link_answered"] = (link[1] + 1) / (link[0] + 2)
        row.values = {name: float(value) for name, value in values.items()}
        self.refresh(row, record, multicast)

    def update(self, row: Row, record: np.void, multicast: bool) -> None:
        if row.pair.newest == row.flow_id:
            row.pair.payload = float(record["total_length_of_fwd_packet"])
        if row.values["unanswered"] and record["answer_ns"] != 0 and not multicast:
            self.answered += 1
        failed = has_failed(record, multicast)
        if row.failed_ns and not failed:
            for failures, counted in zip(self.failures, (True, row.counted_pair), strict=True):
                for fade in FADES:
                    left = self.faded(row.failed_ns, fade) if counted else 0.0
                    failures[fade] = max(0.0, failures[fade] - left)
            if row.counted_pair:
                row.pair.failed_ns = 0
            if row.first_contact:
                self.trw = max(0.0, self.trw - 2 * math.log(4.0))
            row.failed_ns = 0
        elif failed and not row.failed_ns:
            self.fail(row)
        self.refresh(row, record, multicast)

    def fail(self, row: Row) -> None:
        last = row.pair.failed_ns
        for fade in FADES:
            self.failures[0][fade] += 1.0
            self.failures[1][fade] += 1.0 - self.faded(last, fade) if last else 1.0
        row.failed_ns, row.counted_pair, row.pair.failed_ns = self.now, not last, self.now

    def refresh(self, row: Row, record: np.void, multicast: bool) -> None:
        """What follows the flow's newer states."""
        for name in FLOW_FEATURES:
            row.values[name] = float(record[name]) if np.isfinite(record[name]) else 0.0
        row.values["is_single"] = float(record["total_fwd_packet"] + record["total_bwd_packets"] == 1)
        row.values["present"] = 1.0
        row.values["unanswered"] = float(record["answer_ns"] == 0)
        row.values["failed"] = float(has_failed(record, multicast))
        row.values["first_contact_failed"] = float(row.first_contact and row.failed_ns != 0)
        row.values["stream_answered"] = (self.answered + 1) / (self.unicast + 2)
        if row.pair.newest == row.flow_id:
            same = row.pair.payload == row.pair.payload_before and row.pair.payload > 0
            row.values["same_bytes_as_before"] = float(same)

    def window(self) -> tuple[np.ndarray, np.ndarray, list[Row]]:
        rows, shown = np.zeros((WINDOW, len(ROW_NAMES))), self.rows[-WINDOW:]
        for place, row in enumerate(shown, WINDOW - len(shown)):
            rows[place] = [row.values.get(name, 0.0) for name in ROW_NAMES]
        counters = {f"{name}_{fade}": self.counter(name, fade) for name in COUNTERS for fade in FADES}
        for which, pair in (("top", self.top), ("new", self.new)):
            summary = pair.summary() if pair else [0.0] * 5
            for name, value in zip(COUNTER_NAMES[-11:-6], summary, strict=True):
                counters[name.replace("top", which)] = value
        counters |= {"trw": self.trw, "is_actor": float(self.role == 0)}
        return rows, np.array([counters[name] for name in COUNTER_NAMES]), shown


@dataclass
class Window:
    role: int
    host: ipaddress.IPv6Address
    time_ns: int
    record: int
    rows: np.ndarray
    counters: np.ndarray
    peers: list[ipaddress.IPv6Address]
    flows: list[int]


def windows_of(records: np.ndarray, home: list[str]) -> list[Window]:
    """All windows of FLOW_DTYPE records, as `models.Windows` gives them."""
    networks = [ipaddress.ip_network(text) for text in home]
    streams: dict[tuple[ipaddress.IPv6Address, int], Stream] = {}
    once: set[ipaddress.IPv6Address] = set()
    link, found = [0.0, 0.0], []
    for index, record in enumerate(records):
        if record["new_fwd_packets"] + record["new_bwd_packets"] == 0 or record["second_sight"]:
            continue
        ends = [ipaddress.IPv6Address(record[name].tobytes()) for name in ("src", "dst")]
        multicast = is_multicast(ends[1])
        if record["revision"] == 0 and not multicast:
            link[0] += 1
            link[1] += record["answer_ns"] != 0
        for role, host, peer in ((0, ends[0], ends[1]), (1, ends[1], ends[0])):
            if is_multicast(host):
                continue
            if (host, role) not in streams:
                plain = host.ipv4_mapped or host
                inside = any(plain in network for network in networks if network.version == plain.version)
                if role == 0 and not inside and record["answer_ns"] == 0 and host not in once:
                    once.add(host)
                    continue
                streams[host, role] = Stream(host, role)
            stream = streams[host, role]
            if stream.enter(record, peer, multicast, link):
                rows, counters, shown = stream.window()
                found.append(
                    Window(
                        role,
                        host,
                        stream.now,
                        index,
                        rows,
                        counters,
                        [row.peer for row in shown],
                        [row.flow_id for row in shown],
                    )
                )
    return found


def _split(name: str) -> tuple[str, int]:
    counter, fade = name.rsplit("_", 1)
    return counter, int(fade)
