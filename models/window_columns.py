"""What a window is made of: the names of its row features and host counters, in order.

A bundle holds these names and their hash; a model reads exactly them (DESIGN: one definition,
the same for training and daemon).  Values are raw here (counts, bytes, microseconds,
milliseconds); `scaling.py` brings them to [0, 1].
"""

from __future__ import annotations

from capture.columns import FEATURES

#: Rows of a window.
WINDOW = 16

#: CIC features that a model reads.  Left out: what names the host's TCP stack or the site rather
#: than its behaviour (initial windows, smallest header, connection age), and exact doubles of others.
FLOW_FEATURES: tuple[str, ...] = (
    "flow_duration",
    "total_fwd_packet",
    "total_bwd_packets",
    "total_length_of_fwd_packet",
    "total_length_of_bwd_packet",
    "fwd_packet_length_max",
    "fwd_packet_length_min",
    "fwd_packet_length_mean",
    "fwd_packet_length_std",
    "bwd_packet_length_max",
    "bwd_packet_length_min",
    "bwd_packet_length_mean",
    "bwd_packet_length_std",
    "flow_bytes_s",
    "flow_packets_s",
    "flow_iat_mean",
    "flow_iat_std",
    "flow_iat_max",
    "flow_iat_min",
    "fwd_iat_mean",
    "fwd_iat_std",
    "fwd_iat_max",
    "fwd_iat_min",
    "bwd_iat_mean",
    "bwd_iat_std",
    "bwd_iat_max",
    "bwd_iat_min",
    "fwd_psh_flags",
    "bwd_psh_flags",
    "fwd_rst_flags",
    "bwd_rst_flags",
    "fwd_header_length",
    "bwd_header_length",
    "packet_length_mean",
    "packet_length_std",
    "fin_flag_count",
    "syn_flag_count",
    "rst_flag_count",
    "psh_flag_count",
    "ack_flag_count",
    "urg_flag_count",
    "down_up_ratio",
    "fwd_bytes_bulk_avg",
    "bwd_bytes_bulk_avg",
    "fwd_bulk_rate_avg",
    "bwd_bulk_rate_avg",
    "fwd_act_data_pkts",
    "active_mean",
    "idle_mean",
    "idle_max",
)

#: Where FLOW_FEATURES lie among the 81.
FLOW_FEATURE_INDEX: tuple[int, ...] = tuple(FEATURES.index(name) for name in FLOW_FEATURES)

PROTOCOLS = ("is_tcp", "is_udp", "is_icmp", "is_other_protocol")

#: What relates a row to those before it in the same stream.  `pair` = (peer, port, protocol).
CONTEXT: tuple[str, ...] = (
    "gap",  # ms since the previous row's flow started
    "new_peer",
    "new_port",
    "new_pair",
    "peers_600",
    "ports_600",
    "flows_10",
    "flows_60",
    "peers_60",
    "ports_60",
    "same_pair_60",
    "same_pair_600",
    "gap_pair",  # ms since the pair's previous flow started
    "gap_pair_ratio",  # that by the pair's mean gap
    "unanswered",
    "failed",  # no answer, or RST without SYN-ACK and without payload; never for multicast
    "first_contact_failed",
    "failed_pairs_60",
    "failed_share_60",
    "same_bytes_as_before",  # forward payload equals that of the pair's previous flow
    "multicast_peer",
    "link_answered",  # share of the link's unicast flows that got an answer so far
    "stream_answered",
    "service_dns",
    "service_web",
    "service_login",
    "service_chatter",
    "service_known",
    "service_other",
)

ROW_NAMES: tuple[str, ...] = FLOW_FEATURES + PROTOCOLS + CONTEXT + ("is_single", "present")

#: Seconds over which the counters of a host fade (a value counts e^-1 after that time).
FADES = (10, 60, 600)

#: Fading counters; the first nine are kept by hand in the kernels, the others are plain sums.
COUNTERS: tuple[str, ...] = (
    "flows",
    "peers",
    "ports",
    "pairs",
    "failed_pairs",
    "failed_flows",
    "max_flows_pair",
    "max_ports_peer",
    "max_peers_port",
    "packets_fwd",
    "packets_bwd",
    "bytes_fwd",
    "bytes_bwd",
    "oneway_packets",
    "dns_packets",
    "dns_bytes_fwd",
    "dns_bytes_bwd",
    "dns_flows",
    "icmp_packets",
    "icmp_bytes",
    "login_flows",
    "web_flows",
    "udp_oneway",
    "syn_unanswered",
    "login_pair",
)

#: Regularity of a pair: flows, variation and mean deviation of its gaps by their mean, mean gap
#: (ms), variation of its bytes.
PAIR_SUMMARY = ("count", "gap_variation", "gap_deviation", "gap_mean", "bytes_variation")

COUNTER_NAMES: tuple[str, ...] = (
    *(f"{name}_{fade}" for name in COUNTERS for fade in FADES),
    "trw",  # sequential test on first contacts, log-likelihood, not below 0
    *(f"top_pair_{name}" for name in PAIR_SUMMARY),
    *(f"new_pair_{name}" for name in PAIR_SUMMARY),
    "is_actor",
)
