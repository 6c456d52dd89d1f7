"""One name for a class, whatever data set and encoding its label comes from."""

from __future__ import annotations

import pytest

from models.training.flows.classes import Named, decoded, named


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("BENIGN", ["BENIGN", "Benign", " benign ", "Normal Traffic"]),
        ("FTP brute force", ["FTP-Patator", "FTP-BruteForce"]),
        ("SSH brute force", ["SSH-Patator", "SSH-Bruteforce"]),
        ("DoS Slowloris", ["DoS slowloris", "DoS Slowloris", "DoS attacks-Slowloris"]),
        ("DoS Slowhttptest", ["DoS Slowhttptest", "DoS attacks-SlowHTTPTest"]),
        ("DoS Hulk", ["DoS Hulk", "DoS attacks-Hulk"]),
        ("DoS GoldenEye", ["DoS GoldenEye", "DoS attacks-GoldenEye"]),
        ("DDoS HOIC", ["DDOS attack-HOIC", "DDoS-HOIC"]),
        ("DDoS LOIC-HTTP", ["DDoS attacks-LOIC-HTTP", "DDoS-LOIC-HTTP"]),
        ("DDoS LOIC-UDP", ["DDOS attack-LOIC-UDP", "DDoS-LOIC-UDP"]),
        ("Infiltration", ["Infiltration", "Infilteration"]),
        ("Port scan", ["PortScan", "Portscan", "Port Scanning"]),
        ("Botnet", ["Bot", "Botnet", "Bots", "Botnet Ares"]),
        ("Web attack", ["Web Attacks", "WebAttack"]),
        (
            "Web SQL injection",
            ["Web Attack \ufffd Sql Injection", "Web Attack - SQL Injection", "SQL Injection"],
        ),
        ("Web XSS", ["Web Attack \u2013 XSS", "Web Attack \x96 XSS", "Brute Force -XSS"]),
        ("Web brute force", ["Web Attack \ufffd Brute Force", "Brute Force -Web"]),
    ],
)
def test_each_class_has_one_name(name: str, labels: list[str]) -> None:
    assert {named(label) for label in labels} == {Named(name)}


def test_a_label_that_is_not_known_keeps_its_spelling() -> None:
    assert named(" DrDoS_DNS ") == Named("DrDoS_DNS")
    assert named("Strange \u2013  Thing") == Named("Strange - Thing")


@pytest.mark.parametrize(
    "label", ["DoS Hulk - Attempted", "DoS Hulk-attempted", "DoS Hulk \u2013 Attempted "]
)
def test_an_attempted_attack_is_told_from_its_class(label: str) -> None:
    assert named(label) == Named("DoS Hulk", attempted=True)


@pytest.mark.parametrize("label", ["No Label", "NeedManualLabel", "CIC"])
def test_marks_of_flow_tools_are_no_classes(label: str) -> None:
    assert named(label) == Named("", unlabelled=True)


def test_an_empty_label_says_nothing() -> None:
    assert named("  ") == named("NaN") == Named("")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"Web \xe2\x80\x93 XSS", ("Web \u2013 XSS", "utf-8")),
        (b"Web \x96 XSS", ("Web \u2013 XSS", "cp1252")),
        (b"Web \x81 XSS", ("Web \x81 XSS", "latin-1")),
    ],
)
def test_text_is_decoded_by_the_first_encoding_that_fits(text: bytes, expected: tuple[str, str]) -> None:
    assert decoded(text) == expected
