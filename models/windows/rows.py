"""The rows of a stream: a flow each, and what was known when it first appeared."""

from __future__ import annotations

import math

import numpy as np

from capture.columns import FEATURES
from models.window_columns import (
    CONTEXT,
    FLOW_FEATURE_INDEX,
    FLOW_FEATURES,
    PROTOCOLS,
    ROW_NAMES,
)
from models.windows import counters as c
from models.windows.addresses import hash2, service_class
from models.windows.counters import add, count_distinct, count_pairs_of, follow_pair, place
from models.windows.jit import kernel
from models.windows.state import LINK_ANSWERED, LINK_UNICAST, N_FADES

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

_TRW_STEP = math.log(4.0)  # a scanner's first contacts fail in 80 %, others' in 20 %
_TRW_TOP = 60.0

_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16


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

    add(s, c.FLOWS, 1.0)
    count_distinct(s, c.PEERS, known_peer, now - peer.last_ns)
    count_distinct(s, c.PORTS, known_port, now - side.last_ns)
    since_pair = now - pair.seen_ns
    count_distinct(s, c.PAIRS, known_pair, since_pair)
    count_pairs_of(s, c.MAX_PORTS, peer, now, known_peer, known_pair, since_pair)
    count_pairs_of(s, c.MAX_PEERS, side, now, known_port, known_pair, since_pair)
    peer.hash, peer.last_ns = peer_hash, now
    side.hash, side.last_ns = port_hash, now
    pair.hash = pair_hash
    gap_pair = follow_pair(pair, known_pair, record, features, now)
    for w in range(N_FADES):
        s.counters[c.MAX_FLOWS + w] = max(s.counters[c.MAX_FLOWS + w], float(pair.flows[w]))
    service = service_class(record.protocol, record.dst_port)
    if service == 0:
        add(s, c.DNS_FLOWS, 1.0)
    elif service == 1:
        add(s, c.WEB, 1.0)
    elif service == 2:
        add(s, c.LOGIN, 1.0)
        for w in range(N_FADES):
            s.counters[c.LOGIN_PAIR + w] = max(s.counters[c.LOGIN_PAIR + w], float(pair.flows[w]))

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
    row[_PEERS_600] = s.counters[c.PEERS + 2]
    row[_PORTS_600] = s.counters[c.PORTS + 2]
    row[_FLOWS_10] = s.counters[c.FLOWS]
    row[_FLOWS_60] = s.counters[c.FLOWS + 1]
    row[_PEERS_60] = s.counters[c.PEERS + 1]
    row[_PORTS_60] = s.counters[c.PORTS + 1]
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
            add(s, c.UDP_ONEWAY, 1.0)
        elif record.protocol == 6 and record.fwd_tcp_flags & _SYN:
            add(s, c.SYN, 1.0)
    finish_row(state, s, row, meta, pair)
    row[_FAILED_PAIRS] = s.counters[c.FAILED_PAIRS + 1]
    row[_FAILED_SHARE] = s.counters[c.FAILED_FLOWS + 1] / s.counters[c.FLOWS + 1]
    row[_LINK_ANSWERED] = (state.registers[LINK_ANSWERED] + 1.0) / (state.registers[LINK_UNICAST] + 2.0)


@kernel
def count_failure(s, meta, pair, now):
    meta.failed, meta.failed_ns = 1, now
    add(s, c.FAILED_FLOWS, 1.0)
    known = pair.failed_ns != 0
    meta.counted_pair = 0 if known else 1
    count_distinct(s, c.FAILED_PAIRS, known, now - pair.failed_ns)
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
        for w in range(N_FADES):
            left = math.exp(-max(0, now - meta.failed_ns) / c.FADE_NS[w])
            s.counters[c.FAILED_FLOWS + w] = max(0.0, s.counters[c.FAILED_FLOWS + w] - left)
            if meta.counted_pair:
                s.counters[c.FAILED_PAIRS + w] = max(0.0, s.counters[c.FAILED_PAIRS + w] - left)
        if meta.counted_pair and known:
            pair.failed_ns = 0
        if meta.first_contact:
            s.trw = max(0.0, s.trw - 2.0 * _TRW_STEP)
    elif not meta.failed and row[_FAILED] > 0 and known:
        count_failure(s, meta, pair, now)
    finish_row(state, s, row, meta, pair)
