from __future__ import annotations

import json
import random

import pytest

from ids_daemon.addresses import packed_of, text_of
from ids_daemon.incidents import Alert, Ending, Incidents, State
from ids_daemon.signatures import signatures
from ids_daemon.techniques import NAMES, technique_of
from tests.ids_daemon.fakes import ATTACKER, HOME, VICTIM, finding, flow_record, tell_all
from tests.ids_daemon.shared import shared
from tests.packets import at


def names(hosts: tuple[bytes, ...]) -> list[str]:
    return [text_of(host) for host in hosts]


def told(alerts: list[Alert]) -> list[tuple[str, int, str]]:
    return [(alert.incident_id, alert.update, str(alert.state)) for alert in alerts]


def test_one_attack_is_one_incident_opened_and_closed() -> None:
    alerts = tell_all(Incidents(HOME), [finding(second) for second in range(20)])
    assert [str(alert.state) for alert in alerts] == ["opened", "closed"]
    assert [alert.update for alert in alerts] == [0, 1]
    assert len({alert.incident_id for alert in alerts}) == 1
    assert names(alerts[1].actors) == [ATTACKER] and names(alerts[1].targets) == [VICTIM]
    assert alerts[1].flows == 8 + 19  # each further finding is of another flow


def test_a_scan_of_ten_thousand_hosts_is_told_at_powers_of_ten() -> None:
    findings = [finding(n / 100, target=f"10.1.{n // 250}.{n % 250}") for n in range(10_000)]
    alerts = tell_all(Incidents(HOME), findings)
    assert [str(alert.state) for alert in alerts] == ["opened"] + ["escalated"] * 4 + ["closed"]
    # 10 targets, 100, 1000 and 10,000 (or as many flows as go with that).
    assert [len(str(alert.targets_total)) for alert in alerts[1:4]] == [2, 3, 4]
    assert alerts[-1].targets_total == pytest.approx(10_000, rel=0.03)
    assert len(alerts[-1].targets) == 64


def test_quiet_closes_in_packet_time_and_the_next_attack_is_a_new_incident() -> None:
    alerts = tell_all(Incidents(HOME, quiet_s=60), [finding(0), finding(30), finding(100)])
    assert [str(alert.state) for alert in alerts] == ["opened", "closed", "opened", "closed"]
    assert alerts[1].time_ns == at(90) and alerts[1].ending is Ending.QUIET
    assert alerts[1].last_seen_ns == at(30)
    assert alerts[3].ending is Ending.END
    assert alerts[0].incident_id != alerts[2].incident_id


def test_advance_closes_without_a_further_finding() -> None:
    incidents = Incidents(HOME, quiet_s=60)
    list(incidents.add(finding(0)))
    assert list(incidents.advance(at(59))) == []
    assert [alert.time_ns for alert in incidents.advance(at(500))] == [at(60)]
    assert list(incidents.finish()) == []


def test_a_close_at_the_end_carries_the_time_of_the_end() -> None:
    assert tell_all(Incidents(HOME), [finding(0)], end=20)[-1].time_ns == at(20)
    assert tell_all(Incidents(HOME), [finding(0)], end=2000)[-1].time_ns == at(300)


def test_alerts_do_not_depend_on_when_time_is_advanced() -> None:
    findings = [finding(n * 7, actor=f"203.0.113.{n % 5}") for n in range(200) if n % 37 < 20]
    plain = tell_all(Incidents(HOME, quiet_s=30), findings)
    chance = random.Random(1)
    incidents = Incidents(HOME, quiet_s=30)
    alerts: list[Alert] = []
    for one in findings:
        alerts += incidents.add(one)
        if chance.random() < 0.5:
            alerts += incidents.advance(one.time_ns)
    assert alerts + list(incidents.finish()) == plain
    assert [alert.time_ns for alert in plain[:-5]] == sorted(alert.time_ns for alert in plain[:-5])


def test_a_targets_evidence_joins_the_incident_of_its_actor() -> None:
    alerts = tell_all(Incidents(HOME), [finding(0), finding(1, role="target")])
    assert [str(alert.state) for alert in alerts] == ["opened", "closed"]


def test_an_actors_evidence_joins_the_incident_that_its_target_opened() -> None:
    alerts = tell_all(Incidents(HOME), [finding(0, role="target"), finding(1)])
    assert [str(alert.state) for alert in alerts] == ["opened", "closed"]
    assert names(alerts[0].actors) == [ATTACKER] and names(alerts[0].targets) == [VICTIM]


