"""Host streams: flow records to windows.  Pure kernels over arrays, all in this one file.

Every counter fades exponentially: it is multiplied by e^(-dt / fade) before anything is added.
So it needs no history, costs the same under a flood as at rest, and a maximum over pairs that all
fade alike is kept exactly.  Distinct peers, ports and pairs are counted the same way: one seen
again adds 1 - e^(-dt / fade), what it has faded since its last sight.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from capture.columns import FEATURES
from models.window_columns import (
    CONTEXT,
    COUNTER_NAMES,
    COUNTERS,
    FADES,
    FLOW_FEATURE_INDEX,
    FLOW_FEATURES,
    PROTOCOLS,
    ROW_NAMES,
)


def kernel(function: Any) -> Any:
    """Compile with numba; cached on disk where a cache folder can be written."""
    if numba.config.DISABLE_JIT:
        return function
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)


ACTOR, TARGET = 0, 1
PROBATION, ESTABLISHED = 0, 1

_FEATURES = np.array(FLOW_FEATURE_INDEX, np.int64)
_PACKETS_FWD = FEATURES.index("total_fwd_packet")
_PACKETS_BWD = FEATURES.index("total_bwd_packets")
_BYTES_FWD = FEATURES.index("total_length_of_fwd_packet")
_BYTES_BWD = FEATURES.index("total_length_of_bwd_packet")
_ICMP_TYPE = FEATURES.index("icmp_type")
_N_FEATURES = len(FLOW_FEATURES)
_PROTOCOL_AT = _N_FEATURES
_CONTEXT_AT = _PROTOCOL_AT + len(PROTOCOLS)
_SERVICE_AT = _CONTEXT_AT + CONTEXT.index("service_dns")
_SINGLE_AT = ROW_NAMES.index("is_single")
_PRESENT_AT = ROW_NAMES.index("present")

_GAP = _CONTEXT_AT + CONTEXT.index("gap")
_NEW_PEER = _CONTEXT_AT + CONTEXT.index("new_peer")
_NEW_PORT = _CONTEXT_AT + CONTEXT.index("new_port")
_NEW_PAIR = _CONTEXT_AT + CONTEXT.index("new_pair")
_PEERS_600 = _CONTEXT_AT + CONTEXT.index("peers_600")
_PORTS_600 = _CONTEXT_AT + CONTEXT.index("ports_600")
_FLOWS_10 = _CONTEXT_AT + CONTEXT.index("flows_10")
_FLOWS_60 = _CONTEXT_AT + CONTEXT.index("flows_60")
_PEERS_60 = _CONTEXT_AT + CONTEXT.index("peers_60")
_PORTS_60 = _CONTEXT_AT + CONTEXT.index("ports_60")
_SAME_60 = _CONTEXT_AT + CONTEXT.index("same_pair_60")
_SAME_600 = _CONTEXT_AT + CONTEXT.index("same_pair_600")
_GAP_PAIR = _CONTEXT_AT + CONTEXT.index("gap_pair")
_GAP_RATIO = _CONTEXT_AT + CONTEXT.index("gap_pair_ratio")
_UNANSWERED = _CONTEXT_AT + CONTEXT.index("unanswered")
_FAILED = _CONTEXT_AT + CONTEXT.index("failed")
_FIRST_FAILED = _CONTEXT_AT + CONTEXT.index("first_contact_failed")
_FAILED_PAIRS = _CONTEXT_AT + CONTEXT.index("failed_pairs_60")
_FAILED_SHARE = _CONTEXT_AT + CONTEXT.index("failed_share_60")
_SAME_BYTES = _CONTEXT_AT + CONTEXT.index("same_bytes_as_before")
_MULTICAST = _CONTEXT_AT + CONTEXT.index("multicast_peer")
_LINK_ANSWERED = _CONTEXT_AT + CONTEXT.index("link_answered")
_STREAM_ANSWERED = _CONTEXT_AT + CONTEXT.index("stream_answered")

_W = len(FADES)
_FADE_NS = np.array([1e9 * seconds for seconds in FADES])
_N_COUNTERS = len(COUNTERS)
_C_FLOWS = COUNTERS.index("flows") * _W
_C_PEERS = COUNTERS.index("peers") * _W
_C_PORTS = COUNTERS.index("ports") * _W
_C_PAIRS = COUNTERS.index("pairs") * _W
_C_FAILED_PAIRS = COUNTERS.index("failed_pairs") * _W
_C_FAILED_FLOWS = COUNTERS.index("failed_flows") * _W
_C_MAX_FLOWS = COUNTERS.index("max_flows_pair") * _W
_C_MAX_PORTS = COUNTERS.index("max_ports_peer") * _W
_C_MAX_PEERS = COUNTERS.index("max_peers_port") * _W
_C_PACKETS_F = COUNTERS.index("packets_fwd") * _W
_C_PACKETS_B = COUNTERS.index("packets_bwd") * _W
_C_BYTES_F = COUNTERS.index("bytes_fwd") * _W
_C_BYTES_B = COUNTERS.index("bytes_bwd") * _W
_C_ONEWAY = COUNTERS.index("oneway_packets") * _W
_C_DNS_PACKETS = COUNTERS.index("dns_packets") * _W
_C_DNS_BYTES_F = COUNTERS.index("dns_bytes_fwd") * _W
_C_DNS_BYTES_B = COUNTERS.index("dns_bytes_bwd") * _W
_C_DNS_FLOWS = COUNTERS.index("dns_flows") * _W
_C_ICMP_PACKETS = COUNTERS.index("icmp_packets") * _W
_C_ICMP_BYTES = COUNTERS.index("icmp_bytes") * _W
_C_LOGIN = COUNTERS.index("login_flows") * _W
_C_WEB = COUNTERS.index("web_flows") * _W
_C_UDP_ONEWAY = COUNTERS.index("udp_oneway") * _W
_C_SYN = COUNTERS.index("syn_unanswered") * _W
_C_LOGIN_PAIR = COUNTERS.index("login_pair") * _W
_TRW_AT = COUNTER_NAMES.index("trw")
_TOP_AT = COUNTER_NAMES.index("top_pair_count")
_NEW_AT = COUNTER_NAMES.index("new_pair_count")
_ACTOR_AT = COUNTER_NAMES.index("is_actor")

_TRW_STEP = math.log(4.0)  # a scanner's first contacts fail in 80 %, others' in 20 %
_TRW_TOP = 60.0

_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_SECOND = 1_000_000_000

PAIR_WAYS = 4

PAIR_DTYPE = np.dtype(
    [
        ("hash", np.uint64),
        ("last_ns", np.int64),  # start of its newest flow
        ("seen_ns", np.int64),  # when its counts were last faded
        ("failed_ns", np.int64),  # its last failure
        ("last_flow", np.uint64),
        ("flows", np.float32, (_W,)),  # fading
        ("count", np.float32),
        ("gap_mean", np.float32),  # ms, fading mean over some 8 gaps
        ("gap_square", np.float32),
        ("gap_deviation", np.float32),
        ("bytes_mean", np.float32),
        ("bytes_square", np.float32),
        ("last_bytes", np.float32),
        ("before_bytes", np.float32),
    ],
    align=True,
)

#: A peer of a stream with its fading number of pairs; ports likewise.
SIDE_DTYPE = np.dtype([("hash", np.uint64), ("last_ns", np.int64), ("pairs", np.float32, (_W,))], align=True)

ROW_META_DTYPE = np.dtype(
    [
        ("flow_id", np.uint64),
        ("pair", np.uint64),
        ("failed_ns", np.int64),  # when its failure was counted
        ("peer_hi", np.uint64),
        ("peer_lo", np.uint64),
        ("failed", np.uint8),
        ("first_contact", np.uint8),
        ("unanswered", np.uint8),
        ("counted_pair", np.uint8),  # its failure was counted as a new failed pair
    ],
    align=True,
)

STREAM_DTYPE = np.dtype(
    [
        ("host_hi", np.uint64),
        ("host_lo", np.uint64),
        ("hash", np.uint64),
        ("hash_next", np.int32),
        ("previous", np.int32),
        ("next", np.int32),
        ("generation", np.uint32),
        ("role", np.uint8),
        ("home", np.uint8),
        ("segment", np.uint8),
        ("used", np.uint8),
        ("newest", np.int32),  # place of the newest row
        ("n_rows", np.int32),
        ("events", np.int64),
        ("since_due", np.int64),
        ("due_ns", np.int64),
        ("faded_ns", np.int64),
        ("start_ns", np.int64),  # of the newest row's flow
        ("unicast", np.float64),
        ("answered", np.float64),
        ("trw", np.float64),
        ("top_pair", np.uint64),
        ("new_pair", np.uint64),
        ("counters", np.float64, (_N_COUNTERS * _W,)),
    ],
    align=True,
)

#: Places in State.registers
LINK_UNICAST, LINK_ANSWERED = 0, 1
#: Places in State.counts, see WindowStats
(
    RECORDS,
    ROWS,
    UPDATES,
    EMPTY,
    SECOND_SIGHTS,
    WINDOWS,
    STREAMS,
    STREAMS_EVICTED,
    FIRST_FOREIGN,
) = range(9)


@kernel
def mix(value):
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def hash2(x, y):
    return mix(mix(np.uint64(x) + np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(y))


@kernel
def half(address, first):
    """Eight bytes of an address as a big-endian number."""
    value = np.uint64(0)
    for i in range(first, first + 8):
        value = (value << np.uint64(8)) | np.uint64(address[i])
    return value


@kernel
def is_multicast(hi, lo):
    """Multicast, limited broadcast or no address at all: nobody who could answer."""
    if hi == 0 and lo >> np.uint64(32) == np.uint64(0xFFFF):
        first = (lo >> np.uint64(24)) & np.uint64(0xFF)
        limited_broadcast = lo & np.uint64(0xFFFFFFFF) == np.uint64(0xFFFFFFFF)
        return (first >= 224 and first < 240) or limited_broadcast or first == 0
    return hi >> np.uint64(56) == np.uint64(0xFF) or (hi == 0 and lo == 0)


@kernel
def is_home(networks, hi, lo):
    """Whether an address is in one of the networks, rows of (hi, lo, mask_hi, mask_lo)."""
    for i in range(len(networks)):
        if hi & networks[i, 2] == networks[i, 0] and lo & networks[i, 3] == networks[i, 1]:
            return True
    return False


@kernel
def service_class(protocol, port):
    """0 dns, 1 web, 2 login, 3 chatter, 4 other known, 5 other."""
    if protocol != 6 and protocol != 17:
        return 5
    if port == 53:
        return 0
    if port in (80, 443, 8080, 8443, 8000, 8888):
        return 1
    if port in (20, 21, 22, 23, 25, 88, 110, 143, 389, 445, 465, 587, 636, 993, 995):
        return 2
    if port in (1433, 2222, 2323, 3306, 3389, 5432, 5900, 5985, 5986):
        return 2
    if port in (67, 68, 69, 123, 137, 138, 161, 162, 546, 547, 1900, 3702, 5350, 5351, 5353, 5355, 17500):
        return 3
    return 4 if port < 1024 else 5


# --- the stream table -----------------------------------------------------------------------


@kernel
def unlink(state, at):
    streams = state.streams
    s = streams[at]
    ends = state.ends
    if s.previous < 0:
        ends[s.home, s.segment, 0] = s.next
    else:
        streams[s.previous].next = s.next
    if s.next < 0:
        ends[s.home, s.segment, 1] = s.previous
    else:
        streams[s.next].previous = s.previous


@kernel
def append(state, at, segment):
    streams = state.streams
    s = streams[at]
    tail = state.ends[s.home, segment, 1]
    s.segment = segment
    s.previous = tail
    s.next = -1
    if tail < 0:
        state.ends[s.home, segment, 0] = at
    else:
        streams[tail].next = at
    state.ends[s.home, segment, 1] = at


@kernel
def find_stream(state, hi, lo, role, hashed):
    at = state.slots[hashed & np.uint64(len(state.slots) - 1)]
    while at >= 0:
        s = state.streams[at]
        if s.hash == hashed and s.host_hi == hi and s.host_lo == lo and s.role == role:
            return at
        at = s.hash_next
    return -1


@kernel
def unchain(state, at):
    slot = state.streams[at].hash & np.uint64(len(state.slots) - 1)
    walk = state.slots[slot]
    if walk == at:
        state.slots[slot] = state.streams[at].hash_next
        return
    while state.streams[walk].hash_next != at:
        walk = state.streams[walk].hash_next
    state.streams[walk].hash_next = state.streams[at].hash_next


@kernel
def new_stream(state, hi, lo, role, home, hashed):
    """A stream for a host; the pool's oldest one-flow stream makes room, else its oldest."""
    if state.free_count[home] > 0:
        state.free_count[home] -= 1
        at = state.free[home, state.free_count[home]]
    else:
        at = state.ends[home, PROBATION, 0]
        if at < 0:
            at = state.ends[home, ESTABLISHED, 0]
        unlink(state, at)
        unchain(state, at)
        state.counts[STREAMS_EVICTED] += 1
    s = state.streams[at]
    s.host_hi, s.host_lo = hi, lo
    s.role, s.home = role, home
    s.hash = hashed
    s.generation += 1
    s.used = 1
    s.newest = -1
    s.n_rows = 0
    s.events = 0
    s.since_due = 0
    s.due_ns = 0
    s.faded_ns = 0
    s.start_ns = 0
    s.unicast = 0.0
    s.answered = 0.0
    s.trw = 0.0
    s.top_pair = 0
    s.new_pair = 0
    s.counters[:] = 0.0
    state.rows[at] = 0.0
    state.meta[at]["flow_id"][:] = 0
    state.pairs[at]["hash"][:] = 0
    state.peers[at]["hash"][:] = 0
    state.ports[at]["hash"][:] = 0
    slot = hashed & np.uint64(len(state.slots) - 1)
    s.hash_next = state.slots[slot]
    state.slots[slot] = at
    append(state, at, PROBATION)
    state.counts[STREAMS] += 1
    return at


