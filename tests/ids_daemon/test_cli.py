from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, Self

import pytest

import capture
import models
from capture import PacketBatch
from ids_daemon import __version__, stages
from ids_daemon.cli import main
from ids_daemon.cli.tail import follow
from ids_daemon.config import Config
from tests.ids_daemon.fakes import FakeMeter, FakeScorer, event, events_of
from tests.ids_daemon.shared import ROOT
from tests.ids_daemon.test_pipeline import ATTACKER, VICTIM, scan
from tests.packets import arp_frame, at, batch_of, ethernet, ip, pcap_bytes, tcp_frame, vxlan, write_pcap

REAL_METER = stages.build_native_meter


@pytest.fixture(autouse=True)
def fake_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run with the fake meter and scorer, untouched by this machine's configuration."""

    def scoring(config: Config, own_addresses: Any = ()) -> stages.Scoring:
        scorer = FakeScorer()
        return stages.Scoring(scorer, "model-1", scorer.description)

    monkeypatch.setattr(stages, "build_native_meter", lambda config, **options: FakeMeter())
    monkeypatch.setattr(stages, "build_scoring", scoring)
    for package in (capture, models):
        monkeypatch.setitem(vars(package), "kernels_are_cached", lambda: True)
        monkeypatch.setitem(vars(package), "load_kernels", lambda: None)
    monkeypatch.setattr("ids_daemon.configfile.DEFAULT_FILE", "/nowhere/ids_daemon.yaml")
    monkeypatch.delenv("COLUMNS", raising=False)
    for name in [name for name in os.environ if name.startswith("IDS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def scan_pcap(tmp_path: Path) -> str:
    return str(write_pcap(tmp_path / "scan.pcap", *scan()))


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def ids(capfd: pytest.CaptureFixture[str]) -> Any:
    """Run a command; its exit code and what it said."""

    def command(*arguments: str) -> Said:
        try:
            code = main(arguments)
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
        captured = capfd.readouterr()
        return Said(code, captured.out, captured.err)

    return command


def test_replay_shows_incidents_and_a_summary(ids: Any, scan_pcap: str) -> None:
    said = ids("replay", scan_pcap)
    assert said.code == 0
    lines = said.out.splitlines()
    assert " ".join(lines[0].split()) == "Time (UTC) Family Actor → target Score Flows Evidence"
    assert re.fullmatch(
        r"2017-07-07 13:00:00  scan +203\.0\.113\.9 → 10\.0\.0\.5 +40\.50 +40 +40 flows *", lines[1]
    )
    assert max(map(len, lines)) <= 120
    summary = dict(line.strip().split(maxsplit=1) for line in lines[2:] if line.strip())
    assert (summary["packets"], summary["flows"], summary["incidents"]) == ("40", "40", "1")
    assert said.err == "ids-daemon: model-1: counts flows\n"


@pytest.mark.parametrize("columns", [40, 80, 100, 200])
def test_the_table_fits_the_terminal(
    ids: Any, scan_pcap: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    said = ids("replay", scan_pcap)
    assert max(map(len, said.out.splitlines())) <= columns
    if columns >= 80:
        assert "203.0.113.9 → 10.0.0.5" in said.out and "40 flows" in said.out


def test_replay_writes_alerts_and_flows_only_where_asked(ids: Any, scan_pcap: str, tmp_path: Path) -> None:
    alerts, flows = tmp_path / "alerts.jsonl", tmp_path / "flows.csv"
    before = set(tmp_path.iterdir())
    assert ids("replay", scan_pcap, "--quiet") == (0, "", "")
    assert set(tmp_path.iterdir()) == before
    said = ids("replay", scan_pcap, "--alerts", str(alerts), "--flows", str(flows))
    assert said.code == 0 and str(alerts) in said.out and str(flows) in said.out
    states = [one["alert"]["metadata"]["incident_state"] for one in events_of(alerts.read_bytes())]
    assert states == [["opened"], ["closed"]]
    header, *rows = flows.read_text().splitlines()
    assert header.endswith(",Community ID") and len(rows) == 40
    assert {row.rsplit(",", 1)[1][:2] for row in rows} == {"1:"}


def test_replay_replaces_the_alerts_and_makes_the_file_even_when_empty(ids: Any, tmp_path: Path) -> None:
    quiet = write_pcap(tmp_path / "quiet.pcap", *scan(2))
    alerts = tmp_path / "alerts.jsonl"
    alerts.write_text("old\n")
    assert ids("replay", str(quiet), "--alerts", str(alerts)).code == 0
    assert alerts.read_bytes() == b""


def test_two_replays_at_any_speed_give_the_same_bytes(ids: Any, scan_pcap: str, tmp_path: Path) -> None:
    written = []
    for number, speed in enumerate(("max", "max", "50")):
        alerts = tmp_path / f"{number}.jsonl"
        assert ids("replay", scan_pcap, "--quiet", "--speed", speed, "--alerts", str(alerts)).code == 0
        written.append(alerts.read_bytes())
    assert written[0] and len(set(written)) == 1


def test_several_captures_are_one(ids: Any, tmp_path: Path) -> None:
    paths = [str(write_pcap(tmp_path / f"{n}.pcap", *scan(4, first=n))) for n in range(3)]
    alerts = tmp_path / "alerts.jsonl"
    assert ids("replay", *paths, "--alerts", str(alerts), "--quiet").code == 0
    incidents = {one["alert"]["metadata"]["incident_id"][0] for one in events_of(alerts.read_bytes())}
    assert len(incidents) == 1  # no capture alone holds the five flows that the fake scorer wants


def test_a_cut_capture_is_scored_told_and_exit_code_1(ids: Any, scan_pcap: str, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(Path(scan_pcap).read_bytes()[:-7])
    said = ids("replay", str(cut))
    assert said.code == 1 and "203.0.113.9 → 10.0.0.5" in said.out
    assert f"ids-daemon: {cut}: " in said.err


def test_a_missing_capture_is_one_line_and_exit_code_1(ids: Any, tmp_path: Path) -> None:
    said = ids("replay", str(tmp_path / "no.pcap"), "--quiet")
    assert said.code == 1 and said.out == ""
    assert said.err.startswith(f"ids-daemon: {tmp_path}/no.pcap: ") and said.err.count("\n") == 1


def test_a_capture_without_ip_is_warned_about(ids: Any, tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "arp.pcap", [arp_frame("10.0.0.1", "10.0.0.2")], [at(0)])
    said = ids("replay", str(path), "--quiet")
    assert said.code == 0
    assert said.err == "ids-daemon: no packet in there could be metered, so nothing could be found\n"


def test_alerts_that_cannot_be_written_end_the_replay(ids: Any, scan_pcap: str, tmp_path: Path) -> None:
    said = ids("replay", scan_pcap, "--quiet", "--alerts", str(tmp_path / "no" / "a.jsonl"))
    assert said.code == 1
    assert said.err == (
        f"ids-daemon: {tmp_path}/no/a.jsonl: alerts cannot be written: No such file or directory; "
        "name another file\n"
    )
    said = ids("replay", scan_pcap, "--quiet", "--alerts", "/dev/full")
    assert said.code == 1
    assert said.err == (
        "ids-daemon: /dev/full: alerts cannot be written: No space left on device; name another file\n"
    )


def test_replay_tells_the_configured_outputs_only_with_sinks(
    ids: Any, scan_pcap: str, tmp_path: Path
) -> None:
    eve, config = tmp_path / "eve.jsonl", tmp_path / "c.yaml"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "log"))
        bound.settimeout(5)
        config.write_text(
            f"outputs:\n  eve: {{path: {eve}}}\n  syslog: [{{address: {tmp_path}/log}}]\n"
            "sensor: {name: gateway-7}\n"
        )
        assert ids("replay", scan_pcap, "--quiet", "--config", str(config)).code == 0
        assert not eve.exists()
        assert ids("replay", scan_pcap, "--quiet", "--config", str(config), "--sinks").code == 0
        assert [one["host"] for one in events_of(eve.read_bytes())] == ["gateway-7"] * 2
        assert b" opened" in bound.recv(65_536) and b" closed" in bound.recv(65_536)


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan", "inf"])
def test_a_speed_that_is_none_is_refused(ids: Any, scan_pcap: str, speed: str) -> None:
    said = ids("replay", scan_pcap, f"--speed={speed}")
    assert said.code == 2 and "is no speed" in said.err


def test_a_wrong_configuration_is_exit_code_2_with_a_line_for_each_problem(
    ids: Any, scan_pcap: str, tmp_path: Path
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("flow: {capacty: 1}\nalerting: {quiet: x}\n")
    said = ids("replay", scan_pcap, "--config", str(config))
    assert said.code == 2 and said.out == ""
    assert (
        said.err.splitlines()
        == [
            f"ids-daemon: {config}:2: alerting.quiet: wants a number, got 'x'",
            f"ids-daemon: {config}:1: flow.capacty: unknown key; did you mean `capacity`?",
        ]
        or said.err.count("\n") == 2
    )
    assert ids("check-config", "--config", str(config)).code == 2


def test_flows_writes_flows_and_records(ids: Any, scan_pcap: str, tmp_path: Path) -> None:
    flows, records = tmp_path / "f.csv", tmp_path / "r.parquet"
    said = ids("flows", scan_pcap, "-o", str(flows), "--records", str(records))
    assert said.code == 0
    assert said.err == f"ids-daemon: 40 packets: 40 rows in {flows}, 40 rows in {records}\n"
    assert len(flows.read_text().splitlines()) == 41
    assert "Community ID" not in flows.read_text()
    assert len(capture.read_records(str(records))) == 40
    assert ids("flows", scan_pcap).code == 2
    wrong = ids("flows", scan_pcap, "-o", "x.txt")
    assert wrong.code == 2
    assert wrong.err.endswith("argument -o/--output: x.txt: give a name that ends in .csv or .parquet\n")
    assert ids("flows", scan_pcap, "--records", "x.csv").code == 2
    assert ids("replay", scan_pcap, "--flows", "x.json").code == 2


def test_flows_alone_count_captured_bytes_and_records_whole_packets(
    ids: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "build_native_meter", REAL_METER)
    frames = [tcp_frame("10.0.0.1", "10.0.0.2", 40_000, 80, "PA", b"x" * 1000)]
    cut = write_pcap(tmp_path / "cut.pcap", [frames[0][:96]], [at(0)], wire_lengths=[len(frames[0])])
    flows, records = tmp_path / "f.csv", tmp_path / "r.parquet"

    def payload_in_csv() -> str:
        header, row = (line.split(",") for line in flows.read_text().splitlines())
        return row[header.index("Total Length of Fwd Packet")]

    said = ids("flows", str(cut), "-o", str(flows))
    assert said == (0, "", f"ids-daemon: 1 packet: 1 row in {flows}\n")
    assert payload_in_csv() == "42"
    said = ids("flows", str(cut), "-o", str(flows), "--records", str(records))
    assert said.err.splitlines()[1] == (
        f"ids-daemon: 1 packet cut by the snap length: beside --records, {flows} goes by the lengths in the "
        "headers; for CICFlowMeter's values write it alone"
    )
    assert payload_in_csv() == "1000"
    said = ids("flows", str(cut), "--records", str(records))
    assert said.err == f"ids-daemon: 1 packet: 1 row in {records}\n"
    assert capture.read_records(str(records))["total_length_of_fwd_packet"].tolist() == [1000.0]


def test_flows_alone_keep_a_flow_for_times_that_run_backwards(
    ids: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "build_native_meter", REAL_METER)
    ends = [("10.0.0.1", "10.0.0.2", 40_000, 80), ("10.0.0.3", "10.0.0.2", 40_000, 80)]
    frames = [tcp_frame(*ends[which], "A") for which in (0, 1, 0)]
    path = str(write_pcap(tmp_path / "back.pcap", frames, [at(0), at(200), at(60)]))
    flows, records = tmp_path / "f.csv", tmp_path / "r.parquet"
    assert ids("flows", path, "-o", str(flows)).err == f"ids-daemon: 3 packets: 2 rows in {flows}\n"
    ids("flows", path, "--records", str(records))
    assert (capture.read_records(str(records))["kind"] == capture.Kind.FINAL).sum() == 3


def test_flows_tell_what_was_left_out_and_what_was_cut_short(
    ids: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "build_native_meter", REAL_METER)
    frames = [tcp_frame("10.0.0.1", "10.0.0.2", 20_000 + i, 80, "S") for i in range(1_026)]
    frames += [arp_frame("10.0.0.1", "10.0.0.2")] * 2 + [frames[0][:40]]
    path = str(write_pcap(tmp_path / "some.pcap", frames, [at(0)] * 1_029))
    flows = tmp_path / "f.csv"
    assert ids("flows", path, "-o", str(flows), "--capacity", "1024").err.splitlines() == [
        "ids-daemon: 1,029 packets (1,026 metered; 2 ARP, 1 cut before the headers end):"
        f" 1,026 rows in {flows}",
        "ids-daemon: 2 flows cut short, as more than 1,024 lived at once: --capacity keeps more",
    ]


@pytest.mark.parametrize("asked", [False, True])
def test_flows_of_tunnels_are_the_inner_ones_when_asked_for(
    ids: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    monkeypatch.setattr(stages, "build_native_meter", REAL_METER)
    inner = tcp_frame("10.0.0.1", "10.0.0.2", 40_000, 80, "S")
    frame = ethernet(ip("192.0.2.1", "192.0.2.2", 17, vxlan(inner)))
    path = str(write_pcap(tmp_path / "vxlan.pcap", [frame], [at(0)]))
    wanted = "10.0.0.1-10.0.0.2-40000-80-6" if asked else "192.0.2.1-192.0.2.2-50000-4789-17"
    for command, option in (("flows", "-o"), ("replay", "--flows")):
        flows = tmp_path / f"{command}.csv"
        assert ids(command, path, option, str(flows), *["--decapsulate"] * asked).code == 0
        assert flows.read_text().splitlines()[1].split(",")[0] == wanted


@pytest.mark.parametrize("package", [capture, models])
def test_a_first_start_compiles_says_so_and_clears_up(
    package: ModuleType, ids: Any, scan_pcap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [tmp_path / f"kernels-{i:016x}" for i in range(5)]
    for folder in old:
        folder.mkdir()
    monkeypatch.setitem(vars(package), "kernels_are_cached", lambda: False)
    monkeypatch.setitem(vars(package), "kernel_folder", lambda: old[0])
    line = "ids-daemon: compiling for this processor, once: a minute or so\n"
    assert line in ids("replay", scan_pcap).err
    assert old[0].exists() and sum(folder.exists() for folder in old) == 4
    assert ids("replay", scan_pcap, "--quiet").err == ""
    assert ("compiling" in ids("flows", scan_pcap, "-o", str(tmp_path / "f.csv")).err) == (package is capture)
    other_meter = ids("replay", scan_pcap, "--meter", "cicflowmeter").err
    assert ("compiling" in other_meter) == (package is models)
    for output, compiled in (("-o", True), ("--records", False)):
        asked = [output, str(tmp_path / "f.parquet"), "--meter", "cicflowmeter"]
        compiles = compiled and package is capture
        assert ("compiling" in ids("flows", scan_pcap, *asked).err) == compiles


def test_flows_without_pyarrow_say_how_to_install_it(
    ids: Any, scan_pcap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = ids("flows", scan_pcap, "--records", str(tmp_path / "r.parquet"))
    assert said.code == 2
    assert said.err == (
        "ids-daemon: Parquet needs pyarrow, which is not installed: pip install 'ids-daemon[parquet]'\n"
    )


def test_help_and_version(ids: Any) -> None:
    assert ids("--version") == (0, f"ids-daemon {__version__}\n", "")
    assert ids().code == 2
    for command in ("replay", "run", "flows", "tail", "check-config"):
        said = ids(command, "--help")
        assert said.code == 0 and said.out.startswith(f"usage: ids-daemon {command}")


def test_tail_shows_the_last_alerts_of_any_tool(ids: Any, tmp_path: Path) -> None:
    path = tmp_path / "eve.jsonl"
    suricata = (
        b'{"timestamp":"2024-05-17T09:31:05.250143+0200","event_type":"alert","src_ip":"192.0.2.66",'
        b'"dest_ip":"198.51.100.7","proto":"TCP","alert":{"severity":2,"signature":"ET \\u001b[31mSCAN"}}\n'
    )
    path.write_bytes(
        event().line * 3
        + b'{"event_type":"flow","src_ip":"192.0.2.1"}\nno json\n\n[1]\n'
        + suricata
        + b'{"event_type":"alert","alert":7}\n{"event_type":"alert","alert":{"metadata":[]}}\n'
        + b'{"event_type":"alert","unfinished'
    )
    said = ids("tail", str(path), "-n", "4")
    assert said.code == 0
    ours, theirs, *odd = said.out.splitlines()
    assert ours.startswith(f"2017-07-07 13:00:00Z  [3]  Port scan: {ATTACKER} -> {VICTIM}, 8 flows")
    assert theirs == "2024-05-17 09:31:05+0200  [2]  ET  [31mSCAN: 192.0.2.66 -> 198.51.100.7"
    assert odd == ["-  [-]  alert: - -> -"] * 2
    assert said.err == f"ids-daemon: {path}: 2 lines are no EVE events and were passed over\n"
    assert len(ids("tail", str(path)).out.splitlines()) == 6
    assert ids("tail", str(path), "-n", "0").out == ""


def test_tail_of_a_capture_says_what_reads_it(ids: Any, scan_pcap: str) -> None:
    assert ids("tail", scan_pcap).err.endswith("passed over; captures are read by `ids-daemon replay`\n")


def test_tail_of_a_missing_file_is_one_line(ids: Any, tmp_path: Path) -> None:
    said = ids("tail", str(tmp_path / "no.jsonl"))
    assert said.code == 1 and said.err.endswith("no.jsonl: cannot be read: No such file or directory\n")


def test_following_survives_rotation_and_truncation(tmp_path: Path) -> None:
    path = tmp_path / "eve.jsonl"
    path.write_bytes(b"1\n")

    def rotate() -> None:
        with open(path, "ab") as old:
            path.rename(tmp_path / "eve.jsonl.1")
            old.write(b"4\n")
        path.write_bytes(b"5\n6\nhalf")

    def truncate() -> None:
        path.write_bytes(b"7\n")

    def append() -> None:
        with open(path, "ab") as file:
            file.write(b"2\n3\n")

    steps = iter([append, rotate, truncate])

    class Done(Exception):
        pass

    def wait() -> None:
        step = next(steps, None)
        if step is None:
            raise Done
        step()

    got = []
    with open(path, "rb") as file, pytest.raises(Done):
        for line in follow(str(path), file, wait):
            got.append(line)
    assert got == [b"1", b"2", b"3", b"4", b"5", b"6", b"7"]


def spawn(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """The command as its own process, to which Ctrl-C means something even where these tests run in the
    background of a shell, which has all below it ignore that."""
    return subprocess.Popen(
        [sys.executable, "-m", "ids_daemon", *arguments],
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "eve.jsonl"
    path.write_bytes(event().line * 2000)
    with spawn("tail", str(path), "-n", "2000", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
        assert tail.stdout is not None and tail.stderr is not None
        tail.stdout.readline()
        tail.stdout.close()
        assert tail.stderr.read() == b""
    assert tail.returncode == 128 + signal.SIGPIPE


def test_ctrl_c_ends_a_following_tail_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "eve.jsonl"
    path.write_bytes(event().line)
    with spawn("tail", str(path), "-f", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
        assert tail.stdout is not None and tail.stderr is not None
        assert b"Port scan" in tail.stdout.readline()
        with open(path, "ab") as file:
            file.write(event(family="c2").line)
        assert b"Command and control" in tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        assert tail.stderr.read() == b""
    assert tail.returncode == 128 + signal.SIGINT


class FakeLive:
    """A live source: a scan, then quiet; sends this process a signal when asked."""

    def __init__(self, script: Any) -> None:
        self.interfaces = ["eth7"]
        self._script = script
        self._ended = False

    def __enter__(self) -> Self:
        os.kill(os.getpid(), signal.SIGHUP)  # a logrotate, before there is anything to reopen
        return self

    def end(self) -> None:
        self._ended = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def counters(self) -> dict[str, int]:
        return {"kernel_packets": 43, "kernel_drops": 3}

    def __iter__(self) -> Iterator[PacketBatch]:
        yield batch_of(*scan())
        for step in self._script:
            step()
            yield batch_of([], [])
        wait_until(lambda: self._ended, "not told to end")


def wait_for(path: Path, count: int) -> None:
    """Until the file has so many lines; outputs write in threads of their own."""
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, f"{path}: nothing comes")


def wait_until(happened: Callable[[], bool], else_: str) -> None:
    end = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < end, else_
        time.sleep(0.01)


def test_the_closing_lines_come_whatever_fails_in_the_last_report(
    ids: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script = [lambda: os.kill(os.getpid(), signal.SIGTERM)]
    monkeypatch.setitem(vars(capture), "open_interface", lambda names, **options: FakeLive(script))

    def fails(*given: Any) -> None:
        raise KeyError("flows_cut")

    monkeypatch.setattr("ids_daemon.cli.run.stats_event", fails)
    eve, stats, config = tmp_path / "eve.jsonl", tmp_path / "stats.jsonl", tmp_path / "c.yaml"
    config.write_text(f"outputs: {{eve: {{path: {eve}}}, stats: {{path: {stats}}}}}")
    with pytest.raises(KeyError):
        ids("run", "--config", str(config), "-i", "eth7")
    assert "ids-daemon: stopped after " in capfd.readouterr().err
    assert events_of(eve.read_bytes())[-1]["alert"]["metadata"]["incident_state"] == ["closed"]
    assert events_of(stats.read_bytes())[-1]["capture"]["kernel_packets"] == 43


def test_run_writes_rotates_and_ends_on_sigterm(
    ids: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eve, stats = tmp_path / "eve.jsonl", tmp_path / "stats.jsonl"

    def rotate() -> None:
        wait_for(eve, 1)
        eve.rename(tmp_path / "eve.jsonl.1")
        os.kill(os.getpid(), signal.SIGHUP)

    script = [rotate, lambda: None, lambda: os.kill(os.getpid(), signal.SIGTERM), lambda: None]
    opened: dict[str, Any] = {}

    def open_interface(names: list[str], **options: Any) -> FakeLive:
        opened.update(options, names=names)
        return FakeLive(script)

    monkeypatch.setitem(vars(capture), "open_interface", open_interface)
    config = tmp_path / "c.yaml"
    config.write_text(
        f"outputs: {{eve: {{path: {eve}}}, stats: {{path: {stats}}}}}\nalerting: {{quiet: 86400}}"
    )
    said = ids("run", "--config", str(config), "-i", "eth7")
    assert said.code == 0
    assert callable(opened.pop("tell"))
    assert opened == {
        "names": ["eth7"],
        "promiscuous": True,
        "snaplen": 256,
        "filter": "",
        "own_traffic": True,
        "ring_bytes": 64 << 20,
        "block_bytes": 512 << 10,
        "block_timeout_ms": 10,
        "timeout_ms": 60,
    }
    (first,) = events_of((tmp_path / "eve.jsonl.1").read_bytes())
    last, counted = events_of(eve.read_bytes())
    assert counted["event_type"] == "stats"
    assert counted["stats"]["capture"] == {"kernel_packets": 43, "kernel_drops": 3}
    assert first["in_iface"] == "eth7"
    assert first["alert"]["metadata"]["incident_state"] == ["opened"]
    assert last["alert"]["metadata"]["incident_state"] == ["closed"]
    counters = events_of(stats.read_bytes())[-1]
    assert counters["sinks"][f"EVE file {eve}"]["delivered"] == 3  # those of the end, too
    assert counters["capture"] == {"kernel_packets": 43, "kernel_drops": 3}
    assert counters["pipeline"]["packets"] == 40 and counters["incidents"]["opened"] == 1
    lines = said.err.splitlines()
    assert lines[:3] == [
        *("ids-daemon: model-1: counts flows", "ids-daemon: watching eth7", "ids-daemon: outputs reopened")
    ]
    assert re.fullmatch(
        r"ids-daemon: stopped after \d+ s: 40 packets \(3 dropped by the kernel\), 40 flows, 1 incident",
        lines[3],
    )
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("EVE")]


def test_run_without_an_interface_says_what_to_do(ids: Any) -> None:
    said = ids("run")
    assert said.code == 2
    assert said.err.startswith("ids-daemon: capture.interfaces: is empty: name an interface there or with -i")


def test_ctrl_c_during_a_replay_tells_what_was_found_so_far(
    ids: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(FakeMeter):
        def process(self, batch: PacketBatch) -> Iterator[Any]:
            os.kill(os.getpid(), signal.SIGINT)
            return super().process(batch)

    monkeypatch.setattr(stages, "build_native_meter", lambda config, **options: Interrupting())
    frames, times = scan()
    path = tmp_path / "long.pcap"
    path.write_bytes(pcap_bytes(frames * 300, [t + n * 10**9 for n in range(300) for t in times]))
    said = ids("replay", str(path))
    assert said.code == 130 and "203.0.113.9 → 10.0.0.5" in said.out
    assert said.err.endswith("stopped by SIGINT before the end of the captures\n")