def test_a_guesser_on_a_busy_server_is_named_without_its_ordinary_clients() -> None:
    clients = [("10.0.0.20", 2), ("10.0.0.21", 3), ("203.0.113.10", 5)]
    opened = next(Incidents(HOME).add(finding(role="target", others=clients)))
    assert names(opened.actors) == [ATTACKER, "203.0.113.10"]


def test_a_spoofed_flood_is_one_incident_with_counted_actors() -> None:
    findings = [
        finding(
            n / 10,
            role="target",
            family="dos",
            actor=f"198.51.{n // 200}.{n % 200}",
            others=[(f"198.18.{n // 200}.{n % 200}", 8)],
        )
        for n in range(1000)
    ]
    # Some sources get an actor stream of their own: the same flood.
    findings += [finding(100 + n, family="dos", actor=f"192.0.2.{n}") for n in range(50)]
    alerts = tell_all(Incidents(HOME), findings)
    assert {alert.incident_id for alert in alerts} == {alerts[0].incident_id}
    assert names(alerts[-1].targets) == [VICTIM]
    assert len(alerts[-1].actors) == 64
    assert alerts[-1].actors_total == pytest.approx(2050, rel=0.03)
    assert len(alerts) <= 6


def test_two_attackers_of_one_target_are_two_incidents() -> None:
    alerts = tell_all(Incidents(HOME), [finding(0), finding(1, actor="198.51.100.1")])
    assert len({alert.incident_id for alert in alerts}) == 2


def test_an_attacker_with_an_incident_of_its_own_is_not_listed_in_anothers() -> None:
    slow = [
        finding(n, role="target", family="dos", actor="198.51.100.92", others=[(ATTACKER, 8)]) for n in (1, 2)
    ]
    alerts = tell_all(Incidents(HOME), [finding(0, family="scan"), *slow])
    assert [names(alert.actors) for alert in alerts] == [[ATTACKER], ["198.51.100.92"]] * 2


def test_a_graver_family_escalates_and_stays() -> None:
    findings = [finding(0), finding(1, family="bruteforce"), finding(2), finding(3)]
    alerts = tell_all(Incidents(HOME), findings)
    assert [(alert.family, str(alert.state)) for alert in alerts] == [
        ("scan", "opened"),
        ("bruteforce", "escalated"),
        ("bruteforce", "closed"),
    ]


def test_an_unsure_graver_family_does_not_escalate() -> None:
    alerts = tell_all(Incidents(HOME), [finding(0), finding(1, family="c2", share=0.3)])
    assert [alert.family for alert in alerts] == ["scan", "scan"]


def test_families_of_equal_gravity_are_weighed_by_their_shares() -> None:
    findings = [finding(0, share=0.4), finding(1, family="sweep"), finding(2, family="sweep")]
    assert [alert.family for alert in tell_all(Incidents(HOME), findings)] == ["scan", "sweep"]


def test_an_unknown_family_is_told_as_other() -> None:
    assert next(Incidents(HOME).add(finding(family="gremlins"))).family == "other"


def test_the_score_told_is_the_highest_so_far_and_the_close_gives_its_evidence() -> None:
    findings = [finding(0, score=4), finding(1, score=9, evidence=("worst",)), finding(2, score=5)]
    closed = tell_all(Incidents(HOME), findings)[-1]
    assert closed.score == 9 and closed.evidence == ("worst",)


def test_at_the_brim_the_incident_quiet_longest_is_closed() -> None:
    incidents = Incidents(HOME, max_incidents=2)
    alerts = [
        alert
        for second, last in enumerate((1, 2, 1, 3))
        for alert in incidents.add(finding(second, actor=f"203.0.113.{last}"))
    ]
    assert [(names(alert.actors)[0], str(alert.state)) for alert in alerts] == [
        ("203.0.113.1", "opened"),
        ("203.0.113.2", "opened"),
        ("203.0.113.2", "closed"),
        ("203.0.113.3", "opened"),
    ]
    assert alerts[2].ending is Ending.LIMIT and alerts[2].time_ns == at(3)


def test_counters_add_up() -> None:
    incidents = Incidents(HOME, quiet_s=8, max_incidents=2)
    tell_all(incidents, [finding(n * 3, actor=f"203.0.113.{n * n % 11}") for n in range(100)])
    stats = incidents.stats
    assert stats.findings == 100 == stats.opened + stats.joined
    assert stats.opened == stats.closed_quiet + stats.closed_limit + stats.closed_end
    assert stats.open == 0 and stats.closed_limit > 0 and stats.closed_quiet > 0