@kernel
def stream_of(state, hi, lo, role, record):
    """The stream of a host, made when due; -1 when the host gets none (yet)."""
    if is_multicast(hi, lo):
        return -1
    hashed = hash2(hash2(hi, lo), role)
    at = find_stream(state, hi, lo, role, hashed)
    if at >= 0:
        return at
    home = is_home(state.networks, hi, lo)
    if not home and role == ACTOR and record.answer_ns == 0:
        place = hashed & np.uint64(len(state.once) - 1)
        if state.once[place] != hashed:  # its first flow, unanswered: counts at its target only
            state.once[place] = hashed
            state.counts[FIRST_FOREIGN] += 1
            return -1
    return new_stream(state, hi, lo, role, 1 if home else 0, hashed)


# --- fading -------------------------------------------------------------------------------


@kernel
def fade_stream(s, now):
    """Bring all counters of a stream to `now`."""
    dt = now - s.faded_ns
    if dt <= 0:
        return
    s.faded_ns = now
    for w in range(_W):
        factor = math.exp(-dt / _FADE_NS[w])
        for c in range(_N_COUNTERS):
            s.counters[c * _W + w] *= factor
    s.trw *= math.exp(-dt / _FADE_NS[_W - 1])


@kernel
def add(s, counter, amount):
    for w in range(_W):
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
    for w in range(_W):
        s.counters[counter + w] += 1.0 - math.exp(-max(0, since) / _FADE_NS[w]) if known else 1.0


