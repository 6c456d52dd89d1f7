"""The configuration: every key, its type, its bounds and its default, in one place.

etc/ids_daemon.yaml shows the same with comments; a test keeps the two equal.  `load` in
`configfile` puts flags, environment, file and these defaults together.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from capture import FilterError, compile_filter
from ids_daemon.syslog_address import parse_address
from models import HOME_NETWORKS

FACILITIES = {
    "kern": 0,
    "user": 1,
    "mail": 2,
    "daemon": 3,
    "auth": 4,
    "syslog": 5,
    "lpr": 6,
    "news": 7,
    "uucp": 8,
    "cron": 9,
    "authpriv": 10,
    "ftp": 11,
    **{f"local{number}": 16 + number for number in range(8)},
}


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"not a network such as 192.168.0.0/16: {error}") from None
    return text


def _interface(text: str) -> str:
    if not re.fullmatch(r"[^\s/]{1,15}", text):
        raise ValueError("not the name of an interface (`ip link` lists them)")
    return text


def _word(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{1,48}", text):
        raise ValueError("wants 1 to 48 printable ASCII characters without blanks")
    return text


def _no_folder(path: str) -> str:
    if os.path.isdir(path):
        raise ValueError("is a folder: name a file in it")
    return path


def _sensor(text: str) -> str:
    if not re.fullmatch(r"[^\s\x00-\x1f\x7f]{1,64}", text):
        raise ValueError("wants 1 to 64 characters without blanks")
    return text


def _facility(text: str) -> str:
    if text not in FACILITIES:
        raise ValueError(f"not a facility: {', '.join(FACILITIES)}")
    return text


def _address(text: str) -> str:
    parse_address(text)
    return text


def _filter(text: str, info: ValidationInfo) -> str:
    """Compiled only where it will be used: it takes libpcap, and asks for the names of hosts in it."""
    if text.strip() and info.context and info.context.get("filter"):
        try:
            compile_filter(text)
        except FilterError as error:
            raise ValueError(error.reason) from None
    return text


NetworkText = Annotated[str, AfterValidator(_network)]
OutputFile = Annotated[str, Field(min_length=1), AfterValidator(_no_folder)]


class Section(BaseModel):
    """Strict: no unknown key, no number for a text, no text for a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Sensor(Section):
    name: Annotated[str, AfterValidator(_sensor)] = "ids-daemon"


def _distinct(names: list[str]) -> list[str]:
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"{twice[0]} stands there twice")
    return names


class Capture(Section):
    interfaces: Annotated[list[Annotated[str, AfterValidator(_interface)]], AfterValidator(_distinct)] = []
    promiscuous: bool = True
    snaplen: Annotated[int, Field(ge=96, le=262_144)] = 256
    filter: Annotated[str, AfterValidator(_filter)] = ""
    own_traffic: bool = True
    ring_mib: Annotated[int, Field(ge=2, le=4096)] = 64
    block_kib: Annotated[int, Field(ge=64, le=1024, multiple_of=64)] = 512
    block_timeout_ms: Annotated[int, Field(ge=1, le=1000)] = 10
    timeout_ms: Annotated[int, Field(ge=1, le=10_000)] = 60
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    warn_loss: Annotated[float, Field(ge=0, le=100)] = 0.1


class Flow(Section):
    capacity: Annotated[int, Field(ge=1024, le=1 << 26)] = 131_072
    key_vlan: bool = False
    decapsulate: bool = False


class Windows(Section):
    home_networks: list[NetworkText] = list(HOME_NETWORKS)
    home_hosts: Annotated[int, Field(ge=16, le=1 << 20)] = 512
    foreign_hosts: Annotated[int, Field(ge=16, le=1 << 20)] = 512


class Detector(Section):
    meter: Literal["native", "cicflowmeter"] = "native"
    model: Annotated[str, Field(min_length=1)] | None = None
    runtime: Literal["auto", "litert", "tensorflow"] = "auto"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    trusted_keys: list[Annotated[str, Field(min_length=1), AfterValidator(_no_folder)]] = []


class Alerting(Section):
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None
    quiet: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    max_incidents: Annotated[int, Field(ge=1, le=1 << 20)] = 1024


class EveOutput(Section):
    enabled: bool = True
    path: OutputFile = "/var/log/ids-daemon/eve.jsonl"
    stats: bool = True


class SyslogOutput(Section):
    address: Annotated[str, AfterValidator(_address)]
    facility: Annotated[str, AfterValidator(_facility)] = "local0"
    app_name: Annotated[str, AfterValidator(_word)] = "ids-daemon"


class JournalOutput(Section):
    enabled: bool = False


class StdoutOutput(Section):
    enabled: bool = False
    format: Literal["eve", "text"] = "eve"


class StatsOutput(Section):
    enabled: bool = True
    path: OutputFile = "/var/log/ids-daemon/stats.jsonl"
    interval: Annotated[float, Field(ge=1, le=86_400)] = 60.0


class Outputs(Section):
    queue: Annotated[int, Field(ge=1, le=1 << 20)] = 1024
    eve: EveOutput = EveOutput()
    syslog: list[SyslogOutput] = []
    journal: JournalOutput = JournalOutput()
    stdout: StdoutOutput = StdoutOutput()
    stats: StatsOutput = StatsOutput()


class CommunityId(Section):
    seed: Annotated[int, Field(ge=0, le=65_535)] = 0


class Config(Section):
    """The whole configuration; `Config()` is all defaults."""

    sensor: Sensor = Sensor()
    capture: Capture = Capture()
    flow: Flow = Flow()
    windows: Windows = Windows()
    detector: Detector = Detector()
    alerting: Alerting = Alerting()
    outputs: Outputs = Outputs()
    community_id: CommunityId = CommunityId()
