"""The counters of a stream, which fade, and its pairs.

Every counter is multiplied by e^(-dt / fade) before anything is added.  So it needs no history,
costs the same under a flood as at rest, and a maximum over pairs that all fade alike is kept
exactly.  Distinct peers, ports and pairs are counted the same way: one seen again adds
1 - e^(-dt / fade), what it has faded since its last sight.
"""

from __future__ import annotations

import math

import numpy as np

from capture.columns import FEATURES
from models.window_columns import COUNTERS, FADES
from models.windows.jit import kernel
from models.windows.state import N_FADES, PAIR_WAYS

FADE_NS = np.array([1e9 * seconds for seconds in FADES])
N_COUNTERS = len(COUNTERS)


def _place(counter: str) -> np.int64:
    """Where a counter begins in a stream's.  numba compiles a function anew for each int, but not for
    numpy's, that it is called with."""
    return np.int64(COUNTERS.index(counter) * N_FADES)


FLOWS = _place("flows")
PEERS = _place("peers")
PORTS = _place("ports")
PAIRS = _place("pairs")
FAILED_PAIRS = _place("failed_pairs")
FAILED_FLOWS = _place("failed_flows")
MAX_FLOWS = _place("max_flows_pair")
MAX_PORTS = _place("max_ports_peer")
MAX_PEERS = _place("max_peers_port")
PACKETS_F = _place("packets_fwd")
PACKETS_B = _place("packets_bwd")
BYTES_F = _place("bytes_fwd")
BYTES_B = _place("bytes_bwd")
ONEWAY = _place("oneway_packets")
DNS_PACKETS = _place("dns_packets")
DNS_BYTES_F = _place("dns_bytes_fwd")
DNS_BYTES_B = _place("dns_bytes_bwd")
DNS_FLOWS = _place("dns_flows")
ICMP_PACKETS = _place("icmp_packets")
ICMP_BYTES = _place("icmp_bytes")
LOGIN = _place("login_flows")
WEB = _place("web_flows")
UDP_ONEWAY = _place("udp_oneway")
SYN = _place("syn_unanswered")
LOGIN_PAIR = _place("login_pair")

_PACKETS_FWD = FEATURES.index("total_fwd_packet")
_PACKETS_BWD = FEATURES.index("total_bwd_packets")
_BYTES_FWD = FEATURES.index("total_length_of_fwd_packet")
_BYTES_BWD = FEATURES.index("total_length_of_bwd_packet")


@kernel
def fade_stream(s, now):
    """Bring all counters of a stream to `now`."""
    dt = now - s.faded_ns
    if dt <= 0:
        return
    s.faded_ns = now
    for w in range(N_FADES):
        factor = math.exp(-dt / FADE_NS[w])
        for c in range(N_COUNTERS):
            s.counters[c * N_FADES + w] *= factor
    s.trw *= math.exp(-dt / FADE_NS[N_FADES - 1])


@kernel
def add(s, counter, amount):
    for w in range(N_FADES):
        s.counters[counter + w] += amount