@kernel
def count_pairs_of(s, counter, side, now, known_side, known_pair, since_pair):
    """A peer's (or port's) own fading number of pairs, and the stream's largest such number."""
    for w in range(_W):
        faded = side.pairs[w] * math.exp(-max(0, now - side.last_ns) / _FADE_NS[w]) if known_side else 0.0
        faded += 1.0 - math.exp(-max(0, since_pair) / _FADE_NS[w]) if known_pair else 1.0
        side.pairs[w] = faded
        s.counters[counter + w] = max(s.counters[counter + w], faded)


# --- rows -----------------------------------------------------------------------------------


@kernel
def has_failed(record, features, multicast):
    """No answer, or refused: RST without SYN-ACK and without payload."""
    if multicast:
        return False
    if record.answer_ns == 0:
        return True
    if record.protocol == 6 and record.bwd_tcp_flags & _RST and not record.bwd_tcp_flags & _SYN:
        return features[_BYTES_FWD] + features[_BYTES_BWD] == 0
    return False


@kernel
def write_flow(row, features, record, multicast):
    """The part of a row that follows the flow's newer states."""
    for i in range(_N_FEATURES):
        value = features[_FEATURES[i]]
        row[i] = value if math.isfinite(value) else 0.0
    row[_SINGLE_AT] = 1.0 if features[_PACKETS_FWD] + features[_PACKETS_BWD] == 1 else 0.0
    row[_PRESENT_AT] = 1.0
    row[_UNANSWERED] = 1.0 if record.answer_ns == 0 else 0.0
    row[_FAILED] = 1.0 if has_failed(record, features, multicast) else 0.0


