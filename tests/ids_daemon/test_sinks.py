from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capture import ExtraMissing
from ids_daemon.config import Outputs, SyslogOutput
from ids_daemon.eve import EveFormat, Event
from ids_daemon.incidents import Incidents
from ids_daemon.sinks import Delivery, EveFile, Journal, Sinks, Stdout, Syslog, configured
from ids_daemon.sinks.eve import append_whole
from tests.ids_daemon.fakes import ATTACKER, HOME, VICTIM, event, events_of, finding, tell_all
from tests.ids_daemon.shared import ROOT

_WORD = r"[\x21-\x7e]"
_SD_NAME = r"[\x21\x23-\x3c\x3e-\x5c\x5e-\x7e]{1,32}"
_PARAMETER = rf' ({_SD_NAME})="((?:[^"\\\]]|\\["\\\]])*)"'
#: RFC 5424, section 6, strictly.
_RFC5424 = re.compile(
    r"<(?P<pri>0|[1-9]\d{0,2})>1 "
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}(?:Z|[+-]\d\d:\d\d)) "
    rf"(?P<host>-|{_WORD}{{1,255}}) (?P<app>-|{_WORD}{{1,48}}) (?P<proc>-|{_WORD}{{1,128}}) "
    rf"(?P<msgid>-|{_WORD}{{1,32}}) "
    rf"(?P<sd>-|(?:\[{_SD_NAME}(?:{_PARAMETER})*\])+)(?: (?P<msg>.*))?",
    re.DOTALL,
)


