"""Filters become programs that take a number of bytes of what they match."""

from __future__ import annotations

import ctypes
import struct

import pytest

from capture.errors import CaptureError
from capture.live import bpf
from tests.packets import ethernet, ipv4, ipv6, tcp, tcp_frame, udp, udp_frame


def has_libpcap() -> bool:
    try:
        bpf.compile_filter("tcp", 1, 96)
    except CaptureError:
        return False
    return True


needs_libpcap = pytest.mark.skipif(not has_libpcap(), reason="needs libpcap: apt-get install libpcap0.8")


def run(program: list[bpf.Instruction], frame: bytes) -> int:
    """What a program returns for a frame: the instructions that the tests' filters are made of."""
    a = x = at = 0
    while True:
        code, jump_true, jump_false, k = program[at]
        at += 1
        match code:
            case 0x28:
                a = struct.unpack_from("!H", frame, k)[0]
            case 0x30:
                a = frame[k]
            case 0x54:
                a &= k
            case 0xB1:
                x = 4 * (frame[k] & 15)
            case 0x48:
                a = struct.unpack_from("!H", frame, x + k)[0]
            case 0x15:
                at += jump_true if a == k else jump_false
            case 0x45:
                at += jump_true if a & k else jump_false
            case 0x06:
                return k
            case _:
                raise AssertionError(f"instruction {code:#x}")


@needs_libpcap
def test_a_filter_takes_the_snap_length_of_what_it_matches_and_nothing_of_the_rest():
    program = bpf.compile_filter("udp port 53", 1, 300)
    assert run(program, udp_frame("10.0.0.1", "10.0.0.2", 40_000, 53)) == 300
    assert run(program, udp_frame("10.0.0.1", "10.0.0.2", 40_000, 54)) == 0
    assert run(program, tcp_frame("10.0.0.1", "10.0.0.2", 40_000, 53)) == 0
    assert run(program, udp_frame("fd00::1", "fd00::2", 53, 40_000)) == 300


@needs_libpcap
def test_raw_ip_interfaces_have_no_ethernet_header():
    program = bpf.compile_filter("udp port 53", 101, 300)
    assert run(program, ipv4("10.0.0.1", "10.0.0.2", udp(40_000, 53), protocol=17)) == 300
    assert run(program, ipv4("10.0.0.1", "10.0.0.2", tcp(40_000, 53))) == 0


def test_no_filter_takes_everything():
    assert bpf.compile_filter("  ", 1, 96) == [(0x06, 0, 0, 96)]
    assert run(bpf.NOTHING, ethernet(ipv6("fd00::1", "fd00::2", b""))) == 0


@needs_libpcap
def test_a_filter_that_is_none_is_told_in_libpcaps_words():
    with pytest.raises(CaptureError, match=r"capture filter 'udp prot': .*syntax error; the language is in"):
        bpf.compile_filter("udp prot", 1, 96)


def test_a_filter_is_not_cut_at_a_nul():
    with pytest.raises(CaptureError, match=r"'tcp\\x00 or udp': has a character NUL"):
        bpf.compile_filter("tcp\0 or udp", 1, 96)


def test_vlan_cannot_be_filtered_for():
    with pytest.raises(CaptureError, match="'vlan 7': the kernel takes VLAN tags off before it filters"):
        bpf.compile_filter("vlan 7", 1, 96)


def test_without_libpcap_its_package_is_named(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(
        CaptureError, match="'tcp': libpcap is needed to compile it: apt-get install libpcap0"
    ):
        bpf.compile_filter("tcp", 1, 96)
