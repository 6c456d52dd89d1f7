"""Syslog by RFC 5424, one message a datagram, to a unix socket or over UDP (RFC 5426)."""

from __future__ import annotations

import os
import re
import socket
from datetime import datetime
from typing import Any

from ids_daemon.config import FACILITIES, SyslogOutput
from ids_daemon.eve import Event
from ids_daemon.syslog_address import parse_address
from ids_daemon.wording import first, printable, sentence

#: The structured data element; 32473 is the enterprise number kept for examples (RFC 5612).
SD_ID = "ids@32473"

#: Every UDP receiver should take so many bytes (RFC 5426); local daemons take more.
MAX_UDP, MAX_UNIX = 2048, 8192

#: A full receiver holds a send up for so long, then it counts as failed.
_TIMEOUT_S = 2.0

_MAX_VALUE = 128

#: EVE severity 1, 2, 3 -> critical, warning, notice; a closing message is informational.
_SEVERITIES = {1: 2, 2: 4}
_NOTICE, _INFORMATIONAL = 5, 6


class Syslog:
    """Send each event as a short sentence with its key data as structured data."""

    def __init__(self, output: SyslogOutput, host: str | None = None, process: int | None = None) -> None:
        """`host` and `process` default to this machine's name and this process's id."""
        self.name = f"syslog {output.address}"
        self._address = parse_address(output.address)
        self._facility = FACILITIES[output.facility]
        self._app_name = output.app_name
        self._host = _header_field(socket.gethostname() if host is None else host, 255)
        self._process = os.getpid() if process is None else process
        self._limit = MAX_UDP if self._address.path is None else MAX_UNIX
        self._socket: socket.socket | None = None

    def write(self, event: Event) -> None:
        if self._socket is None:
            self._socket = self._connect()
        try:
            self._socket.send(self.message(event))
        except OSError:
            self.close()
            raise

    def reopen(self) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def message(self, event: Event) -> bytes:
        """The datagram of an event, within the transport's limit: the sentence is cut to fit."""
        entry = event.object
        severity = _severity(entry)
        head = (
            f"<{self._facility * 8 + severity}>1 {rfc5424_time(entry['timestamp'])} {self._host} "
            f"{self._app_name} {self._process} alert {structured_data(entry)} "
        )
        return _cut(head.encode(), sentence(entry), self._limit)

    def _connect(self) -> socket.socket:
        if self._address.path is not None:
            families = [(socket.AF_UNIX, self._address.path)]
        else:
            found = socket.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_DGRAM)
            families = [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]
        family, address = families[0]
        connected = socket.socket(family, socket.SOCK_DGRAM)
        connected.settimeout(_TIMEOUT_S)
        try:
            connected.connect(address)
        except OSError:
            connected.close()
            raise
        return connected


def rfc5424_time(eve_timestamp: str) -> str:
    """EVE's `+0000` as the `+00:00` that RFC 5424 wants."""
    return datetime.strptime(eve_timestamp, "%Y-%m-%dT%H:%M:%S.%f%z").isoformat(timespec="microseconds")


def structured_data(entry: dict[str, Any]) -> str:
    """The key data of an alert as one SD-ELEMENT."""
    alert = entry["alert"]
    metadata = alert["metadata"]
    values = {
        "incident": first(metadata, "incident_id"),
        "update": first(metadata, "incident_update"),
        "state": first(metadata, "incident_state"),
        "family": first(metadata, "family"),
        "score": first(metadata, "score"),
        "actor": entry["src_ip"],
        "target": entry["dest_ip"],
        "flows": first(metadata, "flows"),
        "signature_id": str(alert["signature_id"]),
        "technique": first(metadata, "mitre_technique_id"),
        "community_id": entry["community_id"],
        "sensor": entry["host"],
    }
    parameters = " ".join(f'{key}="{_escaped(value)}"' for key, value in values.items() if value)
    return f"[{SD_ID} {parameters}]"


def _severity(entry: dict[str, Any]) -> int:
    if first(entry["alert"]["metadata"], "incident_state") == "closed":
        return _INFORMATIONAL
    return _SEVERITIES.get(entry["alert"]["severity"], _NOTICE)


def _escaped(value: str) -> str:
    return re.sub(r'(["\\\]])', r"\\\1", printable(value)[:_MAX_VALUE])


def _header_field(text: str, limit: int) -> str:
    """Printable ASCII without blanks, or the nil value."""
    return re.sub(r"[^\x21-\x7e]", "", text)[:limit] or "-"


def _cut(head: bytes, text: str, limit: int) -> bytes:
    """Head and text in UTF-8 (marked as such when it is more than ASCII), at most `limit` bytes."""
    mark = b"" if text.isascii() else b"\xef\xbb\xbf"
    room = limit - len(head) - len(mark)
    body = text.encode()
    if len(body) > room:
        mark = mark or b"\xef\xbb\xbf"
        ellipsis = "…".encode()
        room = limit - len(head) - len(mark) - len(ellipsis)
        body = body[:room].decode(errors="ignore").encode() + ellipsis
    return head + mark + body