def parsed(datagram: bytes) -> dict[str, Any]:
    """The fields of an RFC 5424 message; asserts that it is one."""
    text = datagram.decode("utf-8")
    match = _RFC5424.fullmatch(text)
    assert match, text
    fields: dict[str, Any] = match.groupdict()
    fields["sd_id"] = fields["sd"][1:].split(" ")[0]
    values = re.findall(_PARAMETER, fields["sd"])
    fields["sd"] = {name: re.sub(r"\\(.)", r"\1", value) for name, value in values}
    assert fields["msg"].isascii() or fields["msg"].startswith("\ufeff")
    return fields


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A unix datagram socket that plays the syslog daemon, and its path."""
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(path)
        bound.settimeout(5)
        yield bound, path


def test_syslog_arrives_on_a_unix_socket(receiver: tuple[socket.socket, str]) -> None:
    bound, path = receiver
    sink = Syslog(SyslogOutput(address=path), host="gateway", process=812)
    told = event()
    sink.write(told)
    sink.close()
    fields = parsed(bound.recv(65_536))
    incident = told.object["alert"]["metadata"]["incident_id"][0]
    assert fields["pri"] == str(16 * 8 + 5)  # local0, notice
    assert fields["time"] == "2017-07-07T13:00:00.000000+00:00"
    assert (fields["host"], fields["app"], fields["proc"]) == ("gateway", "ids-daemon", "812")
    assert (fields["msgid"], fields["sd_id"]) == ("alert", "ids@32473")
    assert fields["sd"] == {
        "incident": incident,
        "update": "0",
        "state": "opened",
        "family": "scan",
        "score": "4.0000",
        "actor": ATTACKER,
        "target": VICTIM,
        "flows": "8",
        "signature_id": "1000001",
        "technique": "T1595.001",
        "community_id": told.object["community_id"],
        "sensor": "sensor-1",
    }
    assert fields["msg"] == (
        f"Port scan: {ATTACKER} -> {VICTIM}, 8 flows, score 4.0000, incident {incident} opened"
    )


def test_syslog_arrives_over_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(5)
        address = f"udp:127.0.0.1:{bound.getsockname()[1]}"
        sink = Syslog(SyslogOutput(address=address, facility="authpriv", app_name="ids"))
        sink.write(event(family="c2"))
        sink.close()
        datagram = bound.recv(65_536)
    fields = parsed(datagram)
    assert len(datagram) <= 2048
    assert fields["pri"] == str(10 * 8 + 2)  # authpriv, critical
    assert fields["app"] == "ids" and fields["proc"] == str(os.getpid())


def test_syslog_severity_follows_the_alert() -> None:
    sink = Syslog(SyslogOutput(address="/dev/log", facility="kern"))
    assert sink.message(event(family="bruteforce")).startswith(b"<4>1 ")
    closed = tell_all(Incidents(HOME), [finding()])[-1]
    assert sink.message(EveFormat("s", "m").event(closed)).startswith(b"<6>1 ")


def test_syslog_escapes_and_cuts() -> None:
    told = event()
    told.object["host"] = 'a"b]c\\d\x1b' + "ü" * 300
    told.object["alert"]["signature"] = "Scan é\n" * 1000
    for address, limit in (("udp:127.0.0.1", 2048), ("/dev/log", 8192)):
        message = Syslog(SyslogOutput(address=address)).message(told)
        assert limit - 4 < len(message) <= limit
        fields = parsed(message)
        assert fields["sd"]["sensor"] == 'a"b]c\\d ' + "ü" * 120
        assert fields["msg"].startswith("\ufeffScan é Scan") and fields["msg"].endswith("…")


def test_syslog_to_a_socket_that_is_not_there_fails_and_works_once_it_is(tmp_path: Path) -> None:
    sink = Syslog(SyslogOutput(address=str(tmp_path / "log")))
    with pytest.raises(FileNotFoundError):
        sink.write(event())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "log"))
        sink.write(event())
        assert parsed(bound.recv(65_536))
    sink.close()


def test_eve_file_appends_or_replaces_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "eve.jsonl"
    path.write_bytes(b"old\n")
    appended = EveFile(str(path))
    appended.write(event())
    assert path.read_bytes() == b"old\n" + event().line
    emptied = EveFile(str(path))
    emptied.open()
    emptied.empty()
    emptied.close()
    assert path.read_bytes() == b""


def test_eve_file_follows_a_rotation_when_reopened(tmp_path: Path) -> None:
    path = tmp_path / "eve.jsonl"
    sink = EveFile(str(path))
    sink.write(event())
    path.rename(tmp_path / "eve.jsonl.1")
    sink.write(event())
    sink.reopen()
    sink.write(event())
    assert len(events_of((tmp_path / "eve.jsonl.1").read_bytes())) == 2
    assert len(events_of(path.read_bytes())) == 1


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    """A file size limit stands in for the disk: it too takes a part of a line and refuses the rest."""
    path = tmp_path / "eve.jsonl"
    code = f"""
import os, resource, signal
from ids_daemon.sinks.eve import append_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
file = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
append_whole(file, b"x" * 63 + b"\\n")
try:
    append_whole(file, b"y" * 63 + b"\\n")
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "27"  # EFBIG
    assert path.read_bytes() == b"x" * 63 + b"\n"


def test_append_whole_to_a_full_device_fails() -> None:
    file = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left"):
            append_whole(file, b"x\n")
    finally:
        os.close(file)


def test_stdout_gives_eve_or_words(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    told = event()
    Stdout().write(told)
    assert capfdbinary.readouterr().out == told.line
    Stdout("text").write(told)
    line = capfdbinary.readouterr().out.decode()
    assert line.startswith("2017-07-07 13:00:00Z  [3]  Port scan: 203.0.113.9 -> 10.0.0.5, 8 flows")
    assert line.endswith("(failed connections to 42 services in 60 s (usual: below 6))\n")


def test_journal_gets_fields_to_search_by(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, dict[str, str]]] = []
    journal = types.SimpleNamespace(send=lambda message, **fields: sent.append((message, fields)))
    monkeypatch.setitem(sys.modules, "systemd", types.ModuleType("systemd"))
    monkeypatch.setitem(sys.modules, "systemd.journal", journal)
    told = event(family="dos")
    Journal().write(told)
    ((message, fields),) = sent
    assert message.startswith("Denial of service: 203.0.113.9 -> 10.0.0.5")
    assert fields["PRIORITY"] == "4" and fields["IDS_FAMILY"] == "dos"
    assert fields["IDS_INCIDENT"] == told.object["alert"]["metadata"]["incident_id"][0]
    assert len(fields["MESSAGE_ID"]) == 32


