"""Live capture on the loopback interface and over a veth pair in network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capture import live
from capture.errors import CaptureError
from capture.live import open_interface
from capture.live.link import interface_names, link_type_of
from tests.packets import frames_of, tcp_frame, udp_frame

ROOT = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None,
    reason="needs root, Linux and iproute2",
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
def test_statistics_add_up_over_several_readings_and_stay_after_close():
    with open_interface(["lo"]) as capture:
        for _ in range(2):
            send_to_loopback([b"x"] * 10)
            seen = capture.statistics().packets
        assert seen >= 20
        assert capture.statistics().drops == 0
    assert capture.statistics().packets >= seen


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
    monkeypatch.setattr(live.sys, "platform", "darwin")
    with pytest.raises(CaptureError, match="needs Linux; read recorded captures with `ids-daemon replay`"):
        open_interface(["en0"])


def test_no_interface_and_absurd_snaplen_are_told():
    with pytest.raises(CaptureError, match="no interface to capture on"):
        open_interface([])
    with pytest.raises(CaptureError, match="snaplen 1 is outside 64 to 262144"):
        open_interface(["lo"], snaplen=1)


def test_interface_types_map_to_link_types_or_are_refused_by_name():
    assert link_type_of("eth0", 1) == 1
    assert link_type_of("lo", 772) == 1
    assert link_type_of("tun0", 65534) == 101
    with pytest.raises(CaptureError, match=r"wlan0: interfaces of hardware type 801 \(IEEE802_11\) are not"):
        link_type_of("wlan0", 801)
    with pytest.raises(CaptureError, match=r"hardware type 4711 are not read; name an Ethernet"):
        link_type_of("odd0", 4711)
    assert "lo" in interface_names()


# What runs inside a namespace: captures on the interfaces named, says `ready`, then one line.
CAPTURE = """
import json, sys
from capture.errors import CaptureError
from capture.live import open_interface
from tests.packets import frames_of
names, wanted, options = sys.argv[1].split(","), int(sys.argv[2]), json.loads(sys.argv[3])
packets, idle = [], 0
try:
    with open_interface(names, **options) as capture:
        print("ready", flush=True)
        for batch in capture:
            columns = (batch.wire_length, batch.vlan, batch.interface, batch.link_type)
            for entry in zip(frames_of(batch), *columns):
                packets.append([entry[0].hex(), *map(int, entry[1:])])
            idle = 0 if len(batch) else idle + 1
            if len(packets) >= wanted or idle > 100:
                break
    print(json.dumps(packets))
except CaptureError as error:
    print(json.dumps(str(error)))
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two namespaces joined by two veth pairs (v0-v0, v1-v1), up and silent."""
    pair = (f"ids-a-{os.getpid()}", f"ids-b-{os.getpid()}")
    try:
        for namespace in pair:
            ip("netns", "add", namespace)
            for key in ("all", "default"):
                setting = f"net.ipv6.conf.{key}.disable_ipv6=1"
                subprocess.run(
                    ["ip", "netns", "exec", namespace, "sysctl", "-qw", setting], check=True, timeout=30
                )
        for link in ("v0", "v1"):
            ip("-n", pair[0], "link", "add", link, "type", "veth", "peer", "name", link, "netns", pair[1])
            for namespace in pair:
                ip("-n", namespace, "link", "set", link, "up")
        yield pair
    finally:
        for namespace in pair:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, timeout=30)


@contextmanager
def capturing(namespace: str, names: str, wanted: int, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A capture in a namespace that is ready for packets."""
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", CAPTURE]
    process = subprocess.Popen(
        [*command, names, str(wanted), json.dumps(options)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


SEND = """
import socket, sys
for word in sys.argv[1:]:
    name, frame = word.split(":")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((name, 0))
        sender.send(bytes.fromhex(frame))
"""


def send(namespace: str, *frames: tuple[str, bytes]) -> None:
    words = [f"{name}:{frame.hex()}" for name, frame in frames]
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", SEND, *words]
    subprocess.run(command, check=True, timeout=60)


FRAME = tcp_frame("10.9.0.1", "10.9.0.2", 40000, 80, "S")
OTHER = udp_frame("10.9.0.1", "10.9.0.2", 40000, 53, b"question")


@pytest.mark.root
@needs_root
def test_veth_frames_come_from_both_interfaces_with_the_vlan_the_kernel_took_off(namespaces):
    here, there = namespaces
    tagged = tcp_frame("10.9.0.1", "10.9.0.2", 40000, 80, "S", vlans=(7,))
    with capturing(here, "v0,v1", 3) as process:
        send(there, ("v0", FRAME), ("v1", OTHER), ("v0", tagged))
        packets = json.loads(process.communicate(timeout=60)[0])
    assert packets == [
        [FRAME.hex(), len(FRAME), -1, 0, 1],
        [OTHER.hex(), len(OTHER), -1, 1, 1],
        [FRAME.hex(), len(tagged), 7, 0, 1],
    ]


@pytest.mark.root
@needs_root
@pytest.mark.parametrize(("own_traffic", "expected"), [(True, [FRAME, OTHER]), (False, [OTHER])])
def test_own_traffic_can_be_left_out(namespaces, own_traffic, expected):
    here, there = namespaces
    with capturing(here, "v0", len(expected), own_traffic=own_traffic) as process:
        send(here, ("v0", FRAME))
        send(there, ("v0", OTHER))
        packets = json.loads(process.communicate(timeout=60)[0])
    assert [packet[0] for packet in packets] == [frame.hex() for frame in expected]


@pytest.mark.root
@needs_root
def test_interface_that_is_removed_ends_the_capture_with_one_line(namespaces):
    here, there = namespaces
    with capturing(here, "v0", 1) as process:
        ip("-n", there, "link", "del", "v0")
        error = json.loads(process.communicate(timeout=60)[0])
    assert error.startswith("v0: capturing ended: ")


@pytest.mark.root
@needs_root
def test_interface_that_goes_down_and_up_is_waited_for(namespaces):
    here, there = namespaces
    with capturing(here, "v0", 1) as process:
        ip("-n", here, "link", "set", "v0", "down")
        ip("-n", here, "link", "set", "v0", "up")
        send(there, ("v0", FRAME))
        packets = json.loads(process.communicate(timeout=60)[0])
    assert [packet[0] for packet in packets] == [FRAME.hex()]


@pytest.mark.root
@needs_root
def test_interface_that_is_down_is_told(namespaces):
    here, _ = namespaces
    ip("-n", here, "link", "set", "v0", "down")
    command = ["ip", "netns", "exec", here, sys.executable, "-c", CAPTURE, "v0", "1", "{}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT)
    assert json.loads(done.stdout) == "v0: is down; bring it up with `ip link set v0 up`"
