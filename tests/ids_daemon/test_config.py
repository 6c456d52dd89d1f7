from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ids_daemon.cli import main
from ids_daemon.config import Config
from ids_daemon.configfile import load
from ids_daemon.errors import ConfigError
from ids_daemon.syslog_address import SyslogAddress, parse_address
from tests.ids_daemon.shared import ROOT


def wrong(tmp_path: Path, text: str, **environment: str) -> list[str]:
    """The lines of the errors of a configuration, without the folder of its file."""
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(file), environment=environment)
    return [line.replace(f"{tmp_path}/", "") for line in caught.value.lines]


def test_the_shipped_file_shows_every_key_with_its_default() -> None:
    file = ROOT / "etc" / "ids_daemon.yaml"
    assert yaml.safe_load(file.read_text()) == Config().model_dump()
    assert load(str(file), environment={}) == Config()


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("detector: {runtime: litert, device: cpu, meter: cicflowmeter}\n")
    environment = {"IDS_DETECTOR__DEVICE": "gpu", "IDS_DETECTOR__METER": "cicflowmeter", "IDS_HOME": "/x"}
    config = load(str(file), {"detector.meter": "native", "detector.model": None}, environment)
    detector = config.detector
    assert (detector.meter, detector.device, detector.runtime, detector.model) == (
        *("native", "gpu", "litert"),
        None,
    )


def test_environment_values_are_yaml() -> None:
    config = load(environment={
        "IDS_CAPTURE__INTERFACES": "[eth0, wg0]",
        "IDS_OUTPUTS__EVE__PATH": "/tmp/eve.jsonl",
        "IDS_ALERTING__THRESHOLD": "2.5",
    })  # fmt: skip
    assert config.capture.interfaces == ["eth0", "wg0"]
    assert config.outputs.eve.path == "/tmp/eve.jsonl"
    assert config.alerting.threshold == 2.5


