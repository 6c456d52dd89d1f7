"""Labels say which flows are of the attack: by its sides, its span, and what is not known of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from models.training.windows.label_file import read_labels
from models.training.windows.labels import CaptureLabel, Networks
from tests.models.flows import START_NS, halves, record, table

A, B, VICTIM, OTHER = "198.51.100.66", "198.51.100.67", "10.0.0.5", "10.0.0.9"


def label(tmp_path: Path, **entry: Any) -> CaptureLabel:
    (tmp_path / "labels.jsonl").write_text(json.dumps({"path": "a.pcap", "kind": "attack"} | entry) + "\n")
    (only,) = read_labels(tmp_path / "labels.jsonl")
    return only


def held(networks: Networks, *addresses: str) -> list[bool]:
    pairs = np.array([halves(address) for address in addresses], np.uint64)
    return networks.hold(pairs[:, 0], pairs[:, 1]).tolist()


def attacking(one: CaptureLabel, *flows: np.void) -> list[bool]:
    return one.attack_flows(np.array(flows)).tolist()


#: Every pair of sides that matters, one flow a second.
PAIRS = [(A, VICTIM), (VICTIM, A), (B, VICTIM), (A, OTHER), (OTHER, VICTIM), (OTHER, B)]
FLOWS = [record(source, destination, second) for second, (source, destination) in enumerate(PAIRS)]


# -- networks


def test_networks_hold_hosts_and_prefixes_of_both_families() -> None:
    networks = Networks(["10.1.0.0/16", "192.0.2.7", "2001:db8::/33", "fd00::5"])
    assert networks
    inside = held(networks, "10.1.255.255", "192.0.2.7", "2001:db8:7fff::1", "fd00::5")
    outside = held(networks, "10.2.0.0", "192.0.2.6", "2001:db8:8000::1", "fd00::6", "::10.1.0.0")
    assert inside == [True] * 4 and outside == [False] * 5


def test_a_network_is_named_by_any_of_its_hosts() -> None:
    assert held(Networks(["10.1.2.3/16"]), "10.1.0.1", "10.2.0.1") == [True, False]


def test_everything_is_held_by_a_prefix_of_length_zero_of_its_own_family() -> None:
    assert held(Networks(["0.0.0.0/0"]), "8.8.8.8", "2001:db8::1") == [True, False]
    assert held(Networks(["::/0"]), "2001:db8::1") == [True]


def test_words_that_are_no_addresses_are_left_out() -> None:
    assert not Networks(["spoofed", "many", ""])
    assert held(Networks(["many", A]), A, B) == [True, False]


# -- flows


def test_attack_flows_lie_between_attackers_and_victims_in_either_direction(tmp_path: Path) -> None:
    one = label(tmp_path, attackers=[A, B], victims=[VICTIM])
    assert attacking(one, *FLOWS) == [True, True, True, False, False, False]


def test_without_attackers_of_their_own_addresses_all_that_meets_a_victim_is_attack(tmp_path: Path) -> None:
    for attackers in ([], ["spoofed"]):
        one = label(tmp_path, attackers=attackers, victims=[VICTIM])
        assert attacking(one, *FLOWS) == [True, True, True, False, True, False]


def test_without_victims_all_that_meets_an_attacker_is_attack(tmp_path: Path) -> None:
    for victims in ([], ["many"]):
        one = label(tmp_path, attackers=[A], victims=victims)
        assert attacking(one, *FLOWS) == [True, True, False, True, False, False]


def test_a_list_of_more_than_64_hosts_is_of_anybody(tmp_path: Path) -> None:
    sides = {"attackers": [A], "victims": [VICTIM]}
    assert attacking(label(tmp_path, **sides, attackers_total=64), *FLOWS) == [True, True] + [False] * 4
    many_attack = label(tmp_path, **sides, attackers_total=65)
    assert attacking(many_attack, *FLOWS) == [True, True, True, False, True, False]
    many_suffer = label(tmp_path, **sides, victims_total=65)
    assert attacking(many_suffer, *FLOWS) == [True, True, False, True, False, False]


def test_attackers_of_ipv6_and_victims_by_their_network(tmp_path: Path) -> None:
    one = label(tmp_path, attackers=["2001:db8::66"], victims=["fd00::/8"])
    flows = [
        record("2001:db8::66", "fd00:50::1", 0),
        record("fd00:50::2", "2001:db8::66", 1),
        record("2001:db8::67", "fd00:50::1", 2),
    ]
    assert attacking(one, *flows) == [True, True, False]


def test_the_span_holds_every_flow_that_reaches_into_it_give_or_take_a_second(tmp_path: Path) -> None:
    zero = START_NS / 1e9
    one = label(tmp_path, attackers=[A], victims=[VICTIM], attack_start=zero + 10, attack_end=zero + 20)
    lives = [(0, 8.9), (0, 9.1), (0, 30), (15, 15), (20.9, 25), (21.1, 25)]
    flows = table([record(A, VICTIM, last, start=first) for first, last in lives])
    spans = sorted(zip(lives, strict=True), key=lambda life: life[0][1])
    whole = dict(zip([life for (life,) in spans], attacking(one, *flows), strict=True))
    assert whole == dict(zip(lives, [False, True, True, True, True, False], strict=True))
    open_end = label(tmp_path, attackers=[A], victims=[VICTIM], attack_start=zero + 10)
    assert open_end.attack_flows(flows).sum() == 5


def test_small_times_are_seconds_from_the_start_of_the_capture(tmp_path: Path) -> None:
    one = label(tmp_path, attackers=[A], victims=[VICTIM], attack_start=10, attack_end=12.5)
    flows = table([record(OTHER, VICTIM, 100.0)] + [record(A, VICTIM, 100.0 + s) for s in (8, 10, 12, 14)])
    assert attacking(one, *flows) == [False, False, True, True, False]
    assert one.attack_flows(flows[:0]).tolist() == []


def test_flows_of_the_captures_other_attacks_are_known_as_such(tmp_path: Path) -> None:
    entries = [
        {"path": "a.pcap", "kind": "attack", "family": "scan", "attackers": [A], "victims": [VICTIM]},
        {"path": "a.pcap", "kind": "attack", "family": "dos", "attackers": [B], "victims": [VICTIM]},
        {"path": "b.pcap", "kind": "attack", "family": "dos", "attackers": [OTHER], "victims": [VICTIM]},
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, entries)))
    scan, dos, elsewhere = read_labels(path)
    flows = np.array(FLOWS)
    assert [scan.family, dos.family] == ["scan", "dos"]
    assert attacking(scan, *FLOWS) == dos.other_flows(flows).tolist() == [True, True] + [False] * 4
    assert attacking(dos, *FLOWS) == scan.other_flows(flows).tolist() == [False, False, True] + [False] * 3
    assert not elsewhere.other_flows(flows).any() and elsewhere.others == ()


def test_a_benign_capture_has_no_attack_flows_whatever_else_it_says(tmp_path: Path) -> None:
    one = label(tmp_path, kind="benign", attackers=[A], victims=[VICTIM])
    assert attacking(one, *FLOWS) == [False] * 6
    assert one.attack_flows(np.array(FLOWS)[:0]).tolist() == []


def test_wanted_are_the_attackers_or_the_victims_where_those_are_spoofed(tmp_path: Path) -> None:
    assert held(label(tmp_path, attackers=[A], victims=[VICTIM]).wanted, A, VICTIM) == [True, False]
    assert held(label(tmp_path, attackers=["spoofed"], victims=[VICTIM]).wanted, A, VICTIM) == [False, True]