def test_journal_without_its_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd.journal", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'ids-daemon\[systemd\]'"):
        configured(Outputs.model_validate({"journal": {"enabled": True}}))


class Gate:
    """A sink that fails until told to work."""

    name = "gate"

    def __init__(self) -> None:
        self.works = threading.Event()
        self.tried = threading.Event()
        self.got: list[Event] = []
        self.reopened = 0

    def write(self, one: Event) -> None:
        self.tried.set()
        if not self.works.is_set():
            raise OSError(28, "No space left on device")
        self.got.append(one)

    def reopen(self) -> None:
        self.reopened += 1

    def close(self) -> None:
        pass


def numbered(count: int) -> list[Event]:
    return [Event({"n": n}, b"%d\n" % n) for n in range(count)]


def test_delivery_keeps_the_order() -> None:
    gate, lines = Gate(), []  # type: ignore[var-annotated]
    gate.works.set()
    delivery = Delivery(gate, 1000, lines.append)
    for one in numbered(500):
        delivery.put(one)
    delivery.close()
    assert gate.got == numbered(500) and lines == []
    assert delivery.as_dict() == {"delivered": 500, "dropped": 0, "failures": 0, "waiting": 0}


def test_a_failure_is_told_once_then_resumed_and_the_oldest_go_at_the_brim() -> None:
    gate, lines = Gate(), []  # type: ignore[var-annotated]
    delivery = Delivery(gate, 10, lines.append)
    events = numbered(30)
    delivery.put(events[0])
    assert gate.tried.wait(5)
    for one in events[1:]:
        delivery.put(one)
    gate.works.set()
    delivery.reopen()  # tries again at once
    delivery.close()
    assert gate.reopened == 1
    assert [one.object["n"] for one in gate.got] == list(range(20, 30))
    assert lines == [
        "gate: No space left on device; alerts wait until it works again",
        "gate: works again (20 alerts dropped so far)",
    ]
    counters = delivery.as_dict()
    assert counters["delivered"] + counters["dropped"] == 30 and counters["waiting"] == 0


def test_closing_a_sink_that_fails_ends_in_time_and_says_what_was_lost() -> None:
    gate, lines = Gate(), []  # type: ignore[var-annotated]
    delivery = Delivery(gate, 10, lines.append)
    for one in numbered(3):
        delivery.put(one)
    delivery.close(timeout_s=0.2)
    assert lines[-1] == "gate: 3 alerts were not delivered before the end"
    assert delivery.as_dict()["dropped"] == 3


def test_one_failing_sink_does_not_keep_others_waiting(tmp_path: Path) -> None:
    lines: list[str] = []
    path = tmp_path / "eve.jsonl"
    sinks = Sinks([EveFile("/dev/full"), EveFile(str(path))], 100, lines.append)
    for _ in range(50):
        sinks.put(event())
    for delivery in sinks._deliveries:
        delivery.close(timeout_s=0.2)
    assert path.read_bytes() == event().line * 50
    assert lines[0] == "EVE file /dev/full: No space left on device; alerts wait until it works again"
    assert sinks.as_dict()["EVE file /dev/full"]["dropped"] == 50


def test_configured_makes_what_is_asked_for() -> None:
    outputs = Outputs.model_validate(
        {"syslog": [{"address": "/dev/log"}, {"address": "udp:192.0.2.1"}], "stdout": {"enabled": True}}
    )
    assert [sink.name for sink in configured(outputs)] == [
        *("EVE file /var/log/ids-daemon/eve.jsonl", "syslog /dev/log", "syslog udp:192.0.2.1"),
        "standard output",
    ]