@kernel
def write_kind(row, record, multicast):
    """Protocol and service class, which never change."""
    if record.protocol == 6:
        row[_PROTOCOL_AT] = 1.0
    elif record.protocol == 17:
        row[_PROTOCOL_AT + 1] = 1.0
    elif record.protocol == 1 or record.protocol == 58:
        row[_PROTOCOL_AT + 2] = 1.0
    else:
        row[_PROTOCOL_AT + 3] = 1.0
    row[_SERVICE_AT + service_class(record.protocol, record.dst_port)] = 1.0
    row[_MULTICAST] = 1.0 if multicast else 0.0


@kernel
def count_traffic(s, record, features):
    """Packets and bytes since the flow's last record, and what they say."""
    packets_f, packets_b = float(record.new_fwd_packets), float(record.new_bwd_packets)
    bytes_f, bytes_b = float(record.new_fwd_bytes), float(record.new_bwd_bytes)
    add(s, _C_PACKETS_F, packets_f)
    add(s, _C_PACKETS_B, packets_b)
    add(s, _C_BYTES_F, bytes_f)
    add(s, _C_BYTES_B, bytes_b)
    if record.answer_ns == 0:
        add(s, _C_ONEWAY, packets_f)
    if record.dst_port == 53:
        add(s, _C_DNS_PACKETS, packets_f + packets_b)
        add(s, _C_DNS_BYTES_F, bytes_f)
        add(s, _C_DNS_BYTES_B, bytes_b)
    if record.protocol == 1 or record.protocol == 58:
        add(s, _C_ICMP_PACKETS, packets_f + packets_b)
        frames = float(record.fwd_ip_bytes) + float(record.bwd_ip_bytes)
        whole = features[_PACKETS_FWD] + features[_PACKETS_BWD]
        add(s, _C_ICMP_BYTES, frames * (packets_f + packets_b) / whole)


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
        for w in range(_W):
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
        for w in range(_W):
            pair.flows[w] = pair.flows[w] * math.exp(-max(0, now - pair.seen_ns) / _FADE_NS[w]) + 1.0
    pair.last_bytes = bytes_now
    pair.last_flow = record.flow_id
    pair.last_ns = record.start_ns
    pair.seen_ns = now
    return gap


