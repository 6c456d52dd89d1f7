"""Every feature once: its name, unit, definition and the name each data set gives it.

The definitions are those of the corrected CICFlowMeter (GintsEngelen/CICFlowMeter, commit
13a0615), the version behind the published corrected CICIDS2017 and CSE-CIC-IDS2018 sets;
`number` is the position of the column in its output.  `FLOW_DTYPE` below is the flow record:
the contract between a meter and everything that reads flows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Column:
    """One numeric feature of a flow."""

    number: int  #: column number in CICFlowMeter's output
    field: str  #: field of FLOW_DTYPE
    name: str  #: CICFlowMeter's and the corrected data sets' name
    unit: str
    integer: bool  #: whole numbers only: written without a fraction
    name_2017: str  #: CICIDS2017 MachineLearningCSV / GeneratedLabelledFlows; "" where absent
    name_2018: str  #: CSE-CIC-IDS2018; "" where absent
    name_python: str  #: the Python package cicflowmeter; "" where absent


def _c(
    number: int,
    field: str,
    name: str,
    unit: str,
    integer: bool,
    name_2017: str,
    name_2018: str,
    name_python: str,
) -> Column:
    return Column(number, field, name, unit, integer, name_2017, name_2018, name_python)


# fmt: off
COLUMNS: tuple[Column, ...] = (
    _c(8, "flow_duration", "Flow Duration", "us", True, "Flow Duration", "Flow Duration", "flow_duration"),
    _c(9, "total_fwd_packet", "Total Fwd Packet", "1", True, "Total Fwd Packets", "Tot Fwd Pkts", "tot_fwd_pkts"),
    _c(10, "total_bwd_packets", "Total Bwd packets", "1", True, "Total Backward Packets", "Tot Bwd Pkts", "tot_bwd_pkts"),
    _c(11, "total_length_of_fwd_packet", "Total Length of Fwd Packet", "byte", True, "Total Length of Fwd Packets", "TotLen Fwd Pkts", "totlen_fwd_pkts"),
    _c(12, "total_length_of_bwd_packet", "Total Length of Bwd Packet", "byte", True, "Total Length of Bwd Packets", "TotLen Bwd Pkts", "totlen_bwd_pkts"),
    _c(13, "fwd_packet_length_max", "Fwd Packet Length Max", "byte", True, "Fwd Packet Length Max", "Fwd Pkt Len Max", "fwd_pkt_len_max"),
    _c(14, "fwd_packet_length_min", "Fwd Packet Length Min", "byte", True, "Fwd Packet Length Min", "Fwd Pkt Len Min", "fwd_pkt_len_min"),
    _c(15, "fwd_packet_length_mean", "Fwd Packet Length Mean", "byte", False, "Fwd Packet Length Mean", "Fwd Pkt Len Mean", "fwd_pkt_len_mean"),
    _c(16, "fwd_packet_length_std", "Fwd Packet Length Std", "byte", False, "Fwd Packet Length Std", "Fwd Pkt Len Std", "fwd_pkt_len_std"),
    _c(17, "bwd_packet_length_max", "Bwd Packet Length Max", "byte", True, "Bwd Packet Length Max", "Bwd Pkt Len Max", "bwd_pkt_len_max"),
    _c(18, "bwd_packet_length_min", "Bwd Packet Length Min", "byte", True, "Bwd Packet Length Min", "Bwd Pkt Len Min", "bwd_pkt_len_min"),
    _c(19, "bwd_packet_length_mean", "Bwd Packet Length Mean", "byte", False, "Bwd Packet Length Mean", "Bwd Pkt Len Mean", "bwd_pkt_len_mean"),
    _c(20, "bwd_packet_length_std", "Bwd Packet Length Std", "byte", False, "Bwd Packet Length Std", "Bwd Pkt Len Std", "bwd_pkt_len_std"),
    _c(21, "flow_bytes_s", "Flow Bytes/s", "byte/s", False, "Flow Bytes/s", "Flow Byts/s", "flow_byts_s"),
    _c(22, "flow_packets_s", "Flow Packets/s", "1/s", False, "Flow Packets/s", "Flow Pkts/s", "flow_pkts_s"),
    _c(23, "flow_iat_mean", "Flow IAT Mean", "us", False, "Flow IAT Mean", "Flow IAT Mean", "flow_iat_mean"),
    _c(24, "flow_iat_std", "Flow IAT Std", "us", False, "Flow IAT Std", "Flow IAT Std", "flow_iat_std"),
    _c(25, "flow_iat_max", "Flow IAT Max", "us", False, "Flow IAT Max", "Flow IAT Max", "flow_iat_max"),
    _c(26, "flow_iat_min", "Flow IAT Min", "us", False, "Flow IAT Min", "Flow IAT Min", "flow_iat_min"),
    _c(27, "fwd_iat_total", "Fwd IAT Total", "us", True, "Fwd IAT Total", "Fwd IAT Tot", "fwd_iat_tot"),
    _c(28, "fwd_iat_mean", "Fwd IAT Mean", "us", False, "Fwd IAT Mean", "Fwd IAT Mean", "fwd_iat_mean"),
    _c(29, "fwd_iat_std", "Fwd IAT Std", "us", False, "Fwd IAT Std", "Fwd IAT Std", "fwd_iat_std"),
    _c(30, "fwd_iat_max", "Fwd IAT Max", "us", False, "Fwd IAT Max", "Fwd IAT Max", "fwd_iat_max"),
    _c(31, "fwd_iat_min", "Fwd IAT Min", "us", False, "Fwd IAT Min", "Fwd IAT Min", "fwd_iat_min"),
    _c(32, "bwd_iat_total", "Bwd IAT Total", "us", True, "Bwd IAT Total", "Bwd IAT Tot", "bwd_iat_tot"),
    _c(33, "bwd_iat_mean", "Bwd IAT Mean", "us", False, "Bwd IAT Mean", "Bwd IAT Mean", "bwd_iat_mean"),
    _c(34, "bwd_iat_std", "Bwd IAT Std", "us", False, "Bwd IAT Std", "Bwd IAT Std", "bwd_iat_std"),
    _c(35, "bwd_iat_max", "Bwd IAT Max", "us", False, "Bwd IAT Max", "Bwd IAT Max", "bwd_iat_max"),
    _c(36, "bwd_iat_min", "Bwd IAT Min", "us", False, "Bwd IAT Min", "Bwd IAT Min", "bwd_iat_min"),
    _c(37, "fwd_psh_flags", "Fwd PSH Flags", "1", True, "Fwd PSH Flags", "Fwd PSH Flags", "fwd_psh_flags"),
    _c(38, "bwd_psh_flags", "Bwd PSH Flags", "1", True, "Bwd PSH Flags", "Bwd PSH Flags", "bwd_psh_flags"),
    _c(39, "fwd_urg_flags", "Fwd URG Flags", "1", True, "Fwd URG Flags", "Fwd URG Flags", "fwd_urg_flags"),
    _c(40, "bwd_urg_flags", "Bwd URG Flags", "1", True, "Bwd URG Flags", "Bwd URG Flags", "bwd_urg_flags"),
    _c(41, "fwd_rst_flags", "Fwd RST Flags", "1", True, "", "", ""),
    _c(42, "bwd_rst_flags", "Bwd RST Flags", "1", True, "", "", ""),
    _c(43, "fwd_header_length", "Fwd Header Length", "byte", True, "Fwd Header Length", "Fwd Header Len", "fwd_header_len"),
    _c(44, "bwd_header_length", "Bwd Header Length", "byte", True, "Bwd Header Length", "Bwd Header Len", "bwd_header_len"),
    _c(45, "fwd_packets_s", "Fwd Packets/s", "1/s", False, "Fwd Packets/s", "Fwd Pkts/s", "fwd_pkts_s"),
    _c(46, "bwd_packets_s", "Bwd Packets/s", "1/s", False, "Bwd Packets/s", "Bwd Pkts/s", "bwd_pkts_s"),
    _c(47, "packet_length_min", "Packet Length Min", "byte", True, "Min Packet Length", "Pkt Len Min", "pkt_len_min"),
    _c(48, "packet_length_max", "Packet Length Max", "byte", True, "Max Packet Length", "Pkt Len Max", "pkt_len_max"),
    _c(49, "packet_length_mean", "Packet Length Mean", "byte", False, "Packet Length Mean", "Pkt Len Mean", "pkt_len_mean"),
    _c(50, "packet_length_std", "Packet Length Std", "byte", False, "Packet Length Std", "Pkt Len Std", "pkt_len_std"),
    _c(51, "packet_length_variance", "Packet Length Variance", "byte^2", False, "Packet Length Variance", "Pkt Len Var", "pkt_len_var"),
    _c(52, "fin_flag_count", "FIN Flag Count", "1", True, "FIN Flag Count", "FIN Flag Cnt", "fin_flag_cnt"),
    _c(53, "syn_flag_count", "SYN Flag Count", "1", True, "SYN Flag Count", "SYN Flag Cnt", "syn_flag_cnt"),
    _c(54, "rst_flag_count", "RST Flag Count", "1", True, "RST Flag Count", "RST Flag Cnt", "rst_flag_cnt"),
    _c(55, "psh_flag_count", "PSH Flag Count", "1", True, "PSH Flag Count", "PSH Flag Cnt", "psh_flag_cnt"),
    _c(56, "ack_flag_count", "ACK Flag Count", "1", True, "ACK Flag Count", "ACK Flag Cnt", "ack_flag_cnt"),
    _c(57, "urg_flag_count", "URG Flag Count", "1", True, "URG Flag Count", "URG Flag Cnt", "urg_flag_cnt"),
    _c(58, "cwr_flag_count", "CWR Flag Count", "1", True, "CWE Flag Count", "CWE Flag Count", "cwr_flag_count"),
    _c(59, "ece_flag_count", "ECE Flag Count", "1", True, "ECE Flag Count", "ECE Flag Cnt", "ece_flag_cnt"),
    _c(60, "down_up_ratio", "Down/Up Ratio", "1", False, "Down/Up Ratio", "Down/Up Ratio", "down_up_ratio"),
    _c(61, "average_packet_size", "Average Packet Size", "byte", False, "Average Packet Size", "Pkt Size Avg", "pkt_size_avg"),
    _c(62, "fwd_segment_size_avg", "Fwd Segment Size Avg", "byte", False, "Avg Fwd Segment Size", "Fwd Seg Size Avg", "fwd_seg_size_avg"),
    _c(63, "bwd_segment_size_avg", "Bwd Segment Size Avg", "byte", False, "Avg Bwd Segment Size", "Bwd Seg Size Avg", "bwd_seg_size_avg"),
    _c(64, "fwd_bytes_bulk_avg", "Fwd Bytes/Bulk Avg", "byte", True, "Fwd Avg Bytes/Bulk", "Fwd Byts/b Avg", "fwd_byts_b_avg"),
    _c(65, "fwd_packet_bulk_avg", "Fwd Packet/Bulk Avg", "1", True, "Fwd Avg Packets/Bulk", "Fwd Pkts/b Avg", "fwd_pkts_b_avg"),
    _c(66, "fwd_bulk_rate_avg", "Fwd Bulk Rate Avg", "byte/s", True, "Fwd Avg Bulk Rate", "Fwd Blk Rate Avg", "fwd_blk_rate_avg"),
    _c(67, "bwd_bytes_bulk_avg", "Bwd Bytes/Bulk Avg", "byte", True, "Bwd Avg Bytes/Bulk", "Bwd Byts/b Avg", "bwd_byts_b_avg"),
    _c(68, "bwd_packet_bulk_avg", "Bwd Packet/Bulk Avg", "1", True, "Bwd Avg Packets/Bulk", "Bwd Pkts/b Avg", "bwd_pkts_b_avg"),
    _c(69, "bwd_bulk_rate_avg", "Bwd Bulk Rate Avg", "byte/s", True, "Bwd Avg Bulk Rate", "Bwd Blk Rate Avg", "bwd_blk_rate_avg"),
    _c(70, "subflow_fwd_packets", "Subflow Fwd Packets", "1", True, "Subflow Fwd Packets", "Subflow Fwd Pkts", "subflow_fwd_pkts"),
    _c(71, "subflow_fwd_bytes", "Subflow Fwd Bytes", "byte", True, "Subflow Fwd Bytes", "Subflow Fwd Byts", "subflow_fwd_byts"),
    _c(72, "subflow_bwd_packets", "Subflow Bwd Packets", "1", True, "Subflow Bwd Packets", "Subflow Bwd Pkts", "subflow_bwd_pkts"),
    _c(73, "subflow_bwd_bytes", "Subflow Bwd Bytes", "byte", True, "Subflow Bwd Bytes", "Subflow Bwd Byts", "subflow_bwd_byts"),
    _c(74, "fwd_init_win_bytes", "FWD Init Win Bytes", "byte", True, "Init_Win_bytes_forward", "Init Fwd Win Byts", "init_fwd_win_byts"),
    _c(75, "bwd_init_win_bytes", "Bwd Init Win Bytes", "byte", True, "Init_Win_bytes_backward", "Init Bwd Win Byts", "init_bwd_win_byts"),
    _c(76, "fwd_act_data_pkts", "Fwd Act Data Pkts", "1", True, "act_data_pkt_fwd", "Fwd Act Data Pkts", "fwd_act_data_pkts"),
    _c(77, "fwd_seg_size_min", "Fwd Seg Size Min", "byte", True, "min_seg_size_forward", "Fwd Seg Size Min", "fwd_seg_size_min"),
    _c(78, "active_mean", "Active Mean", "us", False, "Active Mean", "Active Mean", "active_mean"),
    _c(79, "active_std", "Active Std", "us", False, "Active Std", "Active Std", "active_std"),
    _c(80, "active_max", "Active Max", "us", False, "Active Max", "Active Max", "active_max"),
    _c(81, "active_min", "Active Min", "us", False, "Active Min", "Active Min", "active_min"),
    _c(82, "idle_mean", "Idle Mean", "us", False, "Idle Mean", "Idle Mean", "idle_mean"),
    _c(83, "idle_std", "Idle Std", "us", False, "Idle Std", "Idle Std", "idle_std"),
    _c(84, "idle_max", "Idle Max", "us", False, "Idle Max", "Idle Max", "idle_max"),
    _c(85, "idle_min", "Idle Min", "us", False, "Idle Min", "Idle Min", "idle_min"),
    _c(86, "icmp_code", "ICMP Code", "1", True, "", "", ""),
    _c(87, "icmp_type", "ICMP Type", "1", True, "", "", ""),
    _c(88, "total_tcp_flow_time", "Total TCP Flow Time", "us", True, "", "", ""),)
# fmt: on

FEATURES: tuple[str, ...] = tuple(column.field for column in COLUMNS)

#: Column headings before the 81 numeric ones in CICFlowMeter's CSV, and the one after them.
CSV_IDENTITY = ("Flow ID", "Src IP", "Src Port", "Dst IP", "Dst Port", "Protocol", "Timestamp")
CSV_LABEL = "Label"
CSV_HEADER: tuple[str, ...] = CSV_IDENTITY + tuple(c.name for c in COLUMNS) + (CSV_LABEL,)


class Kind(IntEnum):
    """What a flow record is."""

    FINAL = 0  #: the flow has ended; every value is that of the reference
    SNAPSHOT = 1  #: a live flow so far; its final row follows
    EVICTED = 2  #: the flow table was full; counts as final, the flow may go on in a new record


class Close(IntEnum):
    """Why a record was written."""

    NONE = 0  #: snapshot on its schedule
    READY = 1  #: snapshot because FIN or RST made the flow READY
    TIMEOUT = 2  #: a packet came more than 120 s after the flow's start
    EXPIRED = 3  #: the sweep: the start is over 121 s old, no packet needed
    REOPENED = 4  #: a SYN came on a READY flow
    ICMP = 5  #: an ICMP packet whose type and code both differ from the first one's
    EVICTED = 6  #: the flow table was full
    END = 7  #: end of the capture


_IDENTITY_FIELDS: list[tuple[str, npt.DTypeLike] | tuple[str, npt.DTypeLike, tuple[int, ...]]] = [
    ("flow_id", np.uint64),  # 51 bits of a hash of key and start: the same in every run
    ("start_ns", np.int64),  # packet time, nanoseconds since the epoch
    ("end_ns", np.int64),  # time of the last packet processed
    ("time_ns", np.int64),  # when the record was due: no record has an earlier one before it
    ("answer_ns", np.int64),  # first packet of the other side; 0 = none yet
    ("fwd_ip_bytes", np.uint64),  # IP headers and all, by the IP length field
    ("bwd_ip_bytes", np.uint64),
    ("fwd_frame_bytes", np.uint64),  # as on the wire, link header and padding included
    ("bwd_frame_bytes", np.uint64),
    ("new_fwd_packets", np.uint32),  # since the previous record of this flow
    ("new_bwd_packets", np.uint32),
    ("new_fwd_bytes", np.uint64),  # payload bytes since the previous record of this flow
    ("new_bwd_bytes", np.uint64),
    ("src", np.uint8, (16,)),  # the flow's initiator; IPv4 as ::ffff:a.b.c.d
    ("dst", np.uint8, (16,)),
    ("src_port", np.uint16),  # 0 for all but TCP and UDP
    ("dst_port", np.uint16),
    ("interface", np.uint16),
    ("vlan", np.int16),  # outermost VLAN id; -1 = untagged
    ("protocol", np.uint8),  # IP protocol of the first packet, 6, 17, 1, 58, 47, ...
    ("csv_protocol", np.uint8),  # what CICFlowMeter writes: 0 for all but TCP, UDP, ICMP, ICMPv6
    ("kind", np.uint8),  # Kind
    ("close", np.uint8),  # Close
    ("revision", np.uint8),  # 0 = first record of this flow, 1, 2, ... its updates
    ("key_reversed", np.uint8),  # 1: Flow ID names the ends the other way round (FEATURES 2.3)
    ("fwd_tcp_flags", np.uint8),  # OR over the packets of a direction
    ("bwd_tcp_flags", np.uint8),
    ("second_sight", np.uint8),  # 1: the same flow was seen on another interface just before
    ("reserved", np.uint8, (7,)),
]

#: One flow, 81 features as float64 side by side (counts are whole numbers, exact below 2^53).
#: The owner of an array of these is whoever received it; no meter keeps a reference.
FLOW_DTYPE = np.dtype(_IDENTITY_FIELDS + [(name, np.float64) for name in FEATURES], align=False)  # type: ignore[arg-type]

#: A record as one piece.  Arrays are best copied as these (`records.view(WHOLE_RECORD)`): numpy copies
#: a structured array field by field, which takes many times as long.
WHOLE_RECORD = np.dtype((np.void, FLOW_DTYPE.itemsize))

FEATURES_OFFSET: int = FLOW_DTYPE.fields[FEATURES[0]][1]  # type: ignore[index]

IDENTITY_NAMES: tuple[str, ...] = tuple(field[0] for field in _IDENTITY_FIELDS)


def feature_matrix(records: np.ndarray) -> npt.NDArray[np.float64]:
    """The 81 features of FLOW_DTYPE records as a (n, 81) float64 view, writable, no copy."""
    if records.dtype != FLOW_DTYPE or records.ndim != 1:
        raise TypeError("one-dimensional array of FLOW_DTYPE wanted")
    if len(records) == 0:
        return np.zeros((0, len(FEATURES)))
    return np.ndarray(
        shape=(len(records), len(FEATURES)),
        dtype=np.float64,
        buffer=records,
        offset=FEATURES_OFFSET,
        strides=(FLOW_DTYPE.itemsize, 8),
    )


_identity_layout: Any = {
    "names": list(IDENTITY_NAMES),
    "formats": [FLOW_DTYPE.fields[name][0] for name in IDENTITY_NAMES],  # type: ignore[index]
    "offsets": [FLOW_DTYPE.fields[name][1] for name in IDENTITY_NAMES],  # type: ignore[index]
    "itemsize": FLOW_DTYPE.itemsize,
}
#: The fields before the features, over whole records: a smaller type for kernels.
IDENTITY_DTYPE = np.dtype(_identity_layout)

_fields: Any = FLOW_DTYPE.fields
_row_fields: list[tuple[str, npt.DTypeLike, int]] = [
    *((name, *_fields[name][:2]) for name in IDENTITY_NAMES if name not in ("src", "dst")),
    *(
        (f"{end}_{half}", np.uint64, _fields[end][1] + at)
        for end in ("src", "dst")
        for half, at in (("hi", 0), ("lo", 8))
    ),
    ("features", np.dtype((np.float64, (len(FEATURES),))), FEATURES_OFFSET),
]
_names, _formats, _offsets = zip(*_row_fields, strict=True)
_row_layout: Any = {
    "names": list(_names),
    "formats": list(_formats),
    "offsets": list(_offsets),
    "itemsize": FLOW_DTYPE.itemsize,
}
#: FLOW_DTYPE for the kernel that writes it: the features as one array, addresses as two numbers
#: each, whose bytes are in network order.
ROW_DTYPE = np.dtype(_row_layout)


def identity_view(records: np.ndarray) -> np.ndarray:
    """The fields before the features of FLOW_DTYPE records as IDENTITY_DTYPE, no copy."""
    if records.dtype != FLOW_DTYPE or records.ndim != 1:
        raise TypeError("one-dimensional array of FLOW_DTYPE wanted")
    return records.view(IDENTITY_DTYPE)


def feature_hash(names: Sequence[str], meter: str) -> str:
    """16 hexadecimal digits over a meter's name and the features read: a bundle's contract."""
    return hashlib.sha256("\n".join([meter, *names]).encode()).hexdigest()[:16]
