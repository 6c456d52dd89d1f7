"""What comes out of a ring: frames, tags, filters, several interfaces, and what happens to these."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.net import Namespaces, ip
from tests.packets import START_NS, ethernet, tcp, tcp_frame, udp_frame, write_pcap
from tests.packets import ip as ip_packet

pytestmark = pytest.mark.root

FRAME = tcp_frame("10.9.0.1", "10.9.0.2", 40000, 80, "S")
OTHER = udp_frame("10.9.0.1", "10.9.0.2", 40000, 53, b"question")


class Taker:
    """A capture that runs in a namespace and is ready for packets."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def line(self) -> str:
        """The next thing that it says."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip()

    def result(self) -> Any:
        """What it took, once it has ended by itself."""
        out, error = self._process.communicate(timeout=60)
        assert error == ""
        return json.loads(out.splitlines()[-1])

    def stop(self) -> Any:
        self._process.terminate()
        return self.result()


@contextmanager
def taking(namespace: str, names: str, *arguments: str, **options: object) -> Iterator[Taker]:
    command = [sys.executable, "-m", "tests.live.taker", names, json.dumps(options), *arguments]
    with Namespaces.spawned(namespace, *command) as process:
        taker = Taker(process)
        assert taker.line() == "ready"
        yield taker


def frames(result: Any) -> list[str]:
    return [packet[0] for packet in result["packets"]]


def test_frames_come_from_both_interfaces_with_the_tag_that_the_kernel_took_off_put_back(
    namespaces: Namespaces,
) -> None:
    tagged = tcp_frame("10.9.0.1", "10.9.0.2", 40000, 80, "S", vlans=(7,))
    double = tcp_frame("10.9.0.1", "10.9.0.2", 40000, 80, "S", vlans=(7, 4095))
    with taking(namespaces.here, "v0,v1", "--until", "4", "--frames") as taker:
        namespaces.send(namespaces.there, ("v0", FRAME), ("v1", OTHER), ("v0", tagged), ("v1", double))
        result = taker.result()
    assert result["packets"] == [
        [FRAME.hex(), len(FRAME), -1, 0, 1],
        [OTHER.hex(), len(OTHER), -1, 1, 1],
        [tagged.hex(), len(tagged), -1, 0, 1],
        [double.hex(), len(double), -1, 1, 1],
    ]
    assert result["meter"]["vlan_tagged"] == 2
    assert result["counters"]["kernel_packets"] == 4
    assert result["counters"]["kernel_drops"] == result["counters"]["unread"] == 0


@pytest.mark.parametrize(("own_traffic", "expected"), [(True, [FRAME, OTHER]), (False, [OTHER])])
def test_own_traffic_can_be_left_out(
    namespaces: Namespaces, own_traffic: bool, expected: list[bytes]
) -> None:
    until = str(len(expected))
    with taking(namespaces.here, "v0", "--until", until, "--frames", own_traffic=own_traffic) as taker:
        namespaces.send(namespaces.here, ("v0", FRAME))
        namespaces.send(namespaces.there, ("v0", OTHER))
        assert frames(taker.result()) == [frame.hex() for frame in expected]


def test_the_kernel_filters_and_cuts(namespaces: Namespaces) -> None:
    long = udp_frame("10.9.0.1", "10.9.0.2", 40000, 53, bytes(1000))
    tagged = udp_frame("10.9.0.1", "10.9.0.2", 40001, 53, bytes(1000), vlans=(9,))
    options: dict[str, object] = {"filter": "udp port 53", "snaplen": 96}
    with taking(namespaces.here, "v0", "--until", "2", "--frames", **options) as taker:
        namespaces.send(namespaces.there, ("v0", FRAME), ("v0", long), ("v0", FRAME), ("v0", tagged))
        result = taker.result()
    assert result["packets"] == [
        [long[:96].hex(), len(long), -1, 0, 1],
        [tagged[:100].hex(), len(tagged), -1, 0, 1],
    ]
    assert result["counters"]["kernel_packets"] == 2
    assert result["meter"]["cut_by_snaplen"] == 2


def test_promiscuous_takes_what_is_for_others(namespaces: Namespaces) -> None:
    foreign = ethernet(ip_packet("10.9.0.1", "10.9.0.9", 6, tcp(1, 2, "S")), destination="02:00:00:00:00:99")
    with taking(namespaces.here, "v0", "--until", "1", "--frames", promiscuous=True) as taker:
        shown = namespaces.run(namespaces.here, "ip", "-d", "link", "show", "v0").stdout
        assert "promiscuity 1 " in shown
        namespaces.send(namespaces.there, ("v0", foreign))
        assert frames(taker.result()) == [foreign.hex()]
    assert "promiscuity 0 " in namespaces.run(namespaces.here, "ip", "-d", "link", "show", "v0").stdout


def test_interface_that_goes_down_and_up_is_told_of_and_waited_for(namespaces: Namespaces) -> None:
    with taking(namespaces.here, "v0", "--until", "1", "--frames") as taker:
        ip("-n", namespaces.here, "link", "set", "v0", "down")
        assert taker.line() == "v0: is down; waiting for packets"
        ip("-n", namespaces.here, "link", "set", "v0", "up")
        assert taker.line() == "v0: is up again"
        namespaces.send(namespaces.there, ("v0", FRAME))
        result = taker.result()
    assert frames(result) == [FRAME.hex()]
    assert result["counters"]["link_changes"] == 2


def test_interface_that_loses_its_carrier_or_gets_another_mtu_or_name_is_told_of(
    namespaces: Namespaces,
) -> None:
    with taking(namespaces.here, "v0", "--until", "1", "--frames") as taker:
        ip("-n", namespaces.there, "link", "set", "v0", "down")
        assert taker.line() == "v0: is without a carrier; waiting for packets"
        ip("-n", namespaces.there, "link", "set", "v0", "up")
        assert taker.line() == "v0: is up again"
        ip("-n", namespaces.here, "link", "set", "v0", "mtu", "1400")
        assert taker.line() == "v0: the MTU is 1400 now, it was 1500"
        ip("-n", namespaces.here, "link", "set", "v0", "name", "lan9")
        line = taker.line()
        assert line == "v0: the interface is called lan9 now; its packets are still told of as v0"
        namespaces.send(namespaces.there, ("v0", FRAME))
        assert frames(taker.result()) == [FRAME.hex()]


#: Bytes that are no IP packet into a tun interface of its own, which drops them: three, and three a signal.
GARBLED = """
import fcntl, os, signal, struct
tun = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"t0", 0x1001))  # TUNSETIFF: TUN, no header
os.system("ip link set t0 up")
def write(*_):
    for _ in range(3):
        try:
            tun.write(bytes(40))
        except OSError:
            pass
    print("written", flush=True)