@kernel
def add_row(state, at, record, features, now, peer_hi, peer_lo, multicast):
    """A flow's first appearance in a stream."""
    s = state.streams[at]
    port = np.uint64(record.dst_port) | np.uint64(record.protocol) << np.uint64(16)
    if record.protocol == 1 or record.protocol == 58:
        port |= np.uint64(int(features[_ICMP_TYPE]) & 0xFF) << np.uint64(24)
    peer_hash = hash2(peer_hi, peer_lo) | np.uint64(1)
    port_hash = hash2(port, 7) | np.uint64(1)
    pair_hash = hash2(peer_hash, port) | np.uint64(1)
    peer_at, known_peer = place(state.peers[at], peer_hash)
    port_at, known_port = place(state.ports[at], port_hash)
    pair_at, known_pair = place(state.pairs[at], pair_hash)
    peer, side, pair = state.peers[at][peer_at], state.ports[at][port_at], state.pairs[at][pair_at]

    add(s, _C_FLOWS, 1.0)
    count_distinct(s, _C_PEERS, known_peer, now - peer.last_ns)
    count_distinct(s, _C_PORTS, known_port, now - side.last_ns)
    since_pair = now - pair.seen_ns
    count_distinct(s, _C_PAIRS, known_pair, since_pair)
    count_pairs_of(s, _C_MAX_PORTS, peer, now, known_peer, known_pair, since_pair)
    count_pairs_of(s, _C_MAX_PEERS, side, now, known_port, known_pair, since_pair)
    peer.hash, peer.last_ns = peer_hash, now
    side.hash, side.last_ns = port_hash, now
    pair.hash = pair_hash
    gap_pair = follow_pair(pair, known_pair, record, features, now)
    for w in range(_W):
        s.counters[_C_MAX_FLOWS + w] = max(s.counters[_C_MAX_FLOWS + w], float(pair.flows[w]))
    service = service_class(record.protocol, record.dst_port)
    if service == 0:
        add(s, _C_DNS_FLOWS, 1.0)
    elif service == 1:
        add(s, _C_WEB, 1.0)
    elif service == 2:
        add(s, _C_LOGIN, 1.0)
        for w in range(_W):
            s.counters[_C_LOGIN_PAIR + w] = max(s.counters[_C_LOGIN_PAIR + w], float(pair.flows[w]))

    s.newest = (s.newest + 1) % state.rows.shape[1]
    s.n_rows = min(s.n_rows + 1, state.rows.shape[1])
    row, meta = state.rows[at, s.newest], state.meta[at][s.newest]
    row[:] = 0.0
    write_flow(row, features, record, multicast)
    write_kind(row, record, multicast)
    row[_GAP] = max(0.0, (record.start_ns - s.start_ns) / 1e6) if s.events > 0 else 0.0
    row[_NEW_PEER] = 0.0 if known_peer else 1.0
    row[_NEW_PORT] = 0.0 if known_port else 1.0
    row[_NEW_PAIR] = 0.0 if known_pair else 1.0
    row[_PEERS_600] = s.counters[_C_PEERS + 2]
    row[_PORTS_600] = s.counters[_C_PORTS + 2]
    row[_FLOWS_10] = s.counters[_C_FLOWS]
    row[_FLOWS_60] = s.counters[_C_FLOWS + 1]
    row[_PEERS_60] = s.counters[_C_PEERS + 1]
    row[_PORTS_60] = s.counters[_C_PORTS + 1]
    row[_SAME_60] = pair.flows[1]
    row[_SAME_600] = pair.flows[2]
    row[_GAP_PAIR] = max(0.0, gap_pair)
    row[_GAP_RATIO] = gap_pair / pair.gap_mean if gap_pair >= 0.0 and pair.gap_mean > 0.0 else 0.0
    s.start_ns = record.start_ns
    s.new_pair = pair_hash
    top_at, top_known = place(state.pairs[at], s.top_pair)
    if s.top_pair == 0 or not top_known or state.pairs[at][top_at].count <= pair.count:
        s.top_pair = pair_hash  # 0: none yet; an unused entry's hash is 0 as well, its count an older host's

    meta.flow_id = record.flow_id
    meta.pair = pair_hash
    meta.peer_hi, meta.peer_lo = peer_hi, peer_lo
    meta.first_contact = 0 if known_pair else 1
    meta.failed = 0
    meta.counted_pair = 0
    meta.unanswered = 1 if record.answer_ns == 0 else 0
    if not multicast:
        s.unicast += 1.0
        s.answered += 0.0 if record.answer_ns == 0 else 1.0
        if meta.first_contact:
            s.trw = min(_TRW_TOP, max(0.0, s.trw + (_TRW_STEP if row[_FAILED] > 0 else -_TRW_STEP)))
    if row[_FAILED] > 0:
        count_failure(s, meta, pair, now)
    if record.answer_ns == 0 and not multicast:
        if record.protocol == 17:
            add(s, _C_UDP_ONEWAY, 1.0)
        elif record.protocol == 6 and record.fwd_tcp_flags & _SYN:
            add(s, _C_SYN, 1.0)
    finish_row(state, s, row, meta, pair)
    row[_FAILED_PAIRS] = s.counters[_C_FAILED_PAIRS + 1]
    row[_FAILED_SHARE] = s.counters[_C_FAILED_FLOWS + 1] / s.counters[_C_FLOWS + 1]
    row[_LINK_ANSWERED] = (state.registers[LINK_ANSWERED] + 1.0) / (state.registers[LINK_UNICAST] + 2.0)