def test_a_section_with_all_keys_commented_out_is_the_default(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("capture:\n  # interfaces: []\n")
    assert load(str(file), environment={}) == Config()


def test_an_unknown_key_names_line_path_and_the_key_that_was_meant(tmp_path: Path) -> None:
    assert wrong(tmp_path, "sensor: {name: x}\nflow:\n  capacty: 5\n") == [
        "c.yaml:3: flow.capacty: unknown key; did you mean `capacity`?"
    ]
    assert wrong(tmp_path, "quiet: 5\n") == ["c.yaml:1: quiet: unknown key; did you mean `alerting.quiet`?"]
    assert wrong(tmp_path, "sensor: {zzz: 1}") == ["c.yaml:1: sensor.zzz: unknown key; here are name"]


def test_wrong_types_and_values_are_told_all_at_once(tmp_path: Path) -> None:
    text = """\
sensor:
  name: 12
flow:
  capacity: "131072"
  key_vlan: 1
capture:
  interfaces: eth0
alerting:
  quiet: 0.5
  threshold: .nan
detector:
  meter: fast
windows:
  home_networks: [10.0.0.1/8]
outputs:
  eve: off
  syslog:
    - facility: local9
"""
    assert wrong(tmp_path, text) == [
        "c.yaml:2: sensor.name: wants a text (in quotes, if it looks like a number), got 12",
        "c.yaml:7: capture.interfaces: wants a list, such as [a, b], got 'eth0'",
        "c.yaml:4: flow.capacity: wants a whole number, got '131072'",
        "c.yaml:5: flow.key_vlan: wants true or false, got 1",
        "c.yaml:14: windows.home_networks.0: not a network such as 192.168.0.0/16: "
        "10.0.0.1/8 has host bits set; got '10.0.0.1/8'",
        "c.yaml:12: detector.meter: wants 'native' or 'cicflowmeter', got 'fast'",
        "c.yaml:10: alerting.threshold: wants a finite number, got nan",
        "c.yaml:9: alerting.quiet: wants at least 1.0, got 0.5",
        "c.yaml:16: outputs.eve: wants a section with keys of its own, got False",
        "c.yaml:18: outputs.syslog.0.address: is missing: give it a value",
        "c.yaml:18: outputs.syslog.0.facility: not a facility: kern, user, mail, daemon, auth, syslog, lpr, "
        "news, uucp, cron, authpriv, ftp, local0, local1, local2, local3, local4, local5, local6, local7; "
        "got 'local9'",
    ]


@pytest.mark.parametrize("command", ["check-config", "run"])
def test_a_filter_that_is_none_is_told_with_its_key_before_anything_else(
    tmp_path: Path, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text("capture:\n  interfaces: [lo]\n  filter: vlan 7\n")
    assert main([command, "--config", str(tmp_path / "c.yaml")]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"ids-daemon: {tmp_path}/c.yaml:3: capture.filter: the kernel takes VLAN tags")
    assert said.err.count("\n") == 1


def test_without_libpcap_a_filter_says_what_is_missing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    file = tmp_path / "c.yaml"
    file.write_text("capture:\n  filter: tcp\n")
    assert main(["check-config", "--config", str(file)]) == 2
    assert ":2: capture.filter: libpcap is needed to compile it: apt-get install" in capfd.readouterr().err
    assert load(str(file), environment={}).capture.filter == "tcp"  # a replay does not need it
    file.write_text("capture:\n  filter: ''\n")
    assert main(["check-config", "--config", str(file)]) == 0


def test_a_folder_is_no_file_to_write_to(tmp_path: Path) -> None:
    (line,) = wrong(tmp_path, "outputs: {eve: {path: /etc}}")
    assert line == "c.yaml:1: outputs.eve.path: is a folder: name a file in it; got '/etc'"


def test_the_environment_is_named_where_it_is_wrong(tmp_path: Path) -> None:
    assert wrong(tmp_path, "", IDS_FLOW__CAPACITY="many") == [
        "IDS_FLOW__CAPACITY: flow.capacity: wants a whole number, got 'many'"
    ]
    assert wrong(tmp_path, "", IDS_FLOW__CAPACTY="1") == [
        "IDS_FLOW__CAPACTY: flow.capacty: unknown key; did you mean `capacity`?"
    ]


def test_a_repeated_key_is_refused_with_both_lines(tmp_path: Path) -> None:
    assert wrong(tmp_path, "flow:\n  capacity: 4096\n  capacity: 8192\n") == [
        "c.yaml:3: flow.capacity: given twice (first in line 2): remove one"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flow: [", "c.yaml:1: not YAML: expected the node content, but found '<stream end>'"),
        ("a: 1\n\tb: 2\n", "c.yaml:2: not YAML: found character '\\t' that cannot start any token"),
        ("- 1", "c.yaml:1: wants sections such as `sensor:`, got [1]"),
        ("flow: &x {}\n", "c.yaml:1: anchors and aliases are not taken: write the value out"),
        (
            "flow: !!python/object:os.system {}\n",
            "c.yaml:1: the tag tag:yaml.org,2002:python/object",
        ),
        ("sensor: !!python/name:os.system\n", "c.yaml:1: not YAML: could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", "c.yaml:2: not YAML: but found another document"),
        ("? [a]\n: 1\n", "c.yaml:1: a key must be a plain word"),
        ("\x00", "c.yaml: not YAML: unacceptable character"),
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (line,) = wrong(tmp_path, text)
    assert line.startswith(message) and "\n" not in line


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^/nowhere/c.yaml: cannot be read: No such file"):
        load("/nowhere/c.yaml")


def test_syslog_addresses() -> None:
    assert parse_address("/dev/log") == SyslogAddress(path="/dev/log")
    assert parse_address("udp:192.0.2.1") == SyslogAddress(host="192.0.2.1", port=514)
    assert parse_address("udp:logs.example:5514") == SyslogAddress(host="logs.example", port=5514)
    assert parse_address("udp:[2001:db8::1]:514") == SyslogAddress(host="2001:db8::1", port=514)
    for text in ("", "tcp:x", "udp:", "udp:x:0", "udp:x:99999", "udp:2001:db8::1", "/" + "x" * 200):
        with pytest.raises(ValueError):
            parse_address(text)


def test_configuration_loads_neither_numba_nor_a_model_runtime() -> None:
    code = (
        "import sys\nfrom ids_daemon.cli import main\nmain(['check-config', '--effective'])\n"
        "main(['tail', '--no-follow', '/dev/null'])\n"
        "print(sorted({'numba', 'ai_edge_litert', 'tensorflow', 'scapy', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.endswith("[]\n")
    assert yaml.safe_load(done.stdout.removesuffix("[]\n")) == Config().model_dump()
