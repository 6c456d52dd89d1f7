from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ids_daemon.addresses import packed_of
from ids_daemon.eve import MAX_LINE, EveFormat, stamp
from ids_daemon.incidents import Incidents
from tests.ids_daemon.fakes import ATTACKER, HOME, VICTIM, alert, event, finding, flow_record, tell_all
from tests.ids_daemon.shared import shared
from tests.packets import at

KEYS = [
    *("timestamp", "flow_id", "event_type", "src_ip", "src_port", "dest_ip", "dest_port", "proto"),
    *("community_id", "host", "alert", "flow"),
]


def test_a_line_holds_its_keys_in_order_and_nothing_else() -> None:
    told = event(flow_id=12345)
    assert told.line.endswith(b"}\n") and b"\n" not in told.line[:-1] and b": " not in told.line[:60]
    entry = json.loads(told.line)
    assert entry == told.object
    assert list(entry) == KEYS
    assert entry["timestamp"] == "2017-07-07T13:00:00.000000+0000"
    assert entry["flow_id"] == 12345 and entry["host"] == "sensor-1"
    assert (entry["src_ip"], entry["src_port"]) == (ATTACKER, 40_000)
    assert (entry["dest_ip"], entry["dest_port"], entry["proto"]) == (VICTIM, 22, "TCP")
    assert entry["flow"] == {
        "pkts_toserver": 3,
        "pkts_toclient": 2,
        "bytes_toserver": 180,
        "bytes_toclient": 120,
        "start": "2017-07-07T13:00:00.000000+0000",
        "src_ip": ATTACKER,
        "dest_ip": VICTIM,
    }


def test_own_data_stands_in_metadata_as_lists_of_strings() -> None:
    told = event().object["alert"]
    metadata = told.pop("metadata")
    assert told == {
        "action": "allowed",
        "gid": 1,
        "signature_id": 1000001,
        "rev": 1,
        "signature": "Port scan",
        "category": "Detection of a Network Scan",
        "severity": 3,
        "source": {"ip": ATTACKER, "port": 40_000},
        "target": {"ip": VICTIM, "port": 22},
    }
    assert all(isinstance(values, list) and values for values in metadata.values())
    assert all(isinstance(value, str) and value for values in metadata.values() for value in values)
    del metadata["incident_id"]
    assert metadata == {
        "incident_update": ["0"],
        "incident_state": ["opened"],
        "family": ["scan"],
        "score": ["4.0000"],
        "threshold": ["3.0000"],
        "actors": [ATTACKER],
        "targets": [VICTIM],
        "actors_total": ["1"],
        "targets_total": ["1"],
        "flows": ["8"],
        "first_seen": ["2017-07-07T13:00:00.000000+0000"],
        "last_seen": ["2017-07-07T13:00:00.000000+0000"],
        "evidence": ["failed connections to 42 services in 60 s (usual: below 6)"],
        "model": ["model-1"],
        "mitre_technique_id": ["T1595.001"],
        "mitre_technique_name": ["Scanning IP Blocks"],
    }


def test_a_family_without_a_technique_has_no_technique_keys() -> None:
    metadata = event(family="other").object["alert"]["metadata"]
    assert "mitre_technique_id" not in metadata and "mitre_technique_name" not in metadata


def test_icmp_has_type_and_code_instead_of_ports() -> None:
    entry = event(protocol=1, icmp=(8, 0)).object
    assert (entry["proto"], entry["icmp_type"], entry["icmp_code"]) == ("ICMP", 8, 0)
    assert not {"src_port", "dest_port"} & set(entry)
    assert entry["alert"]["source"] == {"ip": ATTACKER}


def test_vlan_and_interface_are_named_where_known() -> None:
    told = alert(vlan=42)
    entry = EveFormat("s", "m", interface_name={0: "eth0"}.get).event(told).object
    assert entry["vlan"] == [42] and entry["in_iface"] == "eth0"
    assert "in_iface" not in event().object and "vlan" not in event().object


