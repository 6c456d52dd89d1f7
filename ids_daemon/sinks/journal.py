"""The systemd journal, through the package systemd-python."""

from __future__ import annotations

import importlib
from typing import Any

from capture import ExtraMissing
from ids_daemon.eve import Event
from ids_daemon.wording import first, sentence

INSTALL = "pip install 'ids-daemon[systemd]'"

#: `journalctl MESSAGE_ID=...` finds every alert of every sensor.
MESSAGE_ID = "5b1c5f0f6d2e4c5c9f0b8e1a7d3c6b42"

#: EVE severity 1, 2, 3 -> critical, warning, notice.
_PRIORITIES = {1: 2, 2: 4}
_NOTICE = 5


class Journal:
    """Send each event as a sentence with fields to search by."""

    name = "journal"

    def __init__(self) -> None:
        """ExtraMissing when systemd-python is not installed."""
        try:
            self._journal = importlib.import_module("systemd.journal")
        except ImportError:
            raise ExtraMissing(f"outputs.journal needs the package systemd-python: {INSTALL}") from None

    def write(self, event: Event) -> None:
        self._journal.send(sentence(event.object), MESSAGE_ID=MESSAGE_ID, **fields(event.object))

    def reopen(self) -> None:
        """The journal's socket needs no reopening."""

    def close(self) -> None:
        """There is nothing to let go of."""


def fields(entry: dict[str, Any]) -> dict[str, str]:
    """The journal fields of an alert."""
    alert = entry["alert"]
    metadata = alert["metadata"]
    found = {
        "IDS_INCIDENT": first(metadata, "incident_id"),
        "IDS_INCIDENT_UPDATE": first(metadata, "incident_update"),
        "IDS_INCIDENT_STATE": first(metadata, "incident_state"),
        "IDS_FAMILY": first(metadata, "family"),
        "IDS_SCORE": first(metadata, "score"),
        "IDS_ACTOR": entry["src_ip"],
        "IDS_TARGET": entry["dest_ip"],
        "IDS_TECHNIQUE": first(metadata, "mitre_technique_id"),
        "IDS_SIGNATURE_ID": str(alert["signature_id"]),
        "IDS_COMMUNITY_ID": entry["community_id"],
        "IDS_TIMESTAMP": entry["timestamp"],
        "IDS_SENSOR": entry["host"],
        "PRIORITY": str(_PRIORITIES.get(alert["severity"], _NOTICE)),
        "SYSLOG_IDENTIFIER": "ids-daemon",
    }
    return {key: value for key, value in found.items() if value}
