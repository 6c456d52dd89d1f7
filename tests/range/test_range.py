"""The range's tables, its packet files, the demo capture it made, and that it leaves nothing behind."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from capture import open_capture
from tests.packets import at, frames_of, tcp_frame, write_pcap
from tests.range import behaviours, lab, packetfile, services
from tests.range.lab import ADDRESSES, Lab, RangeError, missing_packages
from tests.range.packetfile import Packet
from tests.range.record import capturing, choose_attacks

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"


def test_families_are_those_that_alerts_name() -> None:
    known = yaml.safe_load((ROOT / "ids_daemon" / "signatures.yaml").read_text())
    assert {attack.family for attack in behaviours.ATTACKS} <= set(known)


def test_techniques_are_named_once() -> None:
    names = [attack.technique for attack in behaviours.ATTACKS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("attack", behaviours.ATTACKS, ids=lambda attack: attack.technique)
def test_attack_names_hosts_of_the_range(attack: behaviours.Attack) -> None:
    assert attack.attacker in {host.name for host in lab.HOSTS}
    assert set(attack.victims) <= set(ADDRESSES)
    assert "{" not in behaviours.command_of(attack)


@pytest.mark.parametrize("client", behaviours.CLIENT_NAMES)
def test_client_always_finds_a_session(client: str) -> None:
    names = {behaviours.choose_session(random.Random(seed), client)[0] for seed in range(200)}
    own = {s.name for s in behaviours.SESSIONS if s.hosts == "*" or client in s.hosts.split()}
    assert names == own


def test_same_seed_draws_the_same_sessions_and_attacks() -> None:
    first, second = (
        [behaviours.choose_session(rng, "laptop") for _ in range(20)]
        for rng in (random.Random(3), random.Random(3))
    )
    assert first == second
    assert choose_attacks(None, 5) == choose_attacks(None, 5) != choose_attacks(None, 6)


def test_attacks_come_in_the_order_asked_for() -> None:
    chosen = choose_attacks(["iodine", "nmap-syn", "sweep"], 1)
    assert [one.technique for one in chosen] == ["iodine", "nmap-syn", "masscan-telnet", "nmap-ping"]


def test_unknown_attack_is_refused_by_name() -> None:
    with pytest.raises(RangeError, match="no attack named 'smurf'; there are: .*nmap-syn"):
        choose_attacks(["smurf"], 1)


def test_recorded_pcap_is_sorted_and_a_cut_record_left_out(tmp_path: Path) -> None:
    frames = [tcp_frame("10.0.0.1", "10.0.0.2", 1000 + n, 80, "S") for n in range(3)]
    path = write_pcap(tmp_path / "a.pcap", frames, [at(2), at(1), at(3)])
    path.write_bytes(path.read_bytes()[:-1])
    assert packetfile.read_pcap(path) == [
        Packet(at(1) // 1000, len(frames[1]), frames[1]),
        Packet(at(2) // 1000, len(frames[0]), frames[0]),
    ]


def test_pcap_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "a.pcap", [], [], nanoseconds=True)
    with pytest.raises(ValueError, match=r"a\.pcap: not a little-endian pcap"):
        packetfile.read_pcap(path)


def test_written_pcapng_gives_the_same_packets_back(tmp_path: Path) -> None:
    packets = [
        Packet(at(n) // 1000, 1500, tcp_frame("10.0.0.1", "10.0.0.2", 1, 80, "A", bytes(n))[:60])
        for n in range(5)
    ]
    packetfile.write_pcapng(tmp_path / "a.pcapng.zst", packets, 60)
    assert list(_packets(tmp_path / "a.pcapng.zst")) == packets


def test_packets_of_an_attack_are_counted_by_side_and_time() -> None:
    there, back = (
        tcp_frame("10.0.0.1", "10.0.0.2", 1, 80, "S"),
        tcp_frame("10.0.0.2", "10.0.0.1", 80, 1, "SA"),
    )
    foreign = tcp_frame("2001:db8::1", "2001:db8::2", 1, 80, "S")
    packets = [Packet(s * 1_000_000, 60, frame) for s in (1, 2, 3) for frame in (there, back, foreign)]
    count = packetfile.count_between
    assert count(packets, ["10.0.0.1"], ["10.0.0.0/30"], 1, 2) == 2
    assert count(packets, [], ["10.0.0.2", "2001:db8::2"], 2, 3) == 4
    assert count(packets, ["10.0.0.9"], ["10.0.0.2"], 1, 3) == 0


def _packets(path: Path) -> Iterator[Packet]:
    with open_capture(path) as source:
        for batch in source:
            for index, frame in enumerate(frames_of(batch)):
                yield Packet(
                    int(batch.timestamp_ns[index]) // 1000, int(batch.wire_length[index]), bytes(frame)
                )


@pytest.fixture(scope="module")
def demo() -> list[Packet]:
    return list(_packets(DATA / "demo.pcapng.zst"))


def _demo_labels() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "demo.labels.jsonl").read_text().splitlines()]


def test_demo_capture_stays_small_and_short(demo: list[Packet]) -> None:
    assert (DATA / "demo.pcapng.zst").stat().st_size <= 1.5 * 1024 * 1024
    assert 90 <= (demo[-1].time_us - demo[0].time_us) / 1e6 <= 150
    assert max(len(packet.frame) for packet in demo) == 128


@pytest.mark.parametrize("label", _demo_labels(), ids=lambda label: label["technique"])
def test_demo_label_spans_its_attack(label: dict[str, Any], demo: list[Packet]) -> None:
    sides = label["attackers"], label["victims"]
    assert packetfile.count_between(demo, *sides, label["start"], label["end"]) == label["packets"] > 100


def test_demo_attacks_come_one_after_the_other_with_quiet_between(demo: list[Packet]) -> None:
    labels = _demo_labels()
    for before, after in zip(labels, labels[1:], strict=False):
        assert after["start"] - before["end"] >= 5
    strangers = [label for label in labels if label["attackers"][0].startswith("198.51.100.")]
    for label in strangers:  # who does nothing benign is heard of within its label only
        assert packetfile.count_between(demo, label["attackers"], ["0.0.0.0/0"], 0, 4e9) == label["packets"]
    assert len(strangers) == 4


def test_demo_has_benign_traffic_of_every_client_all_the_time(demo: list[Packet]) -> None:
    start, end = demo[0].time_us / 1e6, demo[-1].time_us / 1e6
    for host in lab.CLIENTS:
        own = [address.split("/")[0] for address in host.addresses]
        others = ["203.0.113.0/24", "192.168.50.30", "2001:db8:80::/64"]
        quarter = (end - start) / 4
        for n in range(4):
            span = start + n * quarter, start + (n + 1) * quarter
            assert packetfile.count_between(demo, own, others, *span) > 20, (host.name, n)


def test_demo_is_compressed_with_its_checksum() -> None:
    head = (DATA / "demo.pcapng.zst").read_bytes()[:18]
    assert zstandard.get_frame_parameters(head).has_checksum


needs_lab = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing_packages()), reason=f"Debian packages missing: {' '.join(missing_packages())}"
    ),
]


@pytest.mark.root
@pytest.mark.skipif(not missing_packages(), reason="every program of the range is installed")
def test_missing_programs_are_named_with_the_line_that_mends_it(tmp_path: Path) -> None:
    with pytest.raises(RangeError, match="install them with: apt-get install "), Lab(tmp_path):
        pass


class TestLab:
    pytestmark = needs_lab

    def test_services_answer_over_the_gateway_and_nothing_stays(self, tmp_path: Path) -> None:
        with Lab(tmp_path, prefix="idstest") as made:
            services.start_all(made)
            with capturing(made, tmp_path / "lan.pcap", 128):
                page = made.run("laptop", "curl", "-s", f"http://{ADDRESSES['web']}/index.html")
                name = made.run("laptop", "dig", "+short", f"broker.{services.DOMAIN}", "A")
            assert len(page) == services.PAGES[0][1]
            assert name.strip() == ADDRESSES["broker"]
        packets = packetfile.read_pcap(tmp_path / "lan.pcap")
        both = [ADDRESSES["laptop"]], [ADDRESSES["web"]]
        assert packetfile.count_between(packets, *both, 0, 4e9) >= 5
        assert "idstest" not in lab.run("ip", "netns", "list")

    def test_failure_inside_removes_every_namespace(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError), Lab(tmp_path, prefix="idstest") as made:
            sleeper = made.spawn("laptop", "sleep", "600")
            raise KeyError
        assert sleeper.wait(1) != 0
        assert "idstest" not in lab.run("ip", "netns", "list")

    def test_second_lab_of_a_name_is_refused(self, tmp_path: Path) -> None:
        with Lab(tmp_path / "a", prefix="idstest"):
            with (
                pytest.raises(RangeError, match="another range named 'idstest'"),
                Lab(tmp_path / "b", prefix="idstest"),
            ):
                pass
            assert "idstest-laptop" in lab.run("ip", "netns", "list")
