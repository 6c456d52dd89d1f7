"""Which worker gets a packet: both directions of a flow, its fragments and its tunnel come to one."""

from __future__ import annotations

import struct

import numpy as np

from capture.live.spreading import by_addresses
from tests.packets import ethernet, gre, icmp, ipv4, ipv6, tcp, udp

NETWORK, PROTOCOL = (1 << 32) - 0x100000, (1 << 32) - 0x1000


def worker_of(packet: bytes, workers: int = 4, *, protocol: int = 0x0800) -> int:
    """The program run over what begins with the network layer; `protocol` as the kernel has it."""
    a = x = at = 0
    memory = [0] * 16

    def load(place: int, size: int) -> int:
        data = packet[place : place + size]
        assert len(data) == size
        return int.from_bytes(data, "big")

    program = by_addresses()
    while True:
        code, jump_true, jump_false, k = program[at]
        at += 1
        match code:
            case 0x20:
                assert k == PROTOCOL
                a = protocol
            case 0x48:
                a = load((k + x - NETWORK) & 0xFFFFFFFF, 2)
            case 0x40:
                a = load((k + x - NETWORK) & 0xFFFFFFFF, 4)
            case 0x01:
                x = k
            case 0x02:
                memory[k] = a
            case 0x03:
                memory[k] = x
            case 0x60:
                a = memory[k]
            case 0x61:
                x = memory[k]
            case 0x04:
                a = (a + k) & 0xFFFFFFFF
            case 0x24:
                a = a * k & 0xFFFFFFFF
            case 0x74:
                a >>= k
            case 0xAC:
                a ^= x
            case 0x07:
                x = a
            case 0x87:
                a = x
            case 0x15:
                at += jump_true if a == k else jump_false
            case 0x05:
                at += k
            case 0x06:
                return k % workers
            case 0x16:
                return a % workers
            case _:
                raise AssertionError(f"instruction {code:#x}")


def pairs() -> list[tuple[str, str]]:
    return [(f"10.0.{n % 7}.{n}", f"198.51.100.{n * 31 % 250}") for n in range(1, 200)]


def test_both_directions_of_a_flow_come_to_one_worker():
    for a, b in pairs():
        assert worker_of(ipv4(a, b, tcp(40_000, 80))) == worker_of(ipv4(b, a, tcp(80, 40_000)))
        there, back = f"2001:db8::{a.replace('.', ':')}", f"fd00::{b.replace('.', ':')}"
        forward = worker_of(ipv6(there, back, tcp(1, 2)), protocol=0x86DD)
        assert forward == worker_of(ipv6(back, there, tcp(2, 1)), protocol=0x86DD)


def test_neither_ports_nor_protocol_nor_fragments_nor_tunnels_matter():
    for a, b in pairs():
        plain = worker_of(ipv4(a, b, udp(1, 2), protocol=17))
        inside = gre(ipv4("192.168.0.1", "192.168.0.2", tcp(5, 6)))
        assert plain == worker_of(ipv4(b, a, udp(7, 8), protocol=17))
        assert plain == worker_of(ipv4(a, b, icmp(8), protocol=1))
        assert plain == worker_of(ipv4(a, b, bytes(100), protocol=17, fragment_offset=1480))
        assert plain == worker_of(ipv4(a, b, inside, protocol=47))


def test_tags_and_pppoe_are_stepped_over():
    packet = ipv4("10.0.0.1", "10.0.0.2", tcp(1, 2))
    plain = worker_of(packet, 1009)
    tagged = ethernet(packet, vlans=(7, 8))[14:]  # from behind the first EtherType on
    assert worker_of(tagged, 1009, protocol=0x8100) == plain
    assert worker_of(tagged[4:], 1009, protocol=0x88A8) == plain
    session = struct.pack("!BBHHH", 0x11, 0, 1, len(packet) + 2, 0x21) + packet
    assert worker_of(session, 1009, protocol=0x8864) == plain
    six = ipv6("fd00::1", "fd00::2", tcp(1, 2))
    session = struct.pack("!BBHHH", 0x11, 0, 1, len(six) + 2, 0x57) + six
    assert worker_of(session, 1009, protocol=0x8864) == worker_of(six, 1009, protocol=0x86DD)


def test_what_is_no_ip_comes_to_the_first_worker():
    assert worker_of(bytes(28), protocol=0x0806) == 0
    assert worker_of(bytes(8), protocol=0x8864) == 0


def test_the_packets_are_spread():
    counts = np.bincount([worker_of(ipv4(a, b, tcp(1, 2))) for a, b in pairs()], minlength=4)
    assert counts.min() > len(pairs()) / 8
