"""Counters of a running service, one JSON line at an interval."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from ids_daemon.config import StatsOutput
from ids_daemon.sinks.eve import append_whole


class StatsFile:
    """Appends lines; a failure is told when it begins and when it ends, and harms nothing else."""

    def __init__(self, output: StatsOutput, tell: Callable[[str], None]) -> None:
        self._output = output
        self._tell = tell
        self._descriptor: int | None = None
        self._failing = False
        self._started = time.monotonic()

    def write(self, counters: Mapping[str, object]) -> None:
        """A line with the time, the uptime in seconds and the counters."""
        if not self._output.enabled:
            return
        uptime = time.monotonic() - self._started
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = {"timestamp": now, "uptime": round(uptime, 3), **counters}
        try:
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._descriptor = os.open(self._output.path, flags, 0o640)
            append_whole(self._descriptor, json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            if not self._failing:
                self._tell(f"statistics {self._output.path}: {error.strerror or error}")
            self._failing = True
            return
        if self._failing:
            self._tell(f"statistics {self._output.path}: works again")
        self._failing = False

    def reopen(self) -> None:
        """Let go of the file; the next line opens it anew."""
        self.close()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
