"""The whole way, with the model that ships: a recorded capture in, incidents out, as a person runs it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard

from capture.columns import feature_hash
from ids_daemon.cli import main
from tests.ids_daemon.test_sinks import parsed
from tests.packets import arp_frame, at, split, write_pcap

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "tests" / "data" / "demo.pcapng.zst"
LABELS = ROOT / "tests" / "data" / "demo.labels.jsonl"
PRETRAINED = ROOT / "models" / "pretrained"

#: Techniques of the demo capture that the shipped bundle of a meter finds.
FOUND = {
    "native": {"nmap-syn", "masscan-telnet", "syn-flood", "slow-headers"},
    "cicflowmeter": {"nmap-syn", "masscan-telnet", "medusa-ssh", "syn-flood", "slow-headers"},
}

#: Two minutes of a home network with six attacks: a person reads so many incidents gladly.
A_HANDFUL = 8

native = pytest.mark.skipif(
    not (PRETRAINED / "native").is_dir(), reason="no model ships: models/pretrained/native is not there"
)


def environment() -> dict[str, str]:
    """This process's without a setting of the daemon's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("IDS_", "COLUMNS"))}


def spawn(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does, in a process of its own."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 600} | options
    command = [sys.executable, "-m", "ids_daemon", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment(), text=True, **options)


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def ids(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command in this process; its exit code and what it said."""
    for name in [name for name in os.environ if name.startswith(("IDS_", "COLUMNS"))]:
        monkeypatch.delenv(name)

    def command(*arguments: str | Path) -> Said:
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Said(code, captured.out, captured.err)

    return command


def events(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def metadata(event: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = event["alert"]["metadata"]
    return found


def labels() -> list[dict[str, Any]]:
    return events(LABELS.read_bytes())


def attackers() -> set[str]:
    return {attacker for label in labels() for attacker in label["attackers"]}


def who_was_found(alerts: bytes) -> dict[str, list[str]]:
    """For each technique of the demo capture the families of incidents that its attacker opened."""
    found: dict[str, list[str]] = {}
    for label in labels():
        families = found.setdefault(label["technique"], [])
        for event in events(alerts):
            told = event["timestamp"]
            begins, ends = (
                time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(label[key] + slack))
                for key, slack in (("start", 0), ("end", 120))
            )
            if metadata(event)["incident_state"] == ["opened"] and begins <= told <= ends:
                if event["src_ip"] in label["attackers"]:
                    families += metadata(event)["family"]
    return found


def show(found: dict[str, list[str]]) -> None:
    """A table of what was found, for who reads the test's output."""
    print(f"\n{'technique':16} {'attacker':16} {'labelled':11} named")
    for label in labels():
        named = ", ".join(found[label["technique"]]) or "-"
        print(f"{label['technique']:16} {label['attackers'][0]:16} {label['family']:11} {named}")


# -- a replay


class Replay(NamedTuple):
    run: subprocess.CompletedProcess[str]
    alerts: bytes
    path: Path


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """The demo capture replayed as README says, once."""
    path = tmp_path_factory.mktemp("replay") / "alerts.jsonl"
    run = spawn("replay", DEMO, "--alerts", path)
    assert run.returncode == 0, run.stderr
    return Replay(run, path.read_bytes(), path)


@native
def test_replay_names_the_attackers_and_nobody_else(replay: Replay) -> None:
    found = who_was_found(replay.alerts)
    show(found)
    assert {technique for technique, families in found.items() if families} >= FOUND["native"]
    assert "scan" in found["nmap-syn"] and "scan" in found["masscan-telnet"]
    assert "dos" in found["syn-flood"] and "dos" in found["slow-headers"]
    opened = [one for one in events(replay.alerts) if metadata(one)["incident_state"] == ["opened"]]
    assert len(opened) <= A_HANDFUL
    assert {actor for one in opened for actor in metadata(one)["actors"]} <= attackers()


@native
def test_replay_shows_each_incident_in_a_table_and_adds_up(replay: Replay) -> None:
    opened = [one for one in events(replay.alerts) if metadata(one)["incident_state"] == ["opened"]]
    for one in opened:
        assert one["src_ip"] in replay.run.stdout
    lines = replay.run.stdout.splitlines()
    summary = dict(line.split(maxsplit=1) for line in lines if line.strip()[:1].isalpha())
    assert summary["packets"].startswith("30,897 (30,857 metered; 40 ARP)")
    assert summary["incidents"].strip() == str(len(opened))
    assert re.fullmatch(r"ids-daemon: native\S*: LiteRT on CPU\n", replay.run.stderr)


@native
def test_every_incident_is_closed_once_after_it_was_opened(replay: Replay) -> None:
    states: dict[str, list[str]] = {}
    for one in events(replay.alerts):
        states.setdefault(metadata(one)["incident_id"][0], []).append(metadata(one)["incident_state"][0])
    for of_incident in states.values():
        assert of_incident[0] == "opened" and of_incident[-1] == "closed"
        assert set(of_incident[1:-1]) <= {"escalated"}


@native
def test_another_replay_gives_the_same_bytes(replay: Replay, tmp_path: Path) -> None:
    run = spawn("replay", DEMO, "--quiet", "--alerts", tmp_path / "a.jsonl")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert (tmp_path / "a.jsonl").read_bytes() == replay.alerts


@native
def test_a_paced_replay_gives_the_same_bytes(ids: Any, replay: Replay, tmp_path: Path) -> None:
    assert ids("replay", DEMO, "--quiet", "--speed", "50", "--alerts", tmp_path / "a.jsonl") == (0, "", "")
    assert (tmp_path / "a.jsonl").read_bytes() == replay.alerts


@native
@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 61, 100_000])
def test_packets_in_batches_of_any_size_give_the_same_bytes(replay: Replay, size: int) -> None:
    from capture import open_capture
    from ids_daemon.config import Config
    from ids_daemon.eve import EveFormat
    from ids_daemon.pipeline import Pipeline
    from ids_daemon.stages import build_incidents, build_meter, build_scoring

    config, told = Config(), list[bytes]()
    scoring = build_scoring(config)
    with open_capture(str(DEMO)) as capture:
        eve = EveFormat(config.sensor.name, scoring.model, 0, lambda number: capture.interfaces[number])
        pipeline = Pipeline(
            build_meter(config), scoring.scorer, build_incidents(config), eve,
            lambda event: told.append(event.line),
        )  # fmt: skip
        pipeline.run(part for batch in capture for part in split(batch, [size] * (len(batch) // size)))
    assert b"".join(told) == replay.alerts


@native
@pytest.mark.shared
def test_every_line_is_valid_eve_by_the_schemas_of_suricata_7_and_9(replay: Replay, shared: Path) -> None:
    schemas = [shared / "specs" / name for name in ("eve-schema.json", "eve-schema-7.0.10.json")]
    options = [text for schema in schemas for text in ("--schema", str(schema))]
    check = [sys.executable, str(shared / "tools" / "check_eve.py"), str(replay.path), *options]
    run = subprocess.run(check, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert replay.alerts.count(b"\n") >= 2 * len(FOUND["native"])


# -- the outputs of a configuration


@contextlib.contextmanager
def receiving(bound: socket.socket) -> Iterator[list[bytes]]:
    """Take datagrams as they come, until the block has ended and nothing is left."""
    taken: list[bytes] = []
    ended = threading.Event()

    def take() -> None:
        while True:
            try:
                taken.append(bound.recv(65_536))
            except TimeoutError:
                if ended.is_set():
                    return

    bound.settimeout(0.2)
    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield taken
    finally:
        ended.set()
        thread.join()


@native
def test_each_alert_reaches_syslog_and_the_eve_file_of_a_configuration(
    ids: Any, replay: Replay, tmp_path: Path
) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as remote,
    ):
        local.bind(str(tmp_path / "log"))
        remote.bind(("127.0.0.1", 0))
        config = tmp_path / "ids_daemon.yaml"
        config.write_text(
            f"outputs:\n  eve: {{path: {tmp_path}/eve.jsonl}}\n  syslog:\n    - address: {tmp_path}/log\n"
            f"    - {{address: 'udp:127.0.0.1:{remote.getsockname()[1]}', facility: authpriv}}\n"
        )
        with receiving(local) as on_socket, receiving(remote) as over_udp:
            assert ids("replay", DEMO, "--quiet", "--config", config, "--sinks") == (0, "", "")
    assert (tmp_path / "eve.jsonl").read_bytes() == replay.alerts
    expected = [
        (metadata(one)["incident_id"][0], metadata(one)["incident_state"][0], one["src_ip"])
        for one in events(replay.alerts)
    ]
    for datagrams, facility in ((on_socket, 16), (over_udp, 10)):
        messages = [parsed(datagram) for datagram in datagrams]  # strictly by RFC 5424
        data = [message["sd"] for message in messages]
        assert [(one["incident"], one["state"], one["actor"]) for one in data] == expected
        assert {int(message["pri"]) // 8 for message in messages} == {facility}


@native
def test_alerts_that_a_sink_did_not_take_end_with_exit_code_1(ids: Any, tmp_path: Path) -> None:
    config = tmp_path / "ids_daemon.yaml"
    config.write_text(
        f"outputs:\n  eve: {{path: {tmp_path}/eve.jsonl}}\n  syslog:\n    - address: {tmp_path}/nobody\n"
    )
    said = ids("replay", DEMO, "--quiet", "--config", config, "--sinks")
    assert said.code == 1
    assert "alerts were not delivered before the end" in said.err


# -- the other meter


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("cicflowmeter") is None,
    reason="needs cicflowmeter: pip install 'ids-daemon[reference]'",
)
@pytest.mark.skipif(
    not (PRETRAINED / "cicflowmeter").is_dir(), reason="models/pretrained/cicflowmeter is not there"
)
def test_the_cicflowmeter_meter_names_attackers_too(tmp_path: Path) -> None:
    run = spawn("replay", DEMO, "--meter", "cicflowmeter", "--alerts", tmp_path / "a.jsonl")
    assert run.returncode == 0, run.stderr
    assert "alerts come later than with the native meter" in run.stderr
    found = who_was_found((tmp_path / "a.jsonl").read_bytes())
    show(found)
    assert {technique for technique, families in found.items() if families} >= FOUND["cicflowmeter"]


# -- what cannot be read


@native
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "directory"),
        (Path.touch, "empty"),
        (lambda path: path.write_text("name,age\nAda,36\n" * 99), "is not a pcap or pcapng capture"),
        (lambda path: path.write_bytes(b"\x28\xb5\x2f\xfd" + b"\xff" * 99), "zst"),
    ],
)
def test_what_is_no_capture_is_one_line_and_exit_code_1(
    ids: Any, tmp_path: Path, make: Any, reason: str
) -> None:
    path = tmp_path / "capture.pcap"
    make(path)
    said = ids("replay", path, "--quiet", "--alerts", tmp_path / "a.jsonl")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"ids-daemon: {path}: ") and said.err.count("\n") == 1
    assert reason in said.err
    assert (tmp_path / "a.jsonl").read_bytes() == b""


