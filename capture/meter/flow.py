"""Per-flow statistics: what a packet does to a flow, and a flow as a record.  Pure kernels.

Definitions are those of the corrected CICFlowMeter (commit 13a0615), its bugs included where the
published data sets carry them; the comments name them.  Sums of squares are kept as integers, so
deviations are exact to the last digits of a float64.
"""

from __future__ import annotations

import math

import numpy as np

from capture.jit import kernel
from capture.meter.hashing import flow_id
from capture.meter.subflows import begins_subflow, write_subflows

OPEN, FIRST_FIN, SECOND_FIN, READY = 0, 1, 2, 3

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128

ACTIVITY_US = 5_000_000  # a longer gap ends an active period
BULK_GAP_US = 1_000_000  # a longer gap ends a bulk
BULK_PACKETS = 4
EXACT = 4e18  # below this an integer sum of squares has not overflowed


@kernel
def start_flow(flow, forward, backward, packet, is_backward):
    """The first packet of a flow whose key, direction and carried time are set already."""
    flow.protocol = packet.protocol
    flow.state = OPEN
    flow.revision = 0
    flow.vlan = packet.vlan
    flow.icmp_type = packet.icmp_type
    flow.icmp_code = packet.icmp_code
    flow.first_window = 0 if is_backward else packet.window
    flow.start_ns = packet.time_ns
    flow.last_ns = packet.time_ns
    flow.answer_ns = 0
    flow.subflows = begins_subflow(packet.time_ns // 1000, packet.time_ns // 1000)
    for bit in range(8):
        flow.flag_counts[bit] = 0
    flow.iat_max = 0
    flow.iat_min = 0
    flow.iat_squared = 0
    flow.iat_squared_float = 0.0
    flow.active_start_us = packet.time_ns // 1000
    flow.active_count = 0
    flow.active_sum = 0
    flow.active_squared = 0.0
    flow.active_max = 0
    flow.active_min = 0
    flow.idle_count = 0
    flow.idle_sum = 0
    flow.idle_squared = 0.0
    flow.idle_max = 0
    flow.idle_min = 0
    clear_direction(forward)
    clear_direction(backward)
    if is_backward:
        count_packet(flow, backward, forward, packet, True)
        flow.answer_ns = packet.time_ns
    else:
        count_packet(flow, forward, backward, packet, True)


@kernel
def clear_direction(d):
    d.packets = 0
    d.header_min = 0
    d.bytes = 0
    d.bytes_squared = 0
    d.length_max = 0
    d.length_min = 0
    d.header_bytes = 0
    d.ip_bytes = 0
    d.frame_bytes = 0
    d.psh = 0
    d.urg = 0
    d.rst = 0
    d.data_packets = 0
    d.first_us = 0
    d.last_us = 0
    d.iat_max = 0
    d.iat_min = 0
    d.iat_squared = 0
    d.iat_squared_float = 0.0
    d.bulk_start = 0
    d.bulk_last = 0
    d.bulk_run_bytes = 0
    d.bulk_bytes = 0
    d.bulk_time = 0
    d.bulk_run_packets = 0
    d.bulk_packets = 0
    d.bulks = 0
    d.told_packets = 0
    d.told_bytes = 0
    d.last_window = 0
    d.tcp_flags = 0
    d.fin_seen = 0


@kernel
def add_packet(flow, own, other, packet, is_backward):
    """A further packet; `own` is the state of its direction."""
    now = packet.time_ns // 1000
    last = flow.last_ns // 1000
    gap = now - last
    first_gap = own.packets + other.packets == 1
    if first_gap or gap > flow.iat_max:
        flow.iat_max = gap
    if first_gap or gap < flow.iat_min:
        flow.iat_min = gap
    flow.iat_squared += gap * gap
    flow.iat_squared_float += float(gap) * float(gap)
    if gap > ACTIVITY_US:
        period = last - flow.active_start_us
        if period > 0:
            if flow.active_count == 0 or period > flow.active_max:
                flow.active_max = period
            if flow.active_count == 0 or period < flow.active_min:
                flow.active_min = period
            flow.active_count += 1
            flow.active_sum += period
            flow.active_squared += float(period) * float(period)
        if flow.idle_count == 0 or gap > flow.idle_max:
            flow.idle_max = gap
        if flow.idle_count == 0 or gap < flow.idle_min:
            flow.idle_min = gap
        flow.idle_count += 1
        flow.idle_sum += gap
        flow.idle_squared += float(gap) * float(gap)
        flow.active_start_us = now
    flow.subflows += begins_subflow(now, last)
    flow.last_ns = packet.time_ns
    if is_backward and flow.answer_ns == 0:
        flow.answer_ns = packet.time_ns
    count_packet(flow, own, other, packet, False)


@kernel
def count_packet(flow, own, other, packet, is_first):
    """What every packet adds to its flow and its direction."""
    now = packet.time_ns // 1000
    payload = packet.payload
    flags = packet.tcp_flags
    own.tcp_flags |= flags
    for bit in range(8):
        flow.flag_counts[bit] += (flags >> bit) & 1
    own.psh += (flags >> 3) & 1
    own.urg += (flags >> 5) & 1
    if own.packets == 0:
        own.first_us = now
        own.length_max = payload
        own.length_min = payload
        # the reference's minimum starts at 0 unless the flow's first packet is of this direction
        own.header_min = packet.header if is_first else 0
    else:
        gap = now - own.last_us
        if own.packets == 1 or gap > own.iat_max:
            own.iat_max = gap
        if own.packets == 1 or gap < own.iat_min:
            own.iat_min = gap
        own.iat_squared += gap * gap
        own.iat_squared_float += float(gap) * float(gap)
        own.length_max = max(own.length_max, payload)
        own.length_min = min(own.length_min, payload)
        own.header_min = min(own.header_min, packet.header)
    own.last_us = now
    own.packets += 1
    own.bytes += payload
    own.bytes_squared += payload * payload
    own.header_bytes += packet.header
    own.ip_bytes += packet.ip_bytes
    own.frame_bytes += packet.frame_bytes
    own.last_window = packet.window
    if not is_first:  # the reference forgets the first packet in these two
        own.rst += (flags >> 2) & 1
        if payload > 0:
            own.data_packets += 1
    count_bulk(own, other, now, payload)


@kernel
def count_bulk(own, other, now, payload):
    """The bulk machine of a direction (FEATURES 4.1); time 0 stands for none."""
    if other.bulk_last > own.bulk_start:
        own.bulk_start = 0
    if payload <= 0:
        return
    if own.bulk_start == 0 or now - own.bulk_last > BULK_GAP_US:
        own.bulk_start = now
        own.bulk_last = now
        own.bulk_run_packets = 1
        own.bulk_run_bytes = payload
        return
    own.bulk_run_packets += 1
    own.bulk_run_bytes += payload
    if own.bulk_run_packets == BULK_PACKETS:
        own.bulks += 1
        own.bulk_packets += BULK_PACKETS
        own.bulk_bytes += own.bulk_run_bytes
        own.bulk_time += now - own.bulk_start
    elif own.bulk_run_packets > BULK_PACKETS:
        own.bulk_packets += 1
        own.bulk_bytes += payload
        own.bulk_time += now - own.bulk_last
    own.bulk_last = now


@kernel
def advance_state(flow, own, other, flags):
    """FIN, RST and ACK of a further TCP packet -> 1 when the flow has just become READY."""
    was_ready = flow.state == READY
    if flags & FIN:
        own.fin_seen = 1
        if flow.state == OPEN:
            flow.state = FIRST_FIN
        elif flow.state == FIRST_FIN and own.fin_seen and other.fin_seen:
            flow.state = SECOND_FIN
    elif flags & RST:
        flow.state = READY
    elif flags & ACK and flow.state == SECOND_FIN:
        flow.state = READY
    return flow.state == READY and not was_ready


@kernel
def sum_of_deviations(n, total, squared, squared_float):
    """Sum of (x - mean)^2 from integer sums, exact as long as `squared` has not overflowed."""
    if squared_float > EXACT:
        return max(0.0, squared_float - float(total) / n * float(total))
    quotient = total // n
    rest = total - quotient * n
    around_quotient = squared - quotient * (total + rest)
    return max(0.0, float(around_quotient) - float(rest) * float(rest) / n)


@kernel
def deviation(n, total, squared, squared_float):
    """Sample standard deviation; 0 for fewer than two values."""
    if n < 2:
        return 0.0
    return math.sqrt(sum_of_deviations(n, total, squared, squared_float) / (n - 1))


@kernel
def float_deviation(n, total, squared):
    if n < 2:
        return 0.0
    return deviation(n, total, int(squared) if squared < EXACT else 0, squared)


@kernel
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


@kernel
def np_int(value):
    """A counter as int64, so that arithmetic with it stays signed."""
    return int(value)


@kernel
def write_direction_iat(x, at, d):
    """Total, mean, std, max, min of the gaps of a direction; 0 unless it has two packets."""
    if d.packets < 2:
        for i in range(5):
            x[at + i] = 0.0
        return
    gaps = np_int(d.packets) - 1
    total = d.last_us - d.first_us
    x[at] = total
    x[at + 1] = total / gaps
    x[at + 2] = deviation(gaps, total, d.iat_squared, d.iat_squared_float)
    x[at + 3] = d.iat_max
    x[at + 4] = d.iat_min


@kernel
def write_bulk(x, at, d):
    """Bytes and packets a bulk and the rate, whole numbers as in the reference."""
    if d.bulks == 0:
        for i in range(3):
            x[at + i] = 0.0
        return
    x[at] = d.bulk_bytes // np_int(d.bulks)
    x[at + 1] = np_int(d.bulk_packets) // np_int(d.bulks)
    x[at + 2] = 0.0 if d.bulk_time == 0 else math.trunc(d.bulk_bytes / (d.bulk_time / 1e6))


@kernel
def write_features(x, flow, f, b):
    """The 81 columns of a flow, in the order of COLUMNS."""
    packets = np_int(f.packets) + np_int(b.packets)
    total = f.bytes + b.bytes
    duration = flow.last_ns // 1000 - flow.start_ns // 1000
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
    if packets == 1:
        for i in range(15, 19):
            x[i] = math.nan
    else:
        x[15] = duration / (packets - 1)
        x[16] = deviation(packets - 1, duration, flow.iat_squared, flow.iat_squared_float)
        x[17] = flow.iat_max
        x[18] = flow.iat_min
    write_direction_iat(x, 19, f)
    write_direction_iat(x, 24, b)
    x[29] = f.psh
    x[30] = b.psh
    x[31] = f.urg
    x[32] = b.urg
    x[33] = f.rst
    x[34] = b.rst
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
    x[43] = sum_of_deviations(packets, total, squared, 0.0) / (packets - 1) if packets > 1 else 0.0
    x[42] = math.sqrt(x[43])
    x[44] = flow.flag_counts[0]  # FIN
    x[45] = flow.flag_counts[1]  # SYN
    x[46] = flow.flag_counts[2]  # RST
    x[47] = flow.flag_counts[3]  # PSH
    x[48] = flow.flag_counts[4]  # ACK
    x[49] = flow.flag_counts[5]  # URG
    x[50] = flow.flag_counts[7]  # CWR
    x[51] = flow.flag_counts[6]  # ECE
    x[52] = b.packets / f.packets if f.packets > 0 else 0.0
    x[53] = x[41]
    x[54] = x[7]
    x[55] = x[11]
    write_bulk(x, 56, f)
    write_bulk(x, 59, b)
    write_subflows(x, 62, np_int(flow.subflows), f, b)
    x[66] = flow.first_window
    x[67] = b.last_window
    x[68] = f.data_packets
    x[69] = f.header_min
    write_periods(
        x, 70, flow.active_count, flow.active_sum, flow.active_squared, flow.active_max, flow.active_min
    )
    write_periods(x, 74, flow.idle_count, flow.idle_sum, flow.idle_squared, flow.idle_max, flow.idle_min)
    x[78] = flow.icmp_code
    x[79] = flow.icmp_type
    x[80] = flow.carried_us + duration if flow.csv_protocol == 6 else 0.0


@kernel
def write_periods(x, at, count, total, squared, largest, smallest):
    """Mean, std, max, min of the active or idle periods."""
    x[at] = total / count if count > 0 else 0.0
    x[at + 1] = float_deviation(count, total, squared)
    x[at + 2] = largest
    x[at + 3] = smallest


@kernel
def write_address(out, hi, lo):
    for i in range(8):
        places = np.uint64(8 * (7 - i))
        out[i] = (hi >> places) & np.uint64(0xFF)
        out[8 + i] = (lo >> places) & np.uint64(0xFF)


@kernel
def write_identity(row, flow, f, b, kind, close, time_ns):
    """The fields before the features; also marks the flow as told up to here."""
    if flow.source_is_b:
        write_address(row.src, flow.b_hi, flow.b_lo)
        write_address(row.dst, flow.a_hi, flow.a_lo)
        row.src_port = flow.b_port
        row.dst_port = flow.a_port
        row.flow_id = flow_id(
            flow.b_hi, flow.b_lo, flow.a_hi, flow.a_lo, flow.b_port, flow.a_port, flow.protocol, flow.start_ns
        )
    else:
        write_address(row.src, flow.a_hi, flow.a_lo)
        write_address(row.dst, flow.b_hi, flow.b_lo)
        row.src_port = flow.a_port
        row.dst_port = flow.b_port
        row.flow_id = flow_id(
            flow.a_hi, flow.a_lo, flow.b_hi, flow.b_lo, flow.a_port, flow.b_port, flow.protocol, flow.start_ns
        )
    row.start_ns = flow.start_ns
    row.end_ns = flow.last_ns
    row.time_ns = time_ns
    row.answer_ns = flow.answer_ns
    row.fwd_ip_bytes = f.ip_bytes
    row.bwd_ip_bytes = b.ip_bytes
    row.fwd_frame_bytes = f.frame_bytes
    row.bwd_frame_bytes = b.frame_bytes
    row.new_fwd_packets = f.packets - f.told_packets
    row.new_bwd_packets = b.packets - b.told_packets
    row.new_fwd_bytes = f.bytes - f.told_bytes
    row.new_bwd_bytes = b.bytes - b.told_bytes
    row.interface = flow.interface
    row.vlan = flow.vlan
    row.protocol = flow.protocol
    row.csv_protocol = flow.csv_protocol
    row.kind = kind
    row.close = close
    row.revision = flow.revision
    row.key_reversed = flow.source_is_b != flow.key_is_b
    row.fwd_tcp_flags = f.tcp_flags
    row.bwd_tcp_flags = b.tcp_flags
    row.second_sight = flow.second_sight
    f.told_packets = f.packets
    b.told_packets = b.packets
    f.told_bytes = f.bytes
    b.told_bytes = b.bytes
    if flow.revision < 255:
        flow.revision += 1