def test_a_flow_that_the_target_began_is_told_actor_first() -> None:
    called_back = finding(0)
    object.__setattr__(called_back, "flow", flow_record(VICTIM, ATTACKER, ports=(50_000, 443)))
    told = EveFormat("s", "m").event(next(Incidents(HOME).add(called_back))).object
    assert (told["src_ip"], told["src_port"]) == (ATTACKER, 443)
    assert (told["dest_ip"], told["dest_port"]) == (VICTIM, 50_000)
    assert (told["flow"]["src_ip"], told["flow"]["dest_ip"]) == (VICTIM, ATTACKER)
    straight = event(ports=(443, 50_000)).object
    assert told["community_id"] == straight["community_id"]


def test_addresses_of_a_flow_are_of_one_version() -> None:
    mixed = finding(actor="2001:db8::1", target="10.0.0.1")
    entry = EveFormat("s", "m").event(next(Incidents(HOME).add(mixed))).object
    assert entry["src_ip"] == "2001:db8::1" and entry["dest_ip"] == "::ffff:a00:1"


def test_time_is_rounded_down_to_microseconds() -> None:
    assert stamp(at(0) + 123_456_999) == "2017-07-07T13:00:00.123456+0000"
    assert stamp(-1) == "1969-12-31T23:59:59.999999+0000"


def test_the_longest_alert_fits_a_line() -> None:
    hosts = [packed_of(f"2001:db8:1111:2222:3333:4444:5555:{n:x}") for n in range(64)]
    told = alert(evidence=tuple("ä" * 5000 for _ in range(50)))
    full = {name: getattr(told, name) for name in told.__slots__}
    full |= {"actors": tuple(hosts), "targets": tuple(hosts)}
    made = EveFormat("ß" * 64, "m" * 20_000).event(type(told)(**full))
    assert 8000 < len(made.line) <= MAX_LINE
    assert len(made.object["alert"]["metadata"]["evidence"]) == 8


def test_unprintable_evidence_does_not_reach_the_line() -> None:
    assert event(evidence=("a\x1b[31m\nb", "  ")).object["alert"]["metadata"]["evidence"] == ["a [31m b"]


def every_kind_of_alert() -> list[bytes]:
    """Lines of all families, protocols, states and sides."""
    eve = EveFormat("sensor-1", "model-1", seed=0, interface_name={0: "eth0"}.get)
    families = ("scan", "sweep", "bruteforce", "dos", "botnet", "c2", "exfil", "tunnel", "web", "other")
    findings = [
        finding(n, family=family, actor=f"203.0.113.{n}", role=("actor", "target")[n % 2])
        for n, family in enumerate(families)
    ]
    findings += [finding(100 + n, target=f"10.2.{n}.1", actor="10.9.9.9") for n in range(120)]
    findings += [
        finding(300, actor="203.0.113.50", protocol=1, icmp=(8, 0), vlan=7),
        finding(301, actor="203.0.113.51", protocol=1, icmp=(3, 1)),
        finding(302, actor="203.0.113.52", protocol=1),
        finding(303, actor="2001:db8::1", target="fc00::1", protocol=58, icmp=(128, 0)),
        finding(304, actor="203.0.113.53", protocol=17, ports=(5000, 53)),
        finding(305, actor="203.0.113.54", protocol=132),
        finding(306, actor="203.0.113.55", protocol=47),
        finding(307, actor="203.0.113.56", protocol=253),
        finding(308, actor="2001:db8::2", target="fc00::2", vlan=0),
        finding(1000, actor="203.0.113.57"),
    ]
    return [eve.event(told).line for told in tell_all(Incidents(HOME), findings)]


@pytest.mark.parametrize("schema", ["eve-schema.json", "eve-schema-7.0.10.json"])
def test_every_kind_of_alert_is_valid_eve(schema: str, tmp_path: Path) -> None:
    file = tmp_path / "alerts.jsonl"
    file.write_bytes(b"".join(every_kind_of_alert()))
    check = [sys.executable, str(shared("tools") / "check_eve.py"), str(file), "--require-community-id"]
    done = subprocess.run([*check, "--schema", str(shared("specs") / schema)], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
