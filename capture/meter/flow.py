"""Per-flow statistics: what a packet does to a flow.  Pure kernels.

Definitions are those of the corrected CICFlowMeter (commit 13a0615), its bugs included where the
published data sets carry them; the comments name them.  Sums of squares are kept as integers, so
deviations are exact to the last digits of a float64.
"""

from __future__ import annotations

from capture.jit import helper, inlined
from capture.meter import registers as r
from capture.meter.state import SINGLE
from capture.meter.subflows import begins_subflow
from capture.meter.table import give_back, take
from capture.meter.times import microseconds

OPEN, FIRST_FIN, SECOND_FIN, READY = 0, 1, 2, 3

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
RARE_FLAGS = FIN | SYN | RST | URG | ECE | CWR

ACTIVITY_US = 5_000_000  # a longer gap ends an active period
BULK_GAP_US = 1_000_000  # a longer gap ends a bulk
BULK_PACKETS = 4
# Up to a sum of squares of 2^52, and a square of 2^52 more, the sum as a float is the integer.
SMALL_SUM = 1 << 52
SMALL_GAP_US = 1 << 26


@inlined
def start_flow(table, at, p, is_backward):
    """The first packet of a flow whose key, direction and carried time are set already."""
    flow, cold = table.flows[at], table.cold_flows[at]
    clear_flow(flow, cold, p, is_backward)
    flow.second = len(table.flows)
    own, cold_own = table.directions[at], table.cold_directions[at]
    clear_direction(own, cold_own)
    if p.tcp_flags & RARE_FLAGS:
        count_rare_flags(cold, p.tcp_flags)
        cold_own.urg += (p.tcp_flags >> 5) & 1
    begin_direction(own, p, p.header)
    count_packet(flow, own, p)
    count_bulk(table, flow, own, p.time_us, p.payload, is_backward)


@helper
def clear_flow(flow, cold, p, is_backward):
    cold.protocol = p.protocol
    cold.revision = 0
    cold.fin_count = 0
    cold.syn_count = 0
    cold.rst_count = 0
    cold.ece_count = 0
    cold.cwr_count = 0
    cold.no_subflows = 1 - begins_subflow(p.time_us, p.time_us)
    cold.rare = -1
    flow.state = OPEN
    flow.start_ns = p.time_ns
    flow.last_ns = p.time_ns
    flow.iat_max = 0
    flow.iat_min = 0
    flow.iat_squared = 0
    flow.bulk_last[0] = 0
    flow.bulk_last[1] = 0
    flow.acks = 0
    flow.first_is_backward = is_backward
    flow.fins = 0
    flow.has_long_gaps = False
    flow.answer_ns = p.time_ns if is_backward else 0
    flow.vlan = p.vlan
    flow.icmp_type = p.icmp_type
    flow.icmp_code = p.icmp_code
    flow.first_window = 0 if is_backward else p.window


@helper
def clear_direction(d, cold):
    cold.told_bytes = 0
    cold.told_packets = 0
    cold.urg = 0
    cold.rst = 0
    d.packets = 0
    d.last_window = 0
    d.tcp_flags = 0
    d.has_long_gaps = False
    d.last_us = 0
    d.bytes = 0
    d.bytes_squared = 0
    d.header_bytes = 0
    d.ip_bytes = 0
    d.frame_bytes = 0
    d.iat_max = 0
    d.iat_min = 0
    d.iat_squared = 0
    d.bulk_start = 0
    d.bulk_run_bytes = 0
    d.rare = -1
    d.bulk_run_packets = 0
    d.psh = 0
    d.data_packets = 0


@inlined
def direction_of(table, at, is_backward):
    """Place of the state of a flow's direction; a second one that it lacks is the empty entry."""
    flow = table.flows[at]
    return at if is_backward == flow.first_is_backward else flow.second


