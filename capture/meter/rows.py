"""A flow as a record: its identity and the features of its statistics.  Pure kernels.

Definitions are those of the corrected CICFlowMeter, as in flow.py.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from capture.jit import helper, inlined
from capture.meter.flow import direction_of
from capture.meter.hashing import flow_id
from capture.meter.state import SINGLE
from capture.meter.subflows import write_subflows
from capture.meter.times import microseconds

EXACT = 4e18  # below this an integer sum of squares has not overflowed

_LITTLE_ENDIAN = sys.byteorder == "little"


@inlined
def write_record(table, at, rows, n, kind, close, time_ns):
    """Write the flow as record `n` of rows, an array of ROW_DTYPE -> records so far."""
    flow, cold = table.flows[at], table.cold_flows[at]
    forward, backward = direction_of(table, at, 0), direction_of(table, at, 1)
    f, f_cold = table.directions[forward], table.cold_directions[forward]
    b, b_cold = table.directions[backward], table.cold_directions[backward]
    row = rows[n]
    write_identity(row, flow, cold, f, f_cold, b, b_cold, kind, close, time_ns)
    if flow.age_class == SINGLE:
        write_single_features(row.features, flow, cold, f, f_cold, b, b_cold)
    else:
        # Where there is nothing rare the first entry is named, and not looked at.
        flow_rare = table.rare_flows[max(0, cold.rare)]
        f_rare = table.rare_directions[max(0, f.rare)]
        b_rare = table.rare_directions[max(0, b.rare)]
        write_features(row.features, flow, cold, flow_rare, f, f_cold, f_rare, b, b_cold, b_rare)
    mark_told(cold, f, f_cold, b, b_cold)
    return n + 1


@helper
def mark_told(cold, f, f_cold, b, b_cold):
    """What the next record of the flow has to tell begins here."""
    f_cold.told_packets = f.packets
    b_cold.told_packets = b.packets
    f_cold.told_bytes = f.bytes
    b_cold.told_bytes = b.bytes
    if cold.revision < 255:
        cold.revision += 1


@helper
def squared_float(x, rare):
    """The sum of squared gaps as a float, which does not overflow."""
    return rare.iat_squared_float if x.has_long_gaps else float(x.iat_squared)


@helper
def sum_of_deviations(n, total, squared, squared_float):
    """Sum of (x - mean)^2 from integer sums, exact as long as `squared` has not overflowed."""
    if squared_float > EXACT:
        return max(0.0, squared_float - float(total) / n * float(total))
    quotient = total // n
    rest = total - quotient * n
    around_quotient = squared - quotient * (total + rest)
    return max(0.0, float(around_quotient) - float(rest) * float(rest) / n)


@helper
def deviation(n, total, squared, squared_float):
    """Sample standard deviation; 0 for fewer than two values."""
    if n < 2:
        return 0.0
    return math.sqrt(sum_of_deviations(n, total, squared, squared_float) / (n - 1))


@helper
def float_deviation(n, total, squared):
    if n < 2:
        return 0.0
    return deviation(n, total, int(squared) if squared < EXACT else 0, squared)


@helper
def write_direction_lengths(x, at, d):
    """Max, min, mean, std of the payload lengths of a direction."""
    if d.packets == 0:
        for i in range(4):
            x[at + i] = 0.0
        return
    x[at] = d.length_max
    x[at + 1] = d.length_min
    x[at + 2] = d.bytes / d.packets
    x[at + 3] = deviation(np_int(d.packets), d.bytes, d.bytes_squared, 0.0)


@helper
def np_int(value):
    """A counter as int64, so that arithmetic with it stays signed."""
    return np.int64(value)


@helper
def write_direction_iat(x, at, d, rare):
    """Total, mean, std, max, min of the gaps of a direction; 0 unless it has two packets."""
    if d.packets < 2:
        for i in range(5):
            x[at + i] = 0.0
        return
    gaps = np_int(d.packets) - 1
    total = d.last_us - d.first_us
    x[at] = total
    x[at + 1] = total / gaps
    x[at + 2] = deviation(gaps, total, d.iat_squared, squared_float(d, rare))
    x[at + 3] = d.iat_max
    x[at + 4] = d.iat_min


@helper
def write_bulk(x, at, d, rare):
    """Bytes and packets a bulk and the rate, whole numbers as in the reference."""
    if d.rare < 0 or rare.bulks == 0:
        for i in range(3):
            x[at + i] = 0.0
        return
    x[at] = rare.bulk_bytes // np_int(rare.bulks)
    x[at + 1] = np_int(rare.bulk_packets) // np_int(rare.bulks)
    x[at + 2] = 0.0 if rare.bulk_time == 0 else math.trunc(rare.bulk_bytes / (rare.bulk_time / 1e6))


@helper
def write_features(x, flow, cold, flow_rare, f, f_cold, f_rare, b, b_cold, b_rare):
    """The 81 columns of a flow of at least two packets, in the order of COLUMNS."""
    packets = np_int(f.packets) + np_int(b.packets)
    total = f.bytes + b.bytes
    duration = microseconds(flow.last_ns) - microseconds(flow.start_ns)
    x[0] = duration
    x[1] = f.packets
    x[2] = b.packets
    x[3] = f.bytes
    x[4] = b.bytes
    write_direction_lengths(x, 5, f)
    write_direction_lengths(x, 9, b)
    if duration == 0:
        x[13] = math.nan if total == 0 else math.inf
        x[14] = math.inf
    else:
        x[13] = total / (duration / 1e6)
        x[14] = packets / (duration / 1e6)
    x[15] = duration / (packets - 1)
    x[16] = deviation(packets - 1, duration, flow.iat_squared, squared_float(flow, flow_rare))
    x[17] = flow.iat_max
    x[18] = flow.iat_min
    write_direction_iat(x, 19, f, f_rare)
    write_direction_iat(x, 24, b, b_rare)
    x[29] = f.psh
    x[30] = b.psh
    x[31] = f_cold.urg
    x[32] = b_cold.urg
    x[33] = f_cold.rst
    x[34] = b_cold.rst
    x[35] = f.header_bytes
    x[36] = b.header_bytes
    x[37] = f.packets / (duration / 1e6) if duration > 0 else 0.0
    x[38] = b.packets / (duration / 1e6) if duration > 0 else 0.0
    if f.packets == 0:
        x[39], x[40] = b.length_min, b.length_max
    elif b.packets == 0:
        x[39], x[40] = f.length_min, f.length_max
    else:
        x[39], x[40] = min(f.length_min, b.length_min), max(f.length_max, b.length_max)
    x[41] = total / packets
    squared = f.bytes_squared + b.bytes_squared
    x[43] = sum_of_deviations(packets, total, squared, 0.0) / (packets - 1)
    x[42] = math.sqrt(x[43])
    x[44] = cold.fin_count
    x[45] = cold.syn_count
    x[46] = cold.rst_count
    x[47] = np_int(f.psh) + np_int(b.psh)
    x[48] = flow.acks
    x[49] = np_int(f_cold.urg) + np_int(b_cold.urg)
    x[50] = cold.cwr_count
    x[51] = cold.ece_count
    x[52] = b.packets / f.packets if f.packets > 0 else 0.0
    x[53] = x[41]
    x[54] = x[7]
    x[55] = x[11]
    write_bulk(x, 56, f, f_rare)
    write_bulk(x, 59, b, b_rare)
    write_subflows(x, 62, packets - np_int(cold.no_subflows), f, b)
    x[66] = flow.first_window
    x[67] = b.last_window
    x[68] = f.data_packets
    x[69] = f.header_min
    write_periods(x, 70, cold, flow_rare)
    x[78] = flow.icmp_code
    x[79] = flow.icmp_type
    x[80] = cold.carried_us + duration if flow.csv_protocol == 6 else 0.0


@helper
def write_single_features(x, flow, cold, f, f_cold, b, b_cold):
    """The same for a flow of one packet, most of whose columns are 0."""
    for i in range(len(x)):
        x[i] = 0.0
    x[1] = f.packets
    x[2] = b.packets
    x[3] = f.bytes
    x[4] = b.bytes
    total = f.bytes + b.bytes
    x[5], x[6], x[7] = f.bytes, f.bytes, f.bytes
    x[9], x[10], x[11] = b.bytes, b.bytes, b.bytes
    x[13] = math.nan if total == 0 else math.inf
    x[14] = math.inf
    for i in range(15, 19):
        x[i] = math.nan
    x[29] = f.psh
    x[30] = b.psh
    x[31] = f_cold.urg
    x[32] = b_cold.urg
    x[35] = f.header_bytes
    x[36] = b.header_bytes
    x[39], x[40], x[41] = total, total, total
    x[44] = cold.fin_count
    x[45] = cold.syn_count
    x[46] = cold.rst_count
    x[47] = np_int(f.psh) + np_int(b.psh)
    x[48] = flow.acks
    x[49] = np_int(f_cold.urg) + np_int(b_cold.urg)
    x[50] = cold.cwr_count
    x[51] = cold.ece_count
    x[53] = total
    x[54] = f.bytes
    x[55] = b.bytes
    write_subflows(x, 62, 1 - np_int(cold.no_subflows), f, b)
    x[66] = flow.first_window
    x[67] = b.last_window
    x[69] = f.header_min
    x[78] = flow.icmp_code
    x[79] = flow.icmp_type
    x[80] = cold.carried_us if flow.csv_protocol == 6 else 0.0


@helper
def write_periods(x, at, cold, rare):
    """Mean, std, max, min of the active periods, then of the idle ones."""
    if cold.rare < 0 or rare.idle_count == 0:
        for i in range(8):
            x[at + i] = 0.0
        return
    x[at] = rare.active_sum / rare.active_count if rare.active_count > 0 else 0.0
    x[at + 1] = float_deviation(rare.active_count, rare.active_sum, rare.active_squared)
    x[at + 2] = rare.active_max
    x[at + 3] = rare.active_min
    x[at + 4] = rare.idle_sum / rare.idle_count
    x[at + 5] = float_deviation(rare.idle_count, rare.idle_sum, rare.idle_squared)
    x[at + 6] = rare.idle_max
    x[at + 7] = rare.idle_min


@helper
def network_order(value):
    """A 64-bit number whose bytes in memory are most significant first."""
    if not _LITTLE_ENDIAN:
        return value
    turned = np.uint64(0)
    for i in range(8):
        places = np.uint64(8 * i)
        turned |= ((value >> places) & np.uint64(0xFF)) << np.uint64(8 * (7 - i))
    return turned


@helper
def write_identity(row, flow, cold, f, f_cold, b, b_cold, kind, close, time_ns):
    """The fields before the features."""
    src_hi, src_lo, src_port = flow.a_hi, flow.a_lo, flow.a_port
    dst_hi, dst_lo, dst_port = flow.b_hi, flow.b_lo, flow.b_port
    if flow.source_is_b:
        src_hi, src_lo, src_port = flow.b_hi, flow.b_lo, flow.b_port
        dst_hi, dst_lo, dst_port = flow.a_hi, flow.a_lo, flow.a_port
    row.flow_id = flow_id(src_hi, src_lo, dst_hi, dst_lo, src_port, dst_port, cold.protocol, flow.start_ns)
    row.src_hi, row.src_lo, row.src_port = network_order(src_hi), network_order(src_lo), src_port
    row.dst_hi, row.dst_lo, row.dst_port = network_order(dst_hi), network_order(dst_lo), dst_port
    row.start_ns = flow.start_ns
    row.end_ns = flow.last_ns
    row.time_ns = time_ns
    row.answer_ns = flow.answer_ns
    row.fwd_ip_bytes = f.ip_bytes
    row.bwd_ip_bytes = b.ip_bytes
    row.fwd_frame_bytes = f.frame_bytes
    row.bwd_frame_bytes = b.frame_bytes
    row.new_fwd_packets = f.packets - f_cold.told_packets
    row.new_bwd_packets = b.packets - b_cold.told_packets
    row.new_fwd_bytes = f.bytes - f_cold.told_bytes
    row.new_bwd_bytes = b.bytes - b_cold.told_bytes
    row.interface = flow.interface
    row.vlan = flow.vlan
    row.protocol = cold.protocol
    row.csv_protocol = flow.csv_protocol
    row.kind = kind
    row.close = close
    row.revision = cold.revision
    row.key_reversed = flow.source_is_b != cold.key_is_b
    row.fwd_tcp_flags = f.tcp_flags
    row.bwd_tcp_flags = b.tcp_flags
    row.second_sight = cold.second_sight