@kernel
def count_failure(s, meta, pair, now):
    meta.failed, meta.failed_ns = 1, now
    add(s, _C_FAILED_FLOWS, 1.0)
    known = pair.failed_ns != 0
    meta.counted_pair = 0 if known else 1
    count_distinct(s, _C_FAILED_PAIRS, known, now - pair.failed_ns)
    pair.failed_ns = now


@kernel
def finish_row(state, s, row, meta, pair):
    """Context that follows the flow's newer states too."""
    row[_FIRST_FAILED] = 1.0 if meta.first_contact and meta.failed else 0.0
    row[_STREAM_ANSWERED] = (s.answered + 1.0) / (s.unicast + 2.0)
    if pair.hash == meta.pair and pair.last_flow == meta.flow_id:
        row[_SAME_BYTES] = 1.0 if pair.last_bytes == pair.before_bytes and pair.last_bytes > 0 else 0.0


@kernel
def update_row(state, at, i, record, features, now, multicast):
    """A newer state of a flow that is still among the rows; it keeps its place."""
    s, row, meta = state.streams[at], state.rows[at, i], state.meta[at][i]
    write_flow(row, features, record, multicast)
    pair_at, known = place(state.pairs[at], meta.pair)
    pair = state.pairs[at][pair_at]
    if known and pair.last_flow == meta.flow_id:
        pair.last_bytes = np.float32(features[_BYTES_FWD])
    if meta.unanswered and record.answer_ns != 0:
        meta.unanswered = 0
        if not multicast:
            s.answered += 1.0
    if meta.failed and row[_FAILED] == 0:  # it was answered after all: take the failure back
        meta.failed = 0
        for w in range(_W):
            left = math.exp(-max(0, now - meta.failed_ns) / _FADE_NS[w])
            s.counters[_C_FAILED_FLOWS + w] = max(0.0, s.counters[_C_FAILED_FLOWS + w] - left)
            if meta.counted_pair:
                s.counters[_C_FAILED_PAIRS + w] = max(0.0, s.counters[_C_FAILED_PAIRS + w] - left)
        if meta.counted_pair and known:
            pair.failed_ns = 0
        if meta.first_contact:
            s.trw = max(0.0, s.trw - 2.0 * _TRW_STEP)
    elif not meta.failed and row[_FAILED] > 0 and known:
        count_failure(s, meta, pair, now)
    finish_row(state, s, row, meta, pair)