@inlined
def add_packet(table, at, p, is_backward):
    """A further packet of a flow."""
    flow = table.flows[at]
    now = p.time_us
    last = microseconds(flow.last_ns)
    gap = now - last
    add_gap(table, at, gap, last, now)
    flow.last_ns = p.time_ns
    if is_backward and flow.answer_ns == 0:
        flow.answer_ns = p.time_ns
    place = direction_of(table, at, is_backward)
    if place == len(table.flows):
        place = begin_second(table, at)
    own = table.directions[place]
    if p.tcp_flags & RARE_FLAGS:
        count_rare_flags(table.cold_flows[at], p.tcp_flags)
    if p.tcp_flags & (URG | RST):
        table.cold_directions[place].urg += (p.tcp_flags >> 5) & 1
        table.cold_directions[place].rst += (p.tcp_flags >> 2) & 1
    if own.packets == 0:
        begin_direction(own, p, 0)  # the reference's minimum starts at 0 but for the flow's first packet
    else:
        add_direction_gap(table, own, now - own.last_us)
        own.length_max = max(own.length_max, p.payload)
        own.length_min = min(own.length_min, p.payload)
        own.header_min = min(own.header_min, p.header)
    if p.payload > 0:
        own.data_packets += 1
    count_packet(flow, own, p)
    count_bulk(table, flow, own, now, p.payload, is_backward)


@inlined
def begin_second(table, at):
    """State for the direction that a flow's first packet did not have."""
    place = len(table.flows) + 1 + take(table.free_seconds, table.registers, r.SECONDS)
    clear_direction(table.directions[place], table.cold_directions[place])
    table.flows[at].second = place
    return place


@inlined
def release_state(table, at):
    """Give back to the pools what a written flow took from them."""
    second = table.flows[at].second
    release_bulks(table, at)
    if second != len(table.flows):
        release_bulks(table, second)
        give_back(table.free_seconds, table.registers, r.SECONDS, second - len(table.flows) - 1)
    rare = table.cold_flows[at].rare
    if rare >= 0:
        give_back(table.free_rare_flows, table.registers, r.RARE_FLOWS, rare)


@inlined
def release_bulks(table, place):
    rare = table.directions[place].rare
    if rare >= 0:
        give_back(table.free_rare_directions, table.registers, r.RARE_DIRECTIONS, rare)


@helper
def begin_direction(own, p, header_min):
    """The first packet of a direction."""
    own.first_us = p.time_us
    own.length_max = p.payload
    own.length_min = p.payload
    own.header_min = header_min


@helper
def count_packet(flow, own, p):
    """What every packet adds to its flow and its direction."""
    payload, flags = int(p.payload), p.tcp_flags
    own.tcp_flags |= flags
    flow.acks += (flags >> 4) & 1
    own.psh += (flags >> 3) & 1
    own.last_us = p.time_us
    own.packets += 1
    own.bytes += payload
    own.bytes_squared += payload * payload
    own.header_bytes += p.header
    own.ip_bytes += p.ip_bytes
    own.frame_bytes += p.frame_bytes
    own.last_window = p.window


@helper
def count_rare_flags(cold, flags):
    """Flags that are counted by flow, but ACK."""
    cold.fin_count += flags & 1
    cold.syn_count += (flags >> 1) & 1
    cold.rst_count += (flags >> 2) & 1
    cold.ece_count += (flags >> 6) & 1
    cold.cwr_count += (flags >> 7) & 1


@inlined
def add_gap(table, at, gap, last, now):
    """The gap between a flow's last packet and this one."""
    flow = table.flows[at]
    is_first = flow.age_class == SINGLE
    if is_first or gap > flow.iat_max:
        flow.iat_max = gap
    if is_first or gap < flow.iat_min:
        flow.iat_min = gap
    if gap > ACTIVITY_US or is_long(flow, gap):
        rare = rare_flow_of(table, at)
        if is_long(flow, gap):
            add_long_gap(flow, rare, gap)
        if gap > ACTIVITY_US:
            end_period(rare, microseconds(flow.start_ns), last, now)
    flow.iat_squared += gap * gap
    if not begins_subflow(now, last):
        table.cold_flows[at].no_subflows += 1


@inlined
def add_direction_gap(table, own, gap):
    is_first = own.packets == 1
    if is_first or gap > own.iat_max:
        own.iat_max = gap
    if is_first or gap < own.iat_min:
        own.iat_min = gap
    if is_long(own, gap):
        add_long_gap(own, rare_direction_of(table, own), gap)
    own.iat_squared += gap * gap


@helper
def is_long(x, gap):
    """Whether a sum of squared gaps and one more may be too much for its float to be the integer."""
    return x.has_long_gaps or gap > SMALL_GAP_US or gap < -SMALL_GAP_US or x.iat_squared > SMALL_SUM


