"""Small captures, a rule of the corrected CICFlowMeter each; expected/NAME.csv has their rows.

`python -m tests.golden.captures` writes the expected rows anew, by the slow meter: do so when a
definition changes, and look at the difference.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.golden import reference
from tests.packets import (
    ICMP,
    UDP,
    arp_frame,
    at,
    ethernet,
    icmp,
    icmp_frame,
    ip,
    ipv4,
    tcp,
    tcp_frame,
    udp,
    udp_frame,
    write_pcap,
)

EXPECTED = Path(__file__).parent / "expected"

Packets = list[tuple[float, bytes]]  #: seconds, frame

A, B = "10.0.0.1", "10.0.0.2"
CLIENT_PORT, SERVER_PORT = 40_000, 80

CAPTURES: dict[str, Callable[[], Packets]] = {}


def capture(function: Callable[[], Packets]) -> Callable[[], Packets]:
    CAPTURES[function.__name__] = function
    return function


def c(flags: str = "A", payload: int = 0, window: int = 65535, options: int = 0, minimum: int = 0) -> bytes:
    """A TCP packet of the client."""
    return tcp_frame(
        A, B, CLIENT_PORT, SERVER_PORT, flags, bytes(payload),
        window=window, options=bytes(options), minimum=minimum,
    )  # fmt: skip


def s(flags: str = "A", payload: int = 0, window: int = 65535, options: int = 0, minimum: int = 0) -> bytes:
    """A TCP packet of the server."""
    return tcp_frame(
        B, A, SERVER_PORT, CLIENT_PORT, flags, bytes(payload),
        window=window, options=bytes(options), minimum=minimum,
    )  # fmt: skip


def u(payload: int, port: int = 53) -> bytes:
    return udp_frame(A, B, 5_353, port, bytes(payload))


def v(payload: int, port: int = 53) -> bytes:
    """The answer to `u`."""
    return udp_frame(B, A, port, 5_353, bytes(payload))


def every(step: float, *frames: bytes, start: float = 0.0) -> Packets:
    return [(start + step * number, frame) for number, frame in enumerate(frames)]


HANDSHAKE = (c("S"), s("SA"), c())
CLOSED = (*HANDSHAKE, c("PA", 100), s("PA", 900), c("FA"), s("FA"), c())


@capture
def fin_close_and_late_packets() -> Packets:
    return every(0.1, *CLOSED, s(), c("R"), s("FA"))


@capture
def port_reuse_after_close() -> Packets:
    """A SYN begins a flow; from the other side it turns the flow round, and not its Flow ID."""
    return every(0.1, *CLOSED, c("S"), s("SA"), c("R"), s("S"), c("SA"))


@capture
def syn_ack_after_close() -> Packets:
    """It cuts, and keeps direction and connection time."""
    return every(0.1, *CLOSED, s("SA"), c(), s("PA", 10))


@capture
def syn_on_an_open_flow() -> Packets:
    return every(0.5, *HANDSHAKE, c("S"), s("SA"), c())


@capture
def fin_of_one_side_twice_or_first() -> Packets:
    one = every(0.1, *HANDSHAKE, c("FA"), c("FA"), s(), c("S"))
    there, back = (A, B, 40_001, 80), (B, A, 80, 40_001)
    first = (
        (there, "FA"),
        (back, "FA"),
        (there, "A"),
        (back, "FA"),
        (there, "FA"),
        (there, "A"),
        (there, "S"),
    )
    return one + every(0.1, *(tcp_frame(*ends, flags) for ends, flags in first), start=1.0)


@capture
def rst_first_forward_and_backward() -> Packets:
    again = every(0.1, c("S"), s("RA"), c("S"), s("RA"), start=10)
    return every(0.1, c("R"), s("R", 5), c("S"), s("SA")) + again


@capture
def timeout_edges() -> Packets:
    """120.000000 s stays, 120.000001 s cuts, READY or not."""
    stays = [(0.0, u(1)), (60.0, u(2)), (120.0, u(3))]
    cuts = [(0.0, u(1, 54)), (120.000001, u(3, 54))]
    ready = [
        (second, c(flags)) for second, flags in ((0.0, "S"), (1.0, "R"), (120.0, "A"), (120.000001, "A"))
    ]
    return sorted(stays + cuts + ready, key=lambda packet: packet[0])


@capture
def connection_over_several_pieces() -> Packets:
    times = (0.0, 0.001, 100.0, 130.0, 135.0, 300.0)
    return list(zip(times, (c("S"), s("SA"), c(), s("PA", 7), c(), s()), strict=True))


@capture
def udp_turns_round_after_a_timeout() -> Packets:
    return [(0.0, u(10)), (1.0, v(20)), (121.0, v(30)), (122.0, u(40)), (250.0, u(50))]


@capture
def syn_ack_is_the_first_packet() -> Packets:
    return every(0.2, s("SA"), c(), c("PA", 5), s("PA", 6))


@capture
def bulk_example() -> Packets:
    forward = ((0.0, 100), (0.1, 100), (0.2, 100), (0.3, 100), (0.9, 200), (1.1, 10), (1.2, 10), (1.3, 10))
    later = ((2.300001, 10), (2.4, 10), (2.5, 10), (2.6, 10))
    packets = [(second, u(size)) for second, size in (*forward, *later)]
    return sorted([*packets, (0.25, v(0)), (1.0, v(1))], key=lambda packet: packet[0])


@capture
def bulks_of_both_sides() -> Packets:
    """Pure ACKs break no run; one second stays in a bulk; bulks without time have no rate."""
    down = [frame for _ in range(9) for frame in (s("A", 1_400), c())]
    at_once = [(20.0, c("PA", 33))] * 6
    edges = [(30.0 + second, c("PA", 8)) for second in (0, 1, 2, 3, 4.000001, 5, 6)]
    return every(0.01, *HANDSHAKE, *down) + at_once + edges


@capture
def bulk_is_broken_by_the_other_side() -> Packets:
    return every(0.05, *[frame for _ in range(8) for frame in (u(10), v(20))], *([u(5)] * 4), *([v(6)] * 5))


@capture
def active_and_idle_example() -> Packets:
    return [(float(second), u(1)) for second in (0, 2, 4, 10, 11, 20)]


@capture
def active_and_idle_edges() -> Packets:
    """5.000000 s is no idle period; a lone packet is no active one; either side ends a gap."""
    times = (0.0, 5.0, 10.000001, 15.000002, 21.0, 22.0, 40.0)
    return [(second, (u, v)[number % 2](number)) for number, second in enumerate(times)]


@capture
def subflow_example() -> Packets:
    return [(0.0, u(100)), (0.5, v(300)), (2.0, u(100)), (3.0, v(300)), (4.5, u(100))]


@capture
def single_packets() -> Packets:
    """NaN and Infinity, and a flow without duration."""
    return [(0.0, c("S")), (0.0, u(3)), (0.0, icmp_frame(A, B)), (5.0, u(1, 55)), (5.0, u(2, 55))]


@capture
def flags_of_both_sides() -> Packets:
    first = ("RPUEC", "PUEC", "R", "FSRPAUEC", "", "PA", "EC")
    return every(0.1, *(c(flags, 1) for flags in first), *(s(flags) for flags in (*first, "R")))


@capture
def windows_and_header_lengths() -> Packets:
    return every(
        0.1, c("S", 0, 1_000, 20), s("SA", 0, 2_000, 40), c("A", 0, 0), s("PA", 9, 300, 12), c("PA", 1, 7, 4),
        s("A", 0, 0),
    )  # fmt: skip


@capture
def a_piece_that_the_server_begins() -> Packets:
    return [(0.0, c("S", 0, 10)), (1.0, s("SA", 0, 20)), (121.0, s("PA", 50, 30)), (121.5, c("PA", 5, 40))]


@capture
def icmp_echo_errors_and_other_types() -> Packets:
    error = ip(B, A, ICMP, icmp(3, 3, bytes(4) + ip(A, B, UDP, udp(1, 2, b"gone"))))
    kinds = ((8, 0), (0, 0), (8, 0), (11, 0), (11, 1), (5, 2))
    return every(0.5, *(icmp_frame(A, B, *kind) for kind in kinds), ethernet(error), icmp_frame(B, A, 0, 0))


@capture
def protocols_without_ports_are_one_flow() -> Packets:
    return every(0.3, *(ethernet(ipv4(A, B, bytes(40), protocol=number)) for number in (2, 47, 50, 58, 132)))


@capture
def fragments() -> Packets:
    whole = udp(5_353, 53, bytes(1_472), length=2_008)
    first = ethernet(ipv4(A, B, whole, protocol=UDP, more_fragments=True))
    rest = ethernet(ipv4(A, B, bytes(528), protocol=UDP, fragment_offset=1_480))
    return every(0.001, first, rest, u(10), first, rest)


@capture
def padding_options_and_offload() -> Packets:
    options = ethernet(ipv4(A, B, tcp(CLIENT_PORT, SERVER_PORT, "PA", b"abc"), options=bytes(12)), minimum=70)
    offload = ethernet(ipv4(A, B, tcp(CLIENT_PORT, SERVER_PORT, "A", bytes(3_000)), total_length=0))
    liar = ethernet(ipv4(A, B, udp(5_353, 53, bytes(30), length=8), protocol=UDP))
    return every(0.1, c("S", minimum=60), s("SA", minimum=60), options, offload, c(minimum=60), liar)


@capture
def vlan_tags_and_padding() -> Packets:
    """The reference counts the padding here; the rows are by the IP length."""
    tagged = tcp_frame(A, B, CLIENT_PORT, SERVER_PORT, "A", vlans=[7], minimum=64)
    twice = tcp_frame(B, A, SERVER_PORT, CLIENT_PORT, "PA", b"abc", vlans=[7, 8], minimum=80)
    return every(0.1, tagged, twice, c("PA", 4))


@capture
def same_address_at_both_ends() -> Packets:
    there = tcp_frame(A, A, 1_000, 2_000, "S")
    back = tcp_frame(A, A, 2_000, 1_000, "SA", window=9)
    return every(0.1, there, back, there, tcp_frame(A, A, 2_000, 1_000, "FA"), there)


@capture
def hosts_and_protocols_on_the_same_ports() -> Packets:
    others = [udp_frame(A, f"10.0.0.{host}", 5_353, 53, bytes(host)) for host in (2, 3, 4)]
    return every(
        0.1, *others, tcp_frame(A, B, 5_353, 53, "S"), *(udp_frame("10.0.0.4", A, 53, 5_353, b"x"),) * 2
    )


@capture
def times_that_run_backwards() -> Packets:
    """By a little: negative gaps.  By minutes: the flows of before are still there."""
    little = [(1.0, u(10)), (0.5, u(20)), (0.75, v(30)), (0.25, u(40))]
    far = [(400.0, c("S")), (10.0, u(50)), (119.0, v(60)), (121.5, u(70)), (401.0, s("SA")), (2.0, u(80))]
    return little + far


@capture
def frames_without_ipv4() -> Packets:
    six = tcp_frame("2001:db8::1", "2001:db8::2", 1, 2, "S")
    back = tcp_frame("2001:db8::2", "2001:db8::1", 2, 1, "SA")
    echo = [icmp_frame("2001:db8::1", "2001:db8::2", kind) for kind in (128, 129)]
    return every(0.1, arp_frame(A, B), six, ethernet(bytes(46), ether_type=0x88CC), back, *echo, u(1))


def pcap(name: str, folder: Path) -> Path:
    """Write a capture; returns its path."""
    packets = CAPTURES[name]()
    return write_pcap(folder / f"{name}.pcap", [frame for _, frame in packets], [at(t) for t, _ in packets])


def main() -> None:
    EXPECTED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in CAPTURES:
            reference.write(pcap(name, Path(folder)), EXPECTED / f"{name}.csv")


if __name__ == "__main__":
    main()