@kernel
def is_due(s, now):
    """1st, 2nd, 4th, 8th, ... event; else after 8 events and 1 s, or after 10 s."""
    if s.events & (s.events - 1) == 0:
        return True
    return (s.since_due >= 8 and now - s.due_ns >= _SECOND) or now - s.due_ns >= 10 * _SECOND


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


@kernel
def write_window(state, at, record_index, now, out, n):
    """Copy a stream's rows, oldest first, and its counters."""
    s = state.streams[at]
    size = state.rows.shape[1]
    for i in range(size):
        age = size - 1 - i  # rows back from the newest
        if age < s.n_rows:
            source = (s.newest - age) % size
            out.rows[n, i] = state.rows[at, source]
            out.peers[n, i, 0] = state.meta[at][source].peer_hi
            out.peers[n, i, 1] = state.meta[at][source].peer_lo
            out.flows[n, i] = state.meta[at][source].flow_id
        else:
            out.rows[n, i] = 0.0
            out.peers[n, i] = 0
            out.flows[n, i] = 0
    for i in range(_N_COUNTERS * _W):
        out.counters[n, i] = s.counters[i]
    out.counters[n, _TRW_AT] = s.trw
    pair_summary(out.counters[n], _TOP_AT, state.pairs[at], s.top_pair)
    pair_summary(out.counters[n], _NEW_AT, state.pairs[at], s.new_pair)
    out.counters[n, _ACTOR_AT] = 1.0 if s.role == ACTOR else 0.0
    out.stream[n] = at
    out.generation[n] = s.generation
    out.role[n] = s.role
    out.host[n, 0] = s.host_hi
    out.host[n, 1] = s.host_lo
    out.time_ns[n] = now
    out.record[n] = record_index
    out.n_rows[n] = s.n_rows
    s.since_due = 0
    s.due_ns = now