@helper
def add_long_gap(x, rare, gap):
    before = rare.iat_squared_float if x.has_long_gaps else float(x.iat_squared)
    rare.iat_squared_float = before + float(gap) * float(gap)
    x.has_long_gaps = True


@inlined
def rare_flow_of(table, at):
    cold = table.cold_flows[at]
    if cold.rare < 0:
        cold.rare = take(table.free_rare_flows, table.registers, r.RARE_FLOWS)
        table.rare_flows[cold.rare].idle_count = 0
    return table.rare_flows[cold.rare]


@inlined
def rare_direction_of(table, own):
    if own.rare < 0:
        own.rare = take(table.free_rare_directions, table.registers, r.RARE_DIRECTIONS)
        clear_bulks(table.rare_directions[own.rare])
    return table.rare_directions[own.rare]


@helper
def clear_bulks(rare):
    rare.bulk_bytes = 0
    rare.bulk_time = 0
    rare.bulk_packets = 0
    rare.bulks = 0


@helper
def end_period(rare, start, last, now):
    """A gap that ends an active period: `last` is the time of the packet before it."""
    if rare.idle_count == 0:
        begin_periods(rare, start)
    gap = now - last
    period = last - rare.active_start_us
    if period > 0:
        if rare.active_count == 0 or period > rare.active_max:
            rare.active_max = period
        if rare.active_count == 0 or period < rare.active_min:
            rare.active_min = period
        rare.active_count += 1
        rare.active_sum += period
        rare.active_squared += float(period) * float(period)
    if rare.idle_count == 0 or gap > rare.idle_max:
        rare.idle_max = gap
    if rare.idle_count == 0 or gap < rare.idle_min:
        rare.idle_min = gap
    rare.idle_count += 1
    rare.idle_sum += gap
    rare.idle_squared += float(gap) * float(gap)
    rare.active_start_us = now


@helper
def begin_periods(rare, start):
    rare.active_start_us = start
    rare.active_count = 0
    rare.active_sum = 0
    rare.active_squared = 0.0
    rare.active_max = 0
    rare.active_min = 0
    rare.idle_sum = 0
    rare.idle_squared = 0.0
    rare.idle_max = 0
    rare.idle_min = 0


@inlined
def count_bulk(table, flow, own, now, payload, is_backward):
    """The bulk machine of a direction (FEATURES 4.1); time 0 stands for none."""
    if flow.bulk_last[1 - is_backward] > own.bulk_start:
        own.bulk_start = 0
    if payload <= 0:
        return
    if own.bulk_start == 0 or now - flow.bulk_last[is_backward] > BULK_GAP_US:
        own.bulk_start = now
        own.bulk_run_packets = 1
        own.bulk_run_bytes = payload
    else:
        own.bulk_run_packets = min(own.bulk_run_packets + 1, BULK_PACKETS + 1)
        own.bulk_run_bytes += payload
        if own.bulk_run_packets >= BULK_PACKETS:
            add_bulk(own, rare_direction_of(table, own), now, flow.bulk_last[is_backward], payload)
    flow.bulk_last[is_backward] = now


@helper
def add_bulk(own, rare, now, last, payload):
    """A packet that makes a bulk of what came before it, or goes on with one."""
    if own.bulk_run_packets == BULK_PACKETS:
        rare.bulks += 1
        rare.bulk_packets += BULK_PACKETS
        rare.bulk_bytes += own.bulk_run_bytes
        rare.bulk_time += now - own.bulk_start
    else:
        rare.bulk_packets += 1
        rare.bulk_bytes += payload
        rare.bulk_time += now - last


@inlined
def advance_state(flow, flags, is_backward):
    """FIN, RST and ACK of a further TCP packet -> 1 when the flow has just become READY."""
    was_ready = flow.state == READY
    if flags & FIN:
        flow.fins |= 1 << is_backward
        if flow.state == OPEN:
            flow.state = FIRST_FIN
        elif flow.state == FIRST_FIN and flow.fins == 3:
            flow.state = SECOND_FIN
    elif flags & RST:
        flow.state = READY
    elif flags & ACK and flow.state == SECOND_FIN:
        flow.state = READY
    return flow.state == READY and not was_ready