@kernel
def place(entries, hashed):
    """Where a hash is or may go in a set of PAIR_WAYS entries: the oldest makes room -> (at, known)."""
    # Without the lowest bit: it is set in every hash, so that none is 0, which means unused.
    first = np.int64((hashed >> np.uint64(1)) % np.uint64(len(entries) // PAIR_WAYS)) * PAIR_WAYS
    oldest = first
    for at in range(first, first + PAIR_WAYS):
        if entries[at].hash == hashed:
            return at, True
        if entries[at].hash == 0:
            return at, False
        if entries[at].last_ns < entries[oldest].last_ns:
            oldest = at
    return oldest, False


@kernel
def count_distinct(s, counter, known, since):
    for w in range(N_FADES):
        s.counters[counter + w] += 1.0 - math.exp(-max(0, since) / FADE_NS[w]) if known else 1.0


@kernel
def count_pairs_of(s, counter, side, now, known_side, known_pair, since_pair):
    """A peer's (or port's) own fading number of pairs, and the stream's largest such number."""
    for w in range(N_FADES):
        faded = side.pairs[w] * math.exp(-max(0, now - side.last_ns) / FADE_NS[w]) if known_side else 0.0
        faded += 1.0 - math.exp(-max(0, since_pair) / FADE_NS[w]) if known_pair else 1.0
        side.pairs[w] = faded
        s.counters[counter + w] = max(s.counters[counter + w], faded)


@kernel
def count_traffic(s, record, features):
    """Packets and bytes since the flow's last record, and what they say."""
    packets_f, packets_b = float(record.new_fwd_packets), float(record.new_bwd_packets)
    bytes_f, bytes_b = float(record.new_fwd_bytes), float(record.new_bwd_bytes)
    add(s, PACKETS_F, packets_f)
    add(s, PACKETS_B, packets_b)
    add(s, BYTES_F, bytes_f)
    add(s, BYTES_B, bytes_b)
    if record.answer_ns == 0:
        add(s, ONEWAY, packets_f)
    if record.dst_port == 53:
        add(s, DNS_PACKETS, packets_f + packets_b)
        add(s, DNS_BYTES_F, bytes_f)
        add(s, DNS_BYTES_B, bytes_b)
    if record.protocol == 1 or record.protocol == 58:
        add(s, ICMP_PACKETS, packets_f + packets_b)
        frames = float(record.fwd_ip_bytes) + float(record.bwd_ip_bytes)
        whole = features[_PACKETS_FWD] + features[_PACKETS_BWD]
        add(s, ICMP_BYTES, frames * (packets_f + packets_b) / whole)


@kernel
def follow_pair(pair, known, record, features, now):
    """Gaps and bytes of a pair; returns the gap to its previous flow in ms, -1 for none."""
    bytes_now = np.float32(features[_BYTES_FWD])
    gap = -1.0
    if not known:
        pair.count = 1.0
        pair.gap_mean = 0.0
        pair.gap_square = 0.0
        pair.gap_deviation = 0.0
        pair.bytes_mean = bytes_now
        pair.bytes_square = bytes_now * bytes_now
        pair.failed_ns = 0
        pair.before_bytes = -1.0
        for w in range(N_FADES):
            pair.flows[w] = 1.0
    else:
        gap = max(0.0, (record.start_ns - pair.last_ns) / 1e6)
        rate = max(0.125, 1.0 / pair.count)
        if pair.count == 1.0:
            pair.gap_mean = gap
            pair.gap_square = gap * gap
        else:
            pair.gap_deviation += rate * (abs(gap - pair.gap_mean) - pair.gap_deviation)
            pair.gap_mean += rate * (gap - pair.gap_mean)
            pair.gap_square += rate * (gap * gap - pair.gap_square)
        pair.bytes_mean += rate * (bytes_now - pair.bytes_mean)
        pair.bytes_square += rate * (bytes_now * bytes_now - pair.bytes_square)
        pair.count += 1.0
        pair.before_bytes = pair.last_bytes
        for w in range(N_FADES):
            pair.flows[w] = pair.flows[w] * math.exp(-max(0, now - pair.seen_ns) / FADE_NS[w]) + 1.0
    pair.last_bytes = bytes_now
    pair.last_flow = record.flow_id
    pair.last_ns = record.start_ns
    pair.seen_ns = now
    return gap


@kernel
def pair_summary(out, at, entries, hashed):
    for i in range(5):
        out[at + i] = 0.0
    if hashed == 0:
        return
    found, known = place(entries, hashed)
    if not known:
        return
    pair = entries[found]
    out[at] = pair.count
    if pair.gap_mean > 0:
        spread = max(0.0, pair.gap_square - pair.gap_mean * pair.gap_mean)
        out[at + 1] = math.sqrt(spread) / pair.gap_mean
        out[at + 2] = pair.gap_deviation / pair.gap_mean
        out[at + 3] = pair.gap_mean
    if pair.bytes_mean > 0:
        spread = max(0.0, pair.bytes_square - pair.bytes_mean * pair.bytes_mean)
        out[at + 4] = math.sqrt(spread) / pair.bytes_mean