signal.signal(signal.SIGUSR1, write)
write()
while True:
    signal.pause()
"""


@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="needs /dev/net/tun")
def test_what_an_interface_drops_before_it_is_seen_is_counted_from_the_start(namespaces: Namespaces) -> None:
    with namespaces.spawned(namespaces.here, sys.executable, "-c", GARBLED) as garbling:
        assert garbling.stdout is not None
        assert garbling.stdout.readline() == "written\n"
        with taking(namespaces.here, "v0,t0") as taker:
            garbling.send_signal(signal.SIGUSR1)
            assert garbling.stdout.readline() == "written\n"
            result = taker.stop()
    counters = result["counters"]
    assert counters["kernel_packets"] == 0
    names = ("interface_drops", "interface_missed", "interface_overruns", "interface_errors")
    assert [counters[name] for name in names] == [3, 0, 0, 0]


def test_interface_that_is_removed_and_made_anew_is_captured_on(namespaces: Namespaces) -> None:
    with taking(namespaces.here, "v0,v1", "--until", "3", "--frames") as taker:
        namespaces.send(namespaces.there, ("v0", FRAME))
        time.sleep(0.2)  # what waits in a ring goes with its interface
        ip("-n", namespaces.there, "link", "del", "v0")
        assert taker.line() == "v0: the interface was removed; waiting for it to come back"
        namespaces.send(namespaces.there, ("v1", OTHER))
        namespaces.add_link("v0")
        assert taker.line().startswith("v0: the interface is back (number ")
        namespaces.send(namespaces.there, ("v0", FRAME))
        result = taker.result()
    assert [(packet[0], packet[3]) for packet in result["packets"]] == [
        *((FRAME.hex(), 0), (OTHER.hex(), 1)),
        (FRAME.hex(), 0),
    ]
    assert result["counters"]["kernel_packets"] == 3


def test_interface_that_is_down_or_no_filter_at_all_ends_with_one_line(namespaces: Namespaces) -> None:
    def said(**options: object) -> Any:
        command = [sys.executable, "-m", "tests.live.taker", "v0", json.dumps(options)]
        return json.loads(namespaces.run(namespaces.here, *command).stdout)

    assert said(filter="udp prot 53").startswith("capture filter 'udp prot 53': ")
    assert "leave `vlan` out" in said(filter="vlan 7")
    ip("-n", namespaces.here, "link", "set", "v0", "down")
    assert said() == "v0: is down; bring it up with `ip link set v0 up`"


#: A segment that is left to the card to be cut (virtio_net_hdr: TCP over IPv4, 1,448 bytes each).
SEND_WHOLE = """
import socket, struct, sys
frame = bytes.fromhex(sys.argv[1])
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
    sender.setsockopt(263, 15, 1)  # PACKET_VNET_HDR
    sender.bind(("v0", 0))
    sender.send(struct.pack("=BBHHHH", 1, 1, 54, 1448, 34, 16) + frame)