def test_nothing_of_a_closed_incident_is_kept() -> None:
    incidents = Incidents(HOME, quiet_s=1)
    tell_all(incidents, [finding(n * 2, actor=f"203.0.113.{n % 200}") for n in range(1000)])
    assert not (incidents._open or incidents._by_actor or incidents._by_target)


def test_an_alert_survives_the_buffer_its_flow_lay_in() -> None:
    incidents, one = Incidents(HOME), finding(flow_id=7)
    opened = next(incidents.add(one))
    one.flow["flow_id"] = 8
    assert opened.flow["flow_id"] == 7 == next(incidents.finish()).flow["flow_id"]


def test_incident_ids_come_from_the_content_alone() -> None:
    first, second = (next(Incidents(HOME).add(finding(flow_id=7))) for _ in range(2))
    assert first.incident_id == second.incident_id == "2a6fd21d79e649ce"
    assert next(Incidents(HOME).add(finding(flow_id=8))).incident_id != first.incident_id


def test_the_actor_stands_first_whoever_began_the_flow() -> None:
    attack = finding(0)
    assert next(Incidents(HOME).add(attack)).actor_first
    called_back = finding(0)
    object.__setattr__(called_back, "flow", flow_record(VICTIM, ATTACKER))
    assert not next(Incidents(HOME).add(called_back)).actor_first
    assert next(Incidents(HOME).add(finding(0, role="target"))).actor_first


@pytest.mark.parametrize(
    ("family", "inside", "flow", "technique"),
    [
        ("scan", True, {}, "T1046"),
        ("scan", False, {}, "T1595.001"),
        ("sweep", True, {}, "T1018"),
        ("sweep", False, {}, "T1595.001"),
        ("bruteforce", False, {}, "T1110"),
        ("dos", False, {}, "T1498"),
        ("dos", False, {"answered": True}, "T1499"),
        ("dos", False, {"protocol": 17, "answered": True}, "T1498"),
        ("c2", True, {"protocol": 17, "ports": (5000, 53)}, "T1071.004"),
        ("c2", True, {}, "T1071"),
        ("botnet", True, {"protocol": 1}, "T1095"),
        ("exfil", True, {}, "T1048"),
        ("tunnel", True, {}, "T1572"),
        ("web", False, {}, "T1190"),
        ("other", False, {}, None),
    ],
)
def test_technique_by_family_side_and_flow(
    family: str, inside: bool, flow: dict, technique: str | None
) -> None:
    assert technique_of(family, inside, flow_record(**flow)) == technique


def test_inside_and_outside_come_from_the_home_networks() -> None:
    assert next(Incidents(HOME).add(finding(actor="10.0.0.77"))).technique == "T1046"
    assert next(Incidents(HOME).add(finding())).technique == "T1595.001"


def test_techniques_are_those_of_attack() -> None:
    lines = (shared("specs") / "attack_techniques.jsonl").read_text().splitlines()
    known = {entry["id"]: entry["name"] for entry in map(json.loads, lines)}
    assert {identity: known.get(identity) for identity in NAMES} == NAMES


def test_signature_ids_are_unique_and_never_change() -> None:
    ids = {family: entry.signature_id for family, entry in signatures().items()}
    assert ids == {
        "scan": 1000001,
        "sweep": 1000002,
        "bruteforce": 1000003,
        "dos": 1000004,
        "botnet": 1000005,
        "c2": 1000006,
        "exfil": 1000007,
        "tunnel": 1000008,
        "web": 1000009,
        "other": 1000010,
    }


def test_addresses_keep_their_version() -> None:
    assert text_of(packed_of("192.0.2.1")) == "192.0.2.1"
    assert text_of(packed_of("2001:DB8:0:0::1")) == "2001:db8::1"
    assert State.OPENED == "opened"


def test_another_attack_on_the_same_target_is_another_incident() -> None:
    scan, flood = finding(0), finding(20, role="target", actor="198.51.100.77", family="dos")
    alerts = tell_all(Incidents(HOME), [scan, flood])
    assert [str(alert.state) for alert in alerts] == ["opened", "opened", "closed", "closed"]
    assert [names(alert.actors) for alert in alerts[:2]] == [[ATTACKER], ["198.51.100.77"]]
    assert [alert.family for alert in alerts[2:]] == ["scan", "dos"]
