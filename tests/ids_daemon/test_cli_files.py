"""No command overwrites what it reads, writes two things into one file, or empties a file too early."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ids_daemon.cli import main
from ids_daemon.cli.run import make_folders
from ids_daemon.config import EveOutput, Outputs, StatsOutput
from ids_daemon.syslog_address import parse_address
from tests.packets import at, udp_frame, write_pcap


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    frames = [udp_frame("10.0.0.1", "10.0.0.2", 5_000 + n, 53, b"x") for n in range(3)]
    return write_pcap(tmp_path / "a.pcap", frames, [at(n) for n in range(3)])


def refusal(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("option", ["--alerts", "--flows"])
def test_replay_does_not_overwrite_its_capture(
    capture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str
) -> None:
    before = capture.read_bytes()
    other = tmp_path / "link.csv"
    os.link(capture, other)
    line = refusal(capfd, "replay", capture, option, other, "--quiet")
    assert line == f"ids-daemon: {option}: {other} is the capture {capture} already; name another file"
    assert capture.read_bytes() == before


def test_flows_do_not_overwrite_their_capture(
    capture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    named = shutil.copy(capture, tmp_path / "a.csv")
    before = capture.read_bytes()
    assert "is the capture" in refusal(capfd, "flows", named, "-o", named)
    assert Path(named).read_bytes() == before


def test_two_outputs_at_one_path_are_refused(
    capture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    same = tmp_path / "same.csv"
    assert "is the file of --alerts already" in refusal(
        capfd, "replay", capture, "--alerts", same, "--flows", tmp_path / "." / "same.csv"
    )
    same = tmp_path / "same.parquet"
    assert "is the file of -o already" in refusal(capfd, "flows", capture, "-o", same, "--records", same)
    assert not same.exists()


@pytest.mark.parametrize("arguments", [["flows", "-o", "x.csv"], ["replay"]])
def test_standard_input_is_read_once(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    line = refusal(capfd, *arguments, "-", "-")
    assert line == "ids-daemon: standard input (-) is named twice; it can be read once"


@pytest.mark.parametrize("broken", [["nothing.pcap"], ["a.pcap", "--model", "nomodel"]])
def test_alerts_of_the_last_run_stay_until_there_are_others(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    alerts = tmp_path / "alerts.jsonl"
    alerts.write_text("kept\n")
    assert main(["replay", *broken, "--alerts", str(alerts), "--quiet"]) != 0
    assert alerts.read_text() == "kept\n"
    assert main(["replay", "a.pcap", "--alerts", str(alerts), "--quiet"]) == 0
    assert alerts.read_text() == ""


@pytest.mark.parametrize("command", ["flows", "replay"])
def test_flows_of_the_last_run_stay_where_nothing_could_be_read(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    output, records = Path("old.csv"), Path("old.parquet")
    wanted = ["-o", str(output), "--records", str(records)] if command == "flows" else ["--flows", "old.csv"]
    for path in (output, records):
        path.write_text("kept\n")
    before = set(tmp_path.iterdir())
    assert main([command, "nothing.pcap", *wanted]) == 1
    Path("empty.pcap").write_bytes(capture.read_bytes()[:24])
    cut = Path("cut.pcap")
    cut.write_bytes(capture.read_bytes()[:-1])
    assert output.read_text() == records.read_text() == "kept\n"
    assert set(tmp_path.iterdir()) == before | {tmp_path / "empty.pcap", tmp_path / "cut.pcap"}
    assert main([command, "nothing.pcap", "cut.pcap", *wanted]) == 1
    assert len(output.read_text().splitlines()) == 3
    assert main([command, "empty.pcap", *wanted]) == 0
    assert len(output.read_text().splitlines()) == 1


def test_flows_may_be_written_to_a_name_that_is_an_ending_alone(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["flows", str(capture), "-o", ".csv"]) == 0
    assert capfd.readouterr().err.splitlines()[-1] == "ids-daemon: 3 packets: 3 rows in .csv"
    assert len(Path(".csv").read_text().splitlines()) == 4


def test_udp_may_be_written_as_a_url() -> None:
    assert parse_address("udp://192.0.2.1:5514") == parse_address("udp:192.0.2.1:5514")
    with pytest.raises(ValueError, match="is no name of a host"):
        parse_address("udp:///var/run/log")


def test_tail_takes_any_number_of_lines(tmp_path: Path) -> None:
    (tmp_path / "eve.jsonl").write_text("")
    assert main(["tail", "--no-follow", "-n", "9" * 30, str(tmp_path / "eve.jsonl")]) == 0


def test_run_makes_the_folders_of_its_outputs_or_says_that_it_cannot(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    good, bad = f"{tmp_path}/log/ids/eve.jsonl", f"{tmp_path}/file/stats.jsonl"
    make_folders(Outputs(eve=EveOutput(path=good), stats=StatsOutput(path=bad)))
    assert (tmp_path / "log" / "ids").is_dir()
    assert capfd.readouterr().err == (
        f"ids-daemon: {tmp_path}/file: the folder of the outputs cannot be made: File exists;"
        " alerts wait for it\n"
    )


def test_an_interface_named_twice_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert "lo stands there twice" in refusal(capfd, "run", "-i", "lo", "-i", "lo")