@kernel
def enter(state, at, record, features, record_index, peer_hi, peer_lo, multicast, out, n):
    """One record into one stream -> windows so far."""
    s = state.streams[at]
    now = record.time_ns
    fade_stream(s, now)
    found = -1
    for i in range(s.n_rows):
        if state.meta[at][i].flow_id == record.flow_id:
            found = i
            break
    count_traffic(s, record, features)
    if found >= 0:
        update_row(state, at, found, record, features, now, multicast)
        state.counts[UPDATES] += 1
    elif record.revision == 0 or s.events == 0:
        add_row(state, at, record, features, now, peer_hi, peer_lo, multicast)
        state.counts[ROWS] += 1
    else:
        state.counts[UPDATES] += 1
    s.events += 1
    s.since_due += 1
    unlink(state, at)
    append(state, at, PROBATION if s.events == 1 else ESTABLISHED)
    if is_due(s, now):
        write_window(state, at, record_index, now, out, n)
        state.counts[WINDOWS] += 1
        return n + 1
    return n


@kernel
def push(state, records, features, first, out):
    """Records from `first` on into their two streams each -> (next record, windows written)."""
    n = 0
    limit = len(out.stream)
    for index in range(first, len(records)):
        if n + 2 > limit:
            return index, n
        record = records[index]
        state.counts[RECORDS] += 1
        if record.new_fwd_packets + record.new_bwd_packets == 0:
            state.counts[EMPTY] += 1
            continue
        if record.second_sight:
            state.counts[SECOND_SIGHTS] += 1
            continue
        src_hi, src_lo = half(record.src, 0), half(record.src, 8)
        dst_hi, dst_lo = half(record.dst, 0), half(record.dst, 8)
        multicast = is_multicast(dst_hi, dst_lo)
        if record.revision == 0 and not multicast:
            state.registers[LINK_UNICAST] += 1.0
            state.registers[LINK_ANSWERED] += 0.0 if record.answer_ns == 0 else 1.0
        at = stream_of(state, src_hi, src_lo, ACTOR, record)
        if at >= 0:
            n = enter(state, at, record, features[index], index, dst_hi, dst_lo, multicast, out, n)
        at = stream_of(state, dst_hi, dst_lo, TARGET, record)
        if at >= 0:
            n = enter(state, at, record, features[index], index, src_hi, src_lo, multicast, out, n)
    return len(records), n
