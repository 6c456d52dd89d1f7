from __future__ import annotations

import ipaddress
import json
from typing import Any

import communityid
from hypothesis import given
from hypothesis import strategies as st

from ids_daemon.community_id import community_id
from tests.ids_daemon.shared import shared


def identity(protocol: int, source: str, destination: str, *rest: int, seed: int = 0) -> str:
    return community_id(
        protocol, ipaddress.ip_address(source), ipaddress.ip_address(destination), *rest, seed=seed
    )


def test_known_ids_of_each_kind_of_flow() -> None:
    tcp = "128.232.110.120", "66.35.250.204", 34855, 80
    assert identity(6, *tcp) == "1:LQU9qZlK+B5F3KDmev6m5PMibrg="
    assert identity(6, *tcp, seed=1) == "1:3V71V58M3Ksw/yuFALMcW0LAHvc="
    neighbours = "fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 135, 0
    assert identity(58, *neighbours) == "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="


def test_both_directions_of_a_flow_have_one_id() -> None:
    assert identity(17, "10.0.0.1", "10.0.0.2", 5, 53) == identity(17, "10.0.0.2", "10.0.0.1", 53, 5)
    assert identity(1, "10.0.0.1", "10.0.0.2", 8, 0) == identity(1, "10.0.0.2", "10.0.0.1", 0, 0)


def test_a_message_without_an_answer_keeps_its_direction() -> None:
    assert identity(1, "10.0.0.1", "10.0.0.2", 3, 1) != identity(1, "10.0.0.2", "10.0.0.1", 3, 1)


@given(
    protocol=st.sampled_from([1, 6, 17, 47, 58, 132]),
    ends=st.one_of(
        st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
        st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
    ),
    numbers=st.tuples(st.integers(0, 255), st.integers(0, 255)),
    seed=st.integers(0, 65_535),
)
def test_agrees_with_the_reference_package(
    protocol: int, ends: tuple[Any, Any], numbers: tuple[int, int], seed: int
) -> None:
    source, destination = map(str, ends)
    makers = {6: "make_tcp", 17: "make_udp", 132: "make_sctp", 1: "make_icmp", 58: "make_icmp6"}
    if protocol in makers:
        tpl = getattr(communityid.FlowTuple, makers[protocol])(source, destination, *numbers)
    else:
        tpl = communityid.FlowTuple.make_ip(source, destination, protocol)
    expected = communityid.CommunityID(seed=seed).calc(tpl)
    assert community_id(protocol, *ends, *numbers, seed=seed) == expected


def test_agrees_with_the_baselines_of_the_specification() -> None:
    lines = (shared("specs") / "community_id.jsonl").read_text().splitlines()
    for line in lines:
        case = json.loads(line)
        numbers = (case["sport"] or 0, case["dport"] or 0)
        for seed in (0, 1):
            got = identity(case["proto"], case["src"], case["dst"], *numbers, seed=seed)
            assert got == case[f"seed{seed}"], case
    assert len(lines) == 51


def test_agrees_with_the_captures_of_the_specification() -> None:
    expected = (shared("specs") / "community-id-captures" / "expected.jsonl").read_text().splitlines()
    packets = [packet for packet in map(json.loads, expected) if packet["seed0"] and "src" in packet]
    assert packets
    for packet in packets:
        if packet["proto"] not in (1, 6, 17, 58, 132):
            continue
        got = identity(
            packet["proto"], packet["src"], packet["dst"], packet.get("sport", 0), packet.get("dport", 0)
        )
        assert got == packet["seed0"], packet
