"""The PyPI package cicflowmeter 0.2.0 (on scapy) as a meter behind the face of the native one.

The package decides which packet joins which flow, when a flow ends and what its row says; this
one feeds it packet by packet, bounds its memory and brings its rows into FLOW_DTYPE.  It meters
TCP and UDP over IPv4, gives no snapshots, and a flow's values are the package's own:

=========================  ========================================================================
column                     value
=========================  ========================================================================
lengths (11-21, 47-51,     whole captured frames, link header and padding included, where the
61-63, 71, 73)             native meter counts payload; standard deviations divide by n
durations, IAT, rates      microseconds and 1/s; 0 in one-packet flows and with fewer than two gaps
header lengths (43, 44,    the IP header for TCP, 8 for UDP, where the native meter takes the
77)                        transport header
Flow Duration, IAT Total   rounded to whole microseconds, which is what the columns hold
bulk (64-69)               cut to whole numbers, as the columns are defined; bulks end after 1 ms
subflow (70-73)            copies of the packet and byte totals
Init Win Bytes (74, 75)    the first forward window that is not 0; the last backward one
Fwd Act Data Pkts (76)     the flow's first packet counts too, and padding is payload
CWR Flag Count (58)        a copy of Fwd URG Flags
Active, Idle (78-85)       computed from gaps over 1 ms and 5 ms as if they were times
Fwd/Bwd RST Flags (41, 42) not in its rows: counted here, the flow's first packet left out
ICMP Code, Type (86, 87)   not in its rows: -1
Total TCP Flow Time (88)   not in its rows: Flow Duration for TCP, 0 for UDP
=========================  ========================================================================

Flows: the key has no protocol and no interface; FIN and RST end nothing.  Every 1,000 packets,
and at a packet of a flow over 120 s long, all flows are written that were silent for 240 s or are
over 90 s long.  A model must be trained on the rows of the meter it is used with.
"""

from capture.cicflowmeter.meter import CicFlowMeter

__all__ = ["CicFlowMeter"]