@native
@pytest.mark.parametrize("compressed", [False, True])
def test_a_cut_capture_is_told_after_what_was_in_it(
    ids: Any, replay: Replay, tmp_path: Path, compressed: bool
) -> None:
    whole = DEMO.read_bytes()
    if not compressed:
        whole = zstandard.ZstdDecompressor().decompressobj().decompress(whole)
    path = tmp_path / ("cut.pcapng.zst" if compressed else "cut.pcapng")
    path.write_bytes(whole[: len(whole) * 3 // 5 + 1])
    said = ids("replay", path, "--quiet", "--alerts", tmp_path / "a.jsonl")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"ids-daemon: {path}: ") and said.err.count("\n") == 1
    assert "cut" in said.err
    alerts = (tmp_path / "a.jsonl").read_bytes()
    assert who_was_found(alerts)["nmap-syn"] == who_was_found(replay.alerts)["nmap-syn"]
    assert events(alerts)[-1]["alert"]["metadata"]["incident_state"] == ["closed"]


@native
def test_a_capture_without_ip_packets_is_no_failure_but_warned_about(ids: Any, tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "arp.pcap", [arp_frame("10.0.0.1", "10.0.0.2")] * 3, map(at, range(3)))
    said = ids("replay", path, "--quiet", "--alerts", tmp_path / "a.jsonl")
    assert said == (0, "", "ids-daemon: no packet in there could be metered, so nothing could be found\n")
    assert (tmp_path / "a.jsonl").read_bytes() == b""


# -- models that cannot be used


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(PRETRAINED / "native", tmp_path / "bundle")
    return tmp_path / "bundle"


def refused(ids: Any, bundle: Path) -> str:
    """What is said of a bundle: one line, before a packet is read."""
    said = ids("replay", DEMO, "--model", bundle)
    assert (said.code, said.out) == (2, "") and said.err.count("\n") == 1
    prefix = f"ids-daemon: detector.model: {bundle}"
    assert said.err.startswith(prefix)
    return str(said.err.removeprefix(prefix))


@native
def test_a_model_that_cannot_be_read_is_one_line_and_exit_code_2(
    ids: Any, copied: Path, tmp_path: Path
) -> None:
    assert refused(ids, tmp_path / "none") == ": no such bundle: check the path\n"
    assert refused(ids, DEMO).startswith(": not a bundle, neither a folder nor a zip")
    (copied / "weights.npz").write_bytes(b"PK")
    assert refused(ids, copied).startswith("/weights.npz: its SHA-256 is not the manifest's")
    (copied / "manifest.json").unlink()
    assert refused(ids, copied) == ": not a bundle, it has no manifest.json: check the path\n"


@native
def test_a_bundle_for_other_features_is_refused(ids: Any, copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    features = manifest["features"]
    features["hash"] = "0123456789abcdef"
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert "its feature hash is not that of its features" in refused(ids, copied)
    features["rows"][0] = "flow_duration_ms"
    features["hash"] = feature_hash([*features["rows"], *features["counters"]], "native")
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert f": made for other features ({features['hash']}) than this version's" in refused(ids, copied)


@native
def test_a_bundle_of_the_other_meter_is_refused_with_the_remedy(ids: Any, copied: Path) -> None:
    said = ids("replay", DEMO, "--meter", "cicflowmeter", "--model", copied)
    assert said.code == 2 and said.err.count("\n") == 1
    assert "made for the meter 'native', not for 'cicflowmeter': choose --meter native" in said.err


# -- what cannot be written


@native
@pytest.mark.parametrize("option", ["--alerts", "--flows"])
def test_an_output_that_cannot_be_written_is_one_line_and_exit_code_1(
    ids: Any, tmp_path: Path, option: str
) -> None:
    full = tmp_path / "full.csv"
    full.symlink_to("/dev/full")
    for path, reason in (
        (tmp_path / "none" / "out.csv", "No such file or directory"),
        (full, "No space left on device"),
    ):
        said = ids("replay", DEMO, "--quiet", option, path)
        assert (said.code, said.out) == (1, "")
        assert said.err.startswith(f"ids-daemon: {path}: ") and said.err.count("\n") == 1
        assert f"cannot be written: {reason}" in said.err
    assert full.is_symlink()


@pytest.mark.parametrize(
    "arguments", [["tail", "FILE"], pytest.param(["replay", str(DEMO)], marks=native), ["check-config"]]
)
def test_a_full_standard_output_is_one_line_and_exit_code_1(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "eve.jsonl").write_text('{"event_type":"alert"}\n')
    given = [argument.replace("FILE", str(tmp_path / "eve.jsonl")) for argument in arguments]
    with open("/dev/full", "w") as full:
        run = spawn(*given, stdout=full)
    assert run.returncode == 1
    line = "ids-daemon: standard output: cannot be written: No space left on device"
    assert [one for one in run.stderr.splitlines() if "LiteRT" not in one] == [line]


def test_a_closed_standard_output_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "eve.jsonl").write_text('{"event_type":"alert"}\n')
    command = f'exec "{sys.executable}" -m ids_daemon tail "{tmp_path}/eve.jsonl" >&-'
    run = subprocess.run(["sh", "-c", command], cwd=ROOT, env=environment(), capture_output=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, b"")


# -- live


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace of the test's own with nothing but its loopback."""
    if shutil.which("ip") is None:
        pytest.skip("needs iproute2")
    name = f"ids-e2e-{os.getpid()}"
    added = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if added.returncode:
        pytest.skip(f"needs the right to make network namespaces: {added.stderr.strip()}")
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


#: From 127.0.0.66 to closed ports of 127.0.0.1, for three seconds at most.
_SCAN = """
import socket, time
ends, port = time.monotonic() + 3, 1000
while time.monotonic() < ends and port < 1400:
    port += 1
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.66", 0))
        tcp.connect_ex(("127.0.0.1", port))
        udp.bind(("127.0.0.66", 0))
        udp.sendto(b"?", ("127.0.0.1", port))
    time.sleep(0.005)
print(port - 1000)
"""


@native
@pytest.mark.root
def test_run_watches_an_interface_tells_of_a_scan_and_ends_on_sigterm(namespace: str, tmp_path: Path) -> None:
    config = tmp_path / "ids_daemon.yaml"
    config.write_text(
        f"outputs: {{eve: {{path: {tmp_path}/eve.jsonl}}, stats: {{path: {tmp_path}/stats.jsonl}}}}\n"
    )
    inside = ["ip", "netns", "exec", namespace, sys.executable]
    daemon = subprocess.Popen(
        [*inside, "-m", "ids_daemon", "run", "-i", "lo", "--config", str(config)],
        cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert daemon.stderr is not None
        for line in daemon.stderr:
            if line == "ids-daemon: watching lo\n":
                break
        scan = subprocess.run([*inside, "-c", _SCAN], capture_output=True, text=True, check=True, timeout=60)
        ports = int(scan.stdout)
        time.sleep(1.5)  # the snapshots of one-packet flows are due a second after them
        daemon.send_signal(signal.SIGTERM)
        rest = daemon.stderr.read()
        assert daemon.wait(60) == 0
    finally:
        daemon.kill()
        daemon.wait()
        daemon.stderr.close()
    summary = re.fullmatch(
        r"ids-daemon: stopped after \d+ s: ([\d,]+) packets \(0 dropped by the kernel\), ([\d,]+) flows, "
        r"(\d+) incidents?\n",
        rest,
    )
    assert summary, rest
    packets, flows, incidents = (int(text.replace(",", "")) for text in summary.groups())
    assert packets >= 4 * ports  # SYN and RST, datagram and unreachable
    assert flows >= 2 * ports
    written = events((tmp_path / "eve.jsonl").read_bytes())
    alerts = [one for one in written if one["event_type"] == "alert"]
    assert incidents == sum(metadata(one)["incident_state"] == ["opened"] for one in alerts) >= 1
    assert {one["in_iface"] for one in alerts} == {"lo"}
    assert "127.0.0.66" in {actor for one in alerts for actor in metadata(one)["actors"]}
    counters = events((tmp_path / "stats.jsonl").read_bytes())[-1]
    assert counters["pipeline"]["packets"] == packets