"""


def test_packets_longer_than_the_link_carries_are_metered_whole_and_told_once(
    namespaces: Namespaces,
) -> None:
    merged = tcp_frame("10.9.0.1", "10.9.0.2", 40000, 80, "PA", bytes(4_000))
    with taking(namespaces.here, "v0", "--until", "3", "--frames", snaplen=128) as taker:
        namespaces.send(namespaces.there, ("v0", FRAME))
        for _ in range(2):
            namespaces.run(namespaces.there, sys.executable, "-c", SEND_WHOLE, merged.hex())
        result = taker.result()
    (told,) = result["told"]
    assert told.startswith("v0: packets of up to 4,054 bytes, where the MTU is 1,500: ")
    assert told.endswith("ethtool -K v0 gro off lro off gso off tso off")
    assert [packet[1] for packet in result["packets"]] == [len(FRAME), len(merged), len(merged)]
    assert result["counters"]["super_packets"] == 2


def test_packets_that_a_slow_machine_loses_are_counted_to_the_last(
    namespaces: Namespaces, tmp_path: Path
) -> None:
    """sent = metered + left out, by reason + dropped by the kernel."""
    count = 20_000
    arp = ethernet(bytes(46), ether_type=0x0806)
    sent_file = write_pcap(tmp_path / "sent.pcap", [FRAME, OTHER, arp, FRAME[:30]], [START_NS] * 4)
    options = {"ring_bytes": 2 << 20, "block_bytes": 64 << 10}
    until = ("--until", str(count), "--pause", "0.05")
    with taking(namespaces.here, "v0", *until, **options) as taker:
        sent = namespaces.send_file(namespaces.there, "v0", sent_file, count=count)
        result = taker.result()
    counters, meter = result["counters"], result["meter"]
    assert sent == counters["kernel_packets"] == count
    assert counters["kernel_drops"] > 0 and counters["ring_freezes"] > 0
    assert counters["unread"] == 0
    assert meter["packets_seen"] == result["given"]
    left_out = sum(meter[reason] for reason in ("arp", "not_ip", "truncated", "malformed"))
    assert sent == meter["packets_metered"] + left_out + counters["kernel_drops"]
    assert meter["arp"] > 0 and meter["truncated"] > 0


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv: apt-get install util-linux")
@pytest.mark.parametrize("links", ["v0", "v0,v1"])
def test_one_capability_is_enough_and_without_it_one_line_names_it(
    namespaces: Namespaces, links: str
) -> None:
    def with_only(capabilities: str) -> list[str]:
        sets = [f"--bounding-set=-all{capabilities}", f"--inh-caps=-all{capabilities}"]
        return ["setpriv", *sets, sys.executable, "-m", "tests.live.taker", links, "{}"]

    with namespaces.spawned(namespaces.here, *with_only(",+net_raw"), "--until", "1", "--frames") as process:
        taker = Taker(process)
        assert taker.line() == "ready"
        namespaces.send(namespaces.there, ("v0", FRAME))
        assert frames(taker.result()) == [FRAME.hex()]
    said = json.loads(namespaces.run(namespaces.here, *with_only("")).stdout)
    assert said.startswith("v0: capturing needs the capability CAP_NET_RAW; run as root, or give it with ")
