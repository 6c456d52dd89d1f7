"""Live capture on the loopback interface; in namespaces: tests/live."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from capture.errors import CaptureError
from capture.live import links, opening
from capture.live.link import DeviceCounts, device_counts, interface_names, link_type_of
from capture.live.opening import open_interface
from capture.live.packet_socket import RingOptions
from tests.packets import frames_of

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux for packet sockets"
)


def send_to_loopback(payloads: list[bytes]) -> int:
    """UDP datagrams to a socket of this machine; returns its port."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        for payload in payloads:
            sender.sendto(payload, receiver.getsockname())
        return int(receiver.getsockname()[1])


@pytest.mark.root
@needs_root
def test_loopback_gives_each_packet_once_with_its_length_and_time():
    payloads = [f"{os.getpid()} packet {n}".encode() for n in range(5)]
    before = time.time_ns()
    with open_interface(["lo"]) as capture:
        send_to_loopback(payloads)
        batch = next(iter(capture))
        assert [frame[42:] for frame in frames_of(batch) if frame[42:] in payloads] == payloads
        assert set(batch.link_type.tolist()) == {1}
        assert set(batch.vlan.tolist()) == {-1}
        assert (batch.captured_length == batch.wire_length).all()
        assert before <= batch.timestamp_ns.min() <= batch.timestamp_ns.max() <= time.time_ns()
        assert (batch.timestamp_ns[1:] >= batch.timestamp_ns[:-1]).all()
        assert capture.packets == len(batch)


@pytest.mark.root
@needs_root
def test_counters_add_up_over_several_readings_and_stay_after_close():
    with open_interface(["lo"]) as capture:
        for _ in range(2):
            send_to_loopback([b"x"] * 10)
            seen = capture.counters()["kernel_packets"]
        assert seen >= 20
        assert capture.counters()["kernel_drops"] == 0
    counters = capture.counters()
    assert counters["kernel_packets"] >= seen
    assert counters["unread"] == counters["kernel_packets"]  # nobody iterated


@pytest.mark.root
@needs_root
def test_snaplen_cuts_frames_but_not_their_wire_length():
    with open_interface(["lo"], snaplen=64) as capture:
        send_to_loopback([bytes(1000)])
        batch = next(iter(capture))
        longest = batch.wire_length.argmax()
        assert batch.wire_length[longest] == 1042
        assert batch.captured_length[longest] == 64


@pytest.mark.root
@needs_root
def test_close_from_another_thread_ends_the_iteration():
    capture = open_interface(["lo"], timeout_ms=20)
    consumer = threading.Thread(target=lambda: [len(batch) for batch in capture])
    consumer.start()
    capture.close()
    consumer.join(30)
    assert not consumer.is_alive()
    assert list(capture) == []


@pytest.mark.root
@needs_root
def test_interface_that_does_not_exist_is_told_with_those_that_do():
    with pytest.raises(CaptureError, match=r"nosuch0: no such interface; there are .*lo"):
        open_interface(["lo", "nosuch0"])


def test_capture_without_the_capability_names_it(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(CaptureError, match="lo: capturing needs the capability CAP_NET_RAW") as raised:
        open_interface(["lo"])
    assert "\n" not in str(raised.value)


def test_other_systems_are_sent_to_replay(monkeypatch):
    monkeypatch.setattr(opening.sys, "platform", "darwin")
    with pytest.raises(CaptureError, match="needs Linux; read recorded captures with `ids-daemon replay`"):
        open_interface(["en0"])


def test_no_interface_and_absurd_snaplen_are_told():
    with pytest.raises(CaptureError, match="no interface to capture on"):
        open_interface([])
    with pytest.raises(CaptureError, match="snaplen 1 is outside 64 to 262144"):
        open_interface(["lo"], snaplen=1)


def test_rings_of_more_than_is_free_are_refused_where_that_is_known(monkeypatch, tmp_path):
    memory = tmp_path / "meminfo"
    memory.write_text("MemTotal: 9000000 kB\nMemAvailable:    20480 kB\n")
    monkeypatch.setattr(opening, "_MEMORY", str(memory))
    with pytest.raises(
        CaptureError, match=r"rings of 32 MiB are more than the memory that is free \(20 MiB\)"
    ):
        open_interface(["nosuch0"])
    memory.unlink()
    with pytest.raises(CaptureError, match="nosuch0: "):
        open_interface(["nosuch0"])


def test_an_interface_counts_its_losses_and_a_counter_that_began_anew_is_no_loss_less():
    before, after = DeviceCounts(5, 1, 0, 9), DeviceCounts(7, 1, 3, 9)
    assert after.since(before) == (2, 0, 3, 0)
    assert before.since(after) == (5, 0, 0, 0)
    assert min(device_counts("lo")) >= 0
    with pytest.raises(OSError, match="No such device"):
        device_counts("nosuch0")


def test_interface_types_map_to_link_types_or_are_refused_by_name():
    assert link_type_of("eth0", 1) == 1
    assert link_type_of("lo", 772) == 1
    assert link_type_of("tun0", 65534) == 101
    with pytest.raises(CaptureError, match=r"wlan0: interfaces of hardware type 801 \(IEEE802_11\) are not"):
        link_type_of("wlan0", 801)
    with pytest.raises(CaptureError, match=r"hardware type 4711 are not read; name an Ethernet"):
        link_type_of("odd0", 4711)
    assert "lo" in interface_names()


def test_a_kernel_without_packet_sockets_is_sent_to_replay(monkeypatch):
    def refuse(*_):
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(
        CaptureError, match=r"lo: this system has no packet sockets \(Address family"
    ) as raised:
        open_interface(["lo"])
    assert "ids-daemon replay" in str(raised.value)


def test_rings_that_would_take_most_of_the_memory_are_refused_before_the_kernel_tries():
    with pytest.raises(CaptureError, match=r"rings of 4,194,304 MiB are more .*; set capture.ring_mib lower"):
        open_interface(["lo"], ring_bytes=4 << 40, block_bytes=1 << 20)


def test_an_interface_that_cannot_be_asked_for_is_not_taken_for_a_removed_one(monkeypatch):
    said = []

    def no_more_files(name):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    one = SimpleNamespace(index=1, mtu=1500, link_type=1, take_error=lambda: None)
    monkeypatch.setattr(links.Link, "_opened", lambda self: (one,))
    link = links.Link("lo", RingOptions(), said.append)
    monkeypatch.setattr(links, "interface_flags", no_more_files)
    link.watch()
    assert (link.sockets, link.generation, said) == ((one,), 0, [])
