"""Labels from files: JSON lines as they come, YAML held to the letter."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from models.errors import TrainingError
from models.training.windows.label_file import labels_hash, read_labels

# -- JSON lines


def test_labels_are_read_with_the_networks_families_and_defaults(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    lines = [
        {"path": "a/1.pcap", "kind": "attack", "family": "sweep", "origin": "lab", "in_scope": False},
        {"path": "b.pcap", "kind": "benign"},
        {"path": "c.pcap", "kind": "unknown", "attackers": 7},
        {"path": "d.pcap", "kind": "attack", "family": "unheard-of", "attack_start": 5, "attack_end": 6.5},
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    first, second, third = read_labels(path)
    assert (first.path, first.attack, first.family, first.origin, first.in_scope) == (
        *("a/1.pcap", True, "scan", "lab", False),
    )
    assert (second.attack, second.family, second.origin, second.in_scope) == (False, None, "unknown", True)
    assert (third.family, third.start_s, third.end_s) == ("unheard-of", 5, 6.5)
    assert labels_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "line",
    [
        '{"path": "b.pcap", "kind": "attack"',
        '{"kind": "attack"}',
        '{"path": "b.pcap"}',
        "[1, 2]",
        "7",
        '{"path": "b.pcap", "kind": "attack", "attackers_total": "many"}',
        '{"path": "b.pcap", "kind": "attack", "attackers": 7}',
        '{"path": "b.pcap", "kind": "attack", "attackers": "10.0.0.1"}',
        '{"path": "b.pcap", "kind": "attack", "victims": [7]}',
        '{"path": "b.pcap", "kind": "attack", "attack_end": "noon"}',
    ],
)
def test_a_broken_line_is_named_by_file_and_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"path": "a.pcap", "kind": "benign"}\n\n' + line + "\n")
    with pytest.raises(TrainingError) as caught:
        read_labels(path)
    assert str(caught.value).startswith(f"{path}:3: not a capture's label: ")
    assert "\n" not in str(caught.value)


def test_a_label_file_that_is_missing_or_holds_nothing_to_learn_from_is_told(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    with pytest.raises(TrainingError, match=r"labels\.jsonl: No such file or directory; labels are one"):
        read_labels(path)
    path.write_bytes(b'{"path": "\xff"}')
    with pytest.raises(TrainingError, match=r"labels\.jsonl: not text in UTF-8"):
        read_labels(path)
    path.write_text('{"path": "a.pcap", "kind": "protocol"}\n')
    with pytest.raises(TrainingError, match=r"labels\.jsonl: no capture of kind attack or benign in it"):
        read_labels(path)


# -- YAML


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    return path


def mistakes(path: Path) -> list[str]:
    with pytest.raises(TrainingError) as caught:
        read_labels(path)
    return [line.removeprefix(str(path)) for line in str(caught.value).splitlines()]


def test_the_example_of_the_help_says_the_same_as_json_lines(tmp_path: Path) -> None:
    from models.training.cli.fit import EXAMPLE

    lines = tmp_path / "labels.jsonl"
    drill = {
        "path": "drill.pcap", "kind": "attack", "origin": "lab", "family": "bruteforce",
        "attackers": ["198.51.100.71"], "victims": ["192.168.50.30"], "attack_start": 1795660310,
        "attack_end": 1795660313,
    }  # fmt: skip
    lines.write_text(
        json.dumps({"path": "quiet-hour.pcap", "kind": "benign", "origin": "office"})
        + "\n"
        + json.dumps(drill)
    )
    by_hand, by_line = read_labels(written(tmp_path, EXAMPLE)), read_labels(lines)
    assert [one.path for one in by_hand] == ["quiet-hour.pcap", "drill.pcap"]
    for one, other in zip(by_hand, by_line, strict=True):
        for name in ("path", "attack", "origin", "family", "start_s", "end_s", "in_scope", "others"):
            assert getattr(one, name) == getattr(other, name), name
        assert one.attackers._rows == other.attackers._rows and one.victims._rows == other.victims._rows


ATTACK = "- {path: a.pcap, kind: attack, family: scan, attackers: [10.0.0.1], attack_start: %s}"


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("34.5", 34.5),
        ("2026-11-26T02:31:50Z", 1795660310),
        ("2026-11-26 02:31:50", 1795660310),
        ("2026-11-26T03:31:50.25+01:00", 1795660310.25),
        ("'2026-11-26T02:31:50Z'", 1795660310),
        ("1795660310.25", 1795660310.25),
    ],
)
def test_times_are_iso_or_seconds(tmp_path: Path, time: str, seconds: float) -> None:
    (only,) = read_labels(written(tmp_path, ATTACK % time))
    assert only.start_s == seconds


@pytest.mark.parametrize("time", ["noon", "2026-11-26", "true", "[3]", "2026-13-26T02:31:50Z"])
def test_other_times_are_refused(tmp_path: Path, time: str) -> None:
    (said,) = mistakes(written(tmp_path, ATTACK % time))
    assert said.startswith(":1: not a capture's label: ")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{kind: benign}", "it has no 'path'"),
        ("{path: a.pcap}", "it has no 'kind'"),
        ("{path: a.pcap, kind: attack, attackers: [10.0.0.1]}", "it has no 'family'"),
        ("{path: a.pcap, kind: unknown}", "kind 'unknown': attack or benign wanted"),
        ("{path: a.pcap, kind: benign, orign: x}", "unknown key 'orign'; did you mean `origin`?"),
        ("{path: a.pcap, kind: benign, victims: [10.0.0.1]}", "a benign capture has no victims"),
        (
            "{path: a.pcap, kind: attack, family: bruteforc, attackers: [10.0.0.1]}",
            "family 'bruteforc'; did you mean `bruteforce`?",
        ),
        (
            "{path: a.pcap, kind: attack, family: 7, attackers: [10.0.0.1]}",
            "family 7: one of scan, bruteforce, dos, c2, exfil, tunnel, web, other",
        ),
        ("{path: a.pcap, kind: attack, family: scan, attackers: [spoofed]}", "'spoofed' is no address"),
        ("{path: a.pcap, kind: attack, family: scan}", "it names neither attackers nor victims"),
        ("{path: a.pcap, kind: attack, family: scan, attackers: 10.0.0.1}", "attackers is no list of texts"),
        (
            "{path: a, kind: attack, family: scan, attackers: [10.0.0.1], attack_start: 9, attack_end: 8}",
            "attack_end is before attack_start",
        ),
        ("{path: a.pcap, path: b.pcap, kind: benign}", "it has 'path' twice"),
        ("a.pcap", "no keys and values: begin it with `- path: `"),
    ],
)
def test_a_slip_is_named_by_its_line(tmp_path: Path, entry: str, said: str) -> None:
    path = written(tmp_path, f"# mine\n- path: z.pcap\n  kind: benign\n- {entry}\n")
    (found,) = mistakes(path)
    assert found.startswith(f":4: not a capture's label: {said}")


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    text = "- {path: a, kind: x}\n- {path: b, kind: benign}\n- {kind: benign}\n"
    assert [line.split(": ")[0] for line in mistakes(written(tmp_path, text))] == [":1", ":3"]
    many = mistakes(written(tmp_path, "- {}\n" * 50))
    assert len(many) == 21 and many[-1] == ": and 30 more"


def test_a_capture_is_benign_or_of_attacks_of_one_origin(tmp_path: Path) -> None:
    attack = "- {path: a, kind: attack, family: scan, attackers: [10.0.0.1], origin: %s}\n"
    (said,) = mistakes(written(tmp_path, attack % "x" + "- {path: a, kind: benign, origin: x}\n"))
    assert said.startswith(":2: a is in line 1 too: ")
    (said,) = mistakes(written(tmp_path, attack % "x" + attack % "y"))
    assert said.startswith(":2: a is in line 1 too: ")
    assert len(read_labels(written(tmp_path, attack % "x" + attack % "x"))) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path: a.pcap\nkind: benign\n", ": no list of captures: begin each with `- path: `"),
        ("", ": no list of captures"),
        ("[]", ": no capture of kind attack or benign in it"),
        ("- path: a.pcap\n  kind: [benign\n", ":3: not YAML: "),
        ("- !!python/object:os.system {}\n", ":1: not YAML: could not determine a constructor"),
    ],
)
def test_what_is_no_list_of_labels_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (found,) = mistakes(written(tmp_path, text))
    assert found.startswith(said)
